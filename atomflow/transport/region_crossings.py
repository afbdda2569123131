"""Crossings between regions: who settled where, how often they changed, how long they stayed, who passed through.

The conductance of a layer between two grains follows from how many ions pass it at equilibrium, however thin it is:

    G = q² Φ/(kT),   Φ: passages per area and time in one direction

(linear response; in a wide layer of diffusivity D and n ions per volume, Φ = nD/ℓ and G = σ/ℓ). A passage begins when
an ion was last deep in one grain and ends when it is first deep in the other, so ℓ is the layer and 1 Å on either side.
An ion that was inside the layer when the run began counts, where it comes out, by the chance that it had come from the
other side: the share of ℓ that lay between it and the side where it comes out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.special
import scipy.stats

from atomflow.estimate import Estimate
from atomflow.transport.slabs import RegionPaths
from atomflow.units import BOLTZMANN_J_PER_K, ELEMENTARY_CHARGE_C

#: An ion has crossed once it is this deep in the other slab (or a quarter of a thinner one), in Å.
COMMITTED_A = 1.0
#: 1/(Å² ps) in 1/(cm² s).
_PER_CM2_S = 1e28


@dataclass(frozen=True)
class Crossing:
    """Settled crossings from one region to another: how many, and the rate per ion there and ps."""

    source: str
    target: str
    count: int
    rate_per_ps: Estimate

    def to_json(self) -> dict[str, Any]:
        return {"from": self.source, "to": self.target, "count": self.count, "rate_per_ion_per_ps": self.rate_per_ps}


@dataclass(frozen=True)
class Passage:
    """Ions that went from grain to grain through a layer.

    Attributes:
        layer: its regions. thickness_A: between the points where a passage begins and ends. count: both directions;
            ions that began inside count in part.
        exposure_A2_ps: area × time × 2 directions. flux_per_A2_ps: in one direction.
        conductance_S_per_cm2: of one layer at the temperature of the run; unknown without it.
    """

    layer: str
    thickness_A: float
    count: float
    exposure_A2_ps: float
    flux_per_A2_ps: Estimate
    conductance_S_per_cm2: Estimate

    @property
    def ln_flux_moments(self) -> tuple[float, float] | None:
        """Mean and standard deviation of ln(flux per Å² and ps), Jeffreys' prior; None where nobody passed."""
        if self.count < 1.0:
            return None
        shape = self.count + 0.5
        return (float(scipy.special.digamma(shape) - np.log(self.exposure_A2_ps)),
                float(np.sqrt(scipy.special.polygamma(1, shape))))

    def to_json(self) -> dict[str, Any]:
        return dict(self.__dict__)


def conductance_S_per_cm2(temperature_K: float, charge_e: float = 1.0) -> float:
    """Conductance per flux of one ion per Å² and ps: q²/kT."""
    charge = charge_e * ELEMENTARY_CHARGE_C
    return charge**2 / (BOLTZMANN_J_PER_K * temperature_K) * _PER_CM2_S


def passages(runs: Sequence[RegionPaths], temperature_K: float | None, level: float, charge_e: float = 1.0
             ) -> tuple[Passage, ...]:
    """Passages through every layer between two grains, all runs together; none seen is an upper limit."""
    counts: dict[str, float] = defaultdict(float)
    exposure: dict[str, float] = {}
    thickness: dict[str, list[float]] = {}
    for paths in runs:
        for gap in _gaps(paths):
            exposure[gap.layer] = exposure.get(gap.layer, 0.0) + (
                2.0 * paths.area_A2 * (len(paths.ions_A) - 1) * paths.interval_ps)
            thickness.setdefault(gap.layer, []).append(gap.thickness_A)
        for layer, count in _passed(paths).items():
            counts[layer] += count
    found = []
    for layer, time in exposure.items():
        flux = poisson_rate(counts[layer], time, level)
        through = Estimate.unknown(level)
        if temperature_K:
            through = flux.scaled(conductance_S_per_cm2(temperature_K, charge_e))
        found.append(Passage(layer, float(np.mean(thickness[layer])), counts[layer], time, flux, through))
    return tuple(found)


@dataclass(frozen=True)
class _Gap:
    """Between two grain slabs that follow one another upwards: the slabs that lie there, and 1 Å of either grain."""

    lower: int
    upper: int
    between: tuple[int, ...]
    layer: str
    thickness_A: float
    margin_A: float


def _gaps(paths: RegionPaths) -> list[_Gap]:
    """Layers between different grain slabs, in ring order; grains in direct contact have none."""
    order = sorted(range(len(paths.slabs)), key=lambda k: paths.slabs[k].low)
    grains = [place for place, k in enumerate(order) if _is_grain(paths.slabs[k].region)]
    if len(grains) < 2:
        return []
    found = []
    for here, there in zip(grains, [*grains[1:], grains[0] + len(order)], strict=True):
        between = tuple(order[place % len(order)] for place in range(here + 1, there))
        if between:
            slabs = [paths.slabs[k] for k in between]
            lower, upper = order[here], order[there % len(order)]
            margins = [min(COMMITTED_A, 0.25 * _width_A(paths, k)) for k in (lower, upper)]
            thickness = sum(_width_A(paths, k) for k in between) + sum(margins)
            found.append(_Gap(lower, upper, between, "+".join(sorted({slab.region for slab in slabs})), thickness,
                              margins[0]))
    return found


