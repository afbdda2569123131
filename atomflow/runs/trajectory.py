"""What analysis reads: positions over time with all that is known about them, whoever wrote them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from atomflow.errors import InputError
from atomflow.runs.chain import CHAIN
from atomflow.runs.files import MANIFEST, TRAJECTORY


class Trajectory(Protocol):
    """Frames at equal intervals of atoms that stay the same atoms.

    Positions are unwrapped (an atom that leaves the box goes on), so differences between frames are displacements.
    In a **variable cell** (NPT) they are the unwrapped fractional coordinates times one lattice, ``mean_lattice_A``:
    the breathing of the box then moves no atom. (Unwrapped positions in the box of the moment would: an atom ten cells
    from home moves by ten times the change of the lattice vector; von Bülow, Bullerjahn, Hummer, J. Chem. Phys. 153,
    021101 (2020).) Fractional coordinates are therefore ``positions_A @ inv(mean_lattice_A)`` for fixed cells and
    variable ones alike; ``lattices_A`` gives the box of each moment.
    """

    @property
    def symbols(self) -> np.ndarray: ...  # (N,) chemical symbols
    @property
    def regions(self) -> np.ndarray: ...  # (N,) region names
    @property
    def sites(self) -> np.ndarray: ...  # (N,) crystallographic sites at the start, "" if not known
    @property
    def n_frames(self) -> int: ...
    @property
    def n_atoms(self) -> int: ...
    @property
    def frame_interval_fs(self) -> float: ...
    @property
    def times_fs(self) -> np.ndarray: ...  # (F,)
    @property
    def temperature_K(self) -> float | None: ...  # of the thermostat, else the mean, else None
    @property
    def potential(self) -> dict[str, Any] | None: ...
    @property
    def cell_summary(self) -> dict[str, Any]: ...
    @property
    def source(self) -> str: ...
    @property
    def warnings(self) -> list[str]: ...
    @property
    def variable_cell(self) -> bool: ...
    @property
    def mean_lattice_A(self) -> np.ndarray: ...  # (3, 3) rows

    def positions_A(self, start: int, stop: int, atoms: Any = None) -> np.ndarray:
        """(stop - start, n, 3) float64, unwrapped, in Å; ``atoms``: indices or a mask, None for all."""
        ...

    def lattices_A(self, start: int, stop: int) -> np.ndarray:
        """(stop - start, 3, 3) lattice rows in Å."""
        ...


def frame_slice(start: int, stop: int, n_frames: int) -> tuple[int, int]:
    """``start`` and ``stop`` as they are, or IndexError: a frame outside is a mistake, never an empty answer."""
    if not 0 <= start <= stop <= n_frames:
        raise IndexError(f"frames {start} to {stop} of a trajectory of {n_frames}")
    return start, stop


def open_trajectory(
    path: str | Path | Sequence[Any],
    frame_interval_fs: float | None = None,
    temperature_K: float | None = None,
    format: str | None = None,
    wrapped: bool | str = "auto",
    elements: Sequence[str] | None = None,
) -> Trajectory:
    """Open a run folder, a trajectory file of another program, or a list of ASE atoms.

    Args:
        path: run folder (or its trajectory.h5); folder of ``atomflow export lammps``; extxyz, ASE .traj, XDATCAR,
            LAMMPS dump, AMBER NetCDF, ...; or images.
        frame_interval_fs: time between frames; needed where the file does not say it, and stronger than the file.
        temperature_K: as ``frame_interval_fs``; stays None where nobody says it.
        format: ASE's name of the format, where the file name does not show it.
        wrapped: True: atoms are put back into the box at its faces; False: never; "auto": look.
        elements: chemical symbols of LAMMPS atom types 1, 2, ...

    Raises:
        InputError: what is wrong with the file, in one line.
    """
    from atomflow.runs import lammps
    from atomflow.runs.foreign import ForeignTrajectory
    from atomflow.runs.reader import open_run

    for name, value in (("--frame-interval-fs", frame_interval_fs), ("--temperature", temperature_K)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise InputError(f"{name} must be a positive number, not {value}")
    if isinstance(path, (str, Path)):
        place = Path(path)
        folder = place.parent if place.name in (MANIFEST, TRAJECTORY) else place
        if (folder / MANIFEST).is_file() or (folder / CHAIN).is_file():
            return open_run(folder)
        exported = lammps.folder_of(place)
        if exported is not None:
            return lammps.open_folder(exported, frame_interval_fs, temperature_K)
        if place.is_dir():
            raise InputError(f"{place} is not a run folder (it holds no {MANIFEST})")
    return ForeignTrajectory.read(path, frame_interval_fs, temperature_K, format, wrapped, elements)
