"""Bringing atoms out of place on purpose: strain, rattling, and random packings without close contacts. All seeded."""

from __future__ import annotations

import numpy as np

from atomflow.build.packing import box_of_density, contact_ratio, push_apart


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
    volume_A3 = box_of_density(symbols, density_g_per_cm3)
    edges = rng.uniform(0.85, 1.18, 3)
    lattice = np.diag(edges * (volume_A3 / edges.prod()) ** (1 / 3))
    return push_apart(symbols, rng.random((len(symbols), 3)) @ lattice, lattice, floor, sweeps), lattice
