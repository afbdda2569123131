"""How near two surfaces can come: the gap at which no pair across is too close, for any translation between them."""

from __future__ import annotations

from itertools import product

import numpy as np

#: Pairs of atoms on the two sides stay at least this far apart, Å (symbols in alphabetical order). A little below the
#: shortest distances of the crystal; O stays so far from the other side's Si and P that none gains a fifth oxygen.
MIN_ACROSS_A = {
    "O-O": 2.3, "Na-O": 2.15, "O-Zr": 1.95, "O-Zn": 1.85, "O-Si": 2.5, "O-P": 2.5, "B-O": 1.33, "Na-Na": 2.7,
}  # fmt: skip
OTHER_ACROSS_A = 2.6
#: Only atoms this near the surfaces can meet.
_DEPTH_A = 5.0
#: Grid of the search for a translation, Å.
GRID_A = 1.0


def min_distances_A(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n, m) smallest distance allowed between symbols of the two sides."""
    return np.array([[MIN_ACROSS_A.get("-".join(sorted((str(a), str(b)))), OTHER_ACROSS_A) for b in second]
                     for a in first])  # fmt: skip


def needed_gaps(
    below: tuple[np.ndarray, np.ndarray, float],
    above: tuple[np.ndarray, np.ndarray, float],
    in_plane_A: np.ndarray,
    shifts_A: np.ndarray,
    scale: float = 1.0,
) -> np.ndarray:
    """(S,) the smallest gap from 0 up at which no pair is too close, for each translation of the upper side.

    A pair whose horizontal distance is ρ and whose allowed distance is d forbids an interval of gaps, ± √(d² - ρ²)
    around the one at which its atoms are level. The answer is where the union of these intervals first ends, exactly;
    surfaces that interlock (as those of one crystal do at gap 0) are found.

    Args:
        below: symbols (n,), positions (n, 3) and height of the lower side's face.
        above: the same of the upper side.
        in_plane_A: (2, 2) lattice of both, reduced.
        shifts_A: (S, 2) translations of the upper side.
        scale: all allowed distances times this.
    """
    names_a, low, face_a = _near_face(*below, top=True)
    names_b, high, face_b = _near_face(*above, top=False)
    allowed = min_distances_A(names_a, names_b) * scale
    inverse = np.linalg.inv(in_plane_A)
    heights = np.linalg.det(in_plane_A) / np.linalg.norm(in_plane_A, axis=1)
    reach = 1 if heights.min() < 2 * allowed.max(initial=0.0) else 0  # 0: only the nearest image counts
    images = np.array(list(product(range(-reach, reach + 1), repeat=2))) @ in_plane_A
    depth = (low[:, None, 2] - face_a) - (high[None, :, 2] - face_b)
    gaps = np.empty(len(shifts_A))
    for k, shift in enumerate(shifts_A):
        apart = (high[None, :, :2] + shift - low[:, None, :2]) @ inverse
        apart = (apart - np.round(apart)) @ in_plane_A
        squared = ((apart[:, :, None] + images) ** 2).sum(axis=-1).min(axis=-1)
        meet = squared < allowed**2
        rise = np.sqrt(allowed[meet] ** 2 - squared[meet])
        gaps[k] = _first_free(depth[meet] - rise, depth[meet] + rise)
    return gaps


def _first_free(low: np.ndarray, high: np.ndarray) -> float:
    """The smallest number from 0 up that is in none of the open intervals."""
    free = 0.0
    for i in np.argsort(low):
        if low[i] >= free:
            break
        free = max(free, float(high[i]))
    return free


def translations(in_plane_A: np.ndarray) -> np.ndarray:
    """(S, 2) a grid over the plane's cell, about 1 Å apart."""
    counts = np.ceil(np.linalg.norm(in_plane_A, axis=1) / GRID_A).astype(int)
    fractions = np.array(list(product(np.arange(counts[0]) / counts[0], np.arange(counts[1]) / counts[1])))
    return np.asarray(fractions @ in_plane_A)


def _near_face(
    symbols: np.ndarray, positions_A: np.ndarray, face_A: float, top: bool
) -> tuple[np.ndarray, np.ndarray, float]:
    depth = face_A - positions_A[:, 2] if top else positions_A[:, 2] - face_A
    near = depth < _DEPTH_A
    return symbols[near], positions_A[near], face_A
