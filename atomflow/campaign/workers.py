"""Worker processes of one machine: start, end, stop. They stop when the process that holds them goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from atomflow.campaign import folder as places
from atomflow.errors import EXIT_DONE, EXIT_FAILED, EXIT_RESUME, InputError
from atomflow.runs.manifest import read_manifest

#: a worker that was asked to stop finishes its step and its checkpoint; after this long it is killed
STOP_PATIENCE_S = 120.0


class Workers:
    """The workers that this process has started and that still live.

    Attributes:
        alive: name → process. A worker is named after its task; ``pack-`` and the first of them where it has several.
    """

    def __init__(self, folder: Path, threads: int) -> None:
        self.folder, self.threads = folder, threads
        self.alive: dict[str, subprocess.Popen[bytes]] = {}
        self._tasks: dict[str, list[str]] = {}

    def launch(self, tasks: Sequence[str]) -> None:
        """Start a worker for one task, or for several that it packs into batches; what it says goes to its log."""
        name = tasks[0] if len(tasks) == 1 else f"pack-{tasks[0]}"
        self._tasks[name] = list(tasks)
        threads = str(self.threads)
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads,
                       "ATOMFLOW_STOP_WITH_STDIN": "1"}
        with open(places.log_file(self.folder, name), "ab") as log:
            self.alive[name] = subprocess.Popen(
                [sys.executable, "-m", "atomflow.campaign.worker", str(self.folder), *tasks],
                stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment,
                start_new_session=True,  # Ctrl-C reaches the driver alone, which asks the workers to stop
            )

    def reap(self) -> list[tuple[str, int]]:
        """(task, exit code) of the workers that have ended since the last call, for each task of theirs."""
        ended = []
        for name, process in list(self.alive.items()):
            code = process.poll()
            if code is None:
                continue
            del self.alive[name]
            if process.stdin is not None:
                process.stdin.close()
            tasks = self._tasks[name]
            ended += [(task, code if len(tasks) == 1 else self._own_code(task, code)) for task in tasks]
        return ended

    def _own_code(self, task: str, code: int) -> int:
        """How one task of a worker that had several ended: well, if its run is done, whatever came of the others."""
        try:
            state = read_manifest(places.run_folder(self.folder, task))["state"]
        except InputError:
            return code
        if state == "done":
            return EXIT_DONE
        return code if code < 0 else {"failed": EXIT_FAILED, "stopped": EXIT_RESUME}.get(state, code)

    def kill(self) -> None:
        """End every worker at once."""
        for process in self.alive.values():
            process.kill()

    def stop(self, patience_s: float = STOP_PATIENCE_S) -> list[tuple[str, int]]:
        """Ask every worker to stop, wait for its checkpoint, kill what does not listen; returns as :meth:`reap`."""
        for process in self.alive.values():
            process.terminate()
        deadline = time.monotonic() + patience_s
        ended = []
        while self.alive:
            ended += self.reap()
            if time.monotonic() > deadline:
                self.kill()
            time.sleep(0.05)
        return ended

    def why(self, task: str, code: int) -> str:
        """Why a worker that ended with ``code`` failed, in words."""
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return str(places.read_json(places.progress_file(self.folder, task)).get("reason") or f"exit code {code}")
