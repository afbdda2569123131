"""What analysis reads: positions over time with all that is known about them, whoever wrote them."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from atomflow.errors import InputError, said


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


def atom_indices(atoms: Any, n_atoms: int) -> np.ndarray:
    """(n,) indices of the atoms that were asked for: a mask, a slice, indices, or None for all.

    Raises:
        InputError: names, where indices are wanted.
    """
    if isinstance(atoms, slice):
        return np.arange(n_atoms)[atoms]
    if atoms is None:
        return np.arange(n_atoms)
    wanted = np.asarray(atoms)
    if wanted.size == 0:
        return np.arange(0)
    if wanted.dtype.kind not in "iub":
        raise InputError(f"atoms are chosen by indices or a mask, like run.symbols == 'Na', not by {said(atoms)}")
    return np.atleast_1d(np.arange(n_atoms)[wanted])
