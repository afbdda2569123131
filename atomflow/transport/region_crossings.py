"""Crossings between regions: who settled where, how often they changed, and for how long they stayed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats

from atomflow.estimate import Estimate
from atomflow.transport.slabs import RegionPaths

#: An ion has crossed once it is this deep in the other slab (or a quarter of a thinner one), in Å.
COMMITTED_A = 1.0


@dataclass(frozen=True)
class Crossing:
    """Settled crossings from one region to another: how many, and the rate per ion there and ps."""

    source: str
    target: str
    count: int
    rate_per_ps: Estimate

    def to_json(self) -> dict[str, Any]:
        return {"from": self.source, "to": self.target, "count": self.count, "rate_per_ion_per_ps": self.rate_per_ps}


def settled_slabs(paths: RegionPaths) -> np.ndarray:
    """(F, n) slab in which each ion last was deep; before it ever was, the one it was deep in first."""
    widths = np.array([(slab.high - slab.low) * paths.height_A for slab in paths.slabs])
    deep = paths.depth_A >= np.minimum(COMMITTED_A, 0.25 * widths)[paths.inside]
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
                          _rate(counts[source, target], exposure[source], level)) for source, target in pairs)


def residence_ps(runs: Sequence[RegionPaths], name: str, settled: Sequence[np.ndarray]) -> float | None:
    """Time spent settled in the region per departure; None where nobody left."""
    time, leaving = 0.0, 0
    for paths, slabs in zip(runs, settled, strict=True):
        here = np.isin(slabs, [k for k, slab in enumerate(paths.slabs) if slab.region == name])
        leaving += int((here[:-1] & ~here[1:]).sum())
        time += float(here.sum()) * paths.interval_ps
    return time / leaving if leaving else None


def _rate(count: int, exposure_ps: float, level: float) -> Estimate:
    """Poisson rate with its exact interval."""
    if exposure_ps <= 0:
        return Estimate.unknown(level)
    high = 0.5 * float(scipy.stats.chi2.ppf(0.5 + level / 2, 2 * (count + 1))) / exposure_ps
    if count == 0:
        return Estimate.upper_limit(high, level)
    low = 0.5 * float(scipy.stats.chi2.ppf(0.5 - level / 2, 2 * count)) / exposure_ps
    return Estimate(count / exposure_ps, low, high, level)
