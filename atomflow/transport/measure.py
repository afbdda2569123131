"""One pass over the pooled runs: the all-lag MSD, and the ions' positions averaged over short bins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats

from atomflow.errors import InputError
from atomflow.transport.displacement import Displacements
from atomflow.transport.msd import msd_sum, relative_variance
from atomflow.transport.walk import bin_means

#: Bins kept of one run at most: finer is only vibration.
_MAX_BINS = 2000


@dataclass(frozen=True)
class Run:
    """Binned, drift-corrected paths of one run.

    Attributes:
        ions_A: (n, 3, B) mean position of each ion in each bin, in Å.
        collective_A: (3, B) their sum.
        n_frames, total_time_ps: of the run they came from.
    """

    ions_A: np.ndarray
    collective_A: np.ndarray
    n_frames: int
    total_time_ps: float

    @property
    def n_ions(self) -> int:
        return len(self.ions_A)


@dataclass(frozen=True)
class Measured:
    """What all pooled runs say together.

    Attributes:
        runs: the binned paths. bin_frames, bin_ps: length of one bin.
        interval_ps: time between frames.
        msd_A2: (F,) mean squared displacement of an ion at each lag of the longest run, in Å².
        charge_msd_A2: (F,) the same of the summed displacement, divided by the number of ions.
        relative_variance: (F,) of msd_A2 for independent Brownian ions.
    """

    runs: list[Run]
    bin_frames: int
    bin_ps: float
    interval_ps: float
    msd_A2: np.ndarray
    charge_msd_A2: np.ndarray
    relative_variance: np.ndarray

    @property
    def longest_ps(self) -> float:
        return max(run.total_time_ps for run in self.runs)

    @property
    def ion_time_ps(self) -> float:
        """Ions × time, summed over the runs."""
        return sum(run.n_ions * run.total_time_ps for run in self.runs)

    def msd_interval(self, overdispersion: float, level: float) -> tuple[np.ndarray, np.ndarray]:
        """(F,) low and high of the MSD: χ² with the degrees of freedom of its variance."""
        with np.errstate(divide="ignore"):
            dof = 2.0 / (self.relative_variance[1:] * overdispersion)
        low, high = scipy.stats.chi2.ppf([[0.5 + level / 2], [0.5 - level / 2]], dof[None, :])
        zero = np.zeros(1)
        return (np.concatenate([zero, self.msd_A2[1:] * dof / low]),
                np.concatenate([zero, self.msd_A2[1:] * dof / high]))


def measure(pool: Sequence[Displacements], workers: int = 1) -> Measured:
    """Read every run of the pool once.

    Raises:
        InputError: the runs differ in the time between frames.
    """
    interval = pool[0].interval_ps
    for other in pool[1:]:
        if not np.isclose(other.interval_ps, interval, rtol=1e-6, atol=0):
            raise InputError(f"runs with different frame intervals cannot be pooled: {interval * 1000:g} fs in "
                             f"{pool[0].trajectory.source}, {other.interval_ps * 1000:g} fs in "
                             f"{other.trajectory.source}")
    frames = max(run.n_frames for run in pool)
    bin_frames = -(-frames // _allowed_bins(pool))
    msd, charge = np.zeros(frames), np.zeros(frames)
    windows, charge_windows, variance = np.zeros(frames), np.zeros(frames), np.zeros(frames)
    runs = []
    for run in pool:
        pieces: list[np.ndarray] = []
        f = run.n_frames
        weight = (f - np.arange(f)).astype(np.float64)
        msd[:f] += weight * msd_sum(_binning(run, bin_frames, pieces), f, workers)
        charge[:f] += weight * msd_sum([run.collective_A], f) / run.n_ions
        windows[:f] += weight * run.n_ions
        charge_windows[:f] += weight
        variance[:f] += weight**2 * run.n_ions * relative_variance(f, 3)
        paths = np.concatenate(pieces).reshape(run.n_ions, 3, -1)
        runs.append(Run(paths, bin_means(run.collective_A, bin_frames), f, run.total_time_ps))
    return Measured(runs, bin_frames, bin_frames * interval, interval, msd / windows, charge / charge_windows,
                    variance / windows**2)


def _allowed_bins(pool: Sequence[Displacements]) -> int:
    memory = sum(run.memory_bytes for run in pool) / 4.0
    columns = 3 * sum(run.n_ions for run in pool)
    return int(np.clip(memory / (8.0 * columns), 50, _MAX_BINS))


def _binning(run: Displacements, bin_frames: int, pieces: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Pass the blocks of a run on, keeping their bin means in ``pieces``."""
    for _, block in run.blocks():
        pieces.append(bin_means(block, bin_frames) if bin_frames > 1 else block.copy())
        yield block
