"""Running a campaign on this machine: worker processes side by side, one task each, until all are done.

The driver itself computes nothing. It can be killed at any instant: its workers then stop at their next step, and a
second ``campaign run`` on the folder goes on where everything stood.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atomflow.campaign import folder as places
from atomflow.campaign.config import CampaignConfig, check
from atomflow.campaign.state import CampaignStatus, status
from atomflow.campaign.tasks import Task, expand, relaxation, start_key
from atomflow.cell import Cell
from atomflow.errors import EXIT_RESUME, InputError, RunFailed, RunStopped
from atomflow.runs.lock import FolderLock, holder

POLL_S = 0.2
STATUS_EVERY_S = 5.0
#: a worker that was asked to stop finishes its step and its checkpoint; after this long it is killed
STOP_PATIENCE_S = 120.0


def run(
    config: CampaignConfig, folder: str | Path, progress: Callable[[CampaignStatus], None] | None = None
) -> CampaignStatus:
    """Run what is not done yet of ``config`` in ``folder``, and wait for it.

    Args:
        progress: called every few seconds with the state of everything.

    Returns:
        The state at the end: all tasks done.

    Raises:
        InputError: wrong configuration, or a folder of another campaign, or another driver at work in it.
        RunStopped: SIGINT or SIGTERM came (or a worker was told to stop); the same call goes on.
        RunFailed: some tasks failed, named; all others are done.
    """
    folder = Path(folder)
    check(config)
    cells = {name: config.build(name) for name in config.structures}
    identity = load_identity(config, cells)
    tasks = expand(config, cells, identity)
    places.make(folder)
    lock = FolderLock(folder / "lock", "campaign")
    try:
        places.record(folder, config, cells, identity, tasks)
        _Driver(folder, config, cells, identity, tasks, progress).work()
    finally:
        lock.release()
    return status(folder)


def load_identity(config: CampaignConfig, cells: dict[str, Cell]) -> dict[str, Any]:
    """Identity of the campaign's potential, after checking that it knows every element."""
    from atomflow import potentials

    choice = config.potential
    potential = potentials.load(config.potential_name(), device="cpu", dtype=choice.dtype,
                                trust_model=choice.trust_model)
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
    if config.potential.device not in ("cpu", "auto") or (config.potential.device == "auto" and _cuda()):
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // config.resources.threads_per_process)


def _cuda() -> bool:
    import torch

    return torch.cuda.is_available()


@dataclass
class _Job:
    """A relaxation or a run, for the queue."""

    id: str
    structure: str
    run: Path | None  # its run folder; None for a relaxation


class _Driver:
    """The queue, the workers, and the signals."""

    def __init__(
        self,
        folder: Path,
        config: CampaignConfig,
        cells: dict[str, Cell],
        identity: dict[str, Any],
        tasks: list[Task],
        progress: Callable[[CampaignStatus], None] | None,
    ) -> None:
        self.folder, self.config, self.progress = folder, config, progress
        self.queue: list[_Job] = []
        self.workers: dict[str, tuple[_Job, subprocess.Popen[bytes]]] = {}
        self.failed: dict[str, str] = {}
        self.stopped: list[str] = []
        self.signal: int | None = None
        self.limit = processes(config)
        for name, cell in cells.items():
            self._start_cell(name, cell, start_key(cell, identity, config))
        self._waiting_for = {job.structure for job in self.queue}
        done = {row.id for row in status(folder).tasks if row.state == "done"}
        self.queue += [_Job(task.id, task.structure, places.run_folder(folder, task.id))
                       for task in tasks if task.id not in done]

    def _start_cell(self, name: str, cell: Cell, key: str) -> None:
        """Put down the cell that runs start from, or queue the relaxation that makes it."""
        if places.start_is_ready(self.folder, name, key):
            return
        if relaxation(self.config) is None:
            places.write_start(self.folder, name, cell, key, {"settings": None, "result": None})
        else:
            self.queue.append(_Job(places.relax_task(name), name, None))

    # --- the loop ---------------------------------------------------------------------------------------------

    def work(self) -> None:
        """Until the queue is empty and the workers are gone, or a signal comes."""
        watched = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        last = 0.0
        try:
            while (self.queue or self.workers) and self.signal is None:
                self._fill()
                self._reap()
                if time.monotonic() - last >= STATUS_EVERY_S:
                    last = time.monotonic()
                    self._report()
                time.sleep(POLL_S)
        finally:
            self._stop_workers()
            for number, handler in watched.items():
                signal.signal(number, handler)
        self._report()
        self._conclude()

    def _on_signal(self, number: int, frame: Any) -> None:
        if self.signal is not None:  # a second time: at once
            for _, process in self.workers.values():
                process.kill()
        self.signal = number

    def _fill(self) -> None:
        """Start queued jobs that can start, as many as there are places."""
        for job in list(self.queue):
            if len(self.workers) >= self.limit:
                return
            if job.run is not None and self._must_wait(job, job.run):
                continue
            self.queue.remove(job)
            self.workers[job.id] = (job, self._launch(job))

    def _must_wait(self, job: _Job, run: Path) -> bool:
        """Not relaxed yet (or never: the job then leaves the queue), or a killed driver's worker is still stopping."""
        relaxation = places.relax_task(job.structure)
        if relaxation in self.failed:
            self.queue.remove(job)
            self.failed[job.id] = f"no start: {job.structure} was not relaxed"
        elif relaxation in self.stopped:
            self.queue.remove(job)
            self.stopped.append(job.id)
        return job not in self.queue or job.structure in self._waiting_for or holder(run / "lock") is not None

    def _launch(self, job: _Job) -> subprocess.Popen[bytes]:
        threads = str(self.config.resources.threads_per_process)
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads,
                       "ATOMFLOW_STOP_WITH_STDIN": "1"}
        with open(places.log_file(self.folder, job.id), "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "atomflow.campaign.worker", str(self.folder), job.id],
                stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment,
                start_new_session=True,  # Ctrl-C reaches the driver alone, which asks the workers to stop
            )

    def _reap(self) -> None:
        """Take note of workers that have ended."""
        for name, (job, process) in list(self.workers.items()):
            code = process.poll()
            if code is None:
                continue
            del self.workers[name]
            if process.stdin is not None:
                process.stdin.close()
            self._ended(job, code)

    def _ended(self, job: _Job, code: int) -> None:
        if code == 0:
            self._waiting_for -= {job.structure} if job.run is None else set()
        elif code == EXIT_RESUME or (self.signal is not None and code == -signal.SIGTERM):
            self.stopped.append(job.id)
        elif code < 0:
            self.failed[job.id] = f"killed by {signal.Signals(-code).name}"
        else:
            reason = places.read_json(places.progress_file(self.folder, job.id)).get("reason")
            self.failed[job.id] = str(reason or f"exit code {code}")

    def _stop_workers(self) -> None:
        """Ask every worker to stop, wait for its checkpoint, kill what does not listen."""
        for _, process in self.workers.values():
            process.terminate()
        deadline = time.monotonic() + STOP_PATIENCE_S
        while self.workers:
            self._reap()
            if time.monotonic() > deadline:
                for _, process in self.workers.values():
                    process.kill()
            time.sleep(0.05)

    # --- words ------------------------------------------------------------------------------------------------

    def _report(self) -> None:
        if self.progress is not None:
            self.progress(status(self.folder))

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
