"""The table of derived values: what follows from the printed numbers, computed anew at every call.

Nothing here is stored. Each entry names the values it rests on and says in one line how it is computed; the functions
are in :mod:`atomflow.paper.quantities`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from atomflow.paper import formulas
from atomflow.paper import quantities as q
from atomflow.paper.model import Paper, load
from atomflow.units import SIEMENS_PER_MILLISIEMENS


@dataclass(frozen=True)
class Derived:
    """A computed value; ``low`` and ``high`` span what was assumed or rounded, where that matters."""

    id: str
    quantity: str
    value: float | None
    unit: str
    formula: str
    inputs: tuple[str, ...]
    note: str = ""
    low: float | None = None
    high: float | None = None

    def text(self) -> str:
        if self.value is None:
            return "impossible"
        span = "" if self.low is None or self.high is None else f" ({self.low:.4g} - {self.high:.4g})"
        return f"{self.value:.4g}{span}{'' if self.unit == '1' else ' ' + self.unit}"

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "inputs": list(self.inputs)}


def derived(paper: Paper | None = None) -> dict[str, Derived]:
    """All derived values by id, computed from ``paper`` (the publication as printed when not given)."""
    paper = paper or load()
    found: dict[str, Derived] = {}
    for room in (_crystal, _pellets, _bare, _full_cell, _energies, _literature, _cathode, _plating, _glass):
        for item in room(paper):
            found[item.id] = item
    return found


def _crystal(paper: Paper) -> Iterator[Derived]:
    mass, volume = formulas.molar_mass_g_per_mol(q.NZSP), q.formula_volume_A3(paper)
    rho = ("dens.theory",)
    yield Derived("d.M", "molar mass of Na3Zr2Si2PO12", mass, "g/mol", "sum of atomic weights", ())
    yield Derived("d.V", "cell volume, Z = 4", 4 * volume, "A3", "4 M/(N_A ρ)", rho,
                  "PBE potentials give about 3 % more; say which cell a simulation used.")
    yield Derived("d.n", "Na density", q.sodium_density_per_cm3(paper), "1/cm3", "3 / (M/(N_A ρ))", rho)
    yield Derived("d.NEfac", "Nernst-Einstein factor D_σ/σ at 25 °C", q.charge_diffusivity_cm2_per_s(paper, 1.0),
                  "cm2/s per S/cm", "kT/(n e²), all Na counted", rho)


def _pellets(paper: Paper) -> Iterator[Derived]:
    for x in q.X_GRID:
        sigma, thick, electron = (q.name_x(stem, x) for stem in ("sig.t", "sig.L", "sig.e"))
        conductivity = q.total_conductivity_S_per_cm(paper, x)
        electronic = q.electronic_S_per_cm(paper, x)
        yield Derived(q.name_x("d.Dsig", x), f"charge diffusivity from the total conductivity, x = {x:g}, 25 °C",
                      q.charge_diffusivity_cm2_per_s(paper, conductivity), "cm2/s", "σ_t kT/(n e²)",
                      (sigma, "dens.theory"), "Grain and boundary; times the Haven ratio it is a tracer diffusivity.")
        yield Derived(q.name_x("d.R", x), f"area resistance of the disc, x = {x:g}",
                      q.areal_resistance_ohm_cm2(paper, x), "ohm cm2", "L/σ_t, thickness mended (INC-02)",
                      (thick, sigma))
        yield Derived(q.name_x("d.R_printed", x), f"area resistance with the thickness as printed, x = {x:g}",
                      q.areal_resistance_as_printed_ohm_cm2(paper, x), "ohm cm2", "L/σ_t, thickness as printed",
                      (thick, sigma))
        yield Derived(q.name_x("d.sig_e", x), f"apparent electronic conductivity, x = {x:g}",
                      electronic / SIEMENS_PER_MILLISIEMENS, "mS/cm", "share of electrons × σ_t", (electron, sigma),
                      "Impossible as a steady-state conductivity (INC-08).")
        yield Derived(q.name_x("d.sig_i", x), f"apparent ionic conductivity, x = {x:g}",
                      (conductivity - electronic) / SIEMENS_PER_MILLISIEMENS, "mS/cm", "σ_t - σ_e", (electron, sigma))


def _bare(paper: Paper) -> Iterator[Derived]:
    bulk = q.apparent_bulk_S_per_cm(paper)
    disc = ("sig.L_x0", "sym.Rb_x0", "sym.Rgb_x0", "sig.t_x0")
    dense = q.dense_bulk_S_per_cm(paper)
    yield Derived("d.L_x0", "thickness of the bare disc by its resistances", q.thickness_from_resistances_cm(paper),
                  "cm", "σ_t (R_b + R_gb)", disc[1:], "The printed 0.107 mm is this number in cm.")
    yield Derived("d.sig_b_x0", "apparent bulk conductivity of bare NZSP", bulk / SIEMENS_PER_MILLISIEMENS, "mS/cm",
                  "L/R_b, thickness mended", disc, "Of a body with 26 % pores, not corrected.")
    yield Derived("d.sig_gb_x0", "apparent macroscopic boundary conductivity of bare NZSP",
                  q.apparent_boundary_S_per_cm(paper) / SIEMENS_PER_MILLISIEMENS, "mS/cm", "L/R_gb", disc,
                  "Per thickness of the disc; the boundary's own is smaller by its share of the path.")
    for short, name, value in zip(("maxwell", "bruggeman"), ("Maxwell", "Bruggeman"), dense, strict=True):
        formula = "L/R_b / (2p/(3 - p))" if short == "maxwell" else "L/R_b / p^1.5"
        yield Derived(f"d.sig_b_x0_{short}", f"bulk conductivity of bare NZSP without its pores ({name})",
                      value / SIEMENS_PER_MILLISIEMENS, "mS/cm", formula, (*disc, "dens.rel_x0"))
    yield Derived("d.Dsig_b_x0", "charge diffusivity of the bare bulk term, 25 °C",
                  q.charge_diffusivity_cm2_per_s(paper, bulk), "cm2/s", "L/R_b kT/(n e²)", (*disc, "dens.theory"),
                  "High end: pores corrected by Bruggeman.", q.charge_diffusivity_cm2_per_s(paper, bulk),
                  q.charge_diffusivity_cm2_per_s(paper, max(dense)))
    yield Derived("d.NZSP1250", "R_int of NZSP-1250, at least",
                  paper.number("sym.ratio25", "1") * paper.number("sym.Rint_x02", "ohm cm2"), "ohm cm2", "25 R_int",
                  ("sym.ratio25", "sym.Rint_x02"))


def _full_cell(paper: Paper) -> Iterator[Derived]:
    parts = ("fc.Rtot", "fc.Rct_an", "fc.Rct_cat")
    missing = q.electrolyte_resistance_ohm_cm2(paper)
    yield Derived("d.RSE", "R_SE of the full cell", missing, "ohm cm2", "R_total - R_ct,anodic - R_ct,cathodic", parts,
                  "Not printed anywhere.")
    yield Derived("d.L_SE", "thickness implied by R_SE and the conductivity of x = 0.2",
                  missing * q.total_conductivity_S_per_cm(paper, 0.2) * 10.0, "mm", "R_SE σ_t", (*parts, "sig.t_x0.2"),
                  "Neither 0.090 mm nor 0.90 mm.")
    yield Derived("d.invkT", "span of 1/kT of the impedance range", q.impedance_span_per_eV(paper), "1/eV",
                  "1/kT(cold) - 1/kT(warm)", ("fc.Trange",), "5 % on each end resistance is ±0.017 eV.")
    for resistance, energy, name in (("fc.Rct_an", "fc.Ea1", "R_ct,anodic"), ("fc.Rct_cat", "fc.Ea2", "R_ct,cathodic"),
                                     ("fc.Rtot", "fc.Ea3", "R_total")):
        yield Derived(f"d.R60_{resistance.removeprefix('fc.')}", f"{name} at the warm end, literal reading",
                      q.warm_resistance_ohm_cm2(paper, resistance, energy), "ohm cm2", "R exp(-Ea Δ(1/kT))",
                      (resistance, energy, "fc.Trange"))


def _energies(paper: Paper) -> Iterator[Derived]:
    names = ("fc.Rtot", "fc.Rct_an", "fc.Rct_cat", "fc.Ea1", "fc.Ea2", "fc.Ea3", "fc.Trange")
    value, low, high = q.electrolyte_energy_literal_eV(paper)
    yield Derived("d.Ea_SE_literal", "Ea of R_SE that the literal reading needs", value, "eV",
                  "R_SE = R_total - R_ct,anodic - R_ct,cathodic at both ends; range: energies ± rounding", names,
                  "An ordinary value for NZSP.", low, high)
    yield Derived("d.Ea_tot_alternative", "Ea of R_total that the alternative reading implies",
                  q.total_energy_alternative_eV(paper), "eV", "ln(ΣR(cold)/ΣR(warm)) / Δ(1/kT)", names,
                  "Not printed, so it cannot be tested.")
    yield Derived("d.sigmaT_shift", "Ea of σT minus Ea of σ over the range", q.sigmaT_shift_eV(paper), "eV", "k <T>",
                  ("fc.Trange",), "The convention is not stated: a diffusivity's Ea pairs with that of σT.")


def _literature(paper: Paper) -> Iterator[Derived]:
    for name in ("stoichiometric", "na2o", "na_rich", "x24"):
        anchor = paper.anchor(f"lit.sigma_bulk_{name}")
        sigma = anchor.interval()[0] * SIEMENS_PER_MILLISIEMENS
        yield Derived(f"d.Dsig_lit_{name}", f"charge diffusivity from the {anchor.quantity}, 25 °C",
                      q.charge_diffusivity_cm2_per_s(paper, sigma), "cm2/s", "σ kT/(n e²), Na density of NZSP",
                      (anchor.id, "dens.theory"))


def _cathode(paper: Paper) -> Iterator[Derived]:
    mass = formulas.molar_mass_g_per_mol(q.NVCP)
    yield Derived("d.NVCP_M", "molar mass of Na3V1.5Cr0.5(PO4)3", mass, "g/mol", "sum of atomic weights", ())
    yield Derived("d.NVCP_2e", "two-Na capacity of the cathode", formulas.capacity_mAh_per_g(2.0, mass), "mA h/g",
                  "2 F/M", ())
    for source, name in (("fc.1C", "1C"), ("fc.Qch1", "charge"), ("fc.Qdis1", "discharge"), ("fc.Q10C", "10C")):
        yield Derived(f"d.NVCP_Na_{name}", f"Na per formula unit for {paper[source].quantity}",
                      q.sodium_per_formula(paper[source].number()), "1", "Q M/F", (source,))
    yield Derived("d.V_mean", "mean discharge voltage for two Na", q.mean_discharge_V(paper), "V",
                  "0.75 V(V4+/V3+) + 0.25 V(V5+/V4+)", ("fc.Vdis_lo", "fc.Vdis_hi"))


def _plating(paper: Paper) -> Iterator[Derived]:
    current = paper.number("plate.j", "mA/cm2")
    for source, name in (("plate.x02_Q", "x0.2"), ("plate.bare_Q", "x0")):
        charge = paper.number(source, "mA h/cm2")
        yield Derived(f"d.plate_h_{name}", f"plating time, {paper[source].quantity}", charge / current, "h", "Q/j",
                      (source, "plate.j"))
        thickness = formulas.plated_thickness_um(charge, formulas.ATOMIC_WEIGHTS["Na"], q.SODIUM_DENSITY_G_PER_CM3)
        yield Derived(f"d.plate_um_{name}", f"Na thickness, {paper[source].quantity}", thickness, "um", "Q M/(F ρ)",
                      (source,), f"Na metal of {q.SODIUM_DENSITY_G_PER_CM3} g/cm3.")
    yield Derived("d.j_ohmic", "current at which 2 j R_total is the largest polarisation",
                  q.ohmic_current_mA_per_cm2(paper), "mA/cm2", "ΔV/(2 R_total)", ("fc.dV", "fc.Rtot"))
    yield Derived("d.load_ccd", "cathode loading at which 10C is the critical current density",
                  q.loading_at_ccd_mg_per_cm2(paper), "mg/cm2", "j_c/(10 × 1C)", ("ccd.x02", "fc.1C", "fc.rates"))


def _glass(paper: Paper) -> Iterator[Derived]:
    best, low, high = q.GLASS_DENSITY_G_PER_CM3
    assumed = f"Glass of {best} ± {best - low:.2f} g/cm3, an estimate; x taken per mol of NZSP."
    yield Derived("d.ZBO_M", "molar mass of (ZnO)2(B2O3)3", formulas.molar_mass_g_per_mol(q.ZBO), "g/mol",
                  "sum of atomic weights", ())
    for x in q.X_GRID[1:]:
        mass = 100 * q.glass_fraction(paper, x, best)[0]
        yield Derived(q.name_x("d.ZBO_wt", x), f"mass share of ZBO, x = {x:g}", mass,
                      "%", "x M_ZBO/(x M_ZBO + M)", ("mat.x_grid",))
        volumes = [100 * q.glass_fraction(paper, x, density)[1] for density in (best, low, high)]
        yield Derived(q.name_x("d.ZBO_vol", x), f"volume share of ZBO, x = {x:g}", volumes[0], "%",
                      "volumes from masses and densities", ("mat.x_grid", "dens.theory"), assumed,
                      min(volumes), max(volumes))
        yield Derived(q.name_x("d.mixture_density", x), f"density of NZSP + ZBO without pores, x = {x:g}",
                      q.mixture_density_g_per_cm3(paper, x, best), "g/cm3", "volume average", ("dens.theory",), assumed,
                      q.mixture_density_g_per_cm3(paper, x, low), q.mixture_density_g_per_cm3(paper, x, high))
