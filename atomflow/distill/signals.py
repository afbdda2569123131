"""A signal meant for this process: passed on to the child that does its work, or an end that can be resumed."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from atomflow.errors import RunStopped

#: SIGUSR1 is a queue's warning that the time is nearly over
_STOP = (signal.SIGTERM, signal.SIGUSR1)


@contextmanager
def signals_stop(how_to_go_on: str) -> Iterator[None]:
    """Inside, SIGTERM and SIGUSR1 raise :class:`RunStopped` at once: for work whose parts are on disk whole or not."""

    def stop(number: int, frame: object) -> None:
        raise RunStopped(f"stopped by {signal.Signals(number).name}; {how_to_go_on}")

    try:
        before = {number: signal.signal(number, stop) for number in _STOP}
    except ValueError:  # not in the main thread: no signal can be watched
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class signals_to:
    """Ends a child process on SIGTERM, SIGUSR1 or SIGINT; the list it gives is non-empty once one came."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.came: list[int] = []

    def __enter__(self) -> list[int]:
        def handle(number: int, frame: object) -> None:
            self.came.append(number)
            self.process.terminate()

        try:
            self.before = {number: signal.signal(number, handle) for number in (*_STOP, signal.SIGINT)}
        except ValueError:  # not in the main thread: nothing to pass on
            self.before = {}
        return self.came

    def __exit__(self, *exception: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
