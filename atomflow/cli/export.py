"""``atomflow export``: a run in other programs' formats, or a cell and its simulation for LAMMPS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup


class _RunByDefault(TyperGroup):
    """``atomflow export RUN ...`` is ``atomflow export run RUN ...``: what is no command is a run folder."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        return super().resolve_command(ctx, args if args[0] in self.commands else ["run", *args])


app = typer.Typer(cls=_RunByDefault, rich_markup_mode=None, add_completion=False, no_args_is_help=True,
                  help="Write a run in other programs' formats (export RUN --format ...), or a simulation for LAMMPS.")


@app.command()
def run(
    run: Path = typer.Argument(..., metavar="RUN", help="Run folder."),
    format: str = typer.Option(..., "--format", "-f", help="extxyz, netcdf (AMBER) or lammps (data, last frame)."),
    output: Path | None = typer.Option(None, "--output", "-o", help="File to write; named after the run otherwise."),
    stride: int = typer.Option(1, "--stride", help="Write every how many frames (extxyz, netcdf)."),
    wrap: bool = typer.Option(False, "--wrap", help="Put atoms back into the box (positions are unwrapped otherwise)."),
) -> None:
    """Write a run for ASE, OVITO, VMD, MDAnalysis or LAMMPS. (MDAnalysis also opens RUN/trajectory.h5 as it is.)

    \b
    Example:
      atomflow export runs/na900 --format extxyz --stride 10 -o na900.extxyz
    """
    from atomflow.cli import output as out
    from atomflow.runs import open_run
    from atomflow.runs.export import export as write

    with open_run(run) as opened:
        path = write(opened, format, output, stride, wrap)
    out.show(str(path))


@app.command()
def lammps(
    cell: Path = typer.Argument(..., metavar="CELL", help="Cell to start from."),
    output: Path = typer.Option(..., "-o", "--output", help="New folder."),
    temperature: float = typer.Option(..., "-T", "--temperature", help="K"),
    time_ps: float = typer.Option(..., help="Length of production in ps."),
    potential: str | None = typer.Option(None, "-p", "--potential", help="MACE model or lennard-jones-argon."),
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
    dtype: str = typer.Option("float32", help="Precision of the model: float32 or float64."),
    trust_model: bool = typer.Option(False, "--trust-model", help="Load a pickled model of unknown checksum."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Write data file, potential and input with which LAMMPS runs CELL; atomflow analyze reads the folder afterwards.

    \b
    Example:
      atomflow export lammps big.extxyz -T 300 --time-ps 100 -o big/
      (cd big && lmp -in run.in) ; atomflow analyze big/
    """
    from atomflow.cell import read_cell
    from atomflow.cli import output as out
    from atomflow.md.config import MDConfig

    start = read_cell(cell)
    config = MDConfig.from_dump({
        "ensemble": ensemble, "temperature_K": temperature, "time_ps": time_ps, "equilibration_ps": equilibration_ps,
        "timestep_fs": timestep_fs, "thermostat_time_fs": thermostat_time_fs, "pressure_GPa": pressure_GPa,
        "barostat": barostat, "frame_interval_fs": frame_interval_fs, "thermo_interval_fs": frame_interval_fs,
        "checkpoint_interval_ps": min(checkpoint_interval_ps, time_ps), "seed": seed,
    }, "export lammps")
    from atomflow import potentials
    from atomflow.md.lammps import write_lammps

    chosen = potentials.load(potential or potentials.DEFAULT, device="cpu", dtype=dtype, trust_model=trust_model)
    folder = write_lammps(start, chosen, config, output, interface)
    caution = chosen.identity.caution(start.numbers)
    if caution:
        out.say(f"warning: {caution}")
    written = sorted(path.name for path in folder.iterdir())
    if as_json:
        out.emit_json({"folder": folder, "files": written, "potential": chosen.identity.model_dump(mode="json"),
                       "config": config.dump(), "cell": start.summary()})
        return
    out.show(f"{folder}: {', '.join(written)}")
    out.show(f"which LAMMPS it takes and how it is started stands at the head of {folder / 'run.in'}")
