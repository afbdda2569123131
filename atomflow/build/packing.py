"""Random packings without close contacts: points thrown into a box and pushed apart. Melts start here, and films."""

from __future__ import annotations

import numpy as np

from atomflow.units import G_PER_CM3_PER_AMU_PER_A3

#: Distance below which a pair counts as in contact, Å: slightly under the bond lengths of the oxide crystals.
NATURAL_DISTANCE_A = {
    ("O", "O"): 2.25, ("B", "O"): 1.33, ("O", "Si"): 1.55, ("O", "P"): 1.45,
    ("O", "Zn"): 1.85, ("O", "Zr"): 1.98, ("Na", "O"): 2.15,
}  # fmt: skip
OTHER_DISTANCE_A = 2.5
Distances = dict[tuple[str, str], float]
_REACH_A = 2.6
#: The pair list holds pairs this much beyond reach and lives until an atom has moved half of it.
_SKIN_A = 0.6
#: Part of an overlap that each of the two atoms gives way in one sweep.
_PUSH = 0.35
#: Pairs are pushed a little beyond the floor, which would otherwise be approached without end.
_AIM = 1.01


def natural_distances_A(
    symbols: np.ndarray, i: np.ndarray, j: np.ndarray, other: Distances | None = None
) -> np.ndarray:
    """(P,) natural distance of each pair ``symbols[i], symbols[j]``; ``other`` distances go before the table's."""
    known = {**NATURAL_DISTANCE_A, **(other or {})}
    elements, code = np.unique(symbols, return_inverse=True)
    names = [str(element) for element in elements]
    table = np.array([[known.get((min(a, b), max(a, b)), OTHER_DISTANCE_A) for b in names] for a in names])
    result: np.ndarray = table.reshape(-1)[code[i] * len(names) + code[j]]
    return result


def contact_ratio(
    symbols: np.ndarray,
    positions_A: np.ndarray,
    lattice_A: np.ndarray,
    movable: np.ndarray | None = None,
    distances: Distances | None = None,
) -> float:
    """The smallest distance over its pair's natural distance; infinity when nothing is within reach (2.6 Å).

    With ``movable`` only pairs count of which at least one atom may move.
    """
    i, j, vectors = _pairs(positions_A, lattice_A, _REACH_A)
    ratio = np.linalg.norm(vectors, axis=1) / natural_distances_A(symbols, i, j, distances)
    counts = np.ones(len(ratio), dtype=bool) if movable is None else movable[i] | movable[j]
    return float(ratio[counts].min(initial=np.inf))


def box_of_density(symbols: np.ndarray, density_g_per_cm3: float) -> float:
    """Volume in Å³ in which these atoms have the density."""
    from ase.data import atomic_masses, atomic_numbers

    mass_amu = sum(atomic_masses[atomic_numbers[str(symbol)]] for symbol in symbols)
    return float(mass_amu * G_PER_CM3_PER_AMU_PER_A3 / density_g_per_cm3)


def push_apart(
    symbols: np.ndarray,
    positions_A: np.ndarray,
    lattice_A: np.ndarray,
    floor: float,
    sweeps: int = 250,
    movable: np.ndarray | None = None,
    between_A: tuple[float, float] | None = None,
    distances: Distances | None = None,
) -> np.ndarray:
    """Move atoms apart until no contact is below ``floor`` of its natural distance, or the sweeps are used up.

    Args:
        symbols: (N,) of all atoms.
        positions_A: (N, 3) start.
        lattice_A: (3, 3) rows, periodic in all directions.
        movable: (N,) which atoms may move; all when not given. An atom that meets one that may not gives way alone.
        between_A: z below and above which movable atoms do not go.
        distances: natural distances of pairs of elements (in alphabetical order) that go before the table's.

    Returns:
        (N, 3) positions. They can still hold contacts below the floor: ask :func:`contact_ratio`.
    """
    give = np.ones(len(symbols)) if movable is None else movable.astype(float)
    positions = positions_A.copy()
    anchor = None
    for _ in range(sweeps):
        if anchor is None or np.abs(positions - anchor).max() > _SKIN_A / 4:
            anchor = positions.copy()
            i, j, vectors = _pairs(positions, lattice_A, _REACH_A + _SKIN_A)
            shift = vectors - (positions[j] - positions[i])
            wanted = natural_distances_A(symbols, i, j, distances) * floor
            share = give[i] / np.maximum(give[i] + give[j], 1.0) * 2 * _PUSH
        apart = positions[j] - positions[i] + shift
        distance = np.linalg.norm(apart, axis=1)
        if not ((distance < wanted) & (share > 0)).any():
            break
        aim = wanted * _AIM
        close = (distance < aim) & (share > 0)
        step = -share[close] * (aim - distance)[close] / np.maximum(distance[close], 1e-3)
        push = step[:, None] * apart[close]
        positions = positions + np.stack([np.bincount(i[close], push[:, k], len(give)) for k in range(3)], axis=1)
        if between_A is not None:
            positions[:, 2] = np.where(give > 0, np.clip(positions[:, 2], *between_A), positions[:, 2])
    return positions


def _pairs(
    positions_A: np.ndarray, lattice_A: np.ndarray, reach_A: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every pair within reach, both ways: i, j, vectors from i to j (P, 3). Any box, however small."""
    from scipy.spatial import cKDTree

    fractional = positions_A @ np.linalg.inv(lattice_A)
    wrapped = fractional - np.floor(fractional)
    margin = reach_A * np.linalg.norm(np.linalg.inv(lattice_A), axis=0)  # reach over the heights of the box
    owner, points = np.arange(len(wrapped)), wrapped
    for axis in range(3):
        for n in range(1, int(np.ceil(margin[axis])) + 1):
            step = np.eye(3)[axis] * n
            low, high = points[:, axis] < margin[axis] + 1 - n, points[:, axis] > n - margin[axis]
            inside = (points[:, axis] >= 0) & (points[:, axis] < 1)
            low, high = low & inside, high & inside
            owner = np.concatenate([owner, owner[low], owner[high]])
            points = np.concatenate([points, points[low] + step, points[high] - step])
    tree = cKDTree(points @ lattice_A)
    pairs = tree.query_pairs(reach_A, output_type="ndarray")
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    pairs = pairs[pairs[:, 0] < len(wrapped)]
    vectors = (points[pairs[:, 1]] - points[pairs[:, 0]]) @ lattice_A
    return pairs[:, 0], owner[pairs[:, 1]], vectors
