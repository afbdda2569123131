"""Checks on plating, cycling, electron share, capacity and rate."""

from __future__ import annotations

from itertools import pairwise

from atomflow.paper import formulas
from atomflow.paper import quantities as q
from atomflow.paper.finding import Check, Status, agree, near
from atomflow.paper.model import Paper

#: One charge and one discharge of one hour each: fits Fig. 3f, where the ramp ends at 60 h.
HOURS_PER_CYCLE = 2.0
#: The ramp is printed by its ends; its steps are taken equal.
RAMP_STEP_MA_PER_CM2 = 0.05
CYCLES_PER_STEP = 5


def plating_voltage(paper: Paper) -> Check:
    """INC-07: plating voltages as ohmic drops."""
    current = paper.number("plate.j", "mA/cm2") * 1e-3
    bare = abs(paper.number("plate.bare_V", "V")) / current
    sealed = abs(paper.number("plate.x02_V", "V")) / current
    weak = abs(paper.number("plate.x01_plateau", "V"))
    bare_cell = paper.number("sym.Rtot_x0", "ohm cm2")
    sealed_cell = q.areal_resistance_ohm_cm2(paper, 0.2) + paper.number("sym.Rint_x02", "ohm cm2")
    ohmic = bare < 2 * bare_cell and sealed < 2 * sealed_cell
    return Check(
        "INC-07", "plating voltages are far above ohmic", "medium", "ok" if ohmic else "inconsistent",
        {"bare_ohm_cm2": bare, "bare_impedance_ohm_cm2": bare_cell, "x02_ohm_cm2": sealed,
         "x02_impedance_ohm_cm2": sealed_cell},
        f"Voltage over current is {bare:.0f} ohm cm2 (bare) and {sealed:.0f} (x = 0.2) where impedance gives "
        f"{bare_cell:.0f} and {sealed_cell:.0f}. x = 0.1, the better conductor, plates at {weak:g} V, the bare sample "
        f"at {bare * current:g} V.",
        "A plating voltage includes nucleation on steel: do not use it as a transport observable.",
    )  # fmt: skip


def electron_share(paper: Paper) -> Check:
    """INC-08: a cell with this electronic conductivity would discharge itself faster than it can be charged."""
    per_area = q.thickness_cm(paper, 0.2) / q.electronic_S_per_cm(paper, 0.2)
    leak = q.mean_discharge_V(paper) / per_area * 1e3
    allowed = (1.0 - paper.number("fc.ICE", "1")) * paper.number("ccd.x02", "mA/cm2")
    electronic = [q.electronic_S_per_cm(paper, x) * 1e3 for x in q.X_GRID]
    return Check(
        "INC-08", "electron contribution as an electronic conductivity", "high",
        "inconsistent" if leak > allowed else "ok",
        {"leak_mA_per_cm2": leak, "leak_allowed_mA_per_cm2": allowed, "electronic_ohm_cm2": per_area,
         **{q.name_x("sigma_e_mS_per_cm", x): value for x, value in zip(q.X_GRID, electronic, strict=True)}},
        f"Read as conductivities the shares are {', '.join(f'{value:.3f}' for value in electronic)} mS/cm; at x = 0.2 "
        f"a full cell would leak {leak:.2g} mA/cm2, while the first coulombic efficiency leaves {allowed:.2g} mA/cm2 "
        "even when charged at the critical current density.",
        "Use the shares at most as a ranking: the polarisation was not at steady state.",
    )  # fmt: skip


def electron_trend(paper: Paper) -> Check:
    """INC-09: "decreases as the ZBO content increases"."""
    shares = [paper.number(q.name_x("sig.e", x), "%") for x in q.X_GRID]
    absolute = [q.electronic_S_per_cm(paper, x) * 1e3 for x in q.X_GRID]
    falls = all(later < earlier for earlier, later in pairwise(shares))
    lower = all(value < absolute[0] for value in absolute[1:])
    return Check(
        "INC-09", "trend of the electron contribution", "low", "ok" if falls and lower else "inconsistent",
        {q.name_x("share_percent", x): share for x, share in zip(q.X_GRID, shares, strict=True)}
        | {q.name_x("sigma_e_mS_per_cm", x): value for x, value in zip(q.X_GRID, absolute, strict=True)},
        f"The share is said to fall with ZBO and runs {', '.join(f'{share:g}' for share in shares)} %; times the total "
        f"conductivity, x = 0.1 has {absolute[1]:.4f} mS/cm and the bare sample {absolute[0]:.4f}.",
        "Only the ranking of shares can be used: 0 > 0.1 > 0.3 > 0.2.",
    )  # fmt: skip


def fast_capacity(paper: Paper) -> Check:
    """INC-12: to which capacity the retention belongs."""
    rate, cycling = paper.number("fc.Q10C", "mA h/g"), paper.number("fc.cycQ0", "mA h/g")
    kept, cycles = paper.number("fc.cycRet", "1"), paper.number("fc.cycN", "1")
    same = agree([paper["fc.Q10C"].interval(), paper["fc.cycQ0"].interval()])
    fade = 100 * (1 - kept ** (1 / cycles))
    return Check(
        "INC-12", "capacity at 10C and its retention", "low", "ok" if same else "inconsistent",
        {"left_of_cycling_mAh_per_g": kept * cycling, "left_of_rate_test_mAh_per_g": kept * rate,
         "fade_percent_per_cycle": fade},
        f"The rate test gives {rate:g} and cycling starts at {cycling:g} mA h/g; {100 * kept:g} % of "
        f"these is {kept * rate:.1f} and {kept * cycling:.1f}. Conclusions attach the retention to the former, Results "
        "to the latter.",
        f"Use {kept * cycling:.1f} mA h/g after {cycles:g} cycles, {fade:.4f} % a cycle; 108 was not sustained.",
    )  # fmt: skip


