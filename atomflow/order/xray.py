"""X-ray powder patterns of cells and of mixtures by weight, over pymatgen's structure factors.

The line of phase p at 2θ in a flat, thick sample is

    I ∝ (w_p/ρ_p) · (1/V_p²) · Σ |F_hkl|² · (1 + cos² 2θ)/(sin² θ cos θ)

(w weight fraction, ρ density, V cell volume, the sum over all reflections at that angle; e.g. Hubbard & Snyder, Powder
Diffr. 3 (1988) 74, eq. for the reference intensity ratio). The absorption of the whole sample is common to all its
lines and drops out. Left out: microabsorption, texture, vibration (no Debye–Waller factors), anomalous dispersion
(soft crystals and Zn come out too strong, see docs/xrd.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atomflow.cell import Cell
from atomflow.errors import InputError, MissingPackageError

#: Cu Kα wavelengths in Å (Hölzer et al., Phys. Rev. A 56 (1997) 4554, rounded; the mean is 2:1).
WAVELENGTHS_A = {"CuKa1": 1.54056, "CuKa2": 1.54439, "CuKa": 1.54184}
#: The doublet of a laboratory tube: wavelength → share of the intensity.
DOUBLET = {"CuKa1": 2.0 / 3.0, "CuKa2": 1.0 / 3.0}


@dataclass(frozen=True)
class Lines:
    """Reflections of one phase at one wavelength.

    Attributes:
        two_theta_deg: (n,). hkl: the reflections at each, in the indices of the cell given.
        strength: (n,) Σ|F|²·LP/(V²ρ) in electrons²·cm³/(Å⁶ g): the intensity per weight of this phase.
    """

    two_theta_deg: np.ndarray
    hkl: tuple[str, ...]
    strength: np.ndarray

    @property
    def relative(self) -> np.ndarray:
        """(n,) intensities with the strongest at 100."""
        return 100.0 * self.strength / self.strength.max()


@dataclass(frozen=True)
class Phase:
    """One component of a sample: its name, cell and weight fraction."""

    name: str
    cell: Cell
    weight: float


def lines(cell: Cell, wavelength_A: float, low_deg: float = 10.0, high_deg: float = 80.0) -> Lines:
    """Reflections of a cell between two angles.

    Raises:
        InputError: angles that make no sense, no reflection between them, or an element without scattering factors.
    """
    if not 0.0 < low_deg < high_deg <= 175.0:
        raise InputError(f"2θ runs from {low_deg:g} to {high_deg:g}°: give 0 < from < to <= 175")
    try:
        from pymatgen.analysis.diffraction.xrd import XRDCalculator
    except ImportError:
        raise MissingPackageError("X-ray patterns need pymatgen: pip install 'atomflow[build]'") from None
    structure: Any = cell.to_pymatgen()
    structure.remove_site_property("region")
    try:
        pattern = XRDCalculator(wavelength_A).get_pattern(structure, scaled=False, two_theta_range=(low_deg, high_deg))
    except ValueError as error:
        if "scattering coefficients" in str(error):
            raise InputError(f"{cell.formula}: {error}") from None
        raise InputError(f"there is no reflection of {cell.formula} between {low_deg:g} and {high_deg:g}°") from None
    if len(pattern.x) == 0:
        raise InputError(f"there is no reflection of {cell.formula} between {low_deg:g} and {high_deg:g}°")
    names = tuple(" ".join(_index(family["hkl"]) for family in families) for families in pattern.hkls)
    strength = np.asarray(pattern.y) / (cell.volume_A3**2 * cell.density_g_per_cm3)
    return Lines(np.asarray(pattern.x), names, strength)


def _index(hkl: Sequence[int]) -> str:
    """``(-1 1 1)``; four hexagonal indices are written with three."""
    three = (hkl[0], hkl[1], hkl[3]) if len(hkl) == 4 else tuple(hkl)
    return "(" + " ".join(str(int(i)) for i in three) + ")"


def check_weights(phases: Sequence[Phase]) -> tuple[Phase, ...]:
    """The phases with weights that add up to one: the first takes what the others leave.

    Raises:
        InputError: a negative weight, or the others take everything.
    """
    taken = 0.0
    for phase in phases[1:]:
        if not 0.0 < phase.weight < 1.0:
            raise InputError(f"the weight fraction of {phase.name} must lie between 0 and 1, not {phase.weight:g}")
        taken += phase.weight
    if taken >= 1.0:
        raise InputError(f"the weight fractions of the admixtures add up to {taken:g}: nothing is left for "
                         f"{phases[0].name}")
    first = phases[0]
    return (Phase(first.name, first.cell, 1.0 - taken), *phases[1:])


@dataclass(frozen=True)
class Profile:
    """A pattern as a diffractometer draws it.

    Attributes:
        two_theta_deg: (n,). total: (n,) with its maximum at 100. parts: {phase: (n,)} on the same scale.
    """

    two_theta_deg: np.ndarray
    total: np.ndarray
    parts: dict[str, np.ndarray]


def profile(
    phases: Sequence[Phase],
    radiation: dict[str, float] | None = None,
    fwhm_deg: float = 0.12,
    lorentz_share: float = 0.5,
    low_deg: float = 10.0,
    high_deg: float = 80.0,
    step_deg: float = 0.02,
) -> Profile:
    """The broadened pattern of a sample: every line a pseudo-Voigt of one width.

    Args:
        radiation: {name in :data:`WAVELENGTHS_A`: share of the intensity}; the Cu Kα doublet when not given.
        fwhm_deg: full width at half maximum. lorentz_share: 0 Gaussian, 1 Lorentzian.
    """
    if not 0 < step_deg <= fwhm_deg:
        raise InputError(f"the step ({step_deg:g}°) must be positive and no wider than the lines ({fwhm_deg:g}°)")
    if not 0 <= lorentz_share <= 1:
        raise InputError(f"the Lorentzian share must lie between 0 and 1, not {lorentz_share:g}")
    grid = np.arange(low_deg, high_deg + 0.5 * step_deg, step_deg)
    margin = 20.0 * fwhm_deg
    parts: dict[str, np.ndarray] = {}
    for phase in check_weights(phases):
        curve = np.zeros(len(grid))
        for name, share in (radiation or DOUBLET).items():
            found = lines(phase.cell, WAVELENGTHS_A[name], max(1.0, low_deg - margin), min(175.0, high_deg + margin))
            for centre, strength in zip(found.two_theta_deg, found.strength, strict=True):
                curve += phase.weight * share * strength * pseudo_voigt(grid - centre, fwhm_deg, lorentz_share)
        parts[phase.name] = parts.get(phase.name, 0.0) + curve
    total = np.sum(list(parts.values()), axis=0)
    scale = 100.0 / total.max()
    return Profile(grid, total * scale, {name: curve * scale for name, curve in parts.items()})


def pseudo_voigt(x: np.ndarray, fwhm: float, lorentz_share: float) -> np.ndarray:
    """Unit-area line of full width ``fwhm``: η Lorentzian + (1 − η) Gaussian."""
    gauss = np.sqrt(4 * np.log(2) / np.pi) / fwhm * np.exp(-4 * np.log(2) * (x / fwhm) ** 2)
    lorentz = fwhm / (2 * np.pi) / (x**2 + 0.25 * fwhm**2)
    return lorentz_share * lorentz + (1.0 - lorentz_share) * gauss
