"""The verdict on one number: how the intervals lie, whether that means anything, and why.

Two things are kept apart. ``relation`` is arithmetic: overlaps, above, below, or None where intervals cannot be held
against each other. ``verdict`` is the relation only where both numbers are of the same thing; else "cannot say".
"""

from __future__ import annotations

from dataclasses import dataclass

from atomflow.compare.ours import Series, composition, temperature_K, tolerance_K
from atomflow.compare.targets import Target
from atomflow.estimate import Estimate
from atomflow.paper import quantities as q
from atomflow.paper.model import Paper

CANNOT_SAY = "cannot say"
#: Above this the Na sublattice of NZSP is nearly liquid: short CHGNet runs of 80 atoms in the experimental cell show a
#: slope of only about 0.1 eV between 1000 and 1500 K.
LIQUID_SUBLATTICE_K = 900.0
#: What any cell must hold to be compared with NZSP at all.
NASICON_ELEMENTS = {"Na", "Zr", "O"}
#: An interval of Ea wider than this overlaps nearly everything (eV).
WIDE_EV = 0.1

_PART_REASONS = {
    "interface": "the resistance is charge transfer at an electrode, and a periodic cell of the electrolyte has none",
    "cell": "R_total adds electrodes, boundaries and grains, and a simulated crystal is the grain part only",
}
_PART_CAVEATS = {
    "electrolyte": "The measured number is of grains and boundaries in series; the simulated crystal is the grain "
    "part, which should conduct at least as well and with no higher barrier.",
    "grain": "Both are of the grain.",
    "simulation": "The other number is a simulation too, by a pair potential fitted at 600 K: agreement validates "
    "neither.",
    "interface": "",
    "cell": "",
}


@dataclass(frozen=True)
class Judgement:
    """The verdict with its reasons: ``reasons`` are why it is "cannot say", ``caveats`` what a real verdict needs."""

    relation: str | None
    reasons: tuple[str, ...]
    caveats: tuple[str, ...]

    @property
    def verdict(self) -> str:
        return CANNOT_SAY if self.reasons or self.relation is None else self.relation

    @property
    def why(self) -> str:
        """One paragraph: how the intervals lie, then why that counts or does not."""
        shown = {"overlaps": "The intervals overlap", "above": "Ours lies above", "below": "Ours lies below"}
        if self.reasons:
            start = f"{shown[self.relation]} as numbers, but " if self.relation else "No comparison: "
            return start + "; ".join(self.reasons) + "."
        assert self.relation is not None
        return " ".join([shown[self.relation] + ".", *self.caveats])

    @property
    def remarks(self) -> tuple[str, ...]:
        """What ``why`` is put together from."""
        return self.reasons or self.caveats


def relation(ours: Estimate | None, low: float, high: float) -> str | None:
    """How our interval lies to ``low``-``high``; None for no number, no interval, or a limit that excludes nothing."""
    if ours is None or ours.high is None:
        return None
    if ours.is_upper_limit:
        return "below" if ours.high < low else None
    if ours.low is None:
        return None
    if ours.overlaps(low, high):
        return "overlaps"
    return "above" if ours.low > high else "below"


def judge_energy(target: Target, ours: Series, paper: Paper) -> Judgement:
    """The judgement on an activation energy."""
    how = relation(ours.energy, target.low, target.high)
    reasons = _missing(ours.energy, how)
    if ours.energy is None:
        reasons = [_no_energy(ours)]
    if target.part in _PART_REASONS:
        reasons.append(_PART_REASONS[target.part])
    if ours.energy is not None:
        reasons += _phase(ours, paper, target.phase)
        if ours.has_kink:
            reasons.append("the Arrhenius line bends, so one slope stands for two branches")
    reasons += _cell(ours, target.phase)
    caveats = [_PART_CAVEATS[target.part], _composition(ours), _shape(ours, target.phase)]
    energy = ours.energy
    if how == "overlaps" and energy is not None and energy.high is not None and energy.low is not None:
        width = energy.high - energy.low
        caveats += [f"Our interval is {width:.2f} eV wide: an overlap decides little."] if width > WIDE_EV else []
    if not reasons:
        caveats.append(_reach(ours, target.phase, paper))
    return Judgement(how, tuple(reasons), tuple(filter(None, caveats)))


def judge_point(
    target: Target, ours: Series, number: Estimate | None, extrapolated: bool, paper: Paper
) -> Judgement:
    """The judgement on a conductivity or diffusivity at one temperature.

    ``number`` is in the unit of the target. ``extrapolated`` says that it is the tracer diffusivity of the Arrhenius
    line at 298.15 K and no run's own.
    """
    assert target.temperature_K is not None
    how = relation(number, target.low, target.high)
    reasons = _missing(number, how)
    if number is None:
        reasons = [_no_run(ours, target.temperature_K)]
    if extrapolated:
        reasons.append(f"it is read off the Arrhenius line, {ours.distance or 'outside the runs'}")
        reasons += _phase(ours, paper, target.phase)
        reasons.append("it is a tracer diffusivity, and conductivity pairs with that of charge: their Haven ratio at "
                       f"{target.temperature_K:.0f} K is not known")
    reasons += _cell(ours, target.phase)
    caveats = [_PART_CAVEATS[target.part], _composition(ours), _shape(ours, target.phase)]
    if target.id.endswith(("x0.1", "x0.2", "x0.3")):
        caveats.append("The sample holds glass, and its grains may have changed too (INC-10).")
    return Judgement(how, tuple(reasons), tuple(filter(None, caveats)))


