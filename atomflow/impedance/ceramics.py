"""From a campaign to ceramics: every grain of the campaign with every layer between grains, beside the publication.

Grain: σ by Nernst–Einstein from D of a structure without regions. Layer: the conductance G of one layer between two
grains (:mod:`atomflow.transport.region_crossings`), or none. In the series brick layer (grains of edge d, relative
density p, disc of thickness L; the layer is thin, t ≪ d):

    R_b = L/(σ_g f),   R_gb = L/(d G f),   f = 2p/(3 − p),   σ = L/(R_b + R_gb)

Nernst–Einstein leaves the Haven ratio out: the conductivity of ions that move together is larger by 1/H, in all rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from atomflow import paper
from atomflow.errors import InputError, check_positive
from atomflow.estimate import Estimate
from atomflow.paper import formulas
from atomflow.paper import quantities as q
from atomflow.plain import Shown, table
from atomflow.transport.arrhenius import ROOM_TEMPERATURE_K
from atomflow.transport.campaign import analyze_campaign
from atomflow.transport.campaign_result import Arrhenius, CampaignResult
from atomflow.transport.conductivity import siemens_per_cm
from atomflow.transport.region_campaign import LayerLine, RegionCampaignResult, analyze_region_campaign
from atomflow.transport.slabs import check_direction
from atomflow.units import CM_PER_UM

_SAMPLES = 20_000
#: A run within this of the temperature asked for is used itself, without a line.
_SAME_K = 5.0
NO_LAYER = "none"


@dataclass(frozen=True)
class Ceramic:
    """One grain with one layer.

    Attributes:
        grain, layer: structures of the campaign, or :data:`NO_LAYER`.
        grain_S_per_cm, layer_S_per_cm2: what they conduct at the temperature.
        R_b_ohm_cm2, R_gb_ohm_cm2: of the disc. ``low`` alone is a lower limit (nobody passed the layer).
        total_S_per_cm: an upper limit where R_gb is a lower one.
    """

    grain: str
    layer: str
    grain_S_per_cm: Estimate
    layer_S_per_cm2: Estimate | None
    R_b_ohm_cm2: Estimate
    R_gb_ohm_cm2: Estimate
    total_S_per_cm: Estimate

    def to_json(self) -> dict[str, Any]:
        return dict(self.__dict__)


@dataclass(frozen=True, repr=False)
class CeramicsResult(Shown):
    """All combinations; ``publication``: what it prints of the bare cell and of x = 0.2."""

    temperature_K: float
    grain_size_um: float
    relative_density: float
    thickness_cm: float
    ceramics: tuple[Ceramic, ...]
    publication: dict[str, float]
    potentials: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())
    warnings: tuple[str, ...] = field(default=())

    def text(self) -> str:
        """For people, as ``atomflow impedance --from`` prints it."""
        def resistance(estimate: Estimate) -> str:
            return f"> {estimate.low:.3g}" if estimate.value is None and estimate.low is not None else f"{estimate:.3g}"

        rows = [[row.grain, row.layer, f"{row.grain_S_per_cm:.2g}",
                 "-" if row.layer_S_per_cm2 is None else f"{row.layer_S_per_cm2:.2g}", resistance(row.R_b_ohm_cm2),
                 "-" if row.layer_S_per_cm2 is None else resistance(row.R_gb_ohm_cm2), f"{row.total_S_per_cm:.2g}"]
                for row in self.ceramics]
        printed = self.publication
        lines = [f"{', '.join(self.potentials)} at {self.temperature_K:g} K; grains of {self.grain_size_um:g} µm, "
                 f"relative density {self.relative_density:g}, disc of {self.thickness_cm:.4g} cm",
                 table(rows, ["grain", "layer", "σ grain, S/cm", "G layer, S/cm²", "R_b, Ω cm²", "R_gb, Ω cm²",
                              "σ total, S/cm"]),
                 f"publication at 25 °C: bare R_b {printed['R_b_bare_ohm_cm2']:g}, "
                 f"R_gb {printed['R_gb_bare_ohm_cm2']:g} Ω cm², "
                 f"σ {printed['total_bare_S_per_cm']:.3g}; x = 0.2: σ {printed['total_x0.2_S_per_cm']:.3g} S/cm"]
        lines += list(self.notes)
        return "\n".join(lines + [f"warning: {text}" for text in self.warnings])

    def to_json(self) -> dict[str, Any]:
        return {"kind": "ceramics", **self.__dict__}


def ceramics(
    folder: str | Path,
    temperature_K: float = ROOM_TEMPERATURE_K,
    grain_size_um: float = 1.0,
    relative_density: float = 1.0,
    thickness_cm: float | None = None,
    along: str = "z",
    discard_ps: float = 0.0,
    hop_length_A: float = 3.5,
) -> CeramicsResult:
    """All ceramics that the structures of a campaign make.

    Raises:
        InputError: numbers that make no sense, or no structure of one region whose σ is known.
    """
    for name, value in (("temperature", temperature_K), ("grain size", grain_size_um)):
        check_positive(f"the {name}", value)
    if not 0 < relative_density <= 1:
        raise InputError(f"the relative density lies between 0 and 1, not {relative_density:g}")
    publication = paper.load()
    thickness = q.thickness_cm(publication, 0.0) if thickness_cm is None else thickness_cm
    whole = analyze_campaign(folder, discard_ps=discard_ps, hop_length_A=hop_length_A)
    resolved = _resolved(folder, along, discard_ps, hop_length_A)
    layered = {group.structure for group in resolved.groups} if resolved else set()
    every = {name: sigma for name, sigma in _grains(whole, temperature_K).items() if name not in layered}
    grains = {name: sigma for name, sigma in every.items() if sigma.value is not None}
    warnings = [f"{name}: σ at {temperature_K:g} K is not known" for name in every if name not in grains]
    warnings += [f"{line.structure}: σ at {temperature_K:g} K is on a line through {min(line.used):.0f} to "
                 f"{max(line.used):.0f} K, outside of it: its interval knows of no transition in between"
                 for line in whole.arrhenius if line.structure in grains and line.used
                 and not min(line.used) - _SAME_K < temperature_K < max(line.used) + _SAME_K]
    if not grains:
        raise InputError(f"{folder}: no structure of a single region has a conductivity at {temperature_K:g} K; runs "
                         "at two temperatures where ions move, or at that one, are needed")
    layers: dict[str, Estimate | None] = {NO_LAYER: None, **(_layers(resolved, temperature_K) if resolved else {})}
    pores = 1.0 / formulas.maxwell_dense(1.0, relative_density)
    rows = tuple(_ceramic(grain, sigma, layer, conductance, thickness, grain_size_um * CM_PER_UM, pores)
                 for layer, conductance in layers.items() for grain, sigma in grains.items())
    warnings += [f"{row.layer}: no conductance of this layer is known" for row in rows
                 if row.layer_S_per_cm2 is not None and row.layer_S_per_cm2.high is None]
    printed = {"R_b_bare_ohm_cm2": publication.number("sym.Rb_x0", "ohm cm2"),
               "R_gb_bare_ohm_cm2": publication.number("sym.Rgb_x0", "ohm cm2"),
               "total_bare_S_per_cm": q.total_conductivity_S_per_cm(publication, 0.0),
               "total_x0.2_S_per_cm": q.total_conductivity_S_per_cm(publication, 0.2)}
    names = {(group.result.potential or {}).get("name") for group in whole.groups} - {None}
    return CeramicsResult(temperature_K, grain_size_um, relative_density, thickness, rows, printed,
                          tuple(sorted(map(str, names))), tuple(_puzzle(rows)), tuple(dict.fromkeys(warnings)))


def _resolved(folder: str | Path, along: str, discard_ps: float, hop_length_A: float) -> RegionCampaignResult | None:
    check_direction(along)
    try:
        return analyze_region_campaign(folder, along=along, discard_ps=discard_ps, hop_length_A=hop_length_A)
    except InputError:  # no structure has regions: grains only
        return None


def _grains(whole: CampaignResult, kelvin: float) -> dict[str, Estimate]:
    """σ by Nernst–Einstein of every structure: of a run at the temperature, else of its line."""
    found: dict[str, Estimate] = {}
    lines: dict[str, Arrhenius] = {line.structure: line for line in whole.arrhenius}
    for group in whole.groups:
        result = group.result
        if abs((result.temperature_K or 0.0) - kelvin) < _SAME_K:
            found[group.structure] = result.nernst_einstein_conductivity_S_per_cm
        elif group.structure not in found:
            room = lines[group.structure].line.at(kelvin) if group.structure in lines else Estimate.unknown()
            factor = siemens_per_cm(result.n_ions, result.volume_A3, kelvin)
            found[group.structure] = room if room.value is None else room.scaled(factor)
    return found


def _layers(resolved: RegionCampaignResult, kelvin: float) -> dict[str, Estimate | None]:
    """G of every layer: of a run at the temperature, else of its line."""
    found: dict[str, Estimate | None] = {}
    several = {line.structure for line in resolved.layers
               if sum(other.structure == line.structure for other in resolved.layers) > 1}
    for line in resolved.layers:
        name = f"{line.structure} ({line.layer})" if line.structure in several else line.structure
        found[name] = _at(resolved, line, kelvin)
    return found


def _at(resolved: RegionCampaignResult, line: LayerLine, kelvin: float) -> Estimate:
    for group in resolved.groups:
        if group.structure == line.structure and abs((group.result.temperature_K or 0.0) - kelvin) < _SAME_K:
            return next(p.conductance_S_per_cm2 for p in group.result.passages if p.layer == line.layer)
    return line.conductance_S_per_cm2(kelvin)


def _ceramic(grain: str, sigma: Estimate, layer: str, conductance: Estimate | None, thickness_cm: float,
             grain_cm: float, pores: float) -> Ceramic:
    level = sigma.level
    bulk = _inverse(sigma, thickness_cm / pores)
    if conductance is None:
        return Ceramic(grain, layer, sigma, None, bulk, Estimate(0.0, 0.0, 0.0, level), sigma.scaled(pores))
    between = _inverse(conductance, thickness_cm / (grain_cm * pores))
    if conductance.value is None:
        high = None if conductance.high is None else _total_at_most(sigma, between, thickness_cm, pores)
        return Ceramic(grain, layer, sigma, conductance, bulk, between, Estimate(None, None, high, level))
    rng = np.random.default_rng(0)
    total: np.ndarray = pores / (1.0 / _sample(sigma, rng) + 1.0 / (grain_cm * _sample(conductance, rng)))
    low, value, high = np.quantile(total, [0.5 - level / 2, 0.5, 0.5 + level / 2])
    return Ceramic(grain, layer, sigma, conductance, bulk, between,
                   Estimate(float(value), float(low), float(high), level))


def _inverse(estimate: Estimate, numerator: float) -> Estimate:
    """numerator/x: the upper limit of x becomes a lower limit, kept in ``low``."""
    def over(number: float | None) -> float | None:
        return None if number is None or number <= 0 else numerator / number

    return Estimate(over(estimate.value), over(estimate.high), over(estimate.low), estimate.level)


def _total_at_most(sigma: Estimate, between: Estimate, thickness_cm: float, pores: float) -> float:
    bulk = thickness_cm / pores / (sigma.high or sigma.value or math.inf)
    return thickness_cm / (bulk + (between.low or 0.0))


def _sample(estimate: Estimate, rng: np.random.Generator) -> np.ndarray:
    """Draws whose logarithm is normal on either side of the value, with the interval's ends."""
    if not (estimate.value and estimate.low and estimate.high):
        raise ValueError("only an estimate with an interval can be drawn from")
    z = NormalDist().inv_cdf(0.5 + estimate.level / 2)
    draw = rng.normal(size=_SAMPLES)
    above, below = np.log(estimate.high / estimate.value) / z, np.log(estimate.value / estimate.low) / z
    return estimate.value * np.asarray(np.exp(draw * np.where(draw > 0, above, below)))


