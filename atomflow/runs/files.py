"""Files that are there whole or not at all, and the names inside a run folder."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from pathlib import Path

import h5py

from atomflow.errors import InputError, RunFailed

FORMAT = "atomflow-run"
FORMAT_VERSION = 1

MANIFEST = "run.json"
CELL = "cell.h5"
TRAJECTORY = "trajectory.h5"
SEGMENTS = "segments"
CHECKPOINTS = ("checkpoint.a.h5", "checkpoint.b.h5")
LOCK = "lock"
PARTIAL = ".partial"

#: "no room": disk full, quota used up, file larger than the process may write
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_whole(path: Path, data: bytes) -> None:
    """Write ``data`` under ``path``: a temporary file, flushed to disk, then renamed into place.

    After a kill at any instant ``path`` holds the old content or the new, never a part of it.

    Raises:
        OSError: as the file system says; the temporary file is then gone and ``path`` untouched.
    """
    partial = path.with_name(path.name + PARTIAL)
    try:
        with open(partial, "wb", buffering=0) as handle:
            view = memoryview(data)
            while view:
                view = view[handle.write(view):]
            os.fsync(handle.fileno())
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames inside ``folder`` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems cannot sync a folder
            raise
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Flush a file that another library wrote (HDF5) to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def reserve(path: Path, size: int) -> None:
    """Have the file system set ``size`` bytes aside under ``path``, and give them back.

    Raises:
        OSError: disk, quota or limit do not allow as much.
    """
    with open(path, "wb") as handle:
        try:
            os.posix_fallocate(handle.fileno(), 0, size)
        except OSError as error:
            if error.errno in NO_ROOM:
                raise


def hdf5_bytes(fill: Callable[[h5py.File], None]) -> bytes:
    """The bytes of an HDF5 file built in memory by ``fill``: a full disk then meets one plain write, not HDF5."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver="v110") as handle:
        fill(handle)
    return buffer.getvalue()


def open_hdf5(path: Path) -> h5py.File:
    """Open a finished file for reading. No HDF5 locks: the file never changes, and network disks often refuse them.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it is damaged.
    """
    try:
        try:
            return h5py.File(path, "r", locking=False)
        except OSError as error:
            if "locking flag" not in str(error):
                raise
            return h5py.File(path, "r")  # this process has it open with locks, e.g. through MDAnalysis
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"{path} is damaged: {str(error).splitlines()[0]}") from None


def full_disk(error: OSError, path: Path, kept: str, then: str = "resume this run") -> RunFailed:
    """The line for a write that failed: what went wrong, what is kept, how to go on."""
    if error.errno in NO_ROOM:
        return RunFailed(f"no room left on the disk while writing {path} ({error.strerror}); {kept}; "
                         f"free some space, then {then}")
    return RunFailed(f"cannot write {path}: {error.strerror or error}; {kept}; mend that, then {then}")
