"""Checks on resistances, thicknesses and activation energies."""

from __future__ import annotations

from atomflow.paper import quantities as q
from atomflow.paper.finding import Check, Status, agree, near
from atomflow.paper.model import Paper


def interface_values(paper: Paper) -> Check:
    """INC-01: R_int of the best sample is printed three times."""
    names = ("sym.Rint_x02", "sym.Rint_x02_abs", "sym.Rint_x02_intro")
    ratios = [paper.number("sym.Rint_x0", "ohm cm2") / paper.number(name, "ohm cm2") for name in names]
    status: Status = "ok" if agree([paper[name].interval() for name in names]) else "inconsistent"
    return Check(
        "INC-01", "R_int of the optimal sample has three values", "medium", status,
        {"ratio_results": ratios[0], "ratio_abstract": ratios[1], "ratio_introduction": ratios[2],
         "ratio_claimed": paper.number("sym.ratio41", "1")},
        f"Results, Abstract and Introduction print {', '.join(paper[n].text() for n in names)}; the bare sample's "
        f"R_int over each is {ratios[0]:.1f}, {ratios[1]:.1f} and {ratios[2]:.1f}, "
        f"where the text claims more than {paper.number('sym.ratio41', '1'):g}.",
        "Use 23.3; take 27 as a misprint or another cell, that is a spread of some 16 % between samples.",
    )  # fmt: skip


def thickness_unit(paper: Paper) -> Check:
    """INC-02: σ_t (R_b + R_gb) is the thickness of the disc, whatever unit is printed."""
    implied, printed = q.thickness_from_resistances_cm(paper), paper.number("sig.L_x0", "cm")
    power = q.thickness_power_of_ten(paper)
    status: Status = "ok" if near(implied, printed, 0.05) else "inconsistent"
    verdict = f"agrees with the {paper['sig.L_x0'].text()} printed"
    if status == "inconsistent":
        verdict = f"is not the {paper['sig.L_x0'].text()} printed"
        verdict += f": the print is a factor {power:g} too small" if power != 1.0 else ", by no power of ten"
    return Check(
        "INC-02", "unit of the disc thickness", "high", status,
        {"thickness_from_resistances_cm": implied, "thickness_printed_cm": printed, "ratio": implied / printed,
         "power_of_ten": power},
        f"σ_t (R_b + R_gb) of the bare sample is {implied:.4f} cm, which {verdict}"
        + (", so that the numbers printed as mm are cm." if power == 10.0 else "."),
        "Take the thicknesses as 1.07, 1.01, 0.90 and 0.86 mm; then Na and gold cells of the bare sample agree.",
    )  # fmt: skip


def electrolyte_resistance(paper: Paper) -> Check:
    """INC-03: R_SE of the full cell against L/σ of the disc."""
    cell, disc = q.electrolyte_resistance_ohm_cm2(paper), q.areal_resistance_ohm_cm2(paper, 0.2)
    printed = q.areal_resistance_as_printed_ohm_cm2(paper, 0.2)
    status: Status = "ok" if near(cell, disc, 0.15) or near(cell, printed, 0.15) else "inconsistent"
    sigma = q.total_conductivity_S_per_cm(paper, 0.2)
    return Check(
        "INC-03", "electrolyte resistance, full cell against disc", "high", status,
        {"full_cell_ohm_cm2": cell, "disc_ohm_cm2": disc, "disc_as_printed_ohm_cm2": printed,
         "thickness_needed_mm": cell * sigma * 10,
         "conductivity_needed_mS_per_cm": q.thickness_cm(paper, 0.2) / cell * 1e3},
        f"R_total minus the two semicircles leaves {cell:.1f} ohm cm2; the disc gives {disc:.1f} "
        f"({printed:.2f} with the thickness as printed). It would take a disc of {cell * sigma * 10:.2f} mm, "
        f"or {q.thickness_cm(paper, 0.2) / cell * 1e3:.1f} mS/cm.",
        "R_SE may be the grain part alone or another disc: do not equate it with the total conductivity.",
    )  # fmt: skip


def interface_resistance(paper: Paper) -> Check:
    """INC-04: the Na interface in the symmetric and in the full cell."""
    symmetric, full = paper.number("sym.Rint_x02", "ohm cm2"), paper.number("fc.Rct_an", "ohm cm2")
    status: Status = "ok" if near(full, symmetric, 0.25) or near(full, symmetric / 2, 0.25) else "inconsistent"
    return Check(
        "INC-04", "Na interface, symmetric against full cell", "high", status,
        {"symmetric_ohm_cm2": symmetric, "full_ohm_cm2": full, "ratio": full / symmetric,
         "ratio_per_interface": 2 * full / symmetric},
        f"The symmetric cell gives {symmetric:g} ohm cm2 and the full cell's first semicircle {full:g}: "
        f"{full / symmetric:.2f} times as much, {2 * full / symmetric:.1f} times if the former holds two interfaces.",
        "The first semicircle is not the process called R_int; its activation energy is not that of the Na interface.",
    )  # fmt: skip


