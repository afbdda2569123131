"""``atomflow potential stability``: many seeds, hot and long, in one batch; how far they came, at any moment."""

from __future__ import annotations

from pathlib import Path

import typer

from atomflow.cli.options import Device, Json
from atomflow.errors import check_place


def stability(
    model: str = typer.Argument(..., help="Folder written by `train`, a model file, or a name of `list`."),
    work: Path = typer.Option(..., "-o", "--out", help="Where the runs are kept; the same as `card --work`."),
    settings: Path = typer.Option(None, help="YAML of `card --settings`: seeds, temperatures, lengths."),
    minutes: float = typer.Option(None, min=0, help="At most so long for each system; the next call goes on."),
    report: bool = typer.Option(False, "--report", help="Only say how far they came; another process may be running."),
    device: Device = "auto",
    json_: Json = False,
) -> None:
    """Run seeds of NZSP and of zinc borate at high temperature until they blow up or their time is over.

    Kill it when you like and call it again. The card's section `stability` shows the same runs.

    \b
    Example:
      atomflow potential stability atomflow-nzsp-0 -o card.work --settings workflows/potential/card-asked.yaml
    """
    from atomflow import plain, potentials
    from atomflow.cli import output
    from atomflow.config import parse, read_yaml
    from atomflow.distill.card_checks import stability as check
    from atomflow.distill.card_checks.section import Context
    from atomflow.distill.card_checks.settings import CardSettings
    from atomflow.distill.sides import Here

    wanted = parse(CardSettings, read_yaml(settings) if settings else {}, str(settings))
    if minutes is not None:
        wanted = wanted.model_copy(update={"stability_minutes": minutes})
    check_place(work)
    student = potentials.load(model, device=device)
    context = Context(student, model, Here(student, work / "student"), None, "not asked", wanted, work, output.say)
    found = check.section(context) if report else check.run(context)
    if json_:
        output.emit_json(
            plain.to_jsonable(
                {
                    "potential": student.identity.model_dump(mode="json"),
                    "settings": wanted.model_dump(mode="json"),
                    **found.facts,
                }
            )
        )
        return
    output.show(plain.table(found.rows, found.columns))
    for line in [*found.lines, *(f"missing: {text}" for text in found.missing)]:
        output.show(line)
