"""Profiles across a film: how many ions are where, and how mobile they are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from atomflow.transport.local_walk import bins_of, triple_d
from atomflow.transport.slabs import RegionPaths
from atomflow.units import CM2_PER_S_PER_A2_PER_PS

_BIN_A = 1.0
_BLOCKS = 5


@dataclass(frozen=True)
class Profile:
    """Along the normal.

    Attributes:
        place_A: (m,) middle of each bin, from the origin of the cell. region: (m,) whose it is.
        density_per_A3, density_error: (m,) ions, and the standard error over five stretches of time of every run.
        diffusivity_cm2_per_s, diffusivity_error: (m,) in the plane, of ions that were there just before; NaN where
            nobody was or the region shows no diffusion. lag_ps: of the steps. resolution_A: (m,) how far such ions move
            across meanwhile (rms).
    """

    place_A: np.ndarray
    region: tuple[str, ...]
    density_per_A3: np.ndarray
    density_error: np.ndarray
    diffusivity_cm2_per_s: np.ndarray
    diffusivity_error: np.ndarray
    lag_ps: float
    resolution_A: np.ndarray

    def to_json(self) -> dict[str, Any]:
        return dict(self.__dict__)


def profile(runs: Sequence[RegionPaths], frames: int, diffusing: set[str]) -> Profile:
    """Density and in-plane mobility in bins of about 1 Å, steps of ``frames`` frames, mean over the runs.

    Regions that are not ``diffusing`` have no mobility: steps there are vibration. Places and regions are those of the
    first run.
    """
    paths = runs[0]
    m = max(4, round(paths.height_A / _BIN_A))
    density, weights, moved, wide = [], [], [], []
    for run in runs:
        index = np.minimum((run.place * m).astype(int), m - 1)
        volume = run.height_A / m * run.area_A2
        for part in np.array_split(index, _BLOCKS):
            density.append(np.bincount(part.ravel(), minlength=m) / (len(part) * volume))
            weights.append(len(part))
        one, across = _steps(run, index, frames, m)
        moved.append(one)
        wide.append(across)
    lag = frames * paths.interval_ps
    sums, numbers = (np.concatenate([one[k] for one in moved]) for k in (0, 1))
    wide_sums, wide_numbers = (np.concatenate([one[k] for one in wide]) for k in (0, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = sums.sum(axis=0) / numbers.sum(axis=0)
        error = _ratio_error(sums, numbers, mean)
        resolution = np.sqrt(wide_sums.sum(axis=0) / wide_numbers.sum(axis=0))
    places = (np.arange(m) + 0.5) / m
    region = tuple(_region_at(paths, x) for x in places)
    unit = np.where([name in diffusing for name in region], CM2_PER_S_PER_A2_PER_PS, np.nan)
    rows = np.array(density)
    return Profile(places * paths.height_A, region, np.average(rows, axis=0, weights=weights),
                   rows.std(axis=0, ddof=1) / np.sqrt(len(rows)), mean * unit, error * unit, lag, resolution)


def _steps(paths: RegionPaths, index: np.ndarray, frames: int, m: int
           ) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Sums and numbers by bin and stretch of time of one run: in-plane D, and squared displacement across."""
    lag = frames * paths.interval_ps
    count = len(index) // frames
    start = index[frames - 1 : (count - 2) * frames - 1 : frames][: count - 3]
    owner = np.array(paths.regions)[_region_row(paths)]
    moved = np.empty((count - 3, *start.shape[1:]))
    across = np.empty_like(moved)
    for name in paths.regions:
        binned = bins_of(paths.ions_A - paths.drift_A[name][:, None], frames)
        d = triple_d(binned, lag)[1:]
        here = owner[paths.inside][frames - 1 : (count - 2) * frames - 1 : frames][: count - 3] == name
        moved = np.where(here, d[..., :2].mean(axis=2), moved)
        across = np.where(here, (binned[3:, :, 2] - binned[1:-2, :, 2]) ** 2, across)
    return _by_bin(moved, start, m), _by_bin(across, start, m)


def _region_row(paths: RegionPaths) -> np.ndarray:
    """(slabs,) row of each slab's region in ``paths.regions``."""
    return np.array([paths.regions.index(slab.region) for slab in paths.slabs])


def _region_at(paths: RegionPaths, place: float) -> str:
    return next(slab.region for slab in paths.slabs if (place - slab.low) % 1.0 < slab.high - slab.low)


def _by_bin(values: np.ndarray, start: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray]:
    """(20, m) sums of the values and their numbers by bin of the start, for stretches of time."""
    edges = np.linspace(0, len(values), min(20, len(values)) + 1).astype(int)
    sums, numbers = [], []
    for first, last in pairwise(edges):
        where = start[first:last].ravel()
        sums.append(np.bincount(where, weights=values[first:last].ravel(), minlength=m))
        numbers.append(np.bincount(where, minlength=m).astype(np.float64))
    return np.array(sums), np.array(numbers)


def _ratio_error(sums: np.ndarray, numbers: np.ndarray, mean: np.ndarray) -> np.ndarray:
    residual = np.where(numbers > 0, sums - mean * numbers, 0.0)
    filled = (numbers > 0).sum(axis=0)
    factor = np.where(filled > 1, filled / np.maximum(filled - 1, 1), np.nan)
    return np.sqrt(factor * (residual**2).sum(axis=0)) / numbers.sum(axis=0)
