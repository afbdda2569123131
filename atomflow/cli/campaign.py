"""``atomflow campaign``: plan, run and watch structures × temperatures × seeds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from atomflow.campaign import CampaignStatus

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True,
                  help="Plan, run and watch structures × temperatures × seeds.")

_FILE = typer.Argument(..., metavar="FILE", help="Campaign file (YAML), e.g. workflows/bulk/quickstart.yaml.")


@app.command()
def plan(
    file: Path = _FILE,
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Show tasks, steps, hours (from a few steps timed here) and disk. Nothing is started.

    \b
    Example:
      atomflow campaign plan workflows/bulk/bulk.yaml
    """
    from atomflow import campaign
    from atomflow.cli import output

    found = campaign.plan(campaign.load(file))
    output.emit_json(found) if as_json else output.show(found.text())


@app.command()
def run(
    file: Path = _FILE,
    out: Path = typer.Option(..., "--output", "-o", metavar="DIR", help="Folder of the campaign, new or begun."),
    processes: int | None = typer.Option(None, "--processes", "-n", min=1, help="Workers; overrides the file."),
    as_json: bool = typer.Option(False, "--json", help="Print the state at the end as one JSON object."),
) -> None:
    """Run the campaign, or what is left of it: done tasks are skipped, begun ones resumed.

    Ctrl-C or SIGTERM stops it cleanly (exit code 75); the same command goes on.

    \b
    Example:
      atomflow campaign run workflows/bulk/quickstart.yaml -o runs/quickstart
    """
    from atomflow import campaign
    from atomflow.cli import output

    config = campaign.load(file)
    if processes is not None:
        config = config.model_copy(update={"resources": config.resources.model_copy(update={"processes": processes})})
    printer = _Printer()
    try:
        final = campaign.run(config, out, progress=printer)
    finally:
        printer.end()
    output.emit_json(final) if as_json else output.show(f"{final.name}: {final.line()}")


@app.command()
def status(
    folder: Path = typer.Argument(..., metavar="DIR", help="Folder of a campaign."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Show every task's state, progress, time left and last warning; also while it runs.

    \b
    Example:
      atomflow campaign status runs/quickstart
    """
    from atomflow.campaign.state import status as read
    from atomflow.cli import output

    found = read(folder)
    output.emit_json(found) if as_json else output.show(found.text())


class _Printer:
    """Progress on standard error: one line in place on a terminal, else a line whenever it says something new."""

    def __init__(self) -> None:
        self._live, self._last = sys.stderr.isatty(), ""

    def __call__(self, state: CampaignStatus) -> None:
        line = state.line()
        if self._live:
            sys.stderr.write(f"\r\033[K{line}")
        elif line != self._last:
            sys.stderr.write(line + "\n")
        self._last = line
        sys.stderr.flush()

    def end(self) -> None:
        """Leave the line that was written in place."""
        if self._live and self._last:
            sys.stderr.write("\n")
