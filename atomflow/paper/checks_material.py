"""Checks on the material, and the sums and ratios that hold."""

from __future__ import annotations

import re

from atomflow.paper import quantities as q
from atomflow.paper.finding import Check, near
from atomflow.paper.model import Paper

#: Volume of the C2/c cell by X-rays and by the printed density may differ by this fraction.
VOLUME_TOLERANCE = 0.001


def sums_and_ratios(paper: Paper) -> Check:
    """INC-14: arithmetic of the text that holds to its rounding."""
    summed = sum(paper.number(name, "ohm cm2") for name in ("sym.Rb_x0", "sym.Rgb_x0", "sym.Rint_x0"))
    volume, measured = 4 * q.formula_volume_A3(paper), paper.anchor("lit.cell_volume").interval()[0]
    efficiency = paper.number("fc.Qdis1", "mA h/g") / paper.number("fc.Qch1", "mA h/g")
    gap = paper.number("fc.Vch_lo", "V") - paper.number("fc.Vdis_lo", "V")
    share = paper.number("fc.Q10C", "mA h/g") / paper.number("fc.1C", "mA/g")
    holds = {
        "sum of resistances": abs(summed - paper.number("sym.Rtot_x0", "ohm cm2")) <= 0.15,
        "cell volume": near(volume, measured, VOLUME_TOLERANCE),
        "coulombic efficiency": abs(efficiency - paper.number("fc.ICE", "1")) <= 0.001,
        "polarisation": abs(gap - paper.number("fc.dV", "V")) <= 0.01,
        "share of capacity at 10C": share > paper.number("fc.frac89", "1"),
    }
    broken = [name for name, fine in holds.items() if not fine]
    return Check(
        "INC-14", "sums and ratios of the text", "low", "inconsistent" if broken else "ok",
        {"sum_of_resistances_ohm_cm2": summed, "cell_volume_A3": volume,
         "coulombic_efficiency_percent": 100 * efficiency, "polarisation_V": gap, "share_at_10C_percent": 100 * share},
        f"Resistances sum to {summed:.1f} ohm cm2, the density means {volume:.1f} Å3, the first efficiency is "
        f"{100 * efficiency:.2f} %, the plateaus differ by {gap:.2f} V, 10C keeps {100 * share:.1f} %: "
        + (f"{', '.join(broken)} disagree with the print." if broken else "all as printed."),
        "None.",
    )  # fmt: skip


def zirconium_levels(paper: Paper) -> Check:
    """INC-16: a d level splits into 5/2 and 3/2."""
    quote = paper["xps.Zr3d_lo"].quote
    named = [int(numerator) for numerator in re.findall(r"3?d(\d)/2", quote)]
    gap = paper.number("xps.Zr3d_hi", "eV") - paper.number("xps.Zr3d_lo", "eV")
    wrong = [numerator for numerator in named if numerator not in (3, 5)]
    return Check(
        "INC-16", "assignment of the Zr 3d lines", "low", "inconsistent" if wrong or not named else "ok",
        {"splitting_eV": gap},
        f"The text names the levels {', '.join(f'3d{numerator}/2' for numerator in named)}; a d level splits into "
        f"3d5/2 and 3d3/2, here {gap:.1f} eV apart.",
        "The lower line is 3d5/2.",
    )  # fmt: skip


def relative_density(paper: Paper) -> Check:
    """INC-20: 99.8 % of the density of pure NZSP, for a body that holds glass."""
    _, low, high = q.GLASS_DENSITY_G_PER_CM3
    theory = paper.number("dens.theory", "g/cm3")
    body = paper.number("dens.rel_x02", "1") * theory
    light, dense = (q.mixture_density_g_per_cm3(paper, 0.2, density) for density in (low, high))
    zirconia = [_heavy_share(body, mixture, q.ZIRCONIA_DENSITY_G_PER_CM3) for mixture in (dense, light)]
    fits = body <= dense
    return Check(
        "INC-20", "relative density of a body that holds glass", "low", "ok" if fits else "cannot decide",
        {"body_g_per_cm3": body, "mixture_low_g_per_cm3": light, "mixture_high_g_per_cm3": dense,
         "zirconia_needed_low_percent": 100 * zirconia[0], "zirconia_needed_high_percent": 100 * zirconia[1]},
        f"The body has {body:.3f} g/cm3; NZSP with {100 * q.glass_fraction(paper, 0.2, low)[0]:.0f} wt% glass has "
        f"{light:.3f}-{dense:.3f} without a pore. "
        + ("That is possible." if fits else "The excess asks for "
           f"{100 * zirconia[0]:.1f}-{100 * zirconia[1]:.1f} wt% ZrO2, whose amount is not given."),
        "Relative densities of sealed samples are good to 1 or 2 % at best, and 73.7 % of the open bare body to less. "
        "Glass density and the molar basis of x are assumed.",
    )  # fmt: skip


def _heavy_share(body: float, light: float, heavy: float) -> float:
    """Mass share of a phase of density ``heavy`` that lifts a mixture of density ``light`` to ``body``; at least 0."""
    return max(0.0, (1 / light - 1 / body) / (1 / light - 1 / heavy))


CHECKS = (sums_and_ratios, zirconium_levels, relative_density)
