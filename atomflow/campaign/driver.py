"""Running a campaign on this machine: worker processes side by side, one task each, until all are done.

The driver itself computes nothing. It can be killed at any instant: its workers then stop at their next step, and a
second ``campaign run`` on the folder goes on where everything stood.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atomflow.campaign import folder as places
from atomflow.campaign.config import CampaignConfig, check
from atomflow.campaign.queue import refuse_queued
from atomflow.campaign.state import CampaignStatus, status
from atomflow.campaign.tasks import Task, expand, needs_preparation, start_key
from atomflow.campaign.workers import Workers
from atomflow.cell import Cell
from atomflow.errors import EXIT_RESUME, InputError, RunFailed, RunStopped
from atomflow.runs.lock import FolderLock, holder

POLL_S = 0.2
STATUS_EVERY_S = 5.0


def run(
    config: CampaignConfig,
    folder: str | Path,
    progress: Callable[[CampaignStatus], None] | None = None,
    only: Collection[str] | None = None,
) -> CampaignStatus:
    """Run what is not done yet of ``config`` in ``folder``, and wait for it.

    Args:
        progress: called every few seconds with the state of everything.
        only: names of the tasks to run; all by default.

    Returns:
        The state at the end: all tasks done.

    Raises:
        InputError: wrong configuration, or a folder of another campaign, or another driver or a queue at work in it.
        RunStopped: SIGINT or SIGTERM came (or a worker was told to stop); the same call goes on.
        RunFailed: some tasks failed, named; all others are done.
    """
    folder = Path(folder)
    with prepared(config, folder) as campaign:
        refuse_queued(folder)
        _Driver(folder, config, campaign, progress, only).work()
    return status(folder)


@dataclass(frozen=True)
class Prepared:
    """A campaign whose folder is made, locked and on record.

    Attributes:
        to_relax: structures whose cell has to be quenched or relaxed before their runs can start.
    """

    cells: dict[str, Cell]
    identity: dict[str, Any]
    tasks: list[Task]
    to_relax: list[str]


@contextlib.contextmanager
def prepared(config: CampaignConfig, folder: Path) -> Iterator[Prepared]:
    """Check everything, lock the folder, write campaign.json and the cells that need no relaxation."""
    check(config)
    cells = {name: config.build(name) for name in config.structures}
    identity = load_identity(config, cells)
    places.make(folder)
    lock = FolderLock(folder / "lock", "campaign")
    try:
        tasks = expand(config, cells, identity, places.extensions(folder))
        places.record(folder, config, cells, identity, tasks)
        to_relax = []
        for name, cell in cells.items():
            key = start_key(cell, identity, config, name)
            if places.start_is_ready(folder, name, key):
                continue
            if needs_preparation(config, name):
                to_relax.append(name)
            else:
                places.write_start(folder, name, cell, key, {"settings": None, "result": None})
        yield Prepared(cells, identity, tasks, to_relax)
    finally:
        lock.release()


def load_identity(config: CampaignConfig, cells: dict[str, Cell]) -> dict[str, Any]:
    """Identity of the campaign's potential, after checking that it knows every element."""
    potential = config.load_potential(device="cpu")
    for name, cell in cells.items():
        try:
            potential.check_elements(cell.numbers)
        except InputError as error:
            raise InputError(f"structures.{name}: {error}") from None
    return dict(potential.identity.model_dump(mode="json"))


def processes(config: CampaignConfig) -> int:
    """How many workers: as asked, or one a core that this process may use, or one on a GPU."""
    wanted = config.resources.processes
    if wanted != "auto":
        return wanted
    if _on_gpu(config):
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // config.resources.threads_per_process)


def packed(config: CampaignConfig) -> bool:
    """Whether runs share a worker as batches: where that is asked for, or on a GPU."""
    packing = config.resources.packing
    return _on_gpu(config) if packing == "auto" else packing > 1


def _on_gpu(config: CampaignConfig) -> bool:
    device = config.potential.device
    return device != "cpu" and (device != "auto" or _cuda())


def _cuda() -> bool:
    import torch

    return torch.cuda.is_available()


