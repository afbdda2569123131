"""Frames of trajectory files as plain arrays, one at a time, whatever program wrote them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from atomflow.errors import InputError


@dataclass
class Frame:
    """One frame as the file has it.

    Attributes:
        numbers: (N,) atomic numbers.
        fractional: (N, 3) fractional coordinates in this frame's own lattice, wrapped or not.
        lattice_A: (3, 3) rows in Å.
        images: (N, 3) counts of cells crossed, if the file has them (LAMMPS ix iy iz).
        unwrapped: the file says that coordinates are unwrapped (LAMMPS xu yu zu).
        time_fs, step, temperature_K: None where the file does not say.
    """

    numbers: np.ndarray
    fractional: np.ndarray
    lattice_A: np.ndarray
    images: np.ndarray | None = None
    unwrapped: bool = False
    time_fs: float | None = None
    step: int | None = None
    temperature_K: float | None = None
    regions: np.ndarray | None = None
    sites: np.ndarray | None = None


def iterate(path: Path, format: str | None, elements: Sequence[str] | None) -> Iterator[Frame]:
    """The frames of ``path``; errors come out of the iteration as they happen.

    Raises:
        InputError: the file is missing or empty, or what only the reader of its format can say.
    """
    from atomflow.runs import formats

    if not path.is_file():
        raise InputError(f"there is no file {path}; give a run folder or a trajectory")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty")
    with open(path, "rb") as handle:
        start = handle.read(16)
    if format == "lammps-dump-text" or (format is None and start.startswith(b"ITEM:")):
        yield from formats.lammps_dump(path, elements)
    elif format == "vasp-xdatcar" or (format is None and "XDATCAR" in path.name):
        yield from formats.xdatcar(path)
    elif format in ("netcdf", "netcdftrajectory") or (format is None and start.startswith(b"CDF")):
        yield from formats.amber_netcdf(path, elements)
    elif format == "h5md" or (format is None and start.startswith(b"\x89HDF")):
        yield from formats.h5md_file(path, elements)
    else:
        yield from _by_ase(path, format)


def from_atoms(atoms: Any) -> Frame:
    """An ASE atoms object as a frame.

    Raises:
        InputError: it has no periodic cell.
    """
    lattice = np.array(atoms.cell.array)
    if abs(np.linalg.det(lattice)) < 1e-3:
        raise InputError("there is no periodic cell")
    info = atoms.info
    time = info.get("time_fs", info["time_ps"] * 1000.0 if "time_ps" in info else None)
    temperature = info.get("temperature_K")
    if temperature is None and atoms.has("momenta") and np.any(atoms.arrays["momenta"]):
        temperature = atoms.get_temperature()
    sites = atoms.arrays.get("site")
    return Frame(
        atoms.numbers.copy(),
        np.linalg.solve(lattice.T, atoms.positions.T).T,
        lattice,
        time_fs=None if time is None else float(time),
        temperature_K=None if temperature is None else float(temperature),
        regions=atoms.arrays.get("region"),
        sites=None if sites is None else np.where(sites == "-", "", sites),
    )


def _by_ase(path: Path, format: str | None) -> Iterator[Frame]:
    import ase.io
    from ase.io.formats import UnknownFileTypeError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            images = ase.io.iread(str(path), index=":", format=format)
            for atoms in images:
                yield from_atoms(atoms)
        except UnknownFileTypeError:
            raise InputError(f"cannot tell the format of {path}; name it with --format (ASE's names, "
                             f"e.g. extxyz, traj, vasp-xdatcar, lammps-dump-text)") from None
        except ImportError as error:
            raise InputError(f"reading {path} needs a package that is not installed: {error}") from None
