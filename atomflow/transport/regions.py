"""Transport resolved by region: D along and across the boundary, what is where, and who crosses.

See :mod:`atomflow.transport.slabs` for where a region is and :mod:`atomflow.transport.local_walk` for D.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from atomflow.errors import InputError
from atomflow.estimate import Estimate
from atomflow.plain import Shown, named
from atomflow.transport.conductivity import siemens_per_cm
from atomflow.transport.diffusion import HOP_LENGTH_A
from atomflow.transport.local_walk import LocalD, bins_of, starting, staying, triple_d, weigh
from atomflow.transport.pooling import about_pool, open_all, similar, temperature_of
from atomflow.transport.region_crossings import (
    Crossing,
    Passage,
    crossings,
    passages,
    residence_ps,
    settled_slabs,
)
from atomflow.transport.region_profile import Profile, profile
from atomflow.transport.result import in_words
from atomflow.transport.slabs import RegionPaths, Slab, pooled_paths
from atomflow.units import CM2_PER_S_PER_A2_PER_PS

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


@dataclass(frozen=True, repr=False)
class RegionResult(Shown):
    """Seeds of one run by region; see :func:`analyze_regions`. ``slabs`` and ``height_A`` are the first run's."""

    species: str
    sources: tuple[str, ...]
    along: str
    temperature_K: float | None
    temperature_mean_K: float | None
    temperature_error_K: float | None
    cell: dict[str, Any]
    potential: dict[str, Any] | None
    n_runs: int
    n_ions: int
    total_time_ps: float
    slabs: tuple[Slab, ...]
    height_A: float
    regions: tuple[RegionTransport, ...]
    crossings: tuple[Crossing, ...]
    passages: tuple[Passage, ...]
    profile: Profile
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        slabs = [{"region": s.region, "from_A": s.low * self.height_A, "to_A": s.high * self.height_A}
                 for s in self.slabs]
        return {**self.__dict__, "kind": "regions", "slabs": slabs}

    def text(self) -> str:
        """For people."""
        from atomflow.plain import table

        kelvin = in_words(self.temperature_K, self.temperature_mean_K, self.temperature_error_K)
        lines = [f"{self.n_ions} {self.species} in {len(self.slabs)} slabs along {self.along} at {kelvin}, "
                 f"{self.n_runs} run(s), {self.total_time_ps:.3g} ps",
                 f"{self.cell.get('formula') or 'unknown cell'}; potential: {named(self.potential)}"]
        rows = [[r.region, f"{r.width_A:.1f}", f"{r.mean_ions:.1f}", f"{r.density_per_A3:.4f}",
                 f"{r.along.estimate:.2g}", f"{r.across.estimate:.2g}",
                 "-" if r.residence_ps is None else f"{r.residence_ps:.3g}"] for r in self.regions]
        lines.append(table(rows, ["region", "width/Å", "ions", "per Å³", "D along, cm²/s", "D across, cm²/s",
                                  "residence/ps"]))
        lines += [f"{r.region}: D across unknown: {r.across.why}" for r in self.regions
                  if r.across.estimate.high is None]
        lines += [f"{c.source} → {c.target}: {c.count} crossings, {c.rate_per_ps:.2g} per ion and ps"
                  for c in self.crossings]
        lines += [f"through {p.layer} ({p.thickness_A:.1f} Å): {p.count:.3g} passages, "
                  f"{p.conductance_S_per_cm2:.2g} S/cm²" for p in self.passages]
        return "\n".join(lines + [f"warning: {text}" for text in self.warnings])


def analyze_regions(
    trajectories: Any,
    species: str = "Na",
    along: str = "z",
    discard_ps: float = 0.0,
    memory_MB: float = 500.0,
    level: float = 0.95,
    hop_length_A: float = HOP_LENGTH_A,
    charge_e: float = 1.0,
) -> RegionResult:
    """Resolve a run, or seeds of one run (a list), by the regions of its cell.

    Raises:
        InputError: no such species or direction, one region only, too few frames, runs that cannot be pooled, or
            options that make no sense.
    """
    if not 0.5 <= level < 1:
        raise InputError(f"level must be between 0.5 and 1, not {level:g}")
    if not hop_length_A > 0:
        raise InputError(f"the hop length must be positive, not {hop_length_A:g}")
    opened = open_all(trajectories)
    temperature = temperature_of(opened, discard_ps)
    for one in opened[1:]:
        if not similar(one.temperature_K, opened[0].temperature_K):
            raise InputError(f"{opened[0].source} is at {opened[0].temperature_K} K and {one.source} at "
                             f"{one.temperature_K} K; pool only runs of one temperature")
    runs = pooled_paths(opened, species, along, discard_ps, memory_MB)
    warnings = [*(text for one in opened for text in one.warnings), *temperature.warnings, *about_pool(opened)]
    if not temperature.actual_K:
        warnings.append("the temperature is not known: no conductivity")
    settled = [settled_slabs(paths) for paths in runs]
    regions = tuple(_one_region(runs, name, settled, temperature.actual_K, level, hop_length_A, charge_e)
                    for name in runs[0].regions)
    warnings += [f"{r.region}: D along at {r.along.lag_ps:.3g} ps; {_SHORT}" for r in regions
                 if _SHORT in r.along.why and r.along.estimate.value is not None]
    lag = float(np.median([region.along.lag_ps for region in regions]))
    frames = max(1, round(lag / runs[0].interval_ps))
    return RegionResult(species, tuple(str(one.source) for one in opened), along, temperature.target_K,
                        temperature.mean_K, temperature.error_K, dict(opened[0].cell_summary or {}),
                        opened[0].potential, len(runs), runs[0].ions_A.shape[1],
                        sum((len(paths.ions_A) - 1) * paths.interval_ps for paths in runs), runs[0].slabs,
                        runs[0].height_A, regions, crossings(runs, settled, level),
                        passages(runs, temperature.actual_K, level, charge_e),
                        profile(runs, frames, {r.region for r in regions if r.along.estimate.value is not None}),
                        tuple(dict.fromkeys(warnings)))


