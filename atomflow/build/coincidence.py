"""Where two plane lattices meet: supercells of both that are alike but for a small strain, at any angle.

The search of Zur and McGill (J. Appl. Phys. 55, 378, 1984), written so that it keeps the handedness and tells the
rotation: every sublattice of either lattice up to an area, reduced, and compared through the map of one onto the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

#: Bases of one lattice that are worth comparing: entries -1, 0, 1 and determinant 1.
_CHANGES = np.array([m for m in np.array(list(product((-1, 0, 1), repeat=4))).reshape(-1, 2, 2)
                     if m[0, 0] * m[1, 1] - m[0, 1] * m[1, 0] == 1])  # fmt: skip


@dataclass(frozen=True, eq=False)
class Match:
    """Two supercells that fit.

    Attributes:
        first, second: (2, 2) integers, supercell vectors as rows in the basis of either lattice.
        deformation: (2, 2); rows of the second supercell times this are those of the first (rotation and strain).
        strain: largest principal stretch of the second lattice minus one, absolute.
        angle_deg: rotation of the second lattice, counter-clockwise, -180 to 180.
        area_A2: of the first supercell.
    """

    first: np.ndarray
    second: np.ndarray
    deformation: np.ndarray
    strain: float
    angle_deg: float
    area_A2: float

    @property
    def rotation(self) -> np.ndarray:
        """(2, 2) the rotation in ``deformation``, for rows: first rotate, then strain."""
        left, _, right = np.linalg.svd(self.deformation)
        return np.asarray(left @ right)


def matches(
    first_A: np.ndarray, second_A: np.ndarray, max_area_A2: float, max_strain: float, smallest: bool = False
) -> list[Match]:
    """All pairs of supercells within the area and strain, smallest area first, then smallest strain.

    Args:
        first_A, second_A: (2, 2) right-handed bases as rows, Å.
        smallest: stop at the smallest area that has any.
    """
    areas = np.linalg.det(first_A), np.linalg.det(second_A)
    found: list[Match] = []
    known: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
    for n in range(1, int(max_area_A2 / areas[0] + 1e-9) + 1):
        ratio = n * areas[0] / areas[1]
        low, high = ratio * (1 - max_strain) ** 2, ratio * (1 + max_strain) ** 2
        for m in range(max(1, int(np.ceil(low - 1e-9))), int(high + 1e-9) + 1):
            if m not in known:
                known[m] = _with_lengths(m, second_A)
            for basis, lengths in _with_lengths(n, first_A):
                for other, other_lengths in known[m]:
                    if (np.abs(lengths / other_lengths - 1) <= max_strain + 1e-9).all():
                        found += _compare(basis, other, first_A, second_A, max_strain)
        if found and smallest:
            break
    return sorted(found, key=lambda match: (round(match.area_A2, 3), round(match.strain, 6), round(match.angle_deg, 3)))


def _with_lengths(index: int, lattice_A: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Reduced bases of the sublattices and their two lengths, which a strain cannot change by more than itself."""
    bases = [reduced(hnf, lattice_A) for hnf in sublattices(index)]
    return [(basis, np.linalg.norm(basis @ lattice_A, axis=1)) for basis in bases]


def _compare(
    basis: np.ndarray, other: np.ndarray, first_A: np.ndarray, second_A: np.ndarray, max_strain: float
) -> list[Match]:
    """The maps of the changed bases of one onto the other that are within the strain, one for each rotation."""
    target = basis @ first_A
    changed = _CHANGES @ other
    maps = np.linalg.solve(changed @ second_A, np.broadcast_to(target, changed.shape))
    left, stretch, right = np.linalg.svd(maps)
    strain = np.abs(stretch - 1).max(axis=1)
    rotation = left @ right
    angle = np.degrees(np.arctan2(rotation[:, 0, 1], rotation[:, 0, 0]))
    area = float(np.linalg.det(target))
    best: dict[float, Match] = {}
    for k in np.flatnonzero(strain <= max_strain):
        key = round(float(angle[k]), 1)
        if key not in best or strain[k] < best[key].strain:
            best[key] = Match(basis, changed[k], maps[k], float(strain[k]), float(angle[k]), area)
    return list(best.values())


def sublattices(index: int) -> list[np.ndarray]:
    """(2, 2) integer bases, one for each sublattice of this index (Hermite normal forms)."""
    return [
        np.array([[a, b], [0, index // a]])
        for a in range(1, index + 1) if index % a == 0
        for b in range(index // a)
    ]  # fmt: skip


def reduced(basis: np.ndarray, lattice_A: np.ndarray) -> np.ndarray:
    """The same sublattice by its two shortest vectors (Gauss), right-handed; integers in the basis of the lattice."""
    p, q = (np.array(row) for row in basis)
    while True:
        if _norm(q @ lattice_A) < _norm(p @ lattice_A) - 1e-9:
            p, q = q, p
        along = float(np.dot(p @ lattice_A, q @ lattice_A) / _norm(p @ lattice_A) ** 2)
        if abs(along) <= 0.5 + 1e-9:  # a tie that rounding decides either way would never end
            break
        q = q - round(along) * p
    if np.linalg.det(np.array([p, q]) @ lattice_A) < 0:
        q = -q
    return np.array([p, q])


def _norm(vector: np.ndarray) -> float:
    return float(np.linalg.norm(vector))
