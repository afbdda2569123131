"""One writer a run folder. The lock is the kernel's (flock): it goes with its process, also after ``kill -9``."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from atomflow.errors import InputError

#: file systems without locks (some network mounts): the process named in the file decides
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
_BUSY = (errno.EWOULDBLOCK, errno.EACCES, errno.EAGAIN)
#: A reader that asks who holds the lock has it for an instant, and a busy machine may put it to sleep in that instant.
#: So a lock is asked for again: a few times where the file names a holder, for seconds where it names nobody there.
_SURE, _ATTEMPTS, _PAUSE_S = 4, 200, 0.05


class FolderLock:
    """An exclusive lock on ``path``, which names its holder. Held from construction to :meth:`release`.

    Raises:
        InputError: a live process holds it; the line names process and machine.
    """

    def __init__(self, path: Path, what: str = "run folder") -> None:
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._acquire(path, what)
        except BaseException:
            os.close(self._handle)
            raise
        owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, json.dumps(owner).encode(), 0)

    def _acquire(self, path: Path, what: str) -> None:
        for attempt in range(_ATTEMPTS):
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError as error:
                if error.errno in _NO_LOCKS and not _alive(_owner(path)):
                    return
                if error.errno not in (*_BUSY, *_NO_LOCKS):
                    raise
                if attempt >= _SURE and not _gone(_owner(path)):
                    break
                time.sleep(_PAUSE_S)
        owner = _owner(path)
        raise InputError(f"{path.parent}: another process is writing this {what} (process {owner.get('pid', '?')} on "
                         f"{owner.get('host', '?')} since {owner.get('since', '?')}); wait for it or stop it first")

    def release(self) -> None:
        """Let go; harmless when already released. The file stays, empty, so that no two locks can coexist."""
        if self._handle < 0:
            return
        try:
            os.ftruncate(self._handle, 0)
        finally:
            os.close(self._handle)
            self._handle = -1


def holder(path: Path) -> dict[str, Any] | None:
    """``{"pid", "host", "since"}`` of the live process that holds the lock file ``path``, or None."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except OSError as error:
        owner = _owner(path)
        return owner if error.errno in _BUSY or _alive(owner) else None
    finally:
        os.close(handle)


def _gone(owner: dict[str, Any]) -> bool:
    """Whether the file names nobody, or a process of this machine that is not there any more."""
    return not owner or (owner.get("host") == socket.gethostname() and not _alive(owner))


def _alive(owner: dict[str, Any]) -> bool:
    """Where the file system has no locks: whether the process named is one of this machine, and there."""
    pid = owner.get("pid")
    if owner.get("host") != socket.gethostname() or not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _owner(path: Path) -> dict[str, Any]:
    try:
        owner = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return owner if isinstance(owner, dict) else {}
