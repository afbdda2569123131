"""``atomflow quench``: melt and quench a packing into a glass, or the film of a sealed boundary in place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from atomflow.cli.options import Device, Dtype, Json, Potential, Threads, Trust, refuse_beside_resume
from atomflow.errors import InputError

if TYPE_CHECKING:
    from atomflow.quench import QuenchConfig
    from atomflow.quench.result import QuenchResult

app = typer.Typer(rich_markup_mode=None, add_completion=False, help="Melt and quench a glass, or a film in place.")


@app.command()
def quench(
    ctx: typer.Context,
    cell: Path | None = typer.Argument(None, help="Packing or sealed boundary, from atomflow build glass | sealed."),
    potential: Potential = None,
    out: Path | None = typer.Option(None, "-o", "--out", help="Folder; the same command goes on with one begun."),
    resume: Path | None = typer.Option(None, help="Go on with the quench in this folder; nothing else is needed."),
    replicas: int = typer.Option(1, min=1, help="Quenches that differ in their seed."),
    melt_temperature: float = typer.Option(3000.0, help="K; below 2500 K it is said that a packing may not melt."),
    melt_ps: float = typer.Option(5.0, help="Time in the melt, ps."),
    rate: float = typer.Option(100.0, "--rate-K-per-ps", help="Of all cooling; 1 K/ps is 10^12 K/s."),
    anneal_temperature: float = typer.Option(800.0, help="K; from here on the cell is free, and held grains too."),
    anneal_ps: float = typer.Option(5.0, help="Time there, ps."),
    end_temperature: float = typer.Option(300.0, help="K."),
    settle_ps: float = typer.Option(5.0, help="Time there, ps; its frames are the glass."),
    timestep_fs: float = typer.Option(1.0, help="Time step, fs."),
    frame_interval_fs: float = typer.Option(50.0, help="Between stored frames, fs."),
    hold: bool = typer.Option(True, "--in-place/--free", help="Hold grains until the anneal, or hold nothing."),
    relax: bool = typer.Option(False, "--relax", help="Relax the last frame and its cell."),
    seed: int = typer.Option(1, help="Of the first replica; the next ones count up."),
    device: Device = "auto",
    dtype: Dtype = "float32",
    trust_model: Trust = False,
    threads: Threads = None,
    json_: Json = False,
) -> None:
    """Melt CELL, quench it by stages, anneal it and let it find its own volume.

    The cell of a sealed boundary is melted in place: its grains are held until the anneal. The folder can be given
    wherever a CELL is asked for. SIGTERM, SIGINT and SIGUSR1 stop at the next step with exit code 75.

    \b
    Example:
      atomflow quench melt.extxyz -p NAME --rate-K-per-ps 100 --replicas 3 -o glass
      atomflow quench --resume glass
      atomflow order glass --glass
    """
    from atomflow.cli.loading import set_threads
    from atomflow.quench.config import QuenchConfig

    if resume is not None:
        refuse_beside_resume(ctx, "device", "dtype", "trust_model", "threads")
        set_threads(threads)
        _report(_resume(resume, device, trust_model), json_)
        return
    if cell is None or out is None:
        missing = [name for name, value in (("CELL", cell), ("--out", out)) if value is None]
        raise InputError(f"missing {', '.join(missing)}; a new quench needs CELL and -o (or use --resume)")
    config = QuenchConfig.from_dump({
        "melt_temperature_K": melt_temperature, "melt_ps": melt_ps, "rate_K_per_ps": rate,
        "anneal_temperature_K": anneal_temperature, "anneal_ps": anneal_ps, "end_temperature_K": end_temperature,
        "settle_ps": settle_ps, "timestep_fs": timestep_fs, "frame_interval_fs": frame_interval_fs, "hold": hold,
        "relax": relax, "seed": seed,
    }, "quench options")  # fmt: skip
    set_threads(threads)
    _report(_start(cell, potential, config, out, replicas, device, dtype, trust_model), json_)


def _start(
    path: Path, name: str | None, config: QuenchConfig, out: Path, replicas: int, device: str, dtype: str,
    trust_model: bool,
) -> QuenchResult:  # fmt: skip
    from atomflow.cell import read_cell
    from atomflow.cli import output

    cell = read_cell(path)
    from atomflow import quench
    from atomflow.cli.loading import load_potential, warn_of
    from atomflow.md.progress import printer

    chosen = load_potential(name, device, dtype, trust_model)
    plan, held = quench.stages(config, cell), quench.held_regions(cell, config)
    steps = replicas * sum(stage.steps for stage in plan)
    warn_of(chosen, cell)
    head = (f"{cell.formula}: {len(plan)} stages, {steps:,} steps with {chosen.identity.name} on "
            f"{chosen.device.type}" + (f"; held until the anneal: {', '.join(held)}" if held else ""))
    return quench.run(cell, chosen, config, out, replicas, {"structure": path.stem}, printer(),
                      lambda: output.say(head))


def _resume(folder: Path, device: str, trust_model: bool) -> QuenchResult:
    from atomflow import quench
    from atomflow.md.progress import printer

    return quench.resume(folder, progress=printer(), device=device, trust_model=trust_model)


def _report(manifest: QuenchResult, json_: bool) -> None:
    from atomflow.cli import output

    for warning in manifest.warnings:
        output.say(f"warning: {warning}")
    if json_:
        output.emit_json(manifest)
        return
    for line in manifest.lines():
        output.show(line)
    if manifest.acceptance:
        output.show("\n" + manifest.acceptance)
    folder = manifest.folder
    output.show(f"{'replicas' if manifest['replicas'] else 'final cell'} in {folder}; more: atomflow order {folder}")
