"""Segments: the frames and thermo rows between two commits, each a file that is there whole or not at all.

Frames: step (int64), time in fs, lattice rows in Å (float64), unwrapped positions in Å (float32 where that keeps them
to 1e-4 Å, else float64), velocities in Å/fs if given. Thermo: step, time in fs, and one column a quantity.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from atomflow.errors import InputError
from atomflow.runs.files import PARTIAL, SEGMENTS, hdf5_bytes, open_hdf5, write_whole

#: below this many Å float32 is good to 3e-5 Å
FLOAT32_LIMIT_A = 1000.0


@dataclass
class Buffer:
    """What is not on disk yet."""

    frames: list[dict[str, Any]] = field(default_factory=list)
    thermo: list[dict[str, float]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.frames or self.thermo)

    def clear(self) -> None:
        self.frames.clear()
        self.thermo.clear()


@dataclass(frozen=True)
class Header:
    """What a segment holds, without its data."""

    path: Path
    index: int
    n_frames: int
    n_thermo: int


def segment_path(folder: Path, index: int) -> Path:
    return folder / SEGMENTS / f"{index:06d}.h5"


def write_segment(folder: Path, index: int, buffer: Buffer) -> None:
    """Write the buffer as segment ``index``.

    Raises:
        OSError: as the file system says; nothing of the segment is then left.
    """

    def fill(handle: h5py.File) -> None:
        handle.attrs.update(index=index, n_frames=len(buffer.frames), n_thermo=len(buffer.thermo))
        if buffer.frames:
            _fill_frames(handle.create_group("frames"), buffer.frames)
        if buffer.thermo:
            _fill_thermo(handle.create_group("thermo"), buffer.thermo)

    write_whole(segment_path(folder, index), hdf5_bytes(fill))


def _fill_frames(group: h5py.Group, frames: list[dict[str, Any]]) -> None:
    group["step"] = np.array([frame["step"] for frame in frames], dtype=np.int64)
    group["time_fs"] = np.array([frame["time_fs"] for frame in frames], dtype=np.float64)
    group["lattice_A"] = np.stack([frame["lattice_A"] for frame in frames])
    positions = np.stack([frame["positions_A"] for frame in frames])
    compact = np.float32 if np.abs(positions).max() < FLOAT32_LIMIT_A else np.float64
    group.create_dataset("positions_A", data=positions.astype(compact), chunks=positions.shape, fletcher32=True)
    if frames[0]["velocities"] is not None:
        group["velocities_A_per_fs"] = np.stack([frame["velocities"] for frame in frames]).astype(np.float32)


def _fill_thermo(group: h5py.Group, rows: list[dict[str, float]]) -> None:
    names = {name: None for row in rows for name in row}  # ordered, each once
    for name in names:
        dtype = np.int64 if name == "step" else np.float64
        group[name] = np.array([row.get(name, np.nan) for row in rows], dtype=dtype)


def read_headers(folder: Path, count: int | None = None) -> list[Header]:
    """Headers of segments 0, 1, 2, ... of a run: all there are, or the first ``count``.

    Raises:
        InputError: a segment is damaged, or one of the first ``count`` is missing.
    """
    headers: list[Header] = []
    while count is None or len(headers) < count:
        path = segment_path(folder, len(headers))
        try:
            with open_hdf5(path) as handle:
                attrs = handle.attrs
                header = Header(path, int(attrs["index"]), int(attrs["n_frames"]), int(attrs["n_thermo"]))
        except FileNotFoundError:
            if count is None:
                break
            raise InputError(f"{path} is missing: the run folder was changed by hand") from None
        except KeyError:
            raise InputError(f"{path} is not a segment of this run") from None
        if header.index != len(headers):
            raise InputError(f"{path} says it is segment {header.index}: the run folder was changed by hand")
        headers.append(header)
    return headers


def drop_segments(folder: Path, keep: int, and_folder: bool = False) -> None:
    """Remove segments ``keep`` and later and half-written files, the last first (a kill in between leaves 0, 1, ...,
    k); ``and_folder``: their folder too, if it is then empty."""
    for path in sorted((folder / SEGMENTS).glob("*"), reverse=True):
        whole = path.suffix == ".h5" and path.stem.isdigit()
        if path.name.endswith(PARTIAL) or (whole and int(path.stem) >= keep):
            path.unlink()
    if and_folder:
        with contextlib.suppress(OSError):
            (folder / SEGMENTS).rmdir()
