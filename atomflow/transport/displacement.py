"""Displacements of the mobile ions relative to the framework, read in pieces that fit a memory bound.

Positions come unwrapped, and for a variable cell (NPT) as fractional coordinates times the mean lattice, so that the
breathing of the box is not counted as diffusion (see :class:`atomflow.runs.Trajectory`).

Drift: the mass-weighted mean displacement of the framework (every species that is not mobile, or the one named) is
taken off each frame. A cell without framework uses the centre of mass of the whole cell, and says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from atomflow.errors import InputError, nearest, said
from atomflow.units import FS_PER_PS

MIN_FRAMES = 20
#: Larger blocks gain nothing: their memory is new to the process, and a page fault costs more than reading again.
_BLOCK_BYTES = 96e6
_CHUNK_BYTES = 16e6
_TILE = 128


def masses_amu(symbols: np.ndarray) -> np.ndarray:
    """(N,) standard atomic masses of the chemical symbols."""
    from ase.data import atomic_masses, atomic_numbers

    return np.array([atomic_masses[atomic_numbers[str(symbol)]] for symbol in symbols])


class Displacements:
    """Drift-corrected positions of one species in one trajectory.

    Attributes:
        ions: (n,) atom indices of the mobile species.
        n_frames: frames used, after the discarded ones.
        interval_ps: time between frames.
        drift_A: (F, 3) displacement of the frame of reference that was taken off, in Å.
        reference: in words, what displacements are measured against.
        collective_A: (3, F) sum over the ions of their corrected positions, in Å.
        lattice_A: (3, 3) mean lattice, rows. volume_A3: mean volume.
    """

    def __init__(
        self,
        trajectory: Any,
        species: str = "Na",
        discard_ps: float = 0.0,
        framework: str | Sequence[str] = "auto",
        memory_MB: float = 500.0,
    ) -> None:
        self.trajectory = trajectory
        self.species = species
        self._held: np.ndarray | None = None
        self.memory_bytes = memory_MB * 1e6
        symbols = np.asarray(trajectory.symbols)
        self.ions = np.flatnonzero(symbols == species)
        if len(self.ions) == 0:
            found = sorted({str(symbol) for symbol in symbols})
            raise InputError(f"{trajectory.source}: there is no {species} in it, only {', '.join(found)}"
                             f"{nearest(species, found)}")
        self.interval_ps = float(trajectory.frame_interval_fs) / FS_PER_PS
        if not self.interval_ps > 0:
            raise InputError(f"{trajectory.source}: the frame interval must be positive")
        self._start = _first_frame(trajectory, discard_ps)
        self.n_frames = int(trajectory.n_frames) - self._start
        weights, self.reference, self.has_framework = _reference(symbols, self.ions, species, framework)
        self._framework = weights > 0
        self.lattice_A = np.asarray(trajectory.mean_lattice_A)
        self.volume_A3 = self._mean_volume()
        self._read_reference(weights)

    @property
    def n_ions(self) -> int:
        return len(self.ions)

    @property
    def total_time_ps(self) -> float:
        return (self.n_frames - 1) * self.interval_ps

    @property
    def max_drift_A(self) -> float:
        """Farthest that the frame of reference went from where it began, in Å."""
        return float(np.linalg.norm(self.drift_A, axis=1).max())

    def framework_rms_A(self) -> dict[str, float]:
        """Element of the framework → rms displacement of its atoms between the first and the last frame, in Å."""
        atoms = np.flatnonzero(self._framework)
        if not self.has_framework or len(atoms) == 0:
            return {}
        ends = [self._read(frame, frame + 1, atoms)[0] - self.drift_A[frame] for frame in (0, self.n_frames - 1)]
        square = ((ends[1] - ends[0]) ** 2).sum(axis=1)
        names = np.asarray(self.trajectory.symbols)[atoms]
        return {str(name): float(np.sqrt(square[names == name].mean())) for name in np.unique(names)}

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Pieces ``(ions, columns)``: columns is (3·n, F), rows x, y, z of one ion after the other, in Å.

        Rows start at zero at the first frame used. A block is valid until the next one is asked for, and is not to be
        changed: its memory is used again.
        """
        buffer, self._held = self._held, self._held if self._fits else None
        filled = buffer is not None
        size = self._ions_per_block()
        if buffer is None:
            buffer = np.empty((3 * size, self.n_frames))
        for start in range(0, self.n_ions, size):
            chosen = slice(start, min(start + size, self.n_ions))
            block = buffer[: 3 * (chosen.stop - start)]
            if start == 0 and filled:
                yield chosen, block
                continue
            home = None
            for begin, end in self._time_chunks(chosen.stop - start):
                positions = self._read(begin, end, self.ions[chosen])
                home = positions[0].copy() if home is None else home
                self._fill(block, begin, positions, home)
            yield chosen, block

    def positions_A(self, start: int, stop: int) -> np.ndarray:
        """(f, n, 3) drift-corrected unwrapped positions of the ions, in the mean lattice."""
        return self._read(start, stop, self.ions) - self.drift_A[start:stop, None]

    # --- reading ----------------------------------------------------------------------------------------------

    def _read(self, start: int, stop: int, atoms: np.ndarray | None = None) -> np.ndarray:
        first = self._start
        return np.asarray(self.trajectory.positions_A(first + start, first + stop, atoms), dtype=np.float64)

    def _fill(self, block: np.ndarray, start: int, positions: np.ndarray, home: np.ndarray) -> None:
        """Put positions (f, n, 3) into the columns of the block, in tiles that stay in the processor's cache."""
        tile = max(8, min(_TILE, int(2e6 / (8 * len(block)))))
        for first in range(0, len(positions), tile):
            piece = positions[first : first + tile]
            at = start + first
            moved = piece - home - self.drift_A[at : at + len(piece), None]
            block[:, at : at + len(piece)] = moved.reshape(len(piece), -1).T

    def _ions_per_block(self) -> int:
        return self.n_ions if self._fits else max(1, int(self._block_bytes / (24.0 * self.n_frames)))

    def _time_chunks(self, n_atoms: int) -> Iterator[tuple[int, int]]:
        bytes_ = min(_CHUNK_BYTES, 0.1 * self.memory_bytes)
        length = max(1, min(4096, int(bytes_ / (24.0 * max(1, n_atoms)))))
        for start in range(0, self.n_frames, length):
            yield start, min(start + length, self.n_frames)

    def _mean_volume(self) -> float:
        total = 0.0
        for start, stop in self._time_chunks(3):
            lattices = np.asarray(self.trajectory.lattices_A(self._start + start, self._start + stop))
            total += float(np.abs(np.linalg.det(lattices)).sum())
        return total / self.n_frames

    def _read_reference(self, weights: np.ndarray) -> None:
        """One pass over everything: the drift, the collective displacement, and the first block of ions."""
        n, frames = self.n_ions, self.n_frames
        self._block_bytes = min(_BLOCK_BYTES, 0.5 * self.memory_bytes)
        self._fits = 24.0 * n * frames <= self._block_bytes
        held = self.ions[: self._ions_per_block()]
        together = bool((np.diff(held) == 1).all())
        chosen: Any = slice(int(held[0]), int(held[-1]) + 1) if together else held
        block = np.empty((3 * len(held), frames))
        self.drift_A = np.zeros((frames, 3))
        total = np.empty((frames, 3))
        rows = np.zeros((2, len(weights)))
        rows[0] = weights / max(weights.sum(), 1e-300)
        rows[1, self.ions] = 1.0
        origin = np.zeros((2, 3))
        home = np.zeros((len(held), 3))
        for start, stop in self._time_chunks(len(weights)):
            everything = self._read(start, stop)
            sums = np.matmul(rows, everything)
            if not np.isfinite(sums).all():  # a NaN anywhere in a frame reaches the frame's sums
                bad = self._start + start + int(np.flatnonzero(~np.isfinite(sums).all(axis=(1, 2)))[0])
                raise InputError(f"{self.trajectory.source}: frame {bad} holds a position that is not a finite number")
            if start == 0:
                origin, home = sums[0].copy(), everything[0, held].copy()
            self.drift_A[start:stop] = sums[:, 0] - origin[0]
            total[start:stop] = sums[:, 1] - origin[1]
            self._fill(block, start, everything[:, chosen], home)
        self.collective_A = np.ascontiguousarray((total - n * self.drift_A).T)
        self._held = block


