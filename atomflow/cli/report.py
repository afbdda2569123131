"""``atomflow report``: one HTML file a person opens."""

from __future__ import annotations

from pathlib import Path

import typer

from atomflow.cli.options import Json

app = typer.Typer(rich_markup_mode=None, add_completion=False, help="Write one HTML report of a campaign.")


@app.command()
def report(
    folder: Path = typer.Argument(..., metavar="DIR", help="Campaign folder, or one run folder."),
    out: Path | None = typer.Option(None, "-o", "--out", metavar="FILE", help="HTML file; else DIR/report.html."),
    json_: Json = False,
) -> None:
    """Write one self-contained HTML report of a campaign or a run, and its figures as PNG and PDF beside it.

    \b
    Example:
      atomflow report runs/quickstart
    """
    from atomflow.cli import output
    from atomflow.report import build

    path = build(folder, out)
    if json_:
        figures = sorted(str(p) for p in (path.parent / "figures").glob("*.p[nd][gf]"))
        output.emit_json({"report": str(path), "figures": figures})
    else:
        output.show(str(path))
