"""Ending a campaign's work, and trying again what went wrong."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

from atomflow.campaign import folder as places
from atomflow.campaign.config import CampaignConfig
from atomflow.campaign.driver import run
from atomflow.campaign.slurm import scancel, submit
from atomflow.campaign.state import CampaignStatus, status
from atomflow.campaign.workers import STOP_PATIENCE_S
from atomflow.errors import InputError, RunFailed
from atomflow.runs.lock import holder

#: how a task may have ended without being done
_UNFINISHED = ("failed", "killed", "stopped", "waiting")


def cancel(folder: str | Path) -> str:
    """End the work in ``folder``, wherever it is done; every run keeps a checkpoint.

    Returns:
        What was ended, in words.

    Raises:
        InputError: no campaign folder, or its driver is on another machine.
        RunFailed: the driver does not end, or scancel failed.
    """
    folder = Path(folder)
    places.read(folder)
    ended = []
    driver = holder(folder / "lock")
    if driver is not None:
        if driver.get("host") != socket.gethostname():
            raise InputError(f"the campaign is driven by process {driver.get('pid')} on {driver.get('host')}; cancel "
                             f"it there")
        os.kill(int(driver["pid"]), signal.SIGTERM)
        deadline = time.monotonic() + STOP_PATIENCE_S + 10
        while holder(folder / "lock") is not None:
            if time.monotonic() > deadline:
                raise RunFailed(f"process {driver['pid']} was asked to stop and has not; end it with: "
                                f"kill -9 {driver['pid']} (checkpoints stay)")
            time.sleep(0.1)
        ended.append(f"process {driver['pid']} has stopped")
    jobs = scancel(folder)
    if jobs:
        ended.append(f"SLURM was asked to end job {', '.join(jobs)}")
    return "; ".join(ended) or "nothing was running"


def retry(
    folder: str | Path,
    failed_only: bool = False,
    on_slurm: bool = False,
    progress: Callable[[CampaignStatus], None] | None = None,
) -> list[str]:
    """Try again what is not done, from the checkpoints, with the settings on record.

    Args:
        failed_only: only what failed, not what was stopped, killed or never begun.

    Returns:
        The tasks that were tried (or handed to SLURM).

    Raises:
        InputError, RunStopped, RunFailed: as :func:`atomflow.campaign.run`.
    """
    folder = Path(folder)
    config = recorded(folder)
    state = status(folder, estimate=False)
    broken = {name for name, words in state.relaxing.items() if words.startswith("relaxation failed")}
    wanted = ("failed",) if failed_only else _UNFINISHED
    tasks = [task.id for task in state.tasks if task.state in wanted
             or (task.state == "waiting" and task.structure in broken)]
    if not tasks:
        return []
    if on_slurm:
        submit(config, folder, tasks)
    else:
        run(config, folder, progress, tasks)
    return tasks


def recorded(folder: Path) -> CampaignConfig:
    """The configuration that the campaign in ``folder`` was started with."""
    return CampaignConfig.model_validate(places.read(folder)["config"])