def theoretical_capacity(paper: Paper) -> Check:
    """INC-13: the theoretical capacity of the cathode."""
    two = formulas.capacity_mAh_per_g(2.0, formulas.molar_mass_g_per_mol(q.NVCP))
    nominal, charge = paper.number("fc.1C", "mA/g"), paper.number("fc.Qch1", "mA h/g")
    fast = paper.number("fc.Q10C", "mA h/g")
    status: Status = "ok" if near(nominal, two, 0.01) and charge <= nominal else "inconsistent"
    return Check(
        "INC-13", "theoretical capacity of the cathode", "medium", status,
        {"two_sodium_mAh_per_g": two, "sodium_of_1C": q.sodium_per_formula(nominal),
         "sodium_of_first_charge": q.sodium_per_formula(charge), "fast_over_nominal_percent": 100 * fast / nominal,
         "fast_over_two_sodium_percent": 100 * fast / two},
        f"Two Na are {two:.1f} mA h/g; {nominal:g} would be {q.sodium_per_formula(nominal):.2f} Na and the first "
        f"charge, {charge:g}, is {q.sodium_per_formula(charge):.2f} Na.",
        "Take 121 as the definition of 1C and nothing else.",
    )  # fmt: skip


def energy_efficiency(paper: Paper) -> Check:
    """INC-15: the energy efficiency is the voltage ratio of one plateau."""
    voltage = paper.number("fc.Vdis_lo", "V") / paper.number("fc.Vch_lo", "V")
    energy, claimed = voltage * paper.number("fc.ICE", "1"), paper.number("fc.eff", "1")
    return Check(
        "INC-15", "energy efficiency", "medium", "ok" if energy > claimed else "inconsistent",
        {"voltage_ratio_percent": 100 * voltage, "energy_efficiency_percent": 100 * energy,
         "claimed_percent": 100 * claimed},
        f"The plateau voltages give {100 * voltage:.1f} %; with the first coulombic efficiency the energy efficiency "
        f"is {100 * energy:.0f} %, where the text claims above {100 * claimed:g} %.",
        "Do not use it as an energy efficiency.",
    )  # fmt: skip


def hours_at_top_current(paper: Paper) -> Check:
    """INC-18: "1400 h at 0.3 mA/cm2" counts the ramp."""
    first, top = paper["cyc.j"].numbers()
    steps_below = round((top - first) / RAMP_STEP_MA_PER_CM2)
    hours_per_step = CYCLES_PER_STEP * HOURS_PER_CYCLE
    ran, claimed = max(paper["cyc.fig3g"].numbers()), paper.number("cyc.h", "h")
    at_top = ran - steps_below * hours_per_step
    failed_at = first + RAMP_STEP_MA_PER_CM2 * (paper.number("cyc.bare_t", "h") // hours_per_step)
    return Check(
        "INC-18", "hours at 0.3 mA/cm2", "medium", "ok" if at_top >= claimed else "inconsistent",
        {"ramp_below_top_h": steps_below * hours_per_step, "at_top_h": at_top, "claimed_h": claimed,
         "bare_current_when_it_failed_mA_per_cm2": failed_at},
        f"The ramp below {top:g} mA/cm2 takes {steps_below * hours_per_step:g} h of the {ran:g} h run, which leaves "
        f"{at_top:g} h at {top:g}, not {claimed:g}. Counted the same way the bare sample fails on the step at "
        f"{failed_at:.2f}.",
        "Read both times as elapsed time; a half-cycle at 0.3 mA/cm2 moves 2.7 um of Na. Steps of 0.05 mA/cm2 and 2 h "
        "a cycle are assumed.",
    )  # fmt: skip


def rate_beyond_ccd(paper: Paper) -> Check:
    """INC-19: the 10C current against the critical current density."""
    ohmic, critical = q.ohmic_current_mA_per_cm2(paper), paper.number("ccd.x02", "mA/cm2")
    loading = q.loading_at_ccd_mg_per_cm2(paper)
    return Check(
        "INC-19", "current at 10C against the critical current density", "medium",
        "ok" if ohmic <= critical else "cannot decide",
        {"ohmic_current_mA_per_cm2": ohmic, "critical_mA_per_cm2": critical, "loading_at_critical_mg_per_cm2": loading},
        f"If the largest polarisation is ohmic, {ohmic:.2f} mA/cm2 flow, against a critical {critical:g}; to stay "
        f"below that at 10C a cathode must hold less than {loading:.2f} mg/cm2, and the loading is not "
        "in the main text.",
        "The 10C data mean a thin cathode or plating above the critical current density.",
    )  # fmt: skip


def plating_bound(paper: Paper) -> Check:
    """INC-22: "below 0.1 V" and "0.11 V"."""
    bound, later = paper.number("plate.x0203_V", "V"), abs(paper.number("plate.x02_V", "V"))
    return Check(
        "INC-22", "bound on the plating voltage", "low", "ok" if later <= bound else "cannot decide",
        {"bound_V": bound, "later_V": later},
        f"x = 0.2 is said to stay below {bound:g} V beyond 2.0 mA h/cm2 and to show {later:g} V at "
        f"{paper['plate.x02_Q'].text()}; other voltages are printed negative.",
        "Both can hold if the voltage grows with capacity.",
    )  # fmt: skip


CHECKS = (
    plating_voltage, electron_share, electron_trend, fast_capacity, theoretical_capacity, energy_efficiency,
    hours_at_top_current, rate_beyond_ccd, plating_bound,
)  # fmt: skip
