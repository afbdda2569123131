"""What a campaign is held against: the publication's numbers and literature ranges, each with what it measures.

A target is an interval. The publication prints no error bar, so the interval is its rounding; an activation energy is
widened upwards by the unstated convention, because that of D and of σT is k<T> = 0.027 eV above that of σ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from atomflow.paper import quantities as q
from atomflow.paper.derived import Derived, derived
from atomflow.paper.model import Anchor, Paper
from atomflow.paper.readings import readings
from atomflow.units import KELVIN_AT_0_CELSIUS, SIEMENS_PER_MILLISIEMENS

#: What was measured: the grain alone; grains and boundaries in series; an electrode; the whole cell.
Part = Literal["grain", "electrolyte", "interface", "cell", "simulation"]
Phase = Literal["monoclinic", "rhombohedral"]
Kind = Literal["activation_energy", "conductivity", "charge_diffusivity", "tracer_diffusivity"]


@dataclass(frozen=True)
class Target:
    """One number to compare with, as the interval ``low``-``high`` in ``unit`` around ``value`` (None for a range).

    ``temperature_K`` is None for activation energies. ``reading`` is that of the publication's three energies.
    """

    id: str
    quantity: str
    kind: Kind
    part: Part
    value: float | None
    low: float
    high: float
    unit: str
    conditions: str
    where: str
    uncertainty: str
    reading: str | None = None
    temperature_K: float | None = None
    phase: Phase = "monoclinic"

    def to_json(self) -> dict[str, object]:
        keys = ("value", "low", "high", "unit", "conditions", "where", "uncertainty")
        return {key: getattr(self, key) for key in keys}

    def text(self) -> str:
        shown = f"{self.low:.3g}-{self.high:.3g}" if self.value is None else f"{self.value:.3g}"
        return f"{shown} {self.unit}"


_PARTS: dict[str, Part] = {
    "R_SE": "electrolyte", "R_ct,anodic": "interface", "R_ct,cathodic": "interface", "R_total": "cell",
}  # fmt: skip


def targets(paper: Paper) -> list[Target]:
    """All targets, in the order of the table."""
    computed = derived(paper)
    return [*_energies(paper, computed), *_conductivities(paper, computed), *_diffusivities(paper, computed),
            *_hot(paper)]


def _energies(paper: Paper, computed: dict[str, Derived]) -> list[Target]:
    shift, span = q.sigmaT_shift_eV(paper), paper["fc.Trange"].text()
    convention = f"+{shift:.3f} eV if the text fitted ln σ and not ln σT (convention not stated)"
    found = []
    for reading in readings(paper):
        for resistance, name in reading.energies.items():
            printed = paper[name]
            low, high = printed.interval()
            found.append(Target(
                f"{name}.{reading.name}", f"Ea of {resistance}", "activation_energy", _PARTS[resistance],
                printed.number(), low, high + shift, "eV", span, printed.where,
                f"no error bar printed: rounding ±{printed.rounding:g}, and {convention}", reading.name))
    needed = computed["d.Ea_SE_literal"]
    if needed.value is not None and needed.low is not None and needed.high is not None:
        found.append(Target(
            "d.Ea_SE.literal", "Ea of R_SE that the literal reading needs", "activation_energy", "electrolyte",
            needed.value, needed.low, needed.high + shift, "eV", span, "computed from Results p.7",
            f"rounding of the three energies, and {convention}", "literal"))
    bulk = paper.anchor("lit.Ea_bulk")
    low, high = bulk.interval()
    found.append(Target(
        bulk.id, "Ea of bulk NZSP, literature", "activation_energy", "grain", None, low, high + shift, "eV",
        bulk.conditions, _source(bulk), f"spread of samples, and {convention}"))
    ratio = paper.anchor("lit.Ea_ratio_rhombohedral")
    half = ratio.interval()[0]
    found.append(Target(
        "lit.Ea_bulk_rhombohedral", "Ea of bulk NZSP above the transition, literature", "activation_energy", "grain",
        None, half * low, half * high + shift, "eV", ratio.conditions, f"lit.Ea_bulk times {half:g}, {_source(ratio)}",
        "a ratio given in words", phase="rhombohedral"))
    return found


def _conductivities(paper: Paper, computed: dict[str, Derived]) -> list[Target]:
    found = []
    for x in q.X_GRID:
        printed = paper[q.name_x("sig.t", x)]
        low, high = printed.interval()
        found.append(Target(
            printed.id, f"total conductivity, x = {x:g}", "conductivity", "electrolyte", printed.number(), low, high,
            printed.unit, printed.conditions, printed.where,
            f"no error bar printed: rounding ±{printed.rounding:g}; room T taken as 25 degC", None, q.ROOM_K))
    porous, dense = computed["d.sig_b_x0"], computed["d.sig_b_x0_bruggeman"]
    assert porous.value is not None
    assert dense.value is not None
    found.append(Target(
        "d.sig_b_x0", "bulk term of the bare sample", "conductivity", "grain", porous.value, porous.value, dense.value,
        "mS/cm", "25 degC, L/R_b", "computed from Results p.3 and p.7",
        "from the porous body as it is to that without pores (Bruggeman)", None, q.ROOM_K))
    low_anchor, high_anchor = paper.anchor("lit.sigma_bulk_stoichiometric"), paper.anchor("lit.sigma_bulk_na2o")
    found.append(Target(
        "lit.sigma_bulk", "bulk conductivity of NZSP, literature", "conductivity", "grain", None,
        low_anchor.interval()[0], high_anchor.interval()[1], "mS/cm", "25 degC",
        f"{_source(low_anchor)}; {_source(high_anchor)}", "two samples; Na-rich ones reach 4", None, q.ROOM_K))
    return found


def _diffusivities(paper: Paper, computed: dict[str, Derived]) -> list[Target]:
    """Nernst-Einstein diffusivities: the conductivity targets over again, as diffusivities of charge."""
    factor = computed["d.NEfac"].value
    assert factor is not None
    return [
        Target(
            target.id.replace("sig.t", "d.Dsig").replace("d.sig_b", "d.Dsig_b").replace("lit.sigma", "lit.Dsigma"),
            f"charge diffusivity, {target.quantity}", "charge_diffusivity", target.part,
            None if target.value is None else target.value * SIEMENS_PER_MILLISIEMENS * factor,
            target.low * SIEMENS_PER_MILLISIEMENS * factor, target.high * SIEMENS_PER_MILLISIEMENS * factor,
            "cm2/s", target.conditions, f"Nernst-Einstein from: {target.where}", target.uncertainty, None,
            target.temperature_K)
        for target in _conductivities(paper, computed)
    ]


def _hot(paper: Paper) -> list[Target]:
    sigma, tracer = paper.anchor("lit.sigma_total_573K"), paper.anchor("lit.D_tracer_623K")
    return [
        Target(sigma.id, "total conductivity of NZSP ceramics, literature", "conductivity", "electrolyte", None,
               sigma.interval()[0] * 1e3, sigma.interval()[1] * 1e3, "mS/cm", sigma.conditions, _source(sigma),
               "two samples", None, 300.0 + KELVIN_AT_0_CELSIUS),
        Target(tracer.id, "tracer diffusivity, classical MD, literature", "tracer_diffusivity", "simulation", None,
               *tracer.interval(), tracer.unit, tracer.conditions, _source(tracer),
               "lowest and highest of several Si/P orders", None, 623.0),
    ]


def _source(anchor: Anchor) -> str:
    return f"{anchor.source} [{anchor.mark}]"
