"""Transport resolved by region: D along and across the boundary, what is where, and who crosses.

See :mod:`atomflow.transport.slabs` for where a region is and :mod:`atomflow.transport.local_walk` for D.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.stats

from atomflow.errors import InputError
from atomflow.estimate import Estimate
from atomflow.transport.analyze import measured_temperature_K
from atomflow.transport.conductivity import siemens_per_cm
from atomflow.transport.diffusion import HOP_LENGTH_A
from atomflow.transport.local_walk import LocalD, bins_of, starting, staying, triple_d, weigh
from atomflow.transport.region_profile import Profile, profile
from atomflow.transport.slabs import RegionPaths, Slab, region_paths

#: An ion has crossed once it is this deep in the other slab (or a quarter of a thinner one), in Å.
COMMITTED_A = 1.0
_MIN_TRIPLES = 30
_SHORT = "by then the ions had not moved half a hop: back-and-forth may count as diffusion"


@dataclass(frozen=True)
class RegionTransport:
    """One region.

    Attributes:
        width_A: of all its slabs. mean_ions: in it, on average. density_per_A3: of them.
        along, across: D in the plane of the boundary and perpendicular to it.
        conductivity_along_S_per_cm, conductivity_across_S_per_cm: Nernst–Einstein, of the region's own ions and volume.
        reference: what drift was taken from. residence_ps: mean length of a settled visit that was seen to end.
    """

    region: str
    width_A: float
    mean_ions: float
    density_per_A3: float
    along: LocalD
    across: LocalD
    conductivity_along_S_per_cm: Estimate
    conductivity_across_S_per_cm: Estimate
    reference: str
    residence_ps: float | None

    def to_json(self) -> dict[str, Any]:
        flat = {name: value for name, value in self.__dict__.items() if name not in ("along", "across")}
        for name, local in (("along", self.along), ("across", self.across)):
            flat |= {f"diffusivity_{name}_cm2_per_s": local.estimate, f"lag_{name}_ps": local.lag_ps,
                     f"why_{name}": local.why}
        return flat


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
class RegionResult:
    """A run by region; see :func:`analyze_regions`."""

    species: str
    source: str
    along: str
    temperature_K: float | None
    n_ions: int
    total_time_ps: float
    slabs: tuple[Slab, ...]
    height_A: float
    regions: tuple[RegionTransport, ...]
    crossings: tuple[Crossing, ...]
    profile: Profile
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        slabs = [{"region": s.region, "from_A": s.low * self.height_A, "to_A": s.high * self.height_A}
                 for s in self.slabs]
        return {**self.__dict__, "kind": "regions", "slabs": slabs}

    def text(self) -> str:
        """For people."""
        from atomflow.plain import table

        temperature = "" if self.temperature_K is None else f" at {self.temperature_K:g} K"
        lines = [f"{self.n_ions} {self.species} in {len(self.slabs)} slabs along {self.along}{temperature}, "
                 f"{self.total_time_ps:.3g} ps"]
        rows = [[r.region, f"{r.width_A:.1f}", f"{r.mean_ions:.1f}", f"{r.density_per_A3:.4f}",
                 f"{r.along.estimate:.2g}", f"{r.across.estimate:.2g}",
                 "-" if r.residence_ps is None else f"{r.residence_ps:.3g}"] for r in self.regions]
        lines.append(table(rows, ["region", "width/Å", "ions", "per Å³", "D along, cm²/s", "D across, cm²/s",
                                  "residence/ps"]))
        lines += [f"{r.region}: D across unknown: {r.across.why}" for r in self.regions
                  if r.across.estimate.high is None]
        lines += [f"{c.source} → {c.target}: {c.count} crossings, {c.rate_per_ps:.2g} per ion and ps"
                  for c in self.crossings]
        return "\n".join(lines + [f"warning: {text}" for text in self.warnings])


def analyze_regions(
    trajectory: Any,
    species: str = "Na",
    along: str = "z",
    discard_ps: float = 0.0,
    memory_MB: float = 500.0,
    level: float = 0.95,
    hop_length_A: float = HOP_LENGTH_A,
    charge_e: float = 1.0,
) -> RegionResult:
    """Resolve a run by the regions of its cell.

    Raises:
        InputError: no such species or direction, one region only, too few frames, or options that make no sense.
    """
    if not 0.5 <= level < 1:
        raise InputError(f"level must be between 0.5 and 1, not {level:g}")
    if not hop_length_A > 0:
        raise InputError(f"the hop length must be positive, not {hop_length_A:g}")
    paths = region_paths(trajectory, species, along, discard_ps, memory_MB)
    temperature = measured_temperature_K(trajectory) or trajectory.temperature_K
    warnings = list(trajectory.warnings)
    if not temperature:
        warnings.append("the temperature is not known: no conductivity")
    settled = _settled(paths)
    regions = tuple(_one_region(paths, name, settled, temperature, level, hop_length_A, charge_e)
                    for name in paths.regions)
    warnings += [f"{r.region}: D along at {r.along.lag_ps:.3g} ps; {_SHORT}" for r in regions
                 if _SHORT in r.along.why and r.along.estimate.value is not None]
    lag = float(np.median([region.along.lag_ps for region in regions]))
    frames = max(1, round(lag / paths.interval_ps))
    return RegionResult(species, str(trajectory.source), along, temperature, paths.ions_A.shape[1],
                        (len(paths.ions_A) - 1) * paths.interval_ps, paths.slabs, paths.height_A, regions,
                        _crossings(paths, settled, level),
                        profile(paths, frames, {r.region for r in regions if r.along.estimate.value is not None}),
                        tuple(warnings))


def _one_region(
    paths: RegionPaths, name: str, settled: np.ndarray, temperature_K: float | None, level: float, hop_length_A: float,
    charge_e: float,
) -> RegionTransport:
    inside = paths.in_region(name)
    moved = paths.ions_A - paths.drift_A[name][:, None]
    ion_time = float(inside.sum()) * paths.interval_ps
    along = _along(paths, moved, inside, ion_time, hop_length_A, level)
    across = _across(paths, name, moved, inside, along, ion_time, hop_length_A, level)
    width, mean_ions = paths.width_A(name), float(inside.mean(axis=0).sum())
    volume = width * paths.area_A2
    sigma_along, sigma_across = Estimate.unknown(level), Estimate.unknown(level)
    if temperature_K and mean_ions > 0:
        factor = siemens_per_cm(1, volume / mean_ions, temperature_K, charge_e)
        sigma_along, sigma_across = along.estimate.scaled(factor), across.estimate.scaled(factor)
    return RegionTransport(name, width, mean_ions, mean_ions / volume, along, across, sigma_along, sigma_across,
                           paths.reference[name], _residence_ps(paths, name, settled))


def _along(paths: RegionPaths, moved: np.ndarray, inside: np.ndarray, ion_time: float, hop_A: float,
           level: float) -> LocalD:
    """D in the plane: the lag at which ions that stay have moved half a hop squared, shorter if visits are."""
    frames, reached = _half_hop_frames(moved, inside, hop_A)
    while True:
        chosen = staying(inside, frames)
        if chosen.sum() >= _MIN_TRIPLES or frames == 1:
            break
        frames = max(1, int(frames / 1.5))
    lag = frames * paths.interval_ps
    d = triple_d(bins_of(moved[..., :2], frames), lag).mean(axis=2)
    found = weigh(d, chosen, lag, ion_time, hop_A, level)
    return found if reached else replace(found, why=f"{found.why}; {_SHORT}")


def _across(paths: RegionPaths, name: str, moved: np.ndarray, inside: np.ndarray, along: LocalD, ion_time: float,
            hop_A: float, level: float) -> LocalD:
    """D across: ions that start two rms displacements deep, at a lag that leaves a quarter of the slab as core."""
    width = paths.slab_width_A(name)
    if along.estimate.value is None:
        return LocalD(Estimate(None, None, None if along.estimate.high is None else 3.0 * along.estimate.high, level),
                      along.lag_ps, 0, "no diffusion in the plane was seen: three times its limit")
    d_A2_per_ps = along.estimate.value * 1e4
    longest = (3.0 / 16.0 * width) ** 2 / (6.0 * d_A2_per_ps)  # 2 margins of 2 rms take three quarters of the slab
    frames = int(min(along.lag_ps, longest) / paths.interval_ps + 1e-9)
    rms = float(np.sqrt(6.0 * d_A2_per_ps * max(1, frames) * paths.interval_ps))
    if frames < 1 or rms < 0.5 * hop_A:
        why = f"the slab is {width:.1f} Å wide, too thin to hold hops of {hop_A:g} Å that stay inside"
        return LocalD(Estimate.unknown(level), along.lag_ps, 0, why)
    lag = frames * paths.interval_ps
    d = triple_d(bins_of(moved[..., 2:], frames), lag)[..., 0]
    chosen = starting(inside & (paths.depth_A >= 2.0 * rms), frames)
    return weigh(d, chosen, lag, ion_time, hop_A, level)


def _half_hop_frames(moved: np.ndarray, inside: np.ndarray, hop_A: float) -> tuple[int, bool]:
    """First lag (frames) at which ions in the region at both ends have moved half a hop squared (its in-plane part).

    A twentieth of the run, and False, where they never do.
    """
    longest = max(1, len(moved) // 20)
    for lag in np.unique(np.geomspace(1, longest, 30).astype(int)):
        both = inside[:-lag] & inside[lag:]
        if both.any():
            square = ((moved[lag:, :, :2] - moved[:-lag, :, :2]) ** 2).sum(axis=2)
            if square[both].mean() >= hop_A**2 / 3.0:
                return int(lag), True
    return longest, False


def _settled(paths: RegionPaths) -> np.ndarray:
    """(F, n) slab in which each ion last was deep; before it ever was, the one it was deep in first."""
    widths = np.array([(slab.high - slab.low) * paths.height_A for slab in paths.slabs])
    deep = paths.depth_A >= np.minimum(COMMITTED_A, 0.25 * widths)[paths.inside]
    index = np.where(deep, np.arange(len(deep))[:, None], -1)
    last = np.maximum.accumulate(index, axis=0)
    last = np.where(last < 0, deep.argmax(axis=0), last)
    return np.take_along_axis(paths.inside, last, axis=0)


def _crossings(paths: RegionPaths, settled: np.ndarray, level: float) -> tuple[Crossing, ...]:
    """Counts and rates between the regions of neighbouring slabs, both ways; none seen is an upper limit."""
    names = np.array([slab.region for slab in paths.slabs])
    before, after = settled[:-1], settled[1:]
    moved = before != after
    counts = Counter(zip(names[before[moved]].tolist(), names[after[moved]].tolist(), strict=True))
    neighbours = {(slab.region, paths.slabs[k - 1].region) for k, slab in enumerate(paths.slabs)}
    pairs_ = sorted({*neighbours, *((b, a) for a, b in neighbours), *counts} - {(n, n) for n in names})
    result = []
    for source, target in pairs_:
        count = counts.get((source, target), 0)
        exposure = float((names[settled] == source).sum()) * paths.interval_ps
        result.append(Crossing(source, target, count, _rate(count, exposure, level)))
    return tuple(result)


def _rate(count: int, exposure_ps: float, level: float) -> Estimate:
    """Poisson rate with its exact interval."""
    if exposure_ps <= 0:
        return Estimate.unknown(level)
    high = 0.5 * float(scipy.stats.chi2.ppf(0.5 + level / 2, 2 * (count + 1))) / exposure_ps
    if count == 0:
        return Estimate.upper_limit(high, level)
    low = 0.5 * float(scipy.stats.chi2.ppf(0.5 - level / 2, 2 * count)) / exposure_ps
    return Estimate(count / exposure_ps, low, high, level)


def _residence_ps(paths: RegionPaths, name: str, settled: np.ndarray) -> float | None:
    """Time spent settled in the region per departure; None where nobody left."""
    here = np.isin(settled, [k for k, slab in enumerate(paths.slabs) if slab.region == name])
    leaving = int((here[:-1] & ~here[1:]).sum())
    return float(here.sum()) * paths.interval_ps / leaving if leaving else None