class _Driver:
    """The queue, the workers, and the signals."""

    def __init__(
        self,
        folder: Path,
        config: CampaignConfig,
        campaign: Prepared,
        progress: Callable[[CampaignStatus], None] | None,
        only: Collection[str] | None,
    ) -> None:
        self.folder, self.config, self.progress = folder, config, progress
        self.workers = Workers(folder, config.resources.threads_per_process)
        self.failed: dict[str, str] = {}
        self.stopped: list[str] = []
        self.signal: int | None = None
        self.limit, self.packed = processes(config), packed(config)
        done = {row.id for row in status(folder, estimate=False).tasks if row.state == "done"}
        self.tasks = [task for task in campaign.tasks if task.id not in done and (only is None or task.id in only)]
        wanted = {task.structure for task in self.tasks}
        self.to_relax = [name for name in campaign.to_relax if name in wanted]
        self._relaxing = {places.relax_task(name): name for name in self.to_relax}  # until their cells are there

    # --- the loop ---------------------------------------------------------------------------------------------

    def work(self) -> None:
        """Until the queue is empty and the workers are gone, or a signal comes."""
        watched = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        last = 0.0
        try:
            while (self.to_relax or self.tasks or self.workers.alive) and self.signal is None:
                self._fill()
                for task, code in self.workers.reap():
                    self._ended(task, code)
                if time.monotonic() - last >= STATUS_EVERY_S:
                    last = time.monotonic()
                    self._report()
                time.sleep(POLL_S)
        finally:
            for task, code in self.workers.stop():
                self._ended(task, code)
            for number, handler in watched.items():
                signal.signal(number, handler)
        self._report()
        self._conclude()

    def _on_signal(self, number: int, frame: Any) -> None:
        if self.signal is not None:  # a second time: at once
            self.workers.kill()
        self.signal = number

    def _fill(self) -> None:
        """Start what can start, as many workers as there are places."""
        free = self.limit - len(self.workers.alive)
        while free > 0 and self.to_relax:
            self.workers.launch([places.relax_task(self.to_relax.pop(0))])
            free -= 1
        ready: list[Task] = []
        for task in list(self.tasks) if free > 0 else []:
            if not self.packed and len(ready) == free:
                break
            if not self._must_wait(task):
                ready.append(task)
        lanes = min(free, len(ready))
        for lane in range(lanes):
            self.workers.launch([task.id for task in ready[lane::lanes]])
        begun = {task.id for task in ready}
        self.tasks = [task for task in self.tasks if task.id not in begun]

    def _must_wait(self, task: Task) -> bool:
        """Not relaxed yet (or never: the task then leaves the queue), or a killed driver's worker is still stopping."""
        relaxation = places.relax_task(task.structure)
        if relaxation in self.failed:
            self.tasks.remove(task)
            self.failed[task.id] = f"no start: {task.structure} was not relaxed"
        elif relaxation in self.stopped:
            self.tasks.remove(task)
            self.stopped.append(task.id)
        run = places.run_folder(self.folder, task.id)
        return task not in self.tasks or relaxation in self._relaxing or holder(run / "lock") is not None

    def _ended(self, task: str, code: int) -> None:
        if code == 0:
            self._relaxing.pop(task, None)
        elif code == EXIT_RESUME or (self.signal is not None and code == -signal.SIGTERM):
            self.stopped.append(task)
        else:
            self.failed[task] = self.workers.why(task, code)

    # --- words ------------------------------------------------------------------------------------------------

    def _report(self) -> None:
        if self.progress is not None:
            self.progress(status(self.folder, estimate=False))

    def _conclude(self) -> None:
        again = f"go on with: atomflow campaign run FILE -o {self.folder}"
        if self.signal is not None:
            raise RunStopped(f"stopped by {signal.Signals(self.signal).name}; every run is kept as it stood; {again}")
        if self.failed:
            logs = self.folder / "logs"
            counts = Counter(self.failed.values())
            shown = [f"{name} ({reason})" for name, reason in list(self.failed.items())[:3]]
            more = len(self.failed) - len(shown)
            raise RunFailed(f"{len(self.failed)} of the campaign's tasks failed: {'; '.join(shown)}"
                            + (f"; and {more} more ({len(counts)} reasons)" if more else "")
                            + f"; what they said is in {logs}; the same command tries them again")
        if self.stopped:
            raise RunStopped(f"{len(self.stopped)} tasks were stopped from outside: {', '.join(self.stopped)}; {again}")
