"""H5MD files that lie alone, frame by frame (https://www.nongnu.org/h5md/h5md.html)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from atomflow.errors import InputError
from atomflow.runs.files import open_hdf5
from atomflow.runs.formats import LENGTH_A, TIME_FS, by_type, in_unit
from atomflow.runs.frames import Frame


def is_netcdf4(path: Path) -> bool:
    """Whether an HDF5 file is NetCDF-4."""
    with open_hdf5(path) as handle:
        return "particles" not in handle and ("_NCProperties" in handle.attrs or "Conventions" in handle.attrs)


def h5md_file(path: Path, elements: Sequence[str] | None) -> Iterator[Frame]:
    """Frames of an H5MD file; species are atomic numbers, or types named by ``elements``.

    Lengths and times are in the units that the file names; lengths in Å where it names none.
    """
    with open_hdf5(path) as handle:
        groups = list(handle["particles"].values()) if "particles" in handle else []
        if not groups or "position" not in groups[0] or "edges" not in groups[0].get("box", ()):
            raise InputError(f"{path} is no H5MD trajectory of a periodic cell")
        position, edges = groups[0]["position"], groups[0]["box/edges"]
        boxes = edges["value"] if isinstance(edges, h5py.Group) else None
        if "species" not in groups[0]:
            raise InputError(f"{path} holds no species (particles/{groups[0].name.split('/')[-1]}/species)")
        species = np.array(groups[0]["species"], dtype=np.int64)
        numbers = species if elements is None else by_type(species, elements, path)
        ours = handle["h5md/creator"].attrs.get("name") == "atomflow" if "h5md/creator" in handle else False
        length_A = _unit(position["value"], LENGTH_A, path, "positions") or 1.0
        edge_A = _unit(edges if boxes is None else boxes, LENGTH_A, path, "box edges") or length_A
        time_fs = _unit(position["time"], TIME_FS, path, "times") if "time" in position else None
        if boxes is not None and len(boxes) != len(position["value"]):
            raise InputError(f"{path} has {len(position['value'])} frames of positions, but {len(boxes)} of the box")
        for index, positions in enumerate(position["value"]):
            box = np.asarray(edges[()] if boxes is None else boxes[index], dtype=np.float64) * edge_A
            lattice = np.diag(box) if box.ndim == 1 else box
            places = np.asarray(positions, dtype=np.float64) * length_A
            yield Frame(numbers, np.linalg.solve(lattice.T, places.T).T, lattice, unwrapped=ours,
                        time_fs=None if time_fs is None else _time(position["time"], index) * time_fs)


def _time(times: Any, index: int) -> float:
    """The time of a frame; at fixed intervals the file holds the interval, and perhaps where it begins."""
    if times.shape == ():
        return float(times.attrs.get("offset", 0.0)) + index * float(times[()])
    return float(times[index])


def _unit(data: Any, known: Mapping[str, float], path: Path, what: str) -> float | None:
    """The size of the unit of a dataset; None where it names none."""
    unit = data.attrs.get("unit", "")
    text = unit.decode(errors="replace") if isinstance(unit, bytes) else str(unit)
    return in_unit(text, known, path, what) if text.strip() else None
