"""A signal meant for this process: passed on to the child that does its work, or an end that can be resumed.

And a child whose parent was killed outright, which no signal tells it: it ends itself.
"""

from __future__ import annotations

import os
import select
import signal
import stat
import subprocess
import threading
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


def end_with_reader(descriptor: int = 1) -> None:
    """From now on this process gets SIGTERM when nobody is left to read the pipe that ``descriptor`` writes to.

    The parent that started it, and reads what it says, is then gone, were it by ``kill -9``. Anything but a pipe has
    no such reader and ends nothing: what is started by hand, under nohup say, goes on.
    """
    if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        return
    watch = select.poll()
    watch.register(descriptor, 0)  # no event but those that need no asking for: the other end is closed

    def wait() -> None:
        watch.poll()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="end_with_reader", daemon=True).start()
