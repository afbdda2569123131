"""Unwrapping in any cell, also one that changes shape: whole lattice vectors are counted, frame by frame.

Between two frames the fractional coordinates s (each in its own frame's lattice) of an atom change by ds; the image
count changes by -round(ds), so that the atom takes the shortest way round. Working in fractional coordinates keeps the
breathing of the box out of the choice, and s + count, times one lattice, keeps it out of the displacements (the trap of
NPT runs: von Bülow, Bullerjahn, Hummer, J. Chem. Phys. 153, 021101 (2020)).

A box may **flip** (LAMMPS's default for tilted boxes): c becomes c - a, the same crystal by other vectors. The vectors
of a frame are therefore combined to the ones nearest to those of the frame before.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from atomflow.errors import InputError

#: a step longer than this part of the cell, after unwrapping, might as well have been a step the other way
AMBIGUOUS = 0.4
#: fractional coordinates of wrapped frames span one cell, and a little more where wrapping happens only now and then
_SPAN_OF_WRAPPED = 1.25
#: with this share of uncertain steps it is no single atom that moves too far
_MANY = 0.01
#: how far a flipped box may be from the one before, in parts of the cell
_FLIP_WITHIN = 0.25


def flip(lattice_A: np.ndarray, before_A: np.ndarray) -> np.ndarray | None:
    """Whole numbers M for which ``M @ lattice_A`` goes on from the frame before; None where the box did not flip.

    Raises:
        InputError: the box is another one, not the same crystal by other vectors.
    """
    if np.array_equal(lattice_A, before_A):
        return None
    ratio = before_A @ np.linalg.inv(lattice_A)
    combined = np.round(ratio)
    if np.array_equal(combined, np.eye(3)):
        return None
    if round(abs(np.linalg.det(combined))) != 1 or np.abs(ratio - combined).max() > _FLIP_WITHIN:
        raise InputError("the box is another than in the frame before, by more than half a lattice vector, and not one "
                         "that has flipped: frames are missing, or of different runs")
    return combined


@dataclass
class Unwrapper:
    """Counts images over a stream of frames and remembers what :meth:`looks_wrapped` needs."""

    _previous: np.ndarray | None = None
    _images: np.ndarray | None = None
    _low: np.ndarray = field(default_factory=lambda: np.full(3, np.inf))
    _high: np.ndarray = field(default_factory=lambda: np.full(3, -np.inf))
    frames: int = 0
    jumps: int = 0
    uncertain: int = 0
    longest_step: float = 0.0
    longest_at: tuple[int, int] = (0, 0)

    def add(self, fractional: np.ndarray, in_own_box: np.ndarray) -> np.ndarray:
        """Take the next frame's (N, 3) fractional coordinates; returns the (N, 3) image counts to add to them.

        ``in_own_box``: the same in the frame's own vectors; another array only after a flip.
        """
        if self._previous is None or self._images is None:
            self._images = np.zeros(fractional.shape, dtype=np.int32)
        else:
            step = fractional - self._previous
            crossed = np.round(step)
            self._images = self._images - crossed.astype(np.int32)
            self.jumps += int(np.count_nonzero(crossed))
            shortest = np.abs(step - crossed)
            self.uncertain += int(np.count_nonzero((shortest >= AMBIGUOUS).any(axis=1)))
            if shortest.max() > self.longest_step:
                self.longest_step = float(shortest.max())
                self.longest_at = (self.frames, int(np.unravel_index(shortest.argmax(), shortest.shape)[0]))
        self._low = np.minimum(self._low, in_own_box.min(axis=0))
        self._high = np.maximum(self._high, in_own_box.max(axis=0))
        self._previous = fractional
        self.frames += 1
        return self._images

    @property
    def looks_wrapped(self) -> bool:
        """Atoms jump by a whole cell, and all stay within one."""
        return self.jumps > 0 and bool((self._high - self._low).max() <= _SPAN_OF_WRAPPED)

    def warning(self) -> str | None:
        """The line for steps too long to be sure of, if there are any."""
        if self.longest_step < AMBIGUOUS:
            return None
        assert self._previous is not None
        steps = (self.frames - 1) * len(self._previous)
        if self.uncertain > max(2, _MANY * steps):
            return (f"unwrapping is not possible: {self.uncertain} of {steps} steps of an atom from frame to frame are "
                    f"longer than {AMBIGUOUS} of the cell; either the order of the atoms changes between frames (sort "
                    "them by id), or frames are too far apart (write them more often, or unwrapped positions)")
        frame, atom = self.longest_at
        return (f"unwrapping is uncertain: atom {atom} moves by {self.longest_step:.2f} of the cell between frames "
                f"{frame - 1} and {frame}; half a cell or more cannot be told from a step the other way "
                f"(write frames more often, or unwrapped positions)")