@dataclass(frozen=True)
class _Inside:
    """Seeds of a run seen from one region: paths with its drift taken off, and who is in it when."""

    runs: list[RegionPaths]
    moved: list[np.ndarray]
    inside: list[np.ndarray]

    @classmethod
    def of(cls, runs: list[RegionPaths], name: str) -> _Inside:
        return cls(runs, [paths.ions_A - paths.drift_A[name][:, None] for paths in runs],
                   [paths.in_region(name) for paths in runs])

    @property
    def interval_ps(self) -> float:
        return self.runs[0].interval_ps

    @property
    def ion_time_ps(self) -> float:
        return float(sum(inside.sum() for inside in self.inside)) * self.interval_ps


def _one_region(
    runs: list[RegionPaths], name: str, settled: list[np.ndarray], temperature_K: float | None, level: float,
    hop_length_A: float, charge_e: float,
) -> RegionTransport:
    here = _Inside.of(runs, name)
    along = _along(here, hop_length_A, level)
    width = min(paths.slab_width_A(name) for paths in runs)
    across = _across(here, width, along, hop_length_A, level)
    mean_ions = float(sum(inside.sum() for inside in here.inside) / sum(map(len, here.inside)))
    width = float(np.mean([paths.width_A(name) for paths in runs]))
    volume = width * float(np.mean([paths.area_A2 for paths in runs]))
    sigma_along, sigma_across = Estimate.unknown(level), Estimate.unknown(level)
    if temperature_K and mean_ions > 0:
        factor = siemens_per_cm(1, volume / mean_ions, temperature_K, charge_e)
        sigma_along, sigma_across = along.estimate.scaled(factor), across.estimate.scaled(factor)
    return RegionTransport(name, width, mean_ions, mean_ions / volume, along, across, sigma_along, sigma_across,
                           runs[0].reference[name], residence_ps(runs, name, settled))


def _along(here: _Inside, hop_A: float, level: float) -> LocalD:
    """D in the plane: the lag at which ions that stay have moved half a hop squared, shorter if visits are."""
    frames, reached = _half_hop_frames(here, hop_A)
    while True:
        chosen = [staying(inside, frames) for inside in here.inside]
        if sum(int(one.sum()) for one in chosen) >= _MIN_TRIPLES or frames == 1:
            break
        frames = max(1, int(frames / 1.5))
    lag = frames * here.interval_ps
    d = [triple_d(bins_of(moved[..., :2], frames), lag).mean(axis=2) for moved in here.moved]
    found = weigh(list(zip(d, chosen, strict=True)), lag, here.ion_time_ps, hop_A, level)
    return found if reached else replace(found, why=f"{found.why}; {_SHORT}")


def _across(here: _Inside, width: float, along: LocalD, hop_A: float, level: float) -> LocalD:
    """D across: ions that start two rms displacements deep, at a lag that leaves a quarter of the slab as core."""
    if along.estimate.value is None:
        high = None if along.estimate.high is None else 3.0 * along.estimate.high
        return replace(along, estimate=Estimate(None, None, high, level), triples=0,
                       exposure_s_per_cm2=along.exposure_s_per_cm2 / 3.0,
                       why="no diffusion in the plane was seen: three times its limit")
    d_A2_per_ps = along.estimate.value / CM2_PER_S_PER_A2_PER_PS
    longest = (3.0 / 16.0 * width) ** 2 / (6.0 * d_A2_per_ps)  # 2 margins of 2 rms take three quarters of the slab
    frames = int(min(along.lag_ps, longest) / here.interval_ps + 1e-9)
    rms = float(np.sqrt(6.0 * d_A2_per_ps * max(1, frames) * here.interval_ps))
    if frames < 1 or rms < 0.5 * hop_A:
        why = f"the slab is {width:.1f} Å wide, too thin to hold hops of {hop_A:g} Å that stay inside"
        return LocalD(Estimate.unknown(level), along.lag_ps, 0, why)
    lag = frames * here.interval_ps
    d = [triple_d(bins_of(moved[..., 2:], frames), lag)[..., 0] for moved in here.moved]
    chosen = [starting(inside & (paths.depth_A >= 2.0 * rms), frames)
              for inside, paths in zip(here.inside, here.runs, strict=True)]
    return weigh(list(zip(d, chosen, strict=True)), lag, here.ion_time_ps, hop_A, level)


def _half_hop_frames(here: _Inside, hop_A: float) -> tuple[int, bool]:
    """First lag (frames) at which ions in the region at both ends have moved half a hop squared (its in-plane part).

    A twentieth of the longest run, and False, where they never do.
    """
    longest = max(1, max(map(len, here.moved)) // 20)
    for lag in np.unique(np.geomspace(1, longest, 30).astype(int)):
        total, count = 0.0, 0
        for moved, inside in zip(here.moved, here.inside, strict=True):
            if len(moved) > lag:
                both = inside[:-lag] & inside[lag:]
                total += float(((moved[lag:, :, :2] - moved[:-lag, :, :2]) ** 2).sum(axis=2)[both].sum())
                count += int(both.sum())
        if count and total / count >= hop_A**2 / 3.0:
            return int(lag), True
    return longest, False
