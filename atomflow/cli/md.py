"""``atomflow md``: molecular dynamics into a run folder, or on with one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from atomflow.cli.options import Device, Dtype, Json, Potential, Threads, Trust, refuse_beside_resume
from atomflow.errors import InputError
from atomflow.runs.manifest import what_is_lost

if TYPE_CHECKING:
    from atomflow.runs import RunResult

app = typer.Typer(rich_markup_mode=None, add_completion=False, help="Run molecular dynamics, or resume a run.")


@app.command()
def md(
    ctx: typer.Context,
    cell: Path | None = typer.Argument(None, help="Cell to start from: extxyz, CIF, POSCAR, anything ASE reads."),
    potential: Potential = None,
    temperature: float | None = typer.Option(None, "-T", "--temperature", help="K"),
    temperature_end: float | None = typer.Option(None, help="K; ramp the target to this during production."),
    time_ps: float | None = typer.Option(None, help="Length of production in ps."),
    out: Path | None = typer.Option(None, "-o", "--out", help="New run folder."),
    resume: Path | None = typer.Option(None, help="Go on with the run in this folder; nothing else is needed."),
    ensemble: str = typer.Option("nvt", help="nvt, npt or nve."),
    seed: int = typer.Option(1, help="Of velocities, thermostat and barostat."),
    timestep_fs: float = typer.Option(2.0, help="Time step in fs."),
    equilibration_ps: float = typer.Option(0.0, help="Langevin dynamics before production, in ps."),
    thermostat: str = typer.Option("bussi", help="bussi, nose-hoover or langevin."),
    thermostat_time_fs: float = typer.Option(500.0, help="Relaxation time of the thermostat in fs."),
    pressure_GPa: float = typer.Option(0.0, "--pressure-GPa", help="Target pressure of npt in GPa."),
    barostat: str = typer.Option("anisotropic", help="anisotropic or isotropic."),
    frame_interval_fs: float = typer.Option(20.0, help="Between stored frames, in fs."),
    thermo_interval_fs: float = typer.Option(20.0, help="Between rows of energies and temperature, in fs."),
    checkpoint_interval_ps: float = typer.Option(1.0, help="Between checkpoints, in ps."),
    hold: list[str] | None = typer.Option(None, help="Region whose atoms stand still (repeat); nvt or nve."),
    committee: str | None = typer.Option(None, help="Model files, separated by commas, whose disagreement is doubt."),
    doubt_warn: float | None = typer.Option(None, help="eV/Å of disagreement that is a warning; the potential's own."),
    doubt_stop: float | None = typer.Option(None, help="eV/Å of disagreement that ends the run."),
    device: Device = "auto",
    dtype: Dtype = "float32",
    trust_model: Trust = False,
    threads: Threads = None,
    json_: Json = False,
) -> None:
    """Run molecular dynamics of CELL into a run folder, or go on with one.

    SIGTERM, SIGINT and SIGUSR1 stop a run at its next step with exit code 75; --resume goes on from there.

    \b
    Example:
      atomflow md cell.extxyz -p chgnet -T 900 --time-ps 20 --equilibration-ps 2 --seed 1 -o run
      atomflow md --resume run
    """
    from atomflow.cli.loading import set_threads

    if resume is not None:
        refuse_beside_resume(ctx, "potential", "device", "dtype", "trust_model", "threads")
        set_threads(threads)
        _report(_resume(resume, potential, device, dtype, trust_model), json_)
        return
    given = {"CELL": cell, "--temperature": temperature, "--time-ps": time_ps, "--out": out}
    missing = [name for name, value in given.items() if value is None]
    if missing or cell is None or out is None:
        raise InputError(f"missing {', '.join(missing)}; a new run needs CELL, -T, --time-ps and -o (or use --resume)")
    from atomflow.md.config import MDConfig

    config = MDConfig.from_dump({
        "ensemble": ensemble, "temperature_K": temperature, "temperature_end_K": temperature_end, "time_ps": time_ps,
        "equilibration_ps": equilibration_ps, "timestep_fs": timestep_fs, "thermostat": thermostat,
        "thermostat_time_fs": thermostat_time_fs, "pressure_GPa": pressure_GPa, "barostat": barostat,
        "frame_interval_fs": frame_interval_fs, "thermo_interval_fs": thermo_interval_fs,
        "checkpoint_interval_ps": checkpoint_interval_ps, "seed": seed,
        "held_regions": hold or (), "doubt_warn_eV_per_A": doubt_warn, "doubt_stop_eV_per_A": doubt_stop,
    }, "md options")
    set_threads(threads)
    files = tuple(part for part in (committee or "").split(",") if part)
    _report(_start(cell, potential, config, out, device, dtype, trust_model, files), json_)


def _start(
    cell_path: Path, name: str | None, config: Any, out: Path, device: str, dtype: str, trust_model: bool,
    committee: tuple[str, ...],
) -> RunResult:
    from atomflow.cell import read_cell
    from atomflow.cli import output

    cell = read_cell(cell_path)
    from atomflow import md
    from atomflow.cli.loading import load_potential
    from atomflow.md.progress import printer

    chosen = load_potential(name, device, dtype, trust_model, committee)
    head = (f"{cell.formula}: {config.ensemble} at {config.temperature_K:g} K, {config.time_ps:g} ps with "
            f"{chosen.identity.name} ({chosen.identity.dtype}) on {chosen.device.type}")
    return md.run(cell, chosen, config, out, {"structure": cell_path.stem}, printer(), lambda: output.say(head))


def _resume(folder: Path, name: str | None, device: str, dtype: str, trust_model: bool) -> RunResult:
    from atomflow import runs
    from atomflow.cli import output

    manifest = runs.open_run(folder).manifest
    lost = what_is_lost(folder, manifest)
    if lost:
        raise InputError(f"{folder} was done, and {lost}: no resume brings it back; give it to another folder anew")
    if manifest["state"] == "done":
        output.say(f"{folder} is done already; there is nothing to resume")
        return runs.RunResult(manifest, folder)
    from atomflow import md, potentials
    from atomflow.md.progress import printer

    recorded = manifest["potential"]["dtype"]
    chosen = name and potentials.load(name, device=device, dtype=recorded, trust_model=trust_model)
    return md.resume(folder, chosen or None, progress=printer(), device=device, trust_model=trust_model)


def _report(manifest: RunResult, json_: bool) -> None:
    from atomflow.cli import output

    for warning in manifest.warnings:
        output.say(f"warning: {warning}")
    output.emit_json(manifest) if json_ else output.show("\n".join(manifest.lines()))
