"""``atomflow potential along``: how far a potential was from its teacher along one's own runs."""

from __future__ import annotations

from pathlib import Path

import typer

from atomflow.cli.options import Device, Json


def along(
    runs: list[Path] = typer.Argument(..., help="Run folders, or folders of campaigns."),
    out: Path = typer.Option(..., "-o", "--out", help="Folder of the labels; run again to resume."),
    potential: str | None = typer.Option(None, "-p", "--potential", help="Name, model file, or folder of `train`."),
    teacher: str = typer.Option("7net-l3i5", help="7net-l3i5, 7net-0, chgnet, mace:FILE."),
    python: str = typer.Option(
        None, help="Interpreter of the teacher's environment; one is made (needs the network) when not given."
    ),
    frames: int = typer.Option(10, min=1, help="So many frames of each run, evenly spaced."),
    discard_ps: float = typer.Option(0.0, min=0.0, help="Time left out at the start of every run."),
    device: Device = "auto",
    json_: Json = False,
) -> None:
    """Errors along your own runs: a teacher is asked for forces in some of their frames. Resumable.

    \b
    Example:
      atomflow potential along runs/glass-quickstart --teacher 7net-l3i5 -o along/
    """
    from atomflow import potentials
    from atomflow.cli import output
    from atomflow.cli.potential_distill import show_labelling
    from atomflow.distill.along import along as errors_along

    chosen = potentials.load(potential or potentials.DEFAULT, device=device)
    found = errors_along(runs, out, chosen, teacher, python, frames, discard_ps, show_labelling)
    if json_:
        output.emit_json(found.to_json())
    else:
        output.show(found.text())