def _missing(number: Estimate | None, how: str | None) -> list[str]:
    if number is None or how is not None:
        return []
    if number.is_upper_limit:
        return [f"ours is only an upper limit, {number}, which does not exclude the other number"]
    return ["our number came without an interval"]


def _no_energy(ours: Series) -> str:
    used = ours.used_K
    if ours.arrhenius is None or len(used) < 2:
        return f"an activation energy needs several temperatures, and the number of those with a result is {len(used)}"
    return "the fit gave no activation energy" + (" (upper limits only)" if ours.arrhenius.get("upper_limits") else "")


def _no_run(ours: Series, temperature: float) -> str:
    known = [t for t in map(temperature_K, ours.groups) if t is not None]
    text = f"no run within {tolerance_K(temperature):.0f} K of {temperature:.0f} K gave this number"
    return text + (f"; the closest is at {min(known, key=lambda t: abs(t - temperature)):.0f} K" if known else "")


def _phase(ours: Series, paper: Paper, phase: str) -> list[str]:
    """Why the temperatures of the fit do not speak of the phase that the target is of."""
    used = ours.used_K
    if not used:
        return ["the temperatures of the fit are not recorded"]
    transition, _ = paper.anchor("lit.transition_K").interval()
    _, above = paper.anchor("lit.transition_span_K").interval()
    if phase == "rhombohedral":
        return _hot_phase(used, above)
    if used[-1] <= transition:
        return []
    ratio = paper.anchor("lit.Ea_ratio_rhombohedral").interval()[0]
    where = "above" if used[0] > above else "across"
    text = (f"the fit spans {_span(used)}, {where} the transition to the rhombohedral phase near {transition:.0f} K, "
            f"beyond which Ea is about {ratio:g} times that of the monoclinic phase, in which 25-60 °C lies")
    if used[-1] > LIQUID_SUBLATTICE_K:
        text += f", and above {LIQUID_SUBLATTICE_K:.0f} K the Na sublattice is nearly liquid"
    return [text]


def _hot_phase(used: tuple[float, ...], above: float) -> list[str]:
    reasons = []
    if used[0] < above:
        reasons.append(f"the fit spans {_span(used)}, and the rhombohedral phase is complete above {above:.0f} K only")
    if used[-1] > LIQUID_SUBLATTICE_K:
        reasons.append(f"the fit spans {_span(used)}, and above {LIQUID_SUBLATTICE_K:.0f} K the Na sublattice is "
                       "nearly liquid")
    return reasons


def _cell(ours: Series, phase: str) -> list[str]:
    """Why the cell is not the crystal that the number is of."""
    foreign = ours.foreign_regions
    reasons = [f"the cell holds {', '.join(foreign)}, so its transport is not the crystal's"] if foreign else []
    other = [formula for formula in ours.formulas if not set(composition(formula)) >= NASICON_ELEMENTS]
    reasons += [f"the cell is {', '.join(other)} and no NASICON with Zr"] if other else []
    if phase == "monoclinic" and ours.is_hexagonal:
        reasons.append("the simulated cell has the shape of the rhombohedral phase, and 25-60 °C is monoclinic")
    return reasons


def _shape(ours: Series, phase: str) -> str:
    if phase == "monoclinic" or ours.is_hexagonal:
        return ""
    return "Experiment finds the rhombohedral phase there; a simulated cell of monoclinic shape is not quite that."


def _composition(ours: Series) -> str:
    nominal = composition("".join(f"{element}{count}" for element, count in q.NZSP.items()))
    other = [formula for formula in ours.formulas if not _same(composition(formula), nominal)]
    return f"The cell, {', '.join(other)}, is not of the nominal composition Na3Zr2Si2PO12." if other else ""


def _same(one: dict[str, float], two: dict[str, float]) -> bool:
    return set(one) == set(two) and all(abs(one[element] - two[element]) < 1e-6 for element in one)


def _reach(ours: Series, phase: str, paper: Paper) -> str:
    if phase == "rhombohedral":
        return f"Fitted at {_span(ours.used_K)}."
    low, high = ours.used_K[0], ours.used_K[-1]
    warm = q.impedance_range_K(paper)[1]
    inside = f"Fitted at {_span(ours.used_K)}, in the monoclinic phase"
    if low > warm:
        return f"{inside} but {low - warm:.0f} K above the measured range."
    return f"{inside}, {'reaching' if high > warm else 'inside'} the measured range."


def _span(temperatures: tuple[float, ...]) -> str:
    low, high = temperatures[0], temperatures[-1]
    return f"{low:.0f} K" if low == high else f"{low:.0f}-{high:.0f} K"
