"""``atomflow potential pareto | active``: many trainings under one command."""

from __future__ import annotations

from pathlib import Path

import typer

from atomflow.cli.options import Json


def pareto(
    config: Path = typer.Argument(..., help="Shapes and the budget they share (YAML)."),
    out: Path = typer.Option(..., "-o", "--out", help="Folder of the front; run again to resume."),
    json_: Json = False,
) -> None:
    """Speed against error: train students of several shapes on one budget, measure and time them in one run. Resumable.

    \b
    Example:
      atomflow potential pareto workflows/potential/pareto.yaml -o pareto/
    """
    from atomflow import plain
    from atomflow.cli import output
    from atomflow.config import parse, read_yaml
    from atomflow.distill import pareto as fronts
    from atomflow.distill.pareto_figure import write_figure

    data = fronts.run(parse(fronts.ParetoConfig, read_yaml(config), str(config)), out, output.say)
    figure = write_figure(data, out / "pareto.png")
    if json_:
        output.emit_json(data)
        return
    output.show(plain.table(*fronts.table(data)))
    output.show(f"\n{data['config']['epochs']} epochs on {data['config']['frames']} frames: a ranking at that budget, "
                f"no converged errors; {data['timing']['atoms']} atoms, one thread. Figure: {figure}")


def active(
    config: Path = typer.Argument(..., help="Where to look, whom to ask, how to train, when to stop (YAML)."),
    out: Path = typer.Option(..., "-o", "--out", help="Folder of the rounds; run again to resume."),
    python: str = typer.Option(
        None, help="Interpreter of the teacher's environment, in place of `teacher: python` of the configuration."
    ),
    json_: Json = False,
) -> None:
    """Rounds of dynamics with the student, labels for doubtful frames, and training, until a criterion. Resumable.

    \b
    Example:
      atomflow potential active workflows/potential/active.yaml -o active/
    """
    from atomflow import plain
    from atomflow.cli import output
    from atomflow.config import parse, read_yaml
    from atomflow.distill import active as loop
    from atomflow.distill.active_config import ActiveConfig

    wanted = parse(ActiveConfig, read_yaml(config), str(config))
    if python is not None:
        teacher = wanted.teacher.model_copy(update={"python": python})
        wanted = wanted.model_copy(update={"teacher": teacher})
    data = loop.run(wanted, out, output.say)
    if json_:
        output.emit_json(data)
        return
    output.show(plain.table(*loop.table(data)))
    output.show(f"\nover: {data['ended']}. Last student: {data['model']}; use it as -p {data['model']}")


def mount(app: typer.Typer) -> None:
    """Add the verbs to ``atomflow potential``."""
    for command in (pareto, active):
        app.command()(command)
