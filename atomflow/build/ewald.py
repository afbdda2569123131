"""Ewald interaction of unit point charges in a supercell, computed once per pair of base sites and translation.

In a supercell made of n copies of a base cell the interaction of two sites depends on the two base sites and on the
translation between their copies only. So the reciprocal sum is one small matrix product per residue class of
reciprocal vectors followed by a discrete Fourier transform over the copies: linear in n, not quadratic.

Formulas: P. P. Ewald, Ann. Phys. 369 (1921) 253; M. P. Allen, D. J. Tildesley, Computer Simulation of Liquids, 6.2.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from scipy.special import erfc

from atomflow.units import ELEMENTARY_CHARGE_C

VACUUM_PERMITTIVITY_F_PER_M = 8.8541878128e-12
#: e²/(4πε₀) in eV·Å.
COULOMB_EV_A = ELEMENTARY_CHARGE_C / (4 * np.pi * VACUUM_PERMITTIVITY_F_PER_M) * 1e10
#: Terms smaller than exp(-this) are left out of both sums.
_EXPONENT = 25.0
_REAL_CUTOFF_A = 8.0


def translation_interactions(
    base_fractional: np.ndarray, base_lattice_A: np.ndarray, repeats: tuple[int, int, int]
) -> np.ndarray:
    """Interaction energy of unit charges in the periodic supercell.

    Args:
        base_fractional: (B, 3) different points in fractional coordinates of the base cell.
        base_lattice_A: (3, 3) base lattice vectors as rows, Å.
        repeats: copies of the base cell along its three vectors; n is their product.

    Returns:
        (n, B, B) in eV: element [c, i, j] between point i of copy 0 and point j of copy c (c counted with the last
        direction fastest), all periodic images included. Element [0, i, i] is that of a charge with its own images.
        Charges q give the energy ½ Σ q_i q_j G_ij, right for neutral cells (k = 0 is left out).
    """
    size = np.array(repeats)
    eta = np.sqrt(_EXPONENT) / _REAL_CUTOFF_A
    lattice = base_lattice_A * size[:, None]
    result = _real_space(base_fractional, lattice, size, eta)
    result += _reciprocal_space(base_fractional, lattice, size, eta)
    result -= np.pi / (eta**2 * abs(np.linalg.det(lattice)))
    diagonal = np.arange(len(base_fractional))
    result[0, diagonal, diagonal] -= 2 * eta / np.sqrt(np.pi)
    return result * COULOMB_EV_A


def _copies(size: np.ndarray) -> np.ndarray:
    return np.array(list(product(*(range(n) for n in size))))


def _real_space(base: np.ndarray, lattice: np.ndarray, size: np.ndarray, eta: float) -> np.ndarray:
    """Σ erfc(ηr)/r over images within the cutoff, (n, B, B), without the term of a point with itself."""
    heights = 1.0 / np.linalg.norm(np.linalg.inv(lattice), axis=0)
    reach = np.ceil(_REAL_CUTOFF_A / heights + 0.5).astype(int)
    images = np.array(list(product(*(range(-n, n + 1) for n in reach)))) @ lattice
    result = np.zeros((int(np.prod(size)), len(base), len(base)))
    for copy, shift in enumerate(_copies(size)):
        difference = (base[None, :] - base[:, None] + shift) / size
        vectors = (difference - np.round(difference)) @ lattice
        for image in images:
            r2 = ((vectors + image) ** 2).sum(axis=-1)
            near = (r2 < _REAL_CUTOFF_A**2) & (r2 > 1e-12)
            r = np.sqrt(r2[near])
            result[copy][near] += erfc(eta * r) / r
    return result


def _reciprocal_space(base: np.ndarray, lattice: np.ndarray, size: np.ndarray, eta: float) -> np.ndarray:
    """(4π/V) Σ_k exp(-k²/4η²)/k² cos(k·r), (n, B, B)."""
    reciprocal = 2 * np.pi * np.linalg.inv(lattice).T
    k_max = 2 * eta * np.sqrt(_EXPONENT)
    reach = np.ceil(k_max * np.linalg.norm(lattice, axis=1) / (2 * np.pi)).astype(int)
    grid = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"), axis=-1).reshape(-1, 3)
    grid = grid[len(grid) // 2 + 1 :]  # one of k and -k; their terms are equal
    k2 = ((grid @ reciprocal) ** 2).sum(axis=1)
    grid, k2 = grid[k2 < k_max**2], k2[k2 < k_max**2]
    weight = 2 * 4 * np.pi / abs(np.linalg.det(lattice)) * np.exp(-k2 / (4 * eta**2)) / k2
    classes = np.ravel_multi_index(tuple((grid % size).T), tuple(size))
    copies = _copies(size)
    phase_of_copy = np.exp(2j * np.pi * (copies / size) @ copies.T)  # (translation, residue class)
    result = np.zeros((len(copies), len(base), len(base)))
    for residue in np.unique(classes):
        members = classes == residue
        waves = np.exp(2j * np.pi * grid[members] @ (base / size).T)  # (k, B)
        pairs = (waves.conj() * weight[members, None]).T @ waves
        result += (phase_of_copy[:, residue, None, None] * pairs).real
    return result
