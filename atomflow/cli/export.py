"""``atomflow export``: a run in other programs' formats."""

from __future__ import annotations

from pathlib import Path

import typer

app = typer.Typer(rich_markup_mode=None, add_completion=False, help="Write a run in other programs' formats.")


@app.command()
def export(
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
