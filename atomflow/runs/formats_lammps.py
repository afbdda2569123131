"""LAMMPS text dumps, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from atomflow.errors import InputError
from atomflow.runs.formats import by_type, expect, no_types, numbers_of, open_text, read_line, sorted_ids
from atomflow.runs.frames import Frame

#: fs in LAMMPS's unit of time
_TIME_FS = {"metal": 1000.0, "real": 1.0}


def lammps_dump(path: Path, elements: Sequence[str] | None) -> Iterator[Frame]:
    """Frames of a LAMMPS text dump, atoms sorted by id; lengths in Å (units metal or real).

    Coordinates: x y z, xs ys zs, xu yu zu or xsu ysu zsu; image counts ix iy iz are used when there.
    """
    with open_text(path) as handle:
        units = None
        time = None
        for line in handle:
            if line.startswith("ITEM: UNITS"):
                units = next(handle, "").strip()
                if units not in _TIME_FS:
                    raise InputError(f"{path} has LAMMPS units '{units}'; metal and real are read")
            elif line.startswith("ITEM: TIME") and not line.startswith("ITEM: TIMESTEP"):
                time = float(read_line(handle))
            elif line.startswith("ITEM: TIMESTEP"):
                step = int(read_line(handle))
                frame = _frame(handle, path, elements)
                frame.step = step
                frame.time_fs = None if time is None or units is None else time * _TIME_FS[units]
                yield frame
            elif line.strip():
                raise ValueError(f"unexpected line '{line.strip()[:40]}'")


def _frame(handle: IO[str], path: Path, elements: Sequence[str] | None) -> Frame:
    expect(handle, "ITEM: NUMBER OF ATOMS")
    count = int(read_line(handle))
    lattice, origin = _box(handle)
    columns = expect(handle, "ITEM: ATOMS").split()[2:]
    rows = [line.split() for _ in range(count) if (line := read_line(handle))]
    if any(len(row) != len(columns) for row in rows):
        raise ValueError(f"a line of an atom without its {len(columns)} columns")
    table = {name: [row[i] for row in rows] for i, name in enumerate(columns)}
    if "id" not in table:
        raise InputError(f"{path} has no atom ids: atoms of different frames cannot be matched (dump with column id)")
    order, ids = sorted_ids(np.array(table["id"], dtype=np.int64))
    fractional, unwrapped = _coordinates(table, lattice, origin, path)
    images = None
    if not unwrapped and {"ix", "iy", "iz"} <= set(columns):
        images = np.array([table["ix"], table["iy"], table["iz"]], dtype=np.int32).T[order]
    return Frame(_numbers(table, elements, path)[order], fractional[order], lattice, images, unwrapped, ids=ids)


def _box(handle: IO[str]) -> tuple[np.ndarray, np.ndarray]:
    """Lattice rows and origin from the bounds (https://docs.lammps.org/Howto_triclinic.html)."""
    kind = expect(handle, "ITEM: BOX BOUNDS")
    rows = np.array([[float(x) for x in read_line(handle).split()] for _ in range(3)])
    if "abc origin" in kind:
        return rows[:, :3], rows[:, 3]
    tilt = rows[:, 2] if rows.shape[1] == 3 else np.zeros(3)
    xy, xz, yz = tilt
    low = rows[:, 0] - np.array([min(0.0, xy, xz, xy + xz), min(0.0, yz), 0.0])
    high = rows[:, 1] - np.array([max(0.0, xy, xz, xy + xz), max(0.0, yz), 0.0])
    a, b, c = high - low
    return np.array([[a, 0.0, 0.0], [xy, b, 0.0], [xz, yz, c]]), low


def _coordinates(
    table: dict[str, list[str]], lattice: np.ndarray, origin: np.ndarray, path: Path
) -> tuple[np.ndarray, bool]:
    for ending, scaled, unwrapped in (("u", False, True), ("su", True, True), ("", False, False), ("s", True, False)):
        names = [axis + ending for axis in "xyz"]
        if all(name in table for name in names):
            values = np.array([table[name] for name in names], dtype=np.float64).T
            return (values if scaled else np.linalg.solve(lattice.T, (values - origin).T).T), unwrapped
    raise InputError(f"{path} has no coordinates (columns x y z, xs ys zs, xu yu zu or xsu ysu zsu)")


def _numbers(table: dict[str, list[str]], elements: Sequence[str] | None, path: Path) -> np.ndarray:
    if "element" in table and elements is None:
        return numbers_of(table["element"], path)
    if "type" in table:
        return by_type(np.array(table["type"], dtype=np.int64), elements, path)
    if "element" in table:
        raise no_types(path, "names elements itself and has no column type")
    raise InputError(f"{path} has neither column element nor type")
