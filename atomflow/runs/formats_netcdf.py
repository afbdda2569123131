"""NetCDF trajectories by AMBER's convention, as AMBER, LAMMPS, ASE and atomflow write them, frame by frame."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from atomflow.errors import InputError
from atomflow.runs.formats import LENGTH_A, TIME_FS, by_type, in_unit, no_types, sorted_ids
from atomflow.runs.frames import MEASURED_K, MEASURED_ROWS, RUN_FACTS, Frame, facts

_ANGLE_DEG = {"degree": 1.0, "radian": 180.0 / np.pi}
#: the names of positions; LAMMPS's xu yu zu are the second
_POSITIONS = ("coordinates", "unwrapped_coordinates")


def amber_netcdf(path: Path, elements: Sequence[str] | None) -> Iterator[Frame]:
    """Frames of an AMBER NetCDF trajectory; species from variables Z, atom_types or type, atoms sorted by id if named.

    ``units`` and ``scale_factor`` are applied: LAMMPS writes its step number as time, and its time step as the scale.
    """
    with _opened(path) as handle:
        yield from _frames(handle, elements, path)


def _frames(handle: Any, elements: Sequence[str] | None, path: Path) -> Iterator[Frame]:
    variables = handle.variables
    positions = next((name for name in _POSITIONS if name in variables), _POSITIONS[0])
    missing = [name for name in (positions, "cell_lengths", "cell_angles") if name not in variables]
    if missing:
        raise InputError(f"{path} has no {missing[0]}: not an AMBER trajectory of a periodic cell")
    unit_A = _unit(variables, "cell_lengths", LENGTH_A, 1.0, path)
    units = {"cell_lengths": unit_A, positions: _unit(variables, positions, LENGTH_A, unit_A, path),
             "cell_origin": _unit(variables, "cell_origin", LENGTH_A, unit_A, path),
             "cell_angles": _unit(variables, "cell_angles", _ANGLE_DEG, 1.0, path),
             "time": _unit(variables, "time", TIME_FS, TIME_FS["picosecond"], path)}
    run = facts(_text(handle, RUN_FACTS))
    for index in range(variables[positions].shape[0]):
        frame = _frame(variables, index, units, positions, path)
        frame.numbers, frame.facts = _numbers(variables, index, elements, path), run
        if "id" in variables:
            order, frame.ids = sorted_ids(_of_frame(variables["id"], index))
            frame.numbers, frame.fractional = frame.numbers[order], frame.fractional[order]
        yield frame


def _frame(variables: Any, index: int, units: Mapping[str, float], positions: str, path: Path) -> Frame:
    """Frame ``index`` without its species, copied out of the mapped file."""
    from ase.geometry import cellpar_to_cell

    def value(name: str) -> np.ndarray:
        data = variables[name]
        scaled = np.array(data[index], dtype=np.float64) * float(getattr(data, "scale_factor", 1.0))
        return np.asarray((scaled + float(getattr(data, "add_offset", 0.0))) * units.get(name, 1.0))

    lengths, places = value("cell_lengths"), value(positions)
    if (index and not lengths.any()) or np.count_nonzero(~places.any(axis=1)) > 1:
        raise ValueError("zeros where cell and positions should be: the file was cut, or not written to its end")
    if not (lengths > 0).all():
        raise InputError(f"{path} has no periodic cell in three directions (a cell length is zero)")
    lattice = np.asarray(cellpar_to_cell([*lengths, *value("cell_angles")]))
    places = places - (value("cell_origin") if "cell_origin" in variables else 0.0)
    measured: tuple[float, ...] = ()
    if MEASURED_K in variables:
        measured = (float(value(MEASURED_K)),) * int(variables[MEASURED_ROWS][index])
    return Frame(np.zeros(len(places), dtype=int), np.linalg.solve(lattice.T, places.T).T, lattice,
                 unwrapped=positions == _POSITIONS[1], time_fs=float(value("time")) if "time" in variables else None,
                 temperature_K=float(value("temp0")) if "temp0" in variables else None, measured_K=measured)


def _numbers(variables: Any, index: int, elements: Sequence[str] | None, path: Path) -> np.ndarray:
    name = next((name for name in ("Z", "atom_types", "type") if name in variables), None)
    if name is None:
        raise InputError(f"{path} holds no species (variable Z, atom_types or type)")
    values = _of_frame(variables[name], index)
    if name == "Z" and elements is not None:
        raise no_types(path, "holds atomic numbers")
    if elements is not None or name == "type":
        return by_type(values, elements, path)
    return values


def _of_frame(data: Any, index: int) -> np.ndarray:
    """(N,) whole numbers of a frame, of a variable that has one set for all frames or one for each."""
    return np.array(data[index] if data.dimensions[0] == "frame" else data[:], dtype=np.int64)


def _unit(variables: Any, name: str, known: Mapping[str, float], default: float, path: Path) -> float:
    """The size of the unit of a variable; ``default`` where it names none."""
    unit = _text(variables[name], "units") if name in variables else ""
    return in_unit(unit, known, path, name) if unit else default


def _text(holder: Any, attribute: str) -> str:
    value = getattr(holder, attribute, "")
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file by scipy if it is of the classic format, else by netCDF4 where that is installed."""
    with open(path, "rb") as start:
        magic = start.read(4)
    if magic in (b"CDF\x01", b"CDF\x02"):
        from scipy.io import netcdf_file

        try:
            classic = netcdf_file(path, mmap=True, maskandscale=False)
        except Exception as error:  # scipy says it in numpy's words
            raise InputError(f"{path} is cut short or damaged: it holds less than its head says; copy it again, or "
                             f"write the frames that are whole anew") from error
        try:
            yield classic
        finally:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # after an error something may still refer to the mapped file
                classic.close()
        return
    kind = "CDF-5" if magic == b"CDF\x05" else "NetCDF-4"
    try:
        import netCDF4
    except ImportError:
        raise InputError(f"{path} is NetCDF of the kind {kind}, which the package netCDF4 reads (pip install netCDF4); "
                         f"or rewrite it: nccopy -k nc6 {path} classic.nc") from None
    with netCDF4.Dataset(str(path)) as handle:
        handle.set_auto_maskandscale(False)
        yield handle
