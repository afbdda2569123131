"""``atomflow export``: a run in other programs' formats, or a cell and its simulation for LAMMPS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from atomflow.cli.options import Dtype, Json, Potential, Trust
from atomflow.errors import InputError


class _RunByDefault(TyperGroup):
    """``atomflow export RUN ...`` is ``atomflow export run RUN ...``: what is no command is a run folder."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        named = args[0] in self.commands
        if named and Path(args[0]).is_dir() and (len(args) == 1 or args[1].startswith("-")):
            named = args[0] == "lammps" and not (Path("lammps") / "run.json").is_file()  # a run folder of that name
        return super().resolve_command(ctx, args if named else ["run", *args])


app = typer.Typer(cls=_RunByDefault, rich_markup_mode=None, add_completion=False, no_args_is_help=True,
                  help="Write a run in other programs' formats (export RUN --format ...), or a simulation for LAMMPS.")


@app.command()
def run(
    run: Path = typer.Argument(..., metavar="RUN", help="Run folder."),
    format: str | None = typer.Option(
        None, "--format", "-f", help="extxyz, netcdf (AMBER) or lammps (data, last frame); else by --out's ending."),
    out: Path | None = typer.Option(None, "-o", "--out", help="File to write; named after the run otherwise."),
    stride: int = typer.Option(1, "--stride", help="Write every how many frames (extxyz, netcdf)."),
    wrap: bool = typer.Option(False, "--wrap", help="Put atoms back into the box (positions are unwrapped otherwise)."),
    json_: Json = False,
) -> None:
    """Write a run for ASE, OVITO, VMD, MDAnalysis or LAMMPS. (MDAnalysis also opens RUN/trajectory.h5 as it is.)

    \b
    Example:
      atomflow export runs/na900 --format extxyz --stride 10 -o na900.extxyz
    """
    from atomflow.cli import output
    from atomflow.runs import open_run
    from atomflow.runs.export import SUFFIXES
    from atomflow.runs.export import export as write

    endings = {suffix: name for name, suffix in SUFFIXES.items()}
    format = format or endings.get(out.suffix if out else "")
    if format is None:
        raise InputError(f"in which format? give --format {', '.join(SUFFIXES)}, or end -o in {', '.join(endings)}")
    with open_run(run) as opened:
        path = write(opened, format, out, stride, wrap)
    output.emit_json({"file": path, "format": format}) if json_ else output.show(str(path))


@app.command()
def lammps(
    cell: Path = typer.Argument(..., metavar="CELL", help="Cell to start from."),
    out: Path = typer.Option(..., "-o", "--out", help="New folder."),
    temperature: float = typer.Option(..., "-T", "--temperature", help="K"),
    time_ps: float = typer.Option(..., help="Length of production in ps."),
    potential: Potential = None,
    interface: str = typer.Option("mliap", help="Of MACE: mliap (many GPUs) or libtorch (ACEsuit's LAMMPS)."),
    ensemble: str = typer.Option("nvt", help="nvt, npt or nve."),
    equilibration_ps: float = typer.Option(0.0, help="Langevin dynamics before production, in ps."),
    timestep_fs: float = typer.Option(2.0, help="Time step in fs."),
    thermostat_time_fs: float = typer.Option(500.0, help="Relaxation time of the Nosé–Hoover thermostat in fs."),
    pressure_GPa: float = typer.Option(0.0, "--pressure-GPa", help="Target pressure of npt in GPa."),
    barostat: str = typer.Option("anisotropic", help="anisotropic or isotropic."),
    frame_interval_fs: float = typer.Option(20.0, help="Between frames of the dump, in fs."),
    checkpoint_interval_ps: float = typer.Option(10.0, help="Between restart files, in ps."),
    seed: int = typer.Option(1, help="Of velocities and of the equilibration."),
    dtype: Dtype = "float32",
    trust_model: Trust = False,
    json_: Json = False,
) -> None:
    """Write data file, potential and input with which LAMMPS runs CELL; atomflow analyze reads the folder afterwards.

    The potential is a MACE model or lennard-jones-argon.

    \b
    Example:
      atomflow export lammps big.extxyz -T 300 --time-ps 100 -o big/
      (cd big && lmp -in run.in) ; atomflow analyze big/
    """
    from atomflow.cell import read_cell
    from atomflow.cli import output
    from atomflow.cli.loading import load_potential, warn_of
    from atomflow.md.config import MDConfig

    start = read_cell(cell)
    config = MDConfig.from_dump({
        "ensemble": ensemble, "temperature_K": temperature, "time_ps": time_ps, "equilibration_ps": equilibration_ps,
        "timestep_fs": timestep_fs, "thermostat_time_fs": thermostat_time_fs, "pressure_GPa": pressure_GPa,
        "barostat": barostat, "frame_interval_fs": frame_interval_fs, "thermo_interval_fs": frame_interval_fs,
        "checkpoint_interval_ps": min(checkpoint_interval_ps, time_ps), "seed": seed,
    }, "export lammps")
    from atomflow.md.lammps import write_lammps

    chosen = load_potential(potential, "cpu", dtype, trust_model)
    warn_of(chosen, start)
    folder = write_lammps(start, chosen, config, out, interface)
    written = sorted(path.name for path in folder.iterdir())
    if json_:
        output.emit_json({"folder": folder, "files": written, "potential": chosen.identity.model_dump(mode="json"),
                          "config": config.dump(), "cell": start.summary()})
        return
    output.show(f"{folder}: {', '.join(written)}")
    output.show(f"which LAMMPS it takes and how it is started stands at the head of {folder / 'run.in'}")