def energy_assignment(paper: Paper) -> Check:
    """INC-05: which resistances the three energies belong to."""
    value, low, high = q.electrolyte_energy_literal_eV(paper)
    total = q.total_energy_alternative_eV(paper)
    plausible = paper.anchor("lit.Ea_total").interval()
    possible = value is not None and low is not None and high is not None and agree([(low, high), plausible])
    if value is None:
        literal = "The literal reading leaves a negative R_SE somewhere in the range: it contradicts itself"
    else:
        literal = f"The literal reading needs Ea(R_SE) = {value:.3f} eV"
        literal += f" ({low:.2f}-{high:.2f} over the rounding)" if low is not None and high is not None else ""
        literal += f", {'ordinary' if possible else 'out of range'} for NZSP ({plausible[0]:g}-{plausible[1]:g})"
    close = "Both stand: the text cannot decide, its Fig. 6d would." if possible else "Only the latter stands."
    return Check(
        "INC-05", "which resistance 0.27, 0.45 and 0.33 eV belong to", "high",
        "cannot decide" if possible else "inconsistent",
        {"Ea_SE_needed_by_literal_eV": value, "low_eV": low, "high_eV": high, "Ea_total_by_alternative_eV": total},
        f"{literal}; the alternative reading implies Ea(R_total) = {total:.3f} eV, "
        f"which the text does not print. {close}",
        "Quote the three energies under both readings, and none of them as the bulk activation energy of NZSP.",
    )  # fmt: skip


def polarisation(paper: Paper) -> Check:
    """INC-06: dc polarisation of the symmetric cell against its impedance."""
    dc = paper.number("cyc.V", "V") / (max(paper["cyc.j"].numbers()) * 1e-3)
    disc, interface = q.areal_resistance_ohm_cm2(paper, 0.2), paper.number("sym.Rint_x02", "ohm cm2")
    sums = (disc + interface, disc + 2 * interface)
    amplitude = any(near(dc, total, 0.2) for total in sums)
    peak_to_peak = any(near(dc / 2, total, 0.2) for total in sums)
    status: Status = "ok" if amplitude else "cannot decide" if peak_to_peak else "inconsistent"
    reading = {
        "ok": "They agree with 53 mV as an amplitude.",
        "cannot decide": "They agree only if the voltage is peak-to-peak, which the text does not say.",
        "inconsistent": "They agree neither as an amplitude nor peak-to-peak.",
    }[status].replace("53 mV", paper["cyc.V"].text())
    return Check(
        "INC-06", "dc polarisation of the symmetric cell against impedance", "medium", status,
        {"dc_ohm_cm2": dc, "dc_if_peak_to_peak_ohm_cm2": dc / 2, "impedance_ohm_cm2": sums[0],
         "impedance_two_interfaces_ohm_cm2": sums[1], "ratio": dc / sums[0]},
        f"Voltage over current is {dc:.1f} ohm cm2 ({dc / 2:.1f} if peak-to-peak); impedance gives {sums[0]:.1f}, or "
        f"{sums[1]:.1f} if R_int is per interface. {reading}",
        "Take the polarisation as peak-to-peak and say so.",
    )  # fmt: skip


def gain_beyond_bulk(paper: Paper) -> Check:
    """INC-10: sealing boundaries cannot lift the total above the grain."""
    total, porous = q.total_conductivity_S_per_cm(paper, 0.2) * 1e3, q.apparent_bulk_S_per_cm(paper) * 1e3
    maxwell, bruggeman = (value * 1e3 for value in q.dense_bulk_S_per_cm(paper))
    highest = max(porous, maxwell, bruggeman)
    status: Status = "inconsistent" if total > highest else "ok"
    return Check(
        "INC-10", "total conductivity of x = 0.2 against the bulk of the bare sample", "high", status,
        {"total_x02_mS_per_cm": total, "bare_bulk_mS_per_cm": porous, "bare_bulk_maxwell_mS_per_cm": maxwell,
         "bare_bulk_bruggeman_mS_per_cm": bruggeman},
        f"The bare sample's bulk term is {porous:.3f} mS/cm, {maxwell:.2f} (Maxwell) or {bruggeman:.2f} (Bruggeman) "
        f"without its pores; x = 0.2 reaches {total:.2f} mS/cm in total, "
        + ("more than the bare sample could without boundaries." if total > highest else "within what sealing can do."),
        "Sealing alone does not explain the gain: the grain changed too (Zn on Zr, Na content, Si:P), or the split "
        "into R_b and R_gb is not grain and boundary. Simulate Zn-doped bulk as the control.",
    )  # fmt: skip


def total_resistance(paper: Paper) -> Check:
    """INC-11: total resistance of the full cell in Results and Conclusions."""
    results, conclusions = (paper.number(name, "ohm cm2") for name in ("fc.Rtot", "fc.Rtot_concl"))
    same = agree([paper["fc.Rtot"].interval(), paper["fc.Rtot_concl"].interval()])
    return Check(
        "INC-11", "total resistance of the full cell", "low", "ok" if same else "inconsistent",
        {"results_ohm_cm2": results, "conclusions_ohm_cm2": conclusions,
         "difference_percent": 100 * (conclusions / results - 1)},
        f"Results print {results:g} ohm cm2 and Conclusions {conclusions:g}, "
        f"{100 * abs(conclusions / results - 1):.1f} % apart.",
        "Use 173.6.",
    )  # fmt: skip


CHECKS = (
    interface_values, thickness_unit, electrolyte_resistance, interface_resistance, energy_assignment, polarisation,
    gain_beyond_bulk, total_resistance,
)  # fmt: skip
