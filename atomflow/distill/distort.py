"""Bringing atoms out of place on purpose: strain, rattling, and random packings without close contacts. All seeded."""

from __future__ import annotations

import numpy as np

from atomflow.units import G_PER_CM3_PER_AMU_PER_A3

#: Distance below which a pair counts as in contact, Å: slightly under the bond lengths of the oxide crystals.
NATURAL_DISTANCE_A = {
    ("O", "O"): 2.25, ("B", "O"): 1.33, ("O", "Si"): 1.55, ("O", "P"): 1.45,
    ("O", "Zn"): 1.85, ("O", "Zr"): 1.98, ("Na", "O"): 2.15,
}
OTHER_DISTANCE_A = 2.5
_REACH_A = 2.6


def natural_distances_A(symbols: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """(P,) natural distance of each pair ``symbols[i], symbols[j]``."""
    pairs = zip(symbols[i], symbols[j], strict=True)
    return np.array([NATURAL_DISTANCE_A.get((min(a, b), max(a, b)), OTHER_DISTANCE_A) for a, b in pairs])


def contact_ratio(symbols: np.ndarray, positions_A: np.ndarray, lattice_A: np.ndarray) -> float:
    """The smallest distance over its pair's natural distance; infinity when nothing is within reach (2.6 Å)."""
    i, j, _, distances = _pairs(positions_A, lattice_A)
    if len(distances) == 0:
        return float("inf")
    return float((distances / natural_distances_A(symbols, i, j)).min())


def strained(
    positions_A: np.ndarray, lattice_A: np.ndarray, rng: np.random.Generator, volume: float, shear: float
) -> tuple[np.ndarray, np.ndarray]:
    """Positions and lattice under a random homogeneous strain.

    Args:
        positions_A: (N, 3) Cartesian; they follow the lattice.
        lattice_A: (3, 3) rows.
        volume: the volume changes by a factor uniform in ``1 ± volume``.
        shear: standard deviation of the (traceless, symmetric) components of the shape change.
    """
    shape = rng.normal(0.0, shear, (3, 3))
    shape = (shape + shape.T) / 2
    shape -= np.eye(3) * np.trace(shape) / 3
    deformation = np.eye(3) + shape
    deformation *= ((1 + rng.uniform(-volume, volume)) / np.linalg.det(deformation)) ** (1 / 3)
    return positions_A @ deformation, lattice_A @ deformation


def rattled(
    symbols: np.ndarray,
    positions_A: np.ndarray,
    lattice_A: np.ndarray,
    rng: np.random.Generator,
    framework_A: float,
    mobile_A: float,
    floor: float = 0.78,
) -> np.ndarray:
    """(N, 3) positions with Gaussian displacements: ``mobile_A`` for Na, ``framework_A`` for the rest (O 25 % more).

    The displacements shrink by 15 % until no contact is below ``floor`` of its natural distance, at most twelve times.
    """
    for _ in range(12):
        sigma = np.where(symbols == "Na", mobile_A, framework_A * np.where(symbols == "O", 1.25, 1.0))
        moved = positions_A + rng.normal(size=positions_A.shape) * sigma[:, None]
        if contact_ratio(symbols, moved, lattice_A) > floor:
            return moved
        framework_A, mobile_A = framework_A * 0.85, mobile_A * 0.85
    return moved


def packed(
    symbols: np.ndarray, density_g_per_cm3: float, rng: np.random.Generator, floor: float, sweeps: int = 250
) -> tuple[np.ndarray, np.ndarray]:
    """A random packing: points thrown into a box of the given density and pushed apart until no contact is too short.

    Returns:
        positions (N, 3) and the lattice (3, 3) of a box whose edges differ by up to a third. Contacts end at ``floor``
        of their natural distance, or somewhat below when the density leaves no room for that.
    """
    from ase.data import atomic_masses, atomic_numbers

    mass_amu = sum(atomic_masses[atomic_numbers[symbol]] for symbol in symbols)
    volume_A3 = mass_amu * G_PER_CM3_PER_AMU_PER_A3 / density_g_per_cm3
    edges = rng.uniform(0.85, 1.18, 3)
    lattice = np.diag(edges * (volume_A3 / edges.prod()) ** (1 / 3))
    positions = rng.random((len(symbols), 3)) @ lattice
    for _ in range(sweeps):
        i, j, vectors, distances = _pairs(positions, lattice)
        wanted = natural_distances_A(symbols, i, j) * floor if len(i) else np.zeros(0)
        close = distances < wanted
        if not close.any():
            break
        away = vectors[close] / np.maximum(distances[close], 1e-3)[:, None]
        push = np.zeros_like(positions)
        np.add.at(push, i[close], -0.35 * (wanted - distances)[close][:, None] * away)
        positions = positions + push
    return positions, lattice


def _pairs(positions_A: np.ndarray, lattice_A: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Every pair within reach, both ways: i, j, vectors from i to j (P, 3), distances (P,)."""
    from ase.neighborlist import primitive_neighbor_list

    i, j, vectors, distances = primitive_neighbor_list(
        "ijDd", (True, True, True), lattice_A, positions_A, _REACH_A, numbers=np.ones(len(positions_A), int)
    )
    return i, j, vectors, distances
