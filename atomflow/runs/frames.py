"""One frame of a trajectory as plain arrays, whatever program wrote it."""

from __future__ import annotations

from dataclasses import dataclass
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
