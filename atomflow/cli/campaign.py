"""``atomflow campaign``: plan, run and watch structures × temperatures × seeds."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from atomflow.cli.options import Group, Json
from atomflow.errors import InputError

if TYPE_CHECKING:
    from atomflow.campaign import CampaignStatus

app = typer.Typer(cls=Group, rich_markup_mode=None, add_completion=False, no_args_is_help=True,
                  help="Plan, run, watch and extend structures × temperatures × seeds.")

_FILE = typer.Argument(..., metavar="FILE", help="Campaign file (YAML), e.g. workflows/bulk/quickstart.yaml.")

_DIR = typer.Argument(..., metavar="DIR", help="Folder of a campaign.")
_ON = typer.Option("local", "--on", metavar="WHERE", help="local (this machine) or slurm.")


@app.command()
def plan(
    file: Path = _FILE,
    json_: Json = False,
) -> None:
    """Show tasks, steps, hours (from a few steps timed here) and disk. Nothing is started.

    \b
    Example:
      atomflow campaign plan workflows/bulk/bulk.yaml
    """
    from atomflow import campaign
    from atomflow.cli import output

    found = campaign.plan(campaign.load(file))
    output.emit_json(found) if json_ else output.show(found.text())


@app.command()
def run(
    file: Path = _FILE,
    out: Path | None = typer.Option(None, "-o", "--out", metavar="DIR", help="Folder of the campaign, new or not."),
    processes: int | None = typer.Option(None, "--processes", "-n", min=1, help="Workers; overrides the file."),
    on: str = _ON,
    dry_run: bool = typer.Option(False, "--dry-run", help="With --on slurm: print the scripts, hand nothing in."),
    json_: Json = False,
) -> None:
    """Run the campaign, or what is left of it: done tasks are skipped, begun ones resumed.

    Ctrl-C or SIGTERM stops it cleanly (exit code 75); the same command goes on. With --on slurm the jobs are handed in
    and the command returns.

    \b
    Example:
      atomflow campaign run workflows/bulk/quickstart.yaml -o runs/quickstart
    """
    from atomflow import campaign
    from atomflow.cli import output

    on_slurm = _is_slurm(on)
    config = campaign.load(file)
    if dry_run:
        if not on_slurm:
            raise InputError("--dry-run shows scripts and needs --on slurm; see atomflow campaign plan for the rest")
        scripts = campaign.dry_run(config, out or Path(config.name))
        return output.emit_json({"scripts": scripts}) if json_ else output.show("\n".join(scripts))
    if out is None:
        raise InputError("where to? give the folder of the campaign with -o DIR")
    if on_slurm:
        return _tell_submitted(campaign.submit(config, out), out, json_)
    if processes is not None:
        config = config.model_copy(update={"resources": config.resources.model_copy(update={"processes": processes})})
    printer = _Printer()
    try:
        final = campaign.run(config, out, progress=printer)
    finally:
        printer.end()
    output.emit_json(final) if json_ else output.show(f"{final.name}: {final.line()}")


@app.command()
def status(
    folder: Path = _DIR,
    watch: bool = typer.Option(False, "--watch", "-w", help="Show it again and again until nothing runs any more."),
    every: float = typer.Option(5.0, "--every", min=0.2, metavar="SECONDS", help="With --watch: how often."),
    json_: Json = False,
) -> None:
    """Show every task's state, progress, time left, last warning, and the activation energies so far.

    It works while the campaign runs, on any machine that sees the folder, without torch.

    \b
    Example:
      atomflow campaign status runs/quickstart
    """
    from atomflow.campaign.state import status as read
    from atomflow.cli import output

    if watch and json_:
        raise InputError("--watch and --json: give one of the two; --json prints one object")
    found = _watched(folder, every) if watch else read(folder)
    output.emit_json(found) if json_ else output.show(found.text())


def _watched(folder: Path, every: float) -> CampaignStatus:
    """Show the campaign every so many seconds; its state once nothing runs any more.

    While SLURM does not answer, nothing is shown but one line that says so: what the files say may be behind.
    """
    from atomflow.campaign.state import status as read
    from atomflow.cli import output

    found, told = read(folder), False
    while found.active:
        if found.with_slurm is not None:
            output.show(("\033[H\033[2J" if sys.stdout.isatty() else "") + found.text())
            told = False
        elif not told:
            output.say(f"warning: {found.warnings[-1]}; watching on")
            told = True
        time.sleep(every)
        found = read(folder)
    return found


@app.command()
def cancel(folder: Path = _DIR, json_: Json = False) -> None:
    """End the campaign's work, on this machine and in the queue; every run keeps a checkpoint.

    \b
    Example:
      atomflow campaign cancel runs/quickstart
    """
    from atomflow import campaign
    from atomflow.cli import output

    told = campaign.cancel(folder)
    output.emit_json({"folder": folder, "told": told}) if json_ else output.show(told)


@app.command()
def retry(
    folder: Path = _DIR,
    failed: bool = typer.Option(False, "--failed", help="Only what failed, not what was stopped or killed."),
    on: str = _ON,
    json_: Json = False,
) -> None:
    """Try again what is not done, from the checkpoints, with the settings on record; no campaign file is needed.

    \b
    Example:
      atomflow campaign retry runs/quickstart --failed
    """
    from atomflow import campaign
    from atomflow.cli import output

    printer = _Printer()
    try:
        tried = campaign.retry(folder, failed, _is_slurm(on), printer)
    finally:
        printer.end()
    final = campaign.status(folder)
    tasks = f"{len(tried)} task{'' if len(tried) == 1 else 's'}"
    output.emit_json(final) if json_ else output.show(f"{final.name}: {tasks} tried again; {final.line()}")


@app.command()
def extend(
    folder: Path = _DIR,
    target_ea_error: float = typer.Option(..., "--target-ea-error", metavar="EV", help="Half the interval of Ea, eV."),
    budget_hours: float | None = typer.Option(None, "--budget-hours", metavar="H", help="Computing hours to add."),
    on: str = _ON,
    json_: Json = False,
) -> None:
    """Add runs where they narrow the activation energy most per hour, until it is known well enough.

    What is not done yet is run first. The same command goes on after a stop. With --on slurm one round of runs is
    handed in and the command returns; the same command, given when they are done, hands in the next.

    \b
    Example:
      atomflow campaign extend runs/quickstart --target-ea-error 0.05 --budget-hours 2
    """
    from atomflow import campaign
    from atomflow.cli import output

    if _is_slurm(on):
        handed = campaign.extend_on_slurm(folder, target_ea_error, budget_hours, say=output.say)
        return output.emit_json(handed) if json_ else output.show(handed.text())
    printer = _Printer()
    try:
        ended = campaign.extend(folder, target_ea_error, budget_hours, say=output.say, progress=printer)
    finally:
        printer.end()
    output.emit_json(ended) if json_ else output.show(ended.text())


def _is_slurm(on: str) -> bool:
    if on not in ("local", "slurm"):
        raise InputError(f"--on is local or slurm, not '{on}'")
    return on == "slurm"


def _tell_submitted(jobs: list[str], folder: Path, json_: bool) -> None:
    from atomflow.cli import output

    words = (f"handed to SLURM as job {', '.join(jobs)}" if jobs else "nothing to hand in: all is done or in the queue")
    if json_:
        return output.emit_json({"jobs": jobs})
    output.show(f"{words}; watch it with: atomflow campaign status {folder} --watch")


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