def _first_frame(trajectory: Any, discard_ps: float) -> int:
    if discard_ps < 0:
        raise InputError(f"discard_ps must not be negative, not {discard_ps:g}")
    first = int(np.ceil(discard_ps * FS_PER_PS / float(trajectory.frame_interval_fs) - 1e-9))
    left = int(trajectory.n_frames) - first
    if left < MIN_FRAMES:
        after = f" after discarding {discard_ps:g} ps" if discard_ps else ""
        raise InputError(f"{trajectory.source}: {max(left, 0)} frames{after}; at least {MIN_FRAMES} are needed")
    return first


def _reference(
    symbols: np.ndarray, ions: np.ndarray, species: str, framework: str | Sequence[str]
) -> tuple[np.ndarray, str, bool]:
    """(N,) weights of the atoms that define rest, the words for it, and whether that is a framework."""
    masses = masses_amu(symbols)
    mobile = np.zeros(len(symbols), dtype=bool)
    mobile[ions] = True
    if framework is None or framework == "none":
        return np.zeros(len(symbols)), "the simulation box (no drift correction asked for)", True
    if framework == "cell" or (framework == "auto" and mobile.all()):
        why = "" if framework == "cell" else f" (there is no framework: every atom is {species})"
        return masses, f"the centre of mass of the cell{why}", False
    if framework == "auto":
        names = sorted({str(s) for s in symbols[~mobile]})
        return np.where(mobile, 0.0, masses), f"the framework ({', '.join(names)}), mass-weighted", True
    if not isinstance(framework, (str, list, tuple)) or not framework:
        raise InputError(f"framework is auto, cell, none or elements like ['Zr', 'P'], not {said(framework)}")
    names = [framework] if isinstance(framework, str) else [str(name) for name in framework]
    missing = [name for name in names if name not in set(symbols.tolist())]
    if missing or species in names:
        problem = f"there is no {missing[0]} in the cell" if missing else f"{species} is the mobile species"
        raise InputError(f"cannot use {', '.join(names)} as framework: {problem}")
    return np.where(np.isin(symbols, names), masses, 0.0), f"the framework ({', '.join(names)}), mass-weighted", True