def _width_A(paths: RegionPaths, slab: int) -> float:
    return (paths.slabs[slab].high - paths.slabs[slab].low) * paths.height_A


def _is_grain(region: str) -> bool:
    return region.startswith("grain") or region == "bulk"


def _passed(paths: RegionPaths) -> dict[str, float]:
    """Passages through each layer: consecutive deep stays in two grain slabs, up or down."""
    gaps = _gaps(paths)
    ways = {(gap.lower, gap.upper): gap.layer for gap in gaps}
    found: dict[str, float] = defaultdict(float)
    if not gaps:
        return found
    grains = [k for k, slab in enumerate(paths.slabs) if _is_grain(slab.region)]
    deep = _deep(paths) & np.isin(paths.inside, grains)
    deep[0] |= np.isin(paths.inside[0], grains)
    for ion in range(deep.shape[1]):
        frames = np.flatnonzero(deep[:, ion])
        if len(frames) == 0:
            continue
        slab, height = paths.inside[frames, ion], paths.ions_A[frames, ion, 2]
        for change in np.flatnonzero(slab[1:] != slab[:-1]):
            one, other = int(slab[change]), int(slab[change + 1])
            layer = ways.get((one, other) if height[change + 1] > height[change] else (other, one))
            if layer is not None:
                found[layer] += 1.0
        if frames[0] > 0:
            layer, chance = _came_from_the_other_side(paths, gaps, ion, int(frames[0]))
            found[layer] += chance
    return found


def _came_from_the_other_side(paths: RegionPaths, gaps: list[_Gap], ion: int, out: int) -> tuple[str, float]:
    """(layer, chance) for an ion that was inside a layer at first and came out in frame ``out``."""
    first = int(paths.inside[0, ion])
    gap = next(gap for gap in gaps if first in gap.between)
    below = gap.between[: gap.between.index(first)]
    above_edge = (paths.place[0, ion] - paths.slabs[first].low) % 1.0 * paths.height_A
    height = gap.margin_A + sum(_width_A(paths, k) for k in below) + above_edge
    share = float(np.clip(height / gap.thickness_A, 0.0, 1.0))
    upwards = paths.ions_A[out, ion, 2] > paths.ions_A[0, ion, 2]
    return gap.layer, 1.0 - share if upwards else share


def _deep(paths: RegionPaths) -> np.ndarray:
    """(F, n) whether an ion is so deep in its slab that it has settled there."""
    widths = np.array([(slab.high - slab.low) * paths.height_A for slab in paths.slabs])
    mask: np.ndarray = paths.depth_A >= np.minimum(COMMITTED_A, 0.25 * widths)[paths.inside]
    return mask


def settled_slabs(paths: RegionPaths) -> np.ndarray:
    """(F, n) slab in which each ion last was deep; before it ever was, the one it was deep in first."""
    deep = _deep(paths)
    index = np.where(deep, np.arange(len(deep))[:, None], -1)
    last = np.maximum.accumulate(index, axis=0)
    last = np.where(last < 0, deep.argmax(axis=0), last)
    return np.take_along_axis(paths.inside, last, axis=0)


def crossings(runs: Sequence[RegionPaths], settled: Sequence[np.ndarray], level: float) -> tuple[Crossing, ...]:
    """Counts and rates between the regions of neighbouring slabs, both ways, all runs together; none seen is an upper
    limit."""
    counts: Counter[tuple[str, str]] = Counter()
    exposure: Counter[str] = Counter()
    for paths, slabs in zip(runs, settled, strict=True):
        names = np.array([slab.region for slab in paths.slabs])
        before, after = slabs[:-1], slabs[1:]
        moved = before != after
        counts.update(zip(names[before[moved]].tolist(), names[after[moved]].tolist(), strict=True))
        for name in set(names.tolist()):
            exposure[name] += float((names[slabs] == name).sum()) * paths.interval_ps  # type: ignore[assignment]
    first = runs[0].slabs
    neighbours = {(slab.region, first[k - 1].region) for k, slab in enumerate(first)}
    pairs = sorted({*neighbours, *((b, a) for a, b in neighbours), *counts} - {(s.region, s.region) for s in first})
    return tuple(Crossing(source, target, counts[source, target],
                          poisson_rate(counts[source, target], exposure[source], level)) for source, target in pairs)


def residence_ps(runs: Sequence[RegionPaths], name: str, settled: Sequence[np.ndarray]) -> float | None:
    """Time spent settled in the region per departure; None where nobody left."""
    time, leaving = 0.0, 0
    for paths, slabs in zip(runs, settled, strict=True):
        here = np.isin(slabs, [k for k, slab in enumerate(paths.slabs) if slab.region == name])
        leaving += int((here[:-1] & ~here[1:]).sum())
        time += float(here.sum()) * paths.interval_ps
    return time / leaving if leaving else None


def poisson_rate(count: float, exposure_ps: float, level: float) -> Estimate:
    """Poisson rate with its exact interval; an upper limit below one."""
    if exposure_ps <= 0:
        return Estimate.unknown(level)
    high = 0.5 * float(scipy.stats.chi2.ppf(0.5 + level / 2, 2 * (count + 1))) / exposure_ps
    if count < 1:
        return Estimate.upper_limit(high, level)
    low = 0.5 * float(scipy.stats.chi2.ppf(0.5 - level / 2, 2 * count)) / exposure_ps
    return Estimate(count / exposure_ps, low, high, level)
