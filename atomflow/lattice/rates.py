"""Harmonic rate theory: from a barrier and two Hessians to a rate and its diffusivity.

    k = ν* exp(−E_b/kT),   ν* = Π ν_i(minimum) / Π' ν_j(saddle)      (Vineyard, J. Phys. Chem. Solids 3 (1957) 121)

the saddle's product without its one unstable mode. D = z a² k/6 for hops of length a into z equal vacant sites: an
uncorrelated walk of one ion; concerted hops, which NZSP has, are not in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from atomflow.errors import RunFailed
from atomflow.units import ACCELERATION_A_PER_FS2, BOLTZMANN_EV_PER_K, CM2_PER_S_PER_A2_PER_PS

#: ω² in (eV/Å²)/amu → THz of ν = ω/2π
_THZ = np.sqrt(ACCELERATION_A_PER_FS2) * 1e3 / (2.0 * np.pi)


def hessian(forces: Callable[[np.ndarray], np.ndarray], positions_A: np.ndarray, atoms: Sequence[int],
            step_A: float = 0.01, progress: Callable[[int, int], None] | None = None) -> np.ndarray:
    """(3m, 3m) second derivatives in eV/Å² over the chosen atoms, all others held; central differences."""
    chosen = list(atoms)
    rows = []
    for count, (atom, axis) in enumerate((a, x) for a in chosen for x in range(3)):
        ahead, back = positions_A.copy(), positions_A.copy()
        ahead[atom, axis] += step_A
        back[atom, axis] -= step_A
        rows.append((forces(back) - forces(ahead))[chosen].ravel() / (2.0 * step_A))
        if progress is not None:
            progress(count + 1, 3 * len(chosen))
    matrix = np.array(rows)
    return 0.5 * (matrix + matrix.T)


def frequencies_THz(hessian_eV_per_A2: np.ndarray, masses_amu: np.ndarray) -> np.ndarray:
    """(3m,) sorted; imaginary ones negative. ``masses_amu``: (m,)."""
    weight = np.repeat(masses_amu, 3) ** -0.5
    squares = np.linalg.eigvalsh(hessian_eV_per_A2 * np.outer(weight, weight))
    return np.sign(squares) * np.sqrt(np.abs(squares)) * _THZ


def vineyard_THz(minimum_THz: np.ndarray, saddle_THz: np.ndarray) -> float:
    """ν* from the frequencies at the minimum and at the saddle.

    Raises:
        RunFailed: the minimum has an unstable mode, or the saddle not exactly one.
    """
    if (minimum_THz <= 0).any():
        raise RunFailed(f"the starting site is no minimum: {int((minimum_THz <= 0).sum())} unstable modes; "
                        "relax it further (--fmax)")
    if (saddle_THz <= 0).sum() != 1:
        raise RunFailed(f"the top of the path has {int((saddle_THz <= 0).sum())} unstable modes, a saddle has one; use "
                        "more images or a smaller --fmax")
    return float(np.exp(np.log(minimum_THz).sum() - np.log(saddle_THz[saddle_THz > 0]).sum()))


def rate_per_ps(attempt_THz: float, barrier_eV: float, temperature_K: float) -> float:
    """k in 1/ps."""
    return attempt_THz * float(np.exp(-barrier_eV / (BOLTZMANN_EV_PER_K * temperature_K)))


def diffusivity_cm2_per_s(rate: float, hop_A: float, targets: int) -> float:
    """z a² k/6."""
    return targets * hop_A**2 * rate / 6.0 * CM2_PER_S_PER_A2_PER_PS
