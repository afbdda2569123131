"""Intervals of means over frames and replicas: frames of one run remember each other, blocks of them much less."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.stats

from atomflow.estimate import Estimate

#: Blocks that one run is cut into.
BLOCKS = 5


def block_means(values: np.ndarray, blocks: int = BLOCKS) -> np.ndarray:
    """(b, ...) means over consecutive blocks of the first axis; NaN where a block has only NaN."""
    pieces = np.array_split(values, min(blocks, len(values)))
    return np.array([_nanmean(piece) for piece in pieces])


def estimate(replicas: Sequence[np.ndarray], level: float = 0.95) -> Estimate:
    """Mean of a number over replicas with its interval.

    Args:
        replicas: for each replica, the number in each frame (NaN: not to be had in that frame).

    Two replicas or more: Student's t over the replicas' means, since replicas of a glass differ by more than frames
    do. One replica: over five blocks of its frames (fewer than ten frames: no interval).
    """
    means = np.array([_nanmean(np.asarray(values, dtype=np.float64)) for values in replicas])
    means = means[np.isfinite(means)]
    if len(means) == 0:
        return Estimate.unknown(level)
    if len(means) >= 2:
        samples = means
    else:
        values = np.asarray(replicas[0], dtype=np.float64)
        samples = block_means(values) if len(values) >= 2 * BLOCKS else means
        samples = samples[np.isfinite(samples)]
    value = float(means.mean())
    if len(samples) < 2:
        return Estimate(value, None, None, level)
    half = float(scipy.stats.t.ppf(0.5 + level / 2, len(samples) - 1) * samples.std(ddof=1) / np.sqrt(len(samples)))
    return Estimate(value, value - half, value + half, level)


def standard_error(values: np.ndarray, memory: float = 1.0) -> float | None:
    """Standard error of the mean of (n,) rows of one run; None of fewer than ten, or of rows that are all the same.

    The larger of what five blocks say and of what n / ``memory`` independent rows would: blocks shorter than the memory
    agree with one another by memory alone.

    Args:
        memory: so many rows count as one, where that is known beforehand. Of a run that is not several times longer no
            error can be known, and what is given is how far its rows scatter.
    """
    if len(values) < 2 * BLOCKS:
        return None
    blocks = block_means(values).std(ddof=1) / np.sqrt(BLOCKS)
    independent = values.std(ddof=1) / np.sqrt(max(1.0, len(values) / memory))
    return float(max(blocks, independent)) or None


def _nanmean(values: np.ndarray) -> np.ndarray | float:
    good = np.isfinite(values)
    count = good.sum(axis=0)
    total = np.where(good, values, 0.0).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)
