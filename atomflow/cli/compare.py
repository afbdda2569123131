"""``atomflow compare``: a campaign beside the publication."""

from __future__ import annotations

from pathlib import Path

import typer

app = typer.Typer(rich_markup_mode=None, add_completion=False, help="Hold a campaign against the publication.")


@app.command()
def compare(
    folder: Path = typer.Argument(..., metavar="DIR", help="Campaign folder."),
    json: bool = typer.Option(False, "--json", help="One JSON object on standard output."),
) -> None:
    """Hold a campaign's numbers against the publication's, with a verdict: overlaps, above, below, cannot say.

    \b
    Example:
      atomflow compare runs/quickstart
    """
    from atomflow import transport
    from atomflow.cli import output
    from atomflow.compare import compare as hold
    from atomflow.errors import InputError

    if not folder.is_dir():
        raise InputError(f"there is no campaign folder {folder}")
    result = hold(output.to_jsonable(transport.analyze_campaign(folder)))
    if json:
        output.emit_json(result)
        return
    for structure in dict.fromkeys(row.structure for row in result.rows):
        rows = [row for row in result.rows if row.structure == structure]
        output.show(f"{structure}: {rows[0].ours_conditions}\n")
        cells = [[row.target.quantity, row.target.reading or "", row.target.text(),
                  "-" if row.ours is None else f"{row.ours}", row.verdict] for row in rows]
        output.show(output.table(cells, ["quantity", "reading", "paper", "ours", "verdict"]))
        output.show("\nWhy")
        for why in dict.fromkeys(row.why for row in rows):
            output.show(f"  {', '.join(_label(row) for row in rows if row.why == why)}:\n    {why}")
        output.show()
    for note in result.notes:
        output.show(f"* {note}")


def _label(row: object) -> str:
    target = row.target  # type: ignore[attr-defined]
    return target.quantity + (f" ({target.reading})" if target.reading else "")