def _puzzle(rows: Sequence[Ceramic]) -> list[str]:
    """Does sealing, or what is dissolved in the grain, make the sealed ceramic conduct better than bare grains?"""
    bare = [row for row in rows if row.layer == NO_LAYER]
    layers = {row.layer: row.layer_S_per_cm2 for row in rows if row.layer_S_per_cm2 is not None}
    notes = _ratios("grain", {row.grain: row.grain_S_per_cm for row in bare}) + _ratios("layer", layers)
    if layers:
        notes.append("no layer in series can raise the total above that of the same grain without one (INC-10): a "
                     "sealed sample that does so has other grains")
    return notes


def _ratios(what: str, known: dict[str, Estimate]) -> list[str]:
    """Each over each before it in the alphabet, and whether the intervals tell them apart."""
    notes = []
    for first, other in combinations(sorted(known), 2):
        below, above = known[first], known[other]
        if not below.value or above.high is None:
            notes.append(f"{what} {other} over {what} {first}: not known")
            continue
        ratio = f"{above.value / below.value:.2g}" if above.value else f"< {above.high / below.value:.2g}"
        apart = not above.overlaps(below.low or 0.0, below.high or math.inf)
        notes.append(f"{what} {other} over {what} {first}: {ratio} ({'beyond' if apart else 'within'} the intervals)")
    return notes
