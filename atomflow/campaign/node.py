"""One element of an array job: ``python -m atomflow.campaign.node DIR TASK_LIST INDEX`` runs the tasks that line INDEX
of TASK_LIST names, side by side, or, on a GPU, in one worker that packs them into batches.

USR1 is SLURM's warning that the walltime is near: the tasks checkpoint and the job goes back to the queue. TERM is
preemption or scancel: they checkpoint, and SLURM itself decides whether the job comes again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from atomflow.campaign import folder as places
from atomflow.campaign.config import CampaignConfig
from atomflow.campaign.workers import Workers
from atomflow.errors import EXIT_DONE, EXIT_FAILED, EXIT_RESUME, EXIT_WRONG_INPUT, AtomflowError, InputError
from atomflow.runs.manifest import read_manifest

POLL_S = 0.1


def main(arguments: list[str]) -> int:
    """Run the element; the exit code is 0 (all done), 75 (stopped, can be resumed), 1 (some failed) or 2."""
    if len(arguments) != 3 or not arguments[2].isdigit():
        return _say("usage: python -m atomflow.campaign.node DIR TASK_LIST INDEX", EXIT_WRONG_INPUT)
    try:
        folder, tasks = Path(arguments[0]), _tasks(Path(arguments[1]), int(arguments[2]))
        config = CampaignConfig.model_validate(places.read(folder)["config"])
    except AtomflowError as error:
        return _say(str(error), error.exit_code)
    return _Node(Workers(folder, config.resources.threads_per_process), config.packs_on_slurm).run(tasks)


def _tasks(path: Path, index: int) -> list[str]:
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    if index >= len(lines):
        raise InputError(f"{path} has {len(lines)} lines, none for element {index}")
    return lines[index].split()


class _Node:
    """Some tasks side by side, or in one worker as batches, and the signal that may end them."""

    def __init__(self, workers: Workers, packed: bool) -> None:
        self.workers, self.packed = workers, packed
        self.signal: int | None = None

    def run(self, tasks: list[str]) -> int:
        for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        left = [task for task in tasks if not self._is_done(task)]
        for share in [left] if self.packed and left else [[task] for task in left]:
            self.workers.launch(share)
        ended: list[tuple[str, int]] = []
        while self.workers.alive and self.signal is None:
            ended += self.workers.reap()
            time.sleep(POLL_S)
        if self.signal is not None:
            ended += self.workers.stop()
        return self._conclude(dict(ended))

    def _on_signal(self, number: int, frame: Any) -> None:
        self.signal = number

    def _is_done(self, task: str) -> bool:
        try:
            return bool(read_manifest(places.run_folder(self.workers.folder, task))["state"] == "done")
        except InputError:
            return False

    def _conclude(self, codes: dict[str, int]) -> int:
        stopped = {task for task, code in codes.items()
                   if code == EXIT_RESUME or (self.signal is not None and code == -signal.SIGTERM)}
        failed = [task for task, code in codes.items() if code and task not in stopped]
        for task in failed:
            _say(f"{task}: {self.workers.why(task, codes[task])}", EXIT_FAILED)
        hopeless = [task for task in stopped if codes[task] != EXIT_RESUME and self._came_again()]
        if hopeless and self.signal == signal.SIGUSR1:
            return _say(f"{', '.join(hopeless)}: not done within the walltime for the second time, and without a "
                        f"checkpoint to go on from; give more resources.slurm.time", EXIT_FAILED)
        if stopped:
            return self._again(len(stopped))
        return EXIT_FAILED if failed else EXIT_DONE

    @staticmethod
    def _came_again() -> bool:
        return int(os.environ.get("SLURM_RESTART_COUNT", "0")) > 0

    def _again(self, count: int) -> int:
        """Back to the queue after the walltime's warning; after TERM SLURM decides."""
        name = signal.Signals(self.signal).name if self.signal is not None else "a signal"
        job = os.environ.get("SLURM_JOB_ID")
        if self.signal != signal.SIGUSR1 or job is None:
            return _say(f"{count} tasks stopped by {name}, with checkpoints", EXIT_RESUME)
        _say(f"{count} tasks stopped by {name}, with checkpoints; back to the queue", EXIT_RESUME)
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, check=False)
        if done.returncode:
            _say(f"scontrol requeue failed: {done.stderr.strip()}; hand the rest in with the same campaign run "
                 f"command", EXIT_RESUME)
        return EXIT_RESUME


def _say(text: str, code: int) -> int:
    print("atomflow: " + " ".join(text.split()), file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
