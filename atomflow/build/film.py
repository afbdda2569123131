"""Film thickness, the paper's x, Na uptake and grain size: one formula, both ways.

x mol of (ZnO)₂(B₂O₃)₃ per mol of NZSP, each with y mol of Na₂O taken up, fill the volume fraction

    φ = x V_g / (V_NZSP + x V_g),   V_g = (M_ZBO + y M_Na2O) / ρ_film,   V_NZSP = M_NZSP / ρ_NZSP

of a dense body. Grains are cubes of edge d (with their share of film), so a volume V holds boundaries of area 3V/d, and
a film of thickness t on all of them fills 3t/d:

    t = φ d / 3.

This assumes that all glass lies on boundaries, none at corners or in pores, and t ≪ d. At x = 0.2, d = 1 µm and
3.1 g/cm³: V_g = 371.6/3.1 = 119.9, V_NZSP = 530.5/3.244 = 163.5 cm³/mol, φ = 0.128, t = 42.6 nm.
"""

from __future__ import annotations

from atomflow.build.glass import DENSITY_G_PER_CM3, SODIUM_OXIDE, UNIT
from atomflow.errors import InputError

NZSP = {"Na": 3, "Zr": 2, "Si": 2, "P": 1, "O": 12}
#: Theoretical density of Na3Zr2Si2PO12 that the publication uses.
NZSP_DENSITY_G_PER_CM3 = 3.244
#: Boundary area per volume of cubes of edge d, times d.
AREA_FACTOR = 3.0


def film_thickness_from_x(
    x: float, grain_size: float, na_uptake: float = 0.0, density: float = DENSITY_G_PER_CM3
) -> float:
    """Thickness of the film on every boundary, in the unit of ``grain_size``.

    Args:
        x: mol of (ZnO)₂(B₂O₃)₃ per mol of NZSP.
        grain_size: edge of the cubic grains.
        na_uptake: y, mol of Na₂O per mol of (ZnO)₂(B₂O₃)₃.
        density: of the film, g/cm³.
    """
    if x < 0 or grain_size <= 0 or na_uptake < 0 or density <= 0:
        raise InputError("film thickness: x and na_uptake cannot be negative, grain size and density are above zero")
    filled = x * film_volume_cm3_per_mol(na_uptake, density)
    return filled / (filled + nzsp_volume_cm3_per_mol()) * grain_size / AREA_FACTOR


def x_from_film_thickness(
    thickness: float, grain_size: float, na_uptake: float = 0.0, density: float = DENSITY_G_PER_CM3
) -> float:
    """The x at which grains of this size have a film of this thickness (same unit); the inverse of the above."""
    if thickness < 0 or grain_size <= 0 or na_uptake < 0 or density <= 0:
        raise InputError("x: thickness and na_uptake cannot be negative, grain size and density are above zero")
    fraction = AREA_FACTOR * thickness / grain_size
    if fraction >= 1:
        raise InputError(f"a film of {thickness:g} leaves nothing of grains of {grain_size:g}: three times the "
                         "thickness must be less than the grain size")  # fmt: skip
    return fraction / (1 - fraction) * nzsp_volume_cm3_per_mol() / film_volume_cm3_per_mol(na_uptake, density)


def film_volume_cm3_per_mol(na_uptake: float, density: float) -> float:
    """V_g of the formula."""
    return (_molar_mass(UNIT) + na_uptake * _molar_mass(SODIUM_OXIDE)) / density


def nzsp_volume_cm3_per_mol() -> float:
    """V_NZSP of the formula."""
    return _molar_mass(NZSP) / NZSP_DENSITY_G_PER_CM3


def _molar_mass(composition: dict[str, int]) -> float:
    from ase.data import atomic_masses, atomic_numbers

    return float(sum(n * atomic_masses[atomic_numbers[symbol]] for symbol, n in composition.items()))
