"""Pairs of atoms closer than a cutoff in any periodic cell, however small and skew: images are explicit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.spatial

from atomflow.errors import InputError

#: Images of a tiny cell within a long cutoff grow without bound; this many atoms is where it stops.
_MOST_IMAGES = 20_000_000


@dataclass(frozen=True)
class Pairs:
    """All pairs from the centres to the partners, each image of a partner on its own.

    Attributes:
        first, second: (E,) indices into all atoms.
        vector_A: (E, 3) from the first to (the image of) the second.
        distance_A: (E,).
    """

    first: np.ndarray
    second: np.ndarray
    vector_A: np.ndarray
    distance_A: np.ndarray

    def within(self, cutoff_A: float) -> Pairs:
        near = self.distance_A < cutoff_A
        return Pairs(self.first[near], self.second[near], self.vector_A[near], self.distance_A[near])


def images(positions_A: np.ndarray, lattice_A: np.ndarray, reach_A: float) -> tuple[np.ndarray, np.ndarray]:
    """(m, 3) positions and (m,) atom indices of every periodic image within ``reach_A`` of the box.

    The atoms of the box itself, wrapped into it, come first and in their order.
    """
    inverse = np.linalg.inv(lattice_A)
    inside = (positions_A @ inverse) % 1.0
    margin = reach_A * np.linalg.norm(inverse, axis=0)  # reach over the height along each lattice direction
    counts = np.ceil(margin).astype(int)
    if np.prod(2.0 * counts + 1.0) * len(inside) > _MOST_IMAGES:
        raise InputError(f"a reach of {reach_A:g} Å takes too many images of this cell; ask for a shorter one")
    shifts = np.stack(np.meshgrid(*(np.arange(-c, c + 1) for c in counts), indexing="ij"), axis=-1).reshape(-1, 3)
    home = np.flatnonzero((shifts == 0).all(axis=1))[0]
    shifts = np.concatenate([shifts[home : home + 1], np.delete(shifts, home, axis=0)])
    every = (inside[None] + shifts[:, None]).reshape(-1, 3)
    near = ((every > -margin - 1e-9) & (every < 1.0 + margin + 1e-9)).all(axis=1)
    near[: len(inside)] = True
    return every[near] @ lattice_A, np.tile(np.arange(len(inside)), len(shifts))[near]


def pairs(
    positions_A: np.ndarray, lattice_A: np.ndarray, centres: np.ndarray, partners: np.ndarray, cutoff_A: float
) -> Pairs:
    """Every pair nearer than ``cutoff_A``; an atom is no partner of itself, but its images are.

    Args:
        positions_A: (N, 3), wrapped or not. lattice_A: (3, 3) rows.
        centres, partners: (N,) masks or index arrays.
    """
    from_ = np.arange(len(positions_A))[centres]
    points, owner = images(positions_A, lattice_A, cutoff_A)
    wanted = np.zeros(len(positions_A), dtype=bool)
    wanted[partners] = True
    kept = np.flatnonzero(wanted[owner])
    if len(from_) == 0 or len(kept) == 0:
        return Pairs(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 3)), np.zeros(0))
    tree, others = scipy.spatial.cKDTree(points[from_]), scipy.spatial.cKDTree(points[kept])
    found = tree.sparse_distance_matrix(others, cutoff_A, output_type="ndarray")
    first, image = from_[found["i"]], kept[found["j"]]
    proper = (first != image) & (found["v"] < cutoff_A)
    first, image = first[proper], image[proper]
    order = np.lexsort((image, first))
    first, image = first[order], image[order]
    vector = points[image] - points[first]
    return Pairs(first, owner[image], vector, np.linalg.norm(vector, axis=1))
