"""``atomflow potential card``: what a student is worth, measured; one page, made again by one command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from atomflow.cli.options import Json
from atomflow.errors import InputError, RunFailed, check_place


def card(
    model: str = typer.Argument(..., help="Folder written by `train`, a model file, or a name of `list`."),
    out: Path = typer.Option(Path("card.html"), "-o", "--out", help="HTML file; the same as JSON beside it."),
    checks: str = typer.Option("all", help="all, quick, none, or some: lattice,energies,eos,phonons,hops,..."),
    teacher: str = typer.Option(None, help="7net-l3i5, 7net-0, chgnet, mace:FILE: sections then compare with it."),
    python: str = typer.Option(None, help="Interpreter of the teacher's environment; one is made (needs the "
                                          "network) when not given."),
    kept_answers: bool = typer.Option(False, "--kept-answers", help="Ask the teacher nothing new: use what it "
                                                                    "answered before (in WORK/teacher)."),
    labelled: list[Path] = typer.Option(None, help="Labelled sets, for a model that is no training folder."),
    settings: Path = typer.Option(None, help="YAML: lengths, seeds, temperatures of the sections."),
    work: Path = typer.Option(None, help="Where sections are kept; OUT without its suffix, plus .work, if not given."),
    boundary_energies: Path = typer.Option(None, help="JSON that `interface compare-dft --json` prints."),
    dft_points: Path = typer.Option(None, help="Folder of density functional points; those of a source checkout, if "
                                               "not given."),
    estimate: bool = typer.Option(False, "--estimate", help="Only say how long it would take."),
    json_: Json = False,
) -> None:
    """Measure a student: errors on held-out systems, and what force errors do not show. Resumable, section by section.

    \b
    Example:
      atomflow potential card model/ --teacher 7net-l3i5 -o card.html
    """
    from atomflow import plain, potentials
    from atomflow.cli import output
    from atomflow.config import parse, read_yaml
    from atomflow.distill import card as cards
    from atomflow.distill.card_checks import runner
    from atomflow.distill.card_checks.section import Context
    from atomflow.distill.card_checks.settings import CardSettings
    from atomflow.distill.card_page import write_card
    from atomflow.distill.sides import Here

    names = runner.choose(checks)
    wanted = parse(CardSettings, read_yaml(settings) if settings else {}, str(settings))
    if boundary_energies is not None and not boundary_energies.is_file():
        raise InputError(f"there is no file {boundary_energies}")
    check_place(out)
    student = potentials.load(model)
    if Path(model).is_dir():
        frames, about = cards.labelled_frames(model)
    else:
        frames, about = cards.shipped_frames(model, labelled or [])
    folder = work or out.with_suffix(".work")
    asked, no_teacher = _teacher(teacher, python, folder, kept_answers, output.say)
    context = Context(student, model, Here(student, folder / "student"), asked, no_teacher, wanted, folder, output.say,
                      boundary_energies, frames, dft_points or cards.shipped_dft_points())
    if names:
        price = runner.price(context, names)
        for name, seconds in price.seconds.items():
            output.say(f"  {name}: about {_span(seconds)}")
        output.say(f"{len(price.seconds)} sections to measure, about {_span(price.total_s)} at the speed just seen; "
                   f"{len(names) - len(price.seconds)} are kept in {folder}")
        if estimate:
            output.emit_json(price.seconds) if json_ else output.show(f"about {_span(price.total_s)}")
            return

    def show(done: int) -> None:
        if done % 20 == 0:
            output.say(f"{done} test frames evaluated")

    sections = runner.measure(context, names)
    data: dict[str, Any] = cards.without_frames(student, about)
    if any(frame.split == "test" for frame in frames):
        data = cards.kept_card_data(frames, student, about, folder, show)
    else:
        output.say("no labelled held-out frames are at hand (--labelled): the card has no table of errors")
    data["sections"] = {**runner.others(context, list(sections)), **sections}
    path = write_card(plain.to_jsonable(data), out)
    if json_:
        output.emit_json(data)
        return
    if "by_family" in data:
        rows = [[row["group"], str(row["frames"]), f"{row['force_rmse_eV_per_A']['value']:.3f}", f"{row['slope']:.3f}",
                 f"{row['energy_spread_meV_per_atom']:.1f}"] for row in data["by_family"]]
        output.show(plain.table(rows, ["held out", "frames", "force RMSE eV/Å", "slope", "energy spread meV/atom"]))
    for record in data["sections"].values():
        for line in [*record["section"]["lines"][:2], *(f"missing: {text}" for text in record["section"]["missing"])]:
            output.show(f"{record['check']}: {line}")
    output.show(f"card in {path}")


def _teacher(teacher: str | None, python: str | None, folder: Path, kept: bool, say: Any) -> tuple[Any, str]:
    """The teacher's side, or None and the reason."""
    from atomflow.distill.card_checks.kept import Kept
    from atomflow.distill.sides import Elsewhere

    if teacher is None and python is None:
        return None, "no teacher was named (--teacher)"
    if kept:
        return Kept(teacher or "7net-l3i5", folder / "teacher"), ""
    try:
        return Elsewhere(teacher or "7net-l3i5", folder / "teacher", python), ""
    except RunFailed as error:
        say(f"the card goes on without the teacher: {error}")
        return None, str(error)


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def mount(app: typer.Typer) -> None:
    """Add ``card`` to ``atomflow potential``."""
    app.command()(card)
