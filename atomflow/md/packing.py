"""Many runs in one process: as flat batches of a given size, one batch after the other.

Every run has its own folder, checkpoints and end, as if it were alone. Runs that stand at different steps (some begun,
some killed) catch up first; a batch that does not fit into the GPU's memory is halved and goes on from the checkpoints.
"""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from atomflow import runs
from atomflow.cell import Cell
from atomflow.errors import InputError, RunFailed, RunStopped
from atomflow.md.config import PER_SYSTEM
from atomflow.md.progress import Progress
from atomflow.md.runner import MDJob, check_job, check_same, create, session_of
from atomflow.md.session import Member, OutOfMemory, Session, is_out_of_memory
from atomflow.md.signals import StopRequest
from atomflow.md.state import from_cells
from atomflow.potentials import Potential
from atomflow.potentials.base import check_potential_given

#: (folders of the runs in the batch, where the batch stands)
BatchReport = Callable[[Sequence[Path], Progress], None]


def run_packed(
    jobs: Sequence[MDJob],
    potential: Potential,
    size: int,
    progress: BatchReport | None = None,
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True),
) -> list[runs.RunResult]:
    """Run ``jobs``, ``size`` at a time; what is done is left alone, what was begun goes on from its checkpoint.

    Runs that share all settings but temperature, pressure, seed and length share a batch; a run whose time is over
    leaves it. On the CPU a run in a batch is the run alone, up to rounding.

    Args:
        say: called with one line when a batch was too large for the memory.

    Returns:
        One manifest a job, in order.

    Raises:
        RunStopped: a signal came; the same call goes on.
        RunFailed: some runs failed, named; all others are done.
    """
    check_potential_given(potential)
    for job in jobs:
        check_job(job)
    if size < 1:
        raise InputError(f"runs are packed one at a time at least, not {size}")
    pack = _Pack(potential, size, progress, say)
    with StopRequest() as stop:
        for alike in _alike(jobs):
            waiting = list(alike)
            while waiting:
                if stop.received is not None:
                    raise RunStopped(f"stopped by {stop.received}; {len(waiting)} runs wait; the same command goes on")
                batch = waiting[: pack.size]
                if pack.run(batch):
                    waiting = waiting[len(batch) :]
    if pack.failures:
        raise RunFailed("; ".join(pack.failures))
    return [runs.RunResult(runs.open_run(job.folder).manifest, job.folder) for job in jobs]


def _alike(jobs: Sequence[MDJob]) -> list[list[MDJob]]:
    """Jobs that may share a batch, together, in order."""
    groups: dict[str, list[MDJob]] = {}
    for job in jobs:
        shared = {name: value for name, value in job.config.dump().items() if name not in PER_SYSTEM}
        groups.setdefault(repr(shared), []).append(job)
    return list(groups.values())


@dataclass
class _Begun:
    """A run whose folder is open: where it stands."""

    cell: Cell
    member: Member
    checkpoint: dict[str, Any] | None  # None: before its first step

    @property
    def step(self) -> int:
        return -1 if self.checkpoint is None else int(self.checkpoint["step"])


class _Pack:
    """Runs batches; remembers what failed, and how many fit."""

    def __init__(
        self, potential: Potential, size: int, progress: BatchReport | None, say: Callable[[str], None]
    ) -> None:
        self.potential, self.size, self.progress, self.say = potential, size, progress, say
        self.failures: list[str] = []

    def run(self, jobs: Sequence[MDJob]) -> bool:
        """Run these together to their ends; False when they did not fit into memory and ``size`` is halved."""
        with contextlib.ExitStack() as stack:
            begun = [item for job in jobs if (item := self._open(job, stack)) is not None]
            trouble = self._advance(begun)
            if trouble is not None:
                self._make_room(begun, trouble)
        if trouble is not None:  # the tensors of the batch are gone by now
            gc.collect()
            if self.potential.device.type == "cuda":
                torch.cuda.empty_cache()
        return trouble is None or len(begun) == 1

    def _open(self, job: MDJob, stack: contextlib.ExitStack) -> _Begun | None:
        """The run of ``job``, new or taken up; None for one that is done or cannot be written."""
        try:
            self.potential.check_elements(job.cell.numbers)
            from_cells([job.cell], torch.device("cpu"), job.config.held_regions)  # refuses what cannot be run
            if not Path(job.folder, "run.json").exists():
                writer, checkpoint, cell = stack.enter_context(create(job, self.potential)), None, job.cell
            else:
                run = runs.open_run(job.folder)
                if run.manifest["state"] == "done":
                    return None
                check_same(self.potential, run.manifest["potential"], job.folder)
                taken, checkpoint = runs.RunWriter.resume(job.folder)
                writer, cell = stack.enter_context(taken), run.initial_cell()
        except InputError as error:
            self.failures.append(str(error))
            return None
        return _Begun(cell, Member(job.config, writer, len(cell), cell.volume_A3), checkpoint)

    def _advance(self, begun: list[_Begun]) -> str | None:
        """To the end of all, those that are behind first; why not, if the memory is too small."""
        while begun:
            steps = sorted({item.step for item in begun})
            behind = [item for item in begun if item.step == steps[0]]
            until = steps[1] if len(steps) > 1 else None
            try:
                there = self._together(behind, until)
            except (OutOfMemory, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                return " ".join(str(error).split())
            begun = [item for item in begun if item in there or item not in behind] if until is not None else []
        return None

    def _together(self, behind: list[_Begun], until: int | None) -> list[_Begun]:
        """One batch of runs that stand at the same step; those that are at step ``until`` afterwards."""
        session = session_of([item.cell for item in behind], [item.member for item in behind],
                             [item.checkpoint for item in behind], self.potential)
        if self.progress is not None:
            session.progress = self._reporter(session, self.progress)
        try:
            session.run(fresh=behind[0].checkpoint is None, until=until)
        except OutOfMemory:
            raise
        except RunFailed as error:
            self.failures.append(str(error))
            if session.state.step != until:  # nothing is wrong with one run, but with all: the disk, the list of pairs
                for item in behind:
                    if not item.member.writer.finished:
                        item.member.writer.finish("failed", str(error))
        there = []
        for item in behind:
            if not item.member.writer.finished:
                item.checkpoint = session.checkpoint(session.members.index(item.member))
                there.append(item)
        return there

    @staticmethod
    def _reporter(session: Session, progress: BatchReport) -> Callable[[Progress], None]:
        return lambda moment: progress([member.writer.folder for member in session.members], moment)

    def _make_room(self, begun: list[_Begun], trouble: str) -> None:
        """Halve the batch; runs keep what they have, and what happened on record."""
        left = [item.member.writer for item in begun if not item.member.writer.finished]
        if len(begun) == 1:
            self.failures.append(f"{left[0].folder}: it does not fit even alone: {trouble}")
            return left[0].finish("failed", self.failures[-1])
        self.size = max(1, len(begun) // 2)
        words = (f"{len(begun)} runs at a time did not fit into the GPU's memory ({trouble.partition(';')[0]}); they "
                 f"go on {self.size} at a time from their checkpoints")
        self.say(words)
        for writer in left:
            writer.warn(words)
            writer.finish("stopped", words)
