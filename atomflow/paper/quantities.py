"""Derived quantities of the publication, one function each: printed values in, one number out.

:mod:`atomflow.paper.derived` tabulates them and :mod:`atomflow.paper.checks` judges with them. What had to be assumed
stands here as a named constant.
"""

from __future__ import annotations

import math
from itertools import product

from atomflow.paper import formulas
from atomflow.paper.model import Paper
from atomflow.units import A3_IN_CM3, BOLTZMANN_EV_PER_K, KELVIN_AT_0_CELSIUS

NZSP = {"Na": 3, "Zr": 2, "Si": 2, "P": 1, "O": 12}
ZBO = {"Zn": 2, "B": 6, "O": 11}
NVCP = {"Na": 3, "V": 1.5, "Cr": 0.5, "P": 3, "O": 12}
X_GRID = (0.0, 0.1, 0.2, 0.3)

#: "Room T" of the conductivities, taken to be the 25 °C of the other measurements.
ROOM_K = 25.0 + KELVIN_AT_0_CELSIUS
#: No density of a homogeneous 40 ZnO - 60 B2O3 glass is known: an estimate, with the range it is believed in.
GLASS_DENSITY_G_PER_CM3 = (2.85, 2.70, 3.00)
#: bcc Na at room temperature.
SODIUM_DENSITY_G_PER_CM3 = 0.968
#: Monoclinic ZrO2, the second phase of the sealed samples.
ZIRCONIA_DENSITY_G_PER_CM3 = 5.8


def name_x(stem: str, x: float) -> str:
    """``sig.t`` and 0.2 → ``sig.t_x0.2``, as the ids are written."""
    return f"{stem}_x{x:g}"


def sodium_density_per_cm3(paper: Paper) -> float:
    """Na ions per cm³: three per formula unit, volume from the theoretical density."""
    return NZSP["Na"] / (formula_volume_A3(paper) * A3_IN_CM3)


def formula_volume_A3(paper: Paper) -> float:
    """Volume of one Na3Zr2Si2PO12 at the printed theoretical density."""
    return formulas.formula_volume_A3(formulas.molar_mass_g_per_mol(NZSP), paper.number("dens.theory", "g/cm3"))


def charge_diffusivity_cm2_per_s(paper: Paper, conductivity_S_per_cm: float) -> float:
    """Nernst-Einstein at 25 °C with all Na counted."""
    return formulas.charge_diffusivity_cm2_per_s(conductivity_S_per_cm, sodium_density_per_cm3(paper), ROOM_K)


def total_conductivity_S_per_cm(paper: Paper, x: float) -> float:
    return paper.number(name_x("sig.t", x), "S/cm")


def thickness_from_resistances_cm(paper: Paper) -> float:
    """The thickness of the bare disc that its own resistances ask for: σ_t (R_b + R_gb)."""
    resistance = paper.number("sym.Rb_x0", "ohm cm2") + paper.number("sym.Rgb_x0", "ohm cm2")
    return total_conductivity_S_per_cm(paper, 0.0) * resistance


def thickness_power_of_ten(paper: Paper) -> float:
    """The power of ten by which the printed thicknesses are off: 10 as printed, 1 if they agree within 5 %.

    Where no power of ten mends them, 1: they are used as printed.
    """
    ratio = thickness_from_resistances_cm(paper) / paper.number("sig.L_x0", "cm")
    power = 10.0 ** round(math.log10(ratio))
    return power if abs(ratio / power - 1.0) < 0.05 else 1.0


def thickness_cm(paper: Paper, x: float) -> float:
    """The disc thickness with its unit mended."""
    return paper.number(name_x("sig.L", x), "cm") * thickness_power_of_ten(paper)


def areal_resistance_ohm_cm2(paper: Paper, x: float) -> float:
    """Grain + boundary resistance of a disc per area, L/σ_t, with the thickness mended."""
    return thickness_cm(paper, x) / total_conductivity_S_per_cm(paper, x)


def areal_resistance_as_printed_ohm_cm2(paper: Paper, x: float) -> float:
    """L/σ_t with the thickness taken as printed."""
    return paper.number(name_x("sig.L", x), "cm") / total_conductivity_S_per_cm(paper, x)


def apparent_bulk_S_per_cm(paper: Paper) -> float:
    """L/R_b of the bare disc; of a body with a quarter of pores, not corrected."""
    return thickness_cm(paper, 0.0) / paper.number("sym.Rb_x0", "ohm cm2")


def apparent_boundary_S_per_cm(paper: Paper) -> float:
    """L/R_gb of the bare disc: macroscopic, that is per thickness of the disc and not of the boundaries."""
    return thickness_cm(paper, 0.0) / paper.number("sym.Rgb_x0", "ohm cm2")


def dense_bulk_S_per_cm(paper: Paper) -> tuple[float, float]:
    """Bulk conductivity of the bare sample without its pores: (Maxwell, Bruggeman)."""
    porous, dense = apparent_bulk_S_per_cm(paper), paper.number("dens.rel_x0", "1")
    return formulas.maxwell_dense(porous, dense), formulas.bruggeman_dense(porous, dense)


def electronic_S_per_cm(paper: Paper, x: float) -> float:
    """What the printed electron share of the current would be as a conductivity."""
    return paper.number(name_x("sig.e", x), "1") * total_conductivity_S_per_cm(paper, x)


