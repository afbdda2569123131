"""LAMMPS text dumps, VASP's XDATCAR and AMBER NetCDF, frame by frame.

Readers of our own where ASE's hold the whole file in memory, drop what unwrapping needs, or hide where a file is cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np

from atomflow.errors import InputError
from atomflow.runs.files import open_hdf5
from atomflow.runs.frames import MEASURED_K, MEASURED_ROWS, RUN_FACTS, Frame, facts

#: fs in LAMMPS's unit of time
_LAMMPS_TIME_FS = {"metal": 1000.0, "real": 1.0}


class CutShort(Exception):
    """The file ends inside a frame."""


# --- LAMMPS -----------------------------------------------------------------------------------------------------


def lammps_dump(path: Path, elements: Sequence[str] | None) -> Iterator[Frame]:
    """Frames of a LAMMPS text dump, atoms sorted by id; lengths in Å (units metal or real).

    Coordinates: x y z, xs ys zs, xu yu zu or xsu ysu zsu; image counts ix iy iz are used when there.
    """
    with open(path, encoding="utf-8", errors="replace") as handle:
        units = None
        time = None
        for line in handle:
            if line.startswith("ITEM: UNITS"):
                units = next(handle, "").strip()
                if units not in _LAMMPS_TIME_FS:
                    raise InputError(f"{path} has LAMMPS units '{units}'; metal and real are read")
            elif line.startswith("ITEM: TIME") and not line.startswith("ITEM: TIMESTEP"):
                time = float(_line(handle))
            elif line.startswith("ITEM: TIMESTEP"):
                step = int(_line(handle))
                frame = _lammps_frame(handle, path, elements)
                frame.step = step
                frame.time_fs = None if time is None or units is None else time * _LAMMPS_TIME_FS[units]
                yield frame
            elif line.strip():
                raise ValueError(f"unexpected line '{line.strip()[:40]}'")


def _lammps_frame(handle: IO[str], path: Path, elements: Sequence[str] | None) -> Frame:
    _expect(handle, "ITEM: NUMBER OF ATOMS")
    count = int(_line(handle))
    lattice, origin = _lammps_box(handle)
    columns = _expect(handle, "ITEM: ATOMS").split()[2:]
    rows = [line.split() for _ in range(count) if (line := _line(handle))]
    if any(len(row) != len(columns) for row in rows):
        raise CutShort("a line with too few columns")
    table = {name: [row[i] for row in rows] for i, name in enumerate(columns)}
    if "id" not in table:
        raise InputError(f"{path} has no atom ids: atoms of different frames cannot be matched (dump with column id)")
    order = np.argsort(np.array(table["id"], dtype=np.int64))
    fractional, unwrapped = _lammps_coordinates(table, lattice, origin, path)
    images = None
    if not unwrapped and {"ix", "iy", "iz"} <= set(columns):
        images = np.array([table["ix"], table["iy"], table["iz"]], dtype=np.int32).T[order]
    return Frame(_lammps_numbers(table, elements, path)[order], fractional[order], lattice, images, unwrapped)


def _lammps_box(handle: IO[str]) -> tuple[np.ndarray, np.ndarray]:
    """Lattice rows and origin from the bounds (https://docs.lammps.org/Howto_triclinic.html)."""
    kind = _expect(handle, "ITEM: BOX BOUNDS")
    rows = np.array([[float(x) for x in _line(handle).split()] for _ in range(3)])
    if "abc origin" in kind:
        return rows[:, :3], rows[:, 3]
    tilt = rows[:, 2] if rows.shape[1] == 3 else np.zeros(3)
    xy, xz, yz = tilt
    low = rows[:, 0] - np.array([min(0.0, xy, xz, xy + xz), min(0.0, yz), 0.0])
    high = rows[:, 1] - np.array([max(0.0, xy, xz, xy + xz), max(0.0, yz), 0.0])
    a, b, c = high - low
    return np.array([[a, 0.0, 0.0], [xy, b, 0.0], [xz, yz, c]]), low


def _lammps_coordinates(
    table: dict[str, list[str]], lattice: np.ndarray, origin: np.ndarray, path: Path
) -> tuple[np.ndarray, bool]:
    for ending, scaled, unwrapped in (("u", False, True), ("su", True, True), ("", False, False), ("s", True, False)):
        names = [axis + ending for axis in "xyz"]
        if all(name in table for name in names):
            values = np.array([table[name] for name in names], dtype=np.float64).T
            return (values if scaled else np.linalg.solve(lattice.T, (values - origin).T).T), unwrapped
    raise InputError(f"{path} has no coordinates (columns x y z, xs ys zs, xu yu zu or xsu ysu zsu)")


def _lammps_numbers(table: dict[str, list[str]], elements: Sequence[str] | None, path: Path) -> np.ndarray:
    if "element" in table and elements is None:
        return numbers_of(table["element"], path)
    if "type" not in table:
        raise InputError(f"{path} has neither column element nor type")
    return by_type(np.array(table["type"], dtype=np.int64), elements, path)


def by_type(types: np.ndarray, elements: Sequence[str] | None, path: Path) -> np.ndarray:
    """Atomic numbers of atom types 1, 2, ... by the given list of symbols."""
    if elements is None:
        raise InputError(f"{path} names atom types, not elements; say which they are with --elements, "
                         f"e.g. --elements Na,Zr,Si,P,O for types 1 to 5")
    if types.max() > len(elements) or types.min() < 1:
        raise InputError(f"{path} has atom types {types.min()} to {types.max()}, but --elements names {len(elements)}")
    return numbers_of(list(elements), path)[types - 1]


def numbers_of(symbols: Sequence[str], path: Path) -> np.ndarray:
    from ase.data import atomic_numbers

    unknown = next((symbol for symbol in symbols if symbol not in atomic_numbers), None)
    if unknown is not None:
        raise InputError(f"{path}: '{unknown}' is not an element")
    return np.array([atomic_numbers[symbol] for symbol in symbols])


# --- VASP -------------------------------------------------------------------------------------------------------


def xdatcar(path: Path) -> Iterator[Frame]:
    """Frames of an XDATCAR with one header or one a frame; an INCAR beside it gives time and temperature."""
    interval, temperature = _incar(path.with_name(path.name.replace("XDATCAR", "INCAR")))
    with open(path, encoding="utf-8", errors="replace") as handle:
        lattice = numbers = None
        index = 0
        for line in handle:
            if "Direct configuration=" not in line:
                lattice, numbers = _xdatcar_header(handle, path)
                line = _line(handle)
            if "irect" not in line or lattice is None or numbers is None:
                raise ValueError(f"expected 'Direct configuration=', found '{line.strip()[:40]}'")
            rows = [_line(handle).split() for _ in range(len(numbers))]
            if any(len(row) < 3 for row in rows):
                raise CutShort("a line with fewer than three coordinates")
            fractional = np.array([row[:3] for row in rows], dtype=np.float64)
            time = None if interval is None else index * interval
            yield Frame(numbers, fractional, lattice, time_fs=time, temperature_K=temperature)
            index += 1  # noqa: SIM113  (header lines are no frames)


def _xdatcar_header(handle: IO[str], path: Path) -> tuple[np.ndarray, np.ndarray]:
    scale = float(_line(handle))
    lattice = np.array([[float(x) for x in _line(handle).split()] for _ in range(3)]) * scale
    symbols = _line(handle).split()
    if symbols[0].isdigit():
        raise InputError(f"{path} is of an old VASP and names no elements; add the line of symbols")
    counts = [int(n) for n in _line(handle).split()]
    names = [symbol.split("_")[0] for symbol, count in zip(symbols, counts, strict=True) for _ in range(count)]
    return lattice, numbers_of(names, path)


def _incar(path: Path) -> tuple[float | None, float | None]:
    """Time between XDATCAR's frames (POTIM × NBLOCK) in fs and temperature in K, where an INCAR lies beside it."""
    values: dict[str, float] = {}
    if path.is_file():
        for line in path.read_text(errors="replace").replace(";", "\n").splitlines():
            key, _, rest = line.split("#")[0].split("!")[0].partition("=")
            try:
                values[key.strip().upper()] = float(rest.split()[0])
            except (IndexError, ValueError):
                continue
    if values.get("IBRION") != 0:
        return None, None
    start, end = values.get("TEBEG"), values.get("TEEND", values.get("TEBEG"))
    interval = values["POTIM"] * values.get("NBLOCK", 1) if "POTIM" in values else None
    return interval, start if start == end else None


# --- AMBER ------------------------------------------------------------------------------------------------------


def amber_netcdf(path: Path, elements: Sequence[str] | None) -> Iterator[Frame]:
    """Frames of an AMBER NetCDF trajectory (classic format); species from variables Z, atom_types or type."""
    from scipy.io import netcdf_file

    with netcdf_file(path, mmap=True, maskandscale=False) as handle:
        missing = [name for name in ("coordinates", "cell_lengths", "cell_angles") if name not in handle.variables]
        if missing:
            raise InputError(f"{path} has no {missing[0]}: not an AMBER trajectory of a periodic cell")
        run = facts(getattr(handle, RUN_FACTS, b"").decode(errors="replace"))
        for index in range(handle.variables["coordinates"].shape[0]):
            yield _netcdf_frame(handle.variables, index, elements, path, run)


def _netcdf_frame(
    variables: Any, index: int, elements: Sequence[str] | None, path: Path, run: dict[str, Any]
) -> Frame:
    """Frame ``index``, copied out of the mapped file."""
    from ase.geometry import cellpar_to_cell

    lattice = np.asarray(cellpar_to_cell([*variables["cell_lengths"][index], *variables["cell_angles"][index]]))
    positions = np.array(variables["coordinates"][index], dtype=np.float64)
    time = float(variables["time"][index]) * 1000.0 if "time" in variables else None
    measured: tuple[float, ...] = ()
    if MEASURED_K in variables:
        measured = (float(variables[MEASURED_K][index]),) * int(variables[MEASURED_ROWS][index])
    return Frame(_netcdf_numbers(variables, index, elements, path), np.linalg.solve(lattice.T, positions.T).T, lattice,
                 time_fs=time, temperature_K=float(variables["temp0"][index]) if "temp0" in variables else None,
                 measured_K=measured, facts=run)


def _netcdf_numbers(variables: Any, index: int, elements: Sequence[str] | None, path: Path) -> np.ndarray:
    name = next((name for name in ("Z", "atom_types", "type") if name in variables), None)
    if name is None:
        raise InputError(f"{path} holds no species (variable Z, atom_types or type)")
    data = variables[name]
    values = np.array(data[index] if data.dimensions[0] == "frame" else data[:], dtype=np.int64)
    if elements is not None or name == "type":
        return by_type(values, elements, path)
    return values


# --- H5MD -------------------------------------------------------------------------------------------------------


def h5md_file(path: Path, elements: Sequence[str] | None) -> Iterator[Frame]:
    """Frames of an H5MD file that lies alone; species are atomic numbers, or types named by ``elements``."""
    with open_hdf5(path) as handle:
        groups = list(handle["particles"].values()) if "particles" in handle else []
        if not groups or "position" not in groups[0] or "edges" not in groups[0].get("box", ()):
            raise InputError(f"{path} is no H5MD trajectory of a periodic cell")
        position, edges = groups[0]["position"], groups[0]["box/edges"]
        if "species" not in groups[0]:
            raise InputError(f"{path} holds no species (particles/{groups[0].name.split('/')[-1]}/species)")
        species = np.array(groups[0]["species"], dtype=np.int64)
        numbers = species if elements is None else by_type(species, elements, path)
        ours = handle["h5md/creator"].attrs.get("name") == "atomflow" if "h5md/creator" in handle else False
        factor = {"fs": 1.0, "ps": 1000.0, "ns": 1e6}.get(position["time"].attrs.get("unit", "")) if (
            "time" in position) else None
        for index, positions in enumerate(position["value"]):
            box = np.asarray(edges["value"][index] if isinstance(edges, h5py.Group) else edges[()], dtype=np.float64)
            lattice = np.diag(box) if box.ndim == 1 else box
            time = None if factor is None else float(position["time"][index]) * factor
            yield Frame(numbers, np.linalg.solve(lattice.T, np.asarray(positions, dtype=np.float64).T).T, lattice,
                        unwrapped=ours, time_fs=time)


# --- lines ------------------------------------------------------------------------------------------------------


def _line(handle: IO[str]) -> str:
    """The next line; :class:`CutShort` at the end of the file or in the middle of a line."""
    line = handle.readline()
    if not line.endswith("\n"):
        raise CutShort("the file ends inside a frame")
    return line


def _expect(handle: IO[str], start: str) -> str:
    line = _line(handle)
    if not line.startswith(start):
        raise ValueError(f"expected '{start}', found '{line.strip()[:40]}'")
    return line
