"""``atomflow report``: one HTML file a person opens."""

from __future__ import annotations

from pathlib import Path

import typer

app = typer.Typer(rich_markup_mode=None, add_completion=False, help="Write one HTML report of a campaign.")


@app.command()
def report(
    folder: Path = typer.Argument(..., metavar="DIR", help="Campaign folder, or one run folder."),
    output: Path | None = typer.Option(
        None, "-o", "--output", metavar="FILE", help="HTML file; by default DIR/report.html."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object: the report and its figures."),
) -> None:
    """Write one self-contained HTML report of a campaign or a run, and its figures as PNG and PDF beside it.

    \b
    Example:
      atomflow report runs/quickstart
    """
    from atomflow.cli import output as out
    from atomflow.report import build

    path = build(folder, output)
    if as_json:
        figures = sorted(str(p) for p in (path.parent / "figures").glob("*.p[nd][gf]"))
        out.emit_json({"report": str(path), "figures": figures})
    else:
        out.show(str(path))
