"""``atomflow compare``: a campaign beside the publication."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from atomflow.cli.options import Json

if TYPE_CHECKING:
    from atomflow.compare import Row

app = typer.Typer(rich_markup_mode=None, add_completion=False, help="Hold a campaign against the publication.")


@app.command()
def compare(
    folder: Path = typer.Argument(..., metavar="DIR", help="Campaign folder."),
    json_: Json = False,
) -> None:
    """Hold a campaign's numbers against the publication's, with a verdict: overlaps, above, below, cannot say.

    \b
    Example:
      atomflow compare runs/quickstart
    """
    from atomflow import plain, transport
    from atomflow.cli import output
    from atomflow.compare import compare as hold
    from atomflow.errors import InputError

    if not folder.is_dir():
        raise InputError(f"there is no campaign folder {folder}")
    campaign = plain.to_jsonable(transport.analyze_campaign(folder, progress=output.say))
    for left_out in campaign["excluded"]:
        output.say(f"left out {left_out['run']}: {left_out['reason']}")
    result = hold(campaign)
    if json_:
        output.emit_json(result)
        return
    listed = False
    for structure in dict.fromkeys(row.structure for row in result.rows):
        rows = [row for row in result.rows if row.structure == structure]
        empty = all(row.ours is None for row in rows)
        output.show(_brief(rows) if empty and listed else _table(rows))
        listed = listed or empty
    for note in result.notes:
        output.show(f"* {note}")


def _table(rows: list[Row]) -> str:
    """The rows of one structure; reasons are listed once, below, and named in the table by their number."""
    from atomflow import plain

    reasons = _reasons(rows)
    cells = [
        [row.target.quantity, row.target.reading or "", row.target.shown, "-" if row.ours is None else f"{row.ours}",
         row.numerical_relation or "-", row.verdict,
         " ".join(str(1 + reasons.index(text)) for text in row.judgement.remarks)]
        for row in rows
    ]
    header = ["quantity", "reading", "paper or literature", "ours [interval]", "as numbers", "verdict", "why"]
    return "\n".join([_title(rows), "", plain.table(cells, header), "", *_listed(reasons), ""])


def _brief(rows: list[Row]) -> str:
    """A structure without a single number, after another such one: the reasons alone."""
    said = "no number to hold against the publication, as above:"
    return "\n".join([_title(rows), said, *_listed(_reasons(rows)), ""])


def _title(rows: list[Row]) -> str:
    return f"{rows[0].structure}: {rows[0].ours_conditions}"


def _reasons(rows: list[Row]) -> list[str]:
    return list(dict.fromkeys(text for row in rows for text in row.judgement.remarks))


def _listed(reasons: list[str]) -> list[str]:
    return [f"  {number}. {text[0].upper()}{text[1:].rstrip('.')}." for number, text in enumerate(reasons, 1)]