def electrolyte_resistance_ohm_cm2(paper: Paper) -> float:
    """R_SE of the full cell by difference: R_total - R_ct,anodic - R_ct,cathodic."""
    return paper.number("fc.Rtot", "ohm cm2") - sum(paper.number(n, "ohm cm2") for n in ("fc.Rct_an", "fc.Rct_cat"))


def impedance_range_K(paper: Paper) -> tuple[float, float]:
    """Temperatures between which the full cell's impedance was taken."""
    cold, warm = paper["fc.Trange"].numbers()
    return cold + KELVIN_AT_0_CELSIUS, warm + KELVIN_AT_0_CELSIUS


def impedance_span_per_eV(paper: Paper) -> float:
    """1/kT at the cold end minus that at the warm end."""
    cold, warm = impedance_range_K(paper)
    return formulas.inverse_kT_per_eV(cold) - formulas.inverse_kT_per_eV(warm)


def sigmaT_shift_eV(paper: Paper) -> float:
    """Ea from ln(σT) minus Ea from ln σ: k times the mean temperature of the range."""
    return BOLTZMANN_EV_PER_K * sum(impedance_range_K(paper)) / 2.0


def warm_resistance_ohm_cm2(paper: Paper, resistance: str, energy: str) -> float:
    """A full-cell resistance at the warm end of the range, by one of the printed energies."""
    return formulas.activated(
        paper.number(resistance, "ohm cm2"), paper.number(energy, "eV"), *impedance_range_K(paper)
    )


def electrolyte_energy_literal_eV(paper: Paper) -> tuple[float | None, float | None, float | None]:
    """Ea of R_SE that makes the literal reading add up: (value, low, high over the rounding of the three energies).

    None in all three places when R_SE would turn negative for some combination: the reading would be impossible.
    """
    resistances = [paper.number(n, "ohm cm2") for n in ("fc.Rct_an", "fc.Rct_cat")]
    total, ends = paper.number("fc.Rtot", "ohm cm2"), impedance_range_K(paper)

    def needed(anodic: float, cathodic: float, sum_: float) -> float | None:
        return formulas.missing_energy_eV(resistances, [anodic, cathodic], total, sum_, *ends)

    names = ("fc.Ea1", "fc.Ea2", "fc.Ea3")
    centre = needed(*(paper.number(n, "eV") for n in names))
    corners = [needed(*combination) for combination in product(*(paper[n].interval() for n in names))]
    found = [corner for corner in corners if corner is not None]
    if centre is None or len(found) < len(corners):
        return None, None, None
    return centre, min(found), max(found)


def total_energy_alternative_eV(paper: Paper) -> float:
    """Ea that R_total would show under the alternative reading (R_SE, R_ct,anodic, R_ct,cathodic)."""
    parts = [electrolyte_resistance_ohm_cm2(paper), *(paper.number(n, "ohm cm2") for n in ("fc.Rct_an", "fc.Rct_cat"))]
    energies = [paper.number(n, "eV") for n in ("fc.Ea1", "fc.Ea2", "fc.Ea3")]
    return formulas.series_energy_eV(parts, energies, *impedance_range_K(paper))


def glass_fraction(paper: Paper, x: float, density_g_per_cm3: float) -> tuple[float, float]:
    """(mass, volume) fraction of the glass when x is mol of ZBO per mol of NZSP, for an assumed glass density."""
    glass, crystal = x * formulas.molar_mass_g_per_mol(ZBO), formulas.molar_mass_g_per_mol(NZSP)
    by_volume = formulas.volume_fraction(glass, density_g_per_cm3, crystal, paper.number("dens.theory", "g/cm3"))
    return glass / (glass + crystal), by_volume


def mixture_density_g_per_cm3(paper: Paper, x: float, glass_density_g_per_cm3: float) -> float:
    """Density of a pore-free body of NZSP and glass."""
    by_volume = glass_fraction(paper, x, glass_density_g_per_cm3)[1]
    return by_volume * glass_density_g_per_cm3 + (1.0 - by_volume) * paper.number("dens.theory", "g/cm3")


def sodium_per_formula(capacity_mAh_per_g: float) -> float:
    """Na per formula unit of the cathode for a specific capacity."""
    return capacity_mAh_per_g / formulas.capacity_mAh_per_g(1.0, formulas.molar_mass_g_per_mol(NVCP))


def mean_discharge_V(paper: Paper) -> float:
    """Mean discharge voltage for two Na: 1.5 on the V4+/V3+ plateau, then 0.5 on V5+/V4+."""
    lower = NVCP["V"] / 2.0
    return lower * paper.number("fc.Vdis_lo", "V") + (1.0 - lower) * paper.number("fc.Vdis_hi", "V")


def ohmic_current_mA_per_cm2(paper: Paper) -> float:
    """Current at which 2 j R_total is the whole of the largest charge-discharge polarisation."""
    ohm = paper.number("fc.Rtot", "ohm cm2")
    return paper.number("fc.dV", "V") / (2.0 * ohm) * 1e3


def loading_at_ccd_mg_per_cm2(paper: Paper) -> float:
    """Cathode loading at which 10C is the critical current density."""
    top_rate = max(paper["fc.rates"].numbers())
    return paper.number("ccd.x02", "mA/cm2") / (top_rate * paper.number("fc.1C", "mA/g")) * 1e3
