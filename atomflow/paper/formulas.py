"""The formulas behind the derived values: small functions of plain numbers, units in names, sources in docstrings."""

from __future__ import annotations

import math
from collections.abc import Mapping

from atomflow.units import (
    A3_IN_CM3,
    AVOGADRO_PER_MOL,
    BOLTZMANN_EV_PER_K,
    BOLTZMANN_J_PER_K,
    ELEMENTARY_CHARGE_C,
    FARADAY_C_PER_MOL,
    SECONDS_PER_HOUR,
)

#: g/mol, abridged standard atomic weights (IUPAC 2021).
ATOMIC_WEIGHTS = {
    "B": 10.81, "O": 15.999, "Na": 22.98977, "Si": 28.085, "P": 30.97376,
    "V": 50.9415, "Cr": 51.9961, "Zn": 65.38, "Zr": 91.224,
}  # fmt: skip


def molar_mass_g_per_mol(composition: Mapping[str, float]) -> float:
    """Sum of atomic weights over a formula unit, e.g. ``{"Na": 3, "Zr": 2, ...}``."""
    return sum(ATOMIC_WEIGHTS[element] * count for element, count in composition.items())


def formula_volume_A3(mass_g_per_mol: float, density_g_per_cm3: float) -> float:
    """Volume of one formula unit, M / (N_A ρ)."""
    return mass_g_per_mol / (AVOGADRO_PER_MOL * density_g_per_cm3) / A3_IN_CM3


def charge_diffusivity_cm2_per_s(conductivity_S_per_cm: float, density_per_cm3: float, temperature_K: float) -> float:
    """Nernst-Einstein, D_σ = σ kT / (n e²), for monovalent carriers all of which are counted in n.

    The result is the diffusivity of charge. Tracer diffusivity is the Haven ratio times it.
    """
    return conductivity_S_per_cm * BOLTZMANN_J_PER_K * temperature_K / (density_per_cm3 * ELEMENTARY_CHARGE_C**2)


def maxwell_dense(conductivity: float, relative_density: float) -> float:
    """Conductivity of the solid from that of a body with dilute round pores: σ / (2p / (3 - p)) (Maxwell 1873)."""
    return conductivity * (3.0 - relative_density) / (2.0 * relative_density)


def bruggeman_dense(conductivity: float, relative_density: float) -> float:
    """Conductivity of the solid from that of a porous body by Bruggeman's exponent: σ / p^1.5 (Bruggeman 1935)."""
    return conductivity / relative_density**1.5


def inverse_kT_per_eV(temperature_K: float) -> float:
    """1/(kT)."""
    return 1.0 / (BOLTZMANN_EV_PER_K * temperature_K)


def activated(value: float, energy_eV: float, reference_K: float, temperature_K: float) -> float:
    """A resistance ``value`` at ``reference_K``, taken to ``temperature_K`` by its activation energy."""
    return value * math.exp(energy_eV * (inverse_kT_per_eV(temperature_K) - inverse_kT_per_eV(reference_K)))


def series_energy_eV(resistances: list[float], energies_eV: list[float], cold_K: float, warm_K: float) -> float:
    """Activation energy of a sum of activated resistances, from its ends: ln(ΣR(cold)/ΣR(warm)) / Δ(1/kT).

    ``resistances`` are those at ``cold_K``. A least-squares line through points between differs by a few meV.
    """
    warm = sum(activated(r, e, cold_K, warm_K) for r, e in zip(resistances, energies_eV, strict=True))
    return math.log(sum(resistances) / warm) / (inverse_kT_per_eV(cold_K) - inverse_kT_per_eV(warm_K))


def missing_energy_eV(
    resistances: list[float], energies_eV: list[float], total: float, total_eV: float, cold_K: float, warm_K: float
) -> float | None:
    """Activation energy of what is left of ``total`` after ``resistances``, all at ``cold_K``.

    None when the difference is negative at either end: then the given numbers contradict each other.
    """
    left_cold = total - sum(resistances)
    left_warm = activated(total, total_eV, cold_K, warm_K) - sum(
        activated(r, e, cold_K, warm_K) for r, e in zip(resistances, energies_eV, strict=True)
    )
    if left_cold <= 0 or left_warm <= 0:
        return None
    return math.log(left_cold / left_warm) / (inverse_kT_per_eV(cold_K) - inverse_kT_per_eV(warm_K))


def capacity_mAh_per_g(charges: float, mass_g_per_mol: float) -> float:
    """Specific capacity for ``charges`` electrons per formula unit, Faraday's law."""
    return charges * FARADAY_C_PER_MOL / (SECONDS_PER_HOUR * 1e-3 * mass_g_per_mol)


def plated_thickness_um(charge_mAh_per_cm2: float, mass_g_per_mol: float, density_g_per_cm3: float) -> float:
    """Thickness of a dense monovalent metal plated with a charge per area."""
    grams_per_cm2 = charge_mAh_per_cm2 / capacity_mAh_per_g(1.0, mass_g_per_mol)
    return grams_per_cm2 / density_g_per_cm3 * 1e4


def volume_fraction(mass: float, density: float, other_mass: float, other_density: float) -> float:
    """Volume fraction of the first of two phases given by mass and density."""
    volume, other_volume = mass / density, other_mass / other_density
    return volume / (volume + other_volume)
