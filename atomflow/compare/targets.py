"""What a campaign is held against: the publication's numbers and literature ranges, each with what it measures.

A target is an interval. The publication prints no error bar, so the interval is its rounding; an activation energy is
widened upwards by the unstated convention, because that of D and of σT is k<T> = 0.027 eV above that of σ.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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
    """One number to compare with: ``shown`` as its source has it, ``low``-``high`` as what it is compared by.

    ``value`` is None for a range. ``temperature_K`` is None for activation energies. ``reading`` is that of the
    publication's three energies.
    """

    id: str
    quantity: str
    kind: Kind
    part: Part
    shown: str
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
        keys = ("shown", "value", "low", "high", "unit", "conditions", "where", "uncertainty")
        return {key: getattr(self, key) for key in keys}


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
                id=f"{name}.{reading.name}", quantity=f"Ea of {resistance}", kind="activation_energy",
                part=_PARTS[resistance], shown=printed.text(), value=printed.number(), low=low, high=high + shift,
                unit="eV", conditions=span, where=printed.where, reading=reading.name,
                uncertainty=f"no error bar printed: rounding ±{printed.rounding:g}, and {convention}",
            ))  # fmt: skip
    needed = computed["d.Ea_SE_literal"]
    if needed.value is not None and needed.low is not None and needed.high is not None:
        found.append(Target(
            id="d.Ea_SE.literal", quantity="Ea of R_SE that the literal reading needs", kind="activation_energy",
            part="electrolyte", shown=f"{needed.value:.3f} ({needed.low:.2f} - {needed.high:.2f}) eV",
            value=needed.value, low=needed.low, high=needed.high + shift, unit="eV", conditions=span,
            where="computed from Results p.7", reading="literal",
            uncertainty=f"rounding of the three energies, and {convention}",
        ))  # fmt: skip
    return found + _bulk_energies(paper, shift, convention)


def _bulk_energies(paper: Paper, shift: float, convention: str) -> list[Target]:
    """Literature ranges below the transition, and above it by the ratio that the literature gives in words."""
    bulk, ratio = paper.anchor("lit.Ea_bulk"), paper.anchor("lit.Ea_ratio_rhombohedral")
    (low, high), half = bulk.interval(), ratio.interval()[0]
    return [
        Target(
            id=bulk.id, quantity="Ea of bulk NZSP, literature", kind="activation_energy", part="grain",
            shown=bulk.text(), value=None, low=low, high=high + shift, unit="eV", conditions=bulk.conditions,
            where=_source(bulk), uncertainty=f"spread of samples, and {convention}",
        ),
        Target(
            id="lit.Ea_bulk_rhombohedral", quantity="Ea of bulk NZSP above the transition, literature",
            kind="activation_energy", part="grain", shown=f"{half * low:.2f} - {half * high:.2f} eV", value=None,
            low=half * low, high=half * high + shift, unit="eV", conditions=ratio.conditions,
            where=f"{half:g} times lit.Ea_bulk, {_source(ratio)}", phase="rhombohedral",
            uncertainty=f"a ratio given in words, and {convention}",
        ),
    ]  # fmt: skip


def _conductivities(paper: Paper, computed: dict[str, Derived]) -> list[Target]:
    found = []
    for x in q.X_GRID:
        printed = paper[q.name_x("sig.t", x)]
        low, high = printed.interval()
        found.append(Target(
            id=printed.id, quantity=f"total conductivity, x = {x:g}", kind="conductivity", part="electrolyte",
            shown=printed.text(), value=printed.number(), low=low, high=high, unit=printed.unit,
            conditions=printed.conditions, where=printed.where, temperature_K=q.ROOM_K,
            uncertainty=f"no error bar printed: rounding ±{printed.rounding:g}; room T taken as 25 degC",
        ))  # fmt: skip
    porous, dense = computed["d.sig_b_x0"].value, computed["d.sig_b_x0_bruggeman"].value
    assert porous is not None
    assert dense is not None
    lowest, highest = paper.anchor("lit.sigma_bulk_stoichiometric"), paper.anchor("lit.sigma_bulk_na2o")
    low, high = lowest.interval()[0], highest.interval()[1]
    return [
        *found,
        Target(
            id="d.sig_b_x0", quantity="bulk term of the bare sample", kind="conductivity", part="grain",
            shown=f"{porous:.3f} - {dense:.2f} mS/cm", value=porous, low=porous, high=dense, unit="mS/cm",
            conditions="25 degC, L/R_b", where="computed from Results p.3 and p.7", temperature_K=q.ROOM_K,
            uncertainty="from the porous body as it is to that without pores (Bruggeman)",
        ),
        Target(
            id="lit.sigma_bulk", quantity="bulk conductivity of NZSP, literature", kind="conductivity", part="grain",
            shown=f"{low:g} - {high:g} mS/cm", value=None, low=low, high=high, unit="mS/cm", conditions="25 degC",
            where=f"{_source(lowest)}; {_source(highest)}", uncertainty="two samples; Na-rich ones reach 4",
            temperature_K=q.ROOM_K,
        ),
    ]  # fmt: skip


def _diffusivities(paper: Paper, computed: dict[str, Derived]) -> list[Target]:
    """Nernst-Einstein diffusivities: the conductivity targets over again, as diffusivities of charge."""
    factor = computed["d.NEfac"].value
    assert factor is not None
    factor *= SIEMENS_PER_MILLISIEMENS
    found = []
    for sigma in _conductivities(paper, computed):
        low, high = sigma.low * factor, sigma.high * factor
        value = None if sigma.value is None else sigma.value * factor
        shown = f"{value:.3g}" if value is not None and sigma.part == "electrolyte" else f"{low:.2e} - {high:.2e}"
        name = sigma.id.replace("sig.t", "d.Dsig").replace("d.sig_b", "d.Dsig_b").replace("lit.sigma", "lit.Dsigma")
        found.append(replace(
            sigma, id=name, quantity=f"charge diffusivity of the {sigma.quantity}", kind="charge_diffusivity",
            shown=f"{shown} cm2/s", value=value, low=low, high=high, unit="cm2/s",
            where=f"Nernst-Einstein from: {sigma.where}",
        ))  # fmt: skip
    return found


def _hot(paper: Paper) -> list[Target]:
    """Literature at temperatures where simulations are usually run."""
    sigma, tracer = paper.anchor("lit.sigma_total_573K"), paper.anchor("lit.D_tracer_623K")
    (low, high), (slow, fast) = sigma.interval(), tracer.interval()
    return [
        Target(
            id=sigma.id, quantity="total conductivity of NZSP ceramics, literature", kind="conductivity",
            part="electrolyte", shown=sigma.text(), value=None, low=low / SIEMENS_PER_MILLISIEMENS,
            high=high / SIEMENS_PER_MILLISIEMENS, unit="mS/cm", conditions=sigma.conditions, where=_source(sigma),
            uncertainty="two samples", temperature_K=300.0 + KELVIN_AT_0_CELSIUS,
            phase="rhombohedral",
        ),
        Target(
            id=tracer.id, quantity="tracer diffusivity, classical MD, literature", kind="tracer_diffusivity",
            part="simulation", shown=tracer.text(), value=None, low=slow, high=fast, unit=tracer.unit,
            conditions=tracer.conditions, where=_source(tracer), temperature_K=623.0, phase="rhombohedral",
            uncertainty="lowest and highest of several Si/P orders",
        ),
    ]  # fmt: skip


def _source(anchor: Anchor) -> str:
    return f"{anchor.source} [{anchor.mark}]"
