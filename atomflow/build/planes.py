"""A lattice plane (hkl) of any crystal as a two-dimensional lattice: integer search, no symmetry needed.

pymatgen's grain-boundary generator refuses a monoclinic cell; this does not ask what the crystal system is.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from atomflow.errors import InputError

#: Primitive vectors of C2/c in terms of the conventional ones, as Xie et al. 2023 index their planes: three acute
#: angles, the Niggli cell. (Found by matching the in-plane lattices of their published slabs.)
XIE_PRIMITIVE = np.array([[0.5, 0.5, 0.0], [0.5, -0.5, 0.0], [0.0, 0.0, -1.0]])
MAX_INDEX = 8


@dataclass(frozen=True, eq=False)
class Plane:
    """One lattice plane.

    Attributes:
        indices: Miller indices in the basis of ``lattice_A``, without common divisor.
        basis: (3, 3) integers, rows u, v, w in that basis: u and v span the plane's lattice, w steps to the next plane.
        vectors_A: (3, 3) u, v, w in a frame with u along x, v in the xy plane and the plane's normal along z.
        rotation: (3, 3); ``r @ rotation`` takes Cartesian rows of the crystal into that frame.
    """

    indices: tuple[int, int, int]
    basis: np.ndarray
    vectors_A: np.ndarray
    rotation: np.ndarray

    @property
    def spacing_A(self) -> float:
        return float(self.vectors_A[2, 2])

    @property
    def in_plane_A(self) -> np.ndarray:
        """(2, 2) u and v as rows."""
        return self.vectors_A[:2, :2]

    @property
    def area_A2(self) -> float:
        return float(np.linalg.det(self.in_plane_A))


def primitive_indices(indices: tuple[int, int, int]) -> tuple[int, int, int]:
    """Indices on Xie's primitive cell of a plane indexed on the conventional C-centred cell."""
    twice = np.round(2 * XIE_PRIMITIVE @ np.array(indices)).astype(int)
    return without_divisor(twice)


def without_divisor(indices: tuple[int, int, int] | np.ndarray) -> tuple[int, int, int]:
    """Three integers divided by what they have in common; :class:`InputError` for 0 0 0 and for what is too large."""
    h, k, l = (int(i) for i in indices)  # noqa: E741
    divisor = int(np.gcd.reduce([h, k, l]))
    if divisor == 0:
        raise InputError("the plane 0 0 0 is no plane; give three Miller indices that are not all zero")
    reduced = (h // divisor, k // divisor, l // divisor)
    if max(map(abs, reduced)) > MAX_INDEX:
        raise InputError(f"the plane {h} {k} {l} has an index beyond {MAX_INDEX}; its cell would be too large")
    return reduced


def lattice_plane(lattice_A: np.ndarray, indices: tuple[int, int, int]) -> Plane:
    """The plane's shortest lattice vectors u and v, and the shortest step w to the next plane.

    Args:
        lattice_A: (3, 3) vectors as rows; the plane's lattice is primitive if they are.
        indices: (h, k, l) in the basis of ``lattice_A``.
    """
    h = np.array(without_divisor(indices))
    reach = int(np.abs(h).max()) + 2
    steps = np.array(list(product(range(-reach, reach + 1), repeat=3)))
    height = steps @ h
    flat = _by_length(steps[(height == 0) & steps.any(axis=1)], lattice_A)
    u = flat[0]
    v = next(m for m in flat if np.cross(u, m).any())
    if np.dot(np.cross(u, v), h) < 0:
        v = -v
    w = _by_length(steps[height == 1], lattice_A)[0]
    basis = np.array([u, v, w])
    assert round(np.linalg.det(basis)) == 1, "two shortest vectors of a plane are a basis of it"
    vectors = basis @ lattice_A
    x = vectors[0] / np.linalg.norm(vectors[0])
    z = np.cross(vectors[0], vectors[1])
    z /= np.linalg.norm(z)
    rotation = np.stack([x, np.cross(z, x), z], axis=1)
    return Plane((int(h[0]), int(h[1]), int(h[2])), basis, vectors @ rotation, rotation)


def _by_length(steps: np.ndarray, lattice_A: np.ndarray) -> np.ndarray:
    """Sorted by length; equal lengths in a fixed order, so that a cell does not depend on rounding."""
    length = np.round(np.linalg.norm(steps @ lattice_A, axis=1), 6)
    return steps[np.lexsort((*steps.T, length))]
