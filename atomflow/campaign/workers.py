"""Worker processes of one machine, one task each: start, end, stop. They stop when the process that holds them goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from atomflow.campaign import folder as places

#: a worker that was asked to stop finishes its step and its checkpoint; after this long it is killed
STOP_PATIENCE_S = 120.0


class Workers:
    """The workers that this process has started and that still live."""

    def __init__(self, folder: Path, threads: int) -> None:
        self.folder, self.threads = folder, threads
        self.alive: dict[str, subprocess.Popen[bytes]] = {}

    def launch(self, task: str) -> None:
        """Start a worker for ``task``; what it says goes to the task's log."""
        threads = str(self.threads)
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads,
                       "ATOMFLOW_STOP_WITH_STDIN": "1"}
        with open(places.log_file(self.folder, task), "ab") as log:
            self.alive[task] = subprocess.Popen(
                [sys.executable, "-m", "atomflow.campaign.worker", str(self.folder), task],
                stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment,
                start_new_session=True,  # Ctrl-C reaches the driver alone, which asks the workers to stop
            )

    def reap(self) -> list[tuple[str, int]]:
        """(task, exit code) of the workers that have ended since the last call."""
        ended = []
        for task, process in list(self.alive.items()):
            code = process.poll()
            if code is None:
                continue
            del self.alive[task]
            if process.stdin is not None:
                process.stdin.close()
            ended.append((task, code))
        return ended

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
