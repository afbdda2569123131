"""D from pieces of paths: the covariance estimator over visits of any length, with intervals that know clustering.

With steps v₁, v₂ between three consecutive bin means Δ apart, in one dimension,

    d = (v₁² + v₂²)/(4Δ) + v₁v₂/Δ

has mean D whatever localisation noise, caging within Δ, back-jumps within Δ and motion blur do (Vestergaard, Blainey &
Flyvbjerg, Phys. Rev. E 89 (2014) 022726: the covariance-based estimator). It needs no long path, so it can be summed
over the visits that ions pay to a region:

* **along** the boundary: triples during which the ion stays in the region. In-plane motion does not know that it was
  chosen by the coordinate across, so staying biases nothing.
* **across** it: staying would cut the large steps off. Triples are chosen by where the ion is just *before* them, deep
  enough (two rms displacements of a triple) not to leave meanwhile, and count wherever they end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.special
import scipy.stats

from atomflow.estimate import Estimate
from atomflow.transport.diffusion import equivalent_hops, poisson_limit_cm2_per_s
from atomflow.units import CM2_PER_S_PER_A2_PER_PS

#: Clusters whose scatter gives the interval.
_CLUSTERS = 80
_CHANCE = 0.01


@dataclass(frozen=True)
class LocalD:
    """A local diffusivity.

    Attributes:
        estimate: in cm²/s. lag_ps: Δ. triples: how many went in. why: in words.
        freedom: degrees of freedom of the χ² that D is thought to follow; None without a value.
        hops, exposure_s_per_cm2: seen, and expected per cm²/s; for an Arrhenius line through an upper limit.
    """

    estimate: Estimate
    lag_ps: float
    triples: int
    why: str
    freedom: float | None = None
    hops: float = 0.0
    exposure_s_per_cm2: float = 0.0

    @property
    def ln_moments(self) -> tuple[float, float] | None:
        """Mean and standard deviation of ln(D / cm² s⁻¹); None without a value."""
        if self.freedom is None or self.estimate.value is None:
            return None
        half = 0.5 * self.freedom
        shift = float(np.log(half) - scipy.special.digamma(half))
        return float(np.log(self.estimate.value)) + shift, float(np.sqrt(scipy.special.polygamma(1, half)))


def bins_of(paths: np.ndarray, frames: int) -> np.ndarray:
    """(B, n, ...) means over consecutive bins of ``frames``; what is left over at the end is dropped."""
    count = len(paths) // frames
    return paths[: count * frames].reshape(count, frames, *paths.shape[1:]).mean(axis=1)


def triple_d(binned: np.ndarray, lag_ps: float) -> np.ndarray:
    """(B − 2, n, axes) covariance estimates in Å²/ps of binned paths (B, n, axes)."""
    steps = np.diff(binned, axis=0)
    one, two = steps[:-1], steps[1:]
    return (one**2 + two**2) / (4.0 * lag_ps) + one * two / lag_ps


def staying(inside: np.ndarray, frames: int) -> np.ndarray:
    """(B − 2, n) whether the ion is inside (F, n) during every frame of the three bins."""
    count = len(inside) // frames
    whole: np.ndarray = np.all(inside[: count * frames].reshape(count, frames, -1), axis=1)
    return whole[:-2] & whole[1:-1] & whole[2:]


def starting(deep: np.ndarray, frames: int) -> np.ndarray:
    """(B − 2, n) whether the ion is deep (F, n) in the last frame before the three bins; never for the first."""
    count = len(deep) // frames
    last = deep[frames - 1 : (count - 2) * frames - 1 : frames][: count - 3]
    return np.concatenate([np.zeros((1, deep.shape[1]), dtype=bool), last])


def weigh(
    runs: Sequence[tuple[np.ndarray, np.ndarray]], lag_ps: float, ion_time_ps: float, hop_length_A: float, level: float
) -> LocalD:
    """The mean of the chosen triples with its interval, or an upper limit.

    Args:
        runs: (d, chosen) of every run: (K, n) Å²/ps, averaged over axes, and which count.
        ion_time_ps: ions × time in the region, for the count of hops.

    The variance is that between clusters (each ion cut into pieces, eighty or more in all), or between stretches of
    time, or between runs, where one of these is larger beyond chance (ions that move together; seeds that differ in
    more than their luck). D is then a χ² variable of the degrees of freedom that this variance implies, widened like
    Student's t because few clusters know their variance badly.
    """
    count = int(sum(chosen.sum() for _, chosen in runs))
    if count < 3:
        return LocalD(Estimate.unknown(level), lag_ps, count, "too few visits long enough")
    mean = float(sum((d * chosen).sum() for d, chosen in runs) / count)
    variance, dof = _scatter(runs, mean)
    if dof < 1:
        return LocalD(Estimate.unknown(level), lag_ps, count, "a single stretch of one ion's path: no interval")
    hops = equivalent_hops(max(mean, 0.0) * CM2_PER_S_PER_A2_PER_PS, ion_time_ps, hop_length_A)
    exposure = equivalent_hops(1.0, ion_time_ps, hop_length_A)
    counted = poisson_limit_cm2_per_s(hops, ion_time_ps, hop_length_A, level)
    error = np.sqrt(variance)
    if mean < 2.58 * error or hops < 5:
        high = max((max(mean, 0.0) + 1.96 * error) * CM2_PER_S_PER_A2_PER_PS, counted)
        return LocalD(Estimate.upper_limit(high, level), lag_ps, count, "not told from no motion: an upper limit", None,
                      hops, exposure)
    widen = scipy.stats.t.ppf(0.5 + level / 2, dof) / scipy.stats.norm.ppf(0.5 + level / 2)
    freedom = 2.0 * mean**2 / (variance * widen**2)
    low, high = mean * freedom / scipy.stats.chi2.ppf([0.5 + level / 2, 0.5 - level / 2], freedom)
    unit = CM2_PER_S_PER_A2_PER_PS
    return LocalD(Estimate(mean * unit, float(low) * unit, float(high) * unit, level), lag_ps, count,
                  f"{count} triples of {lag_ps:.3g} ps", float(freedom), hops, exposure)


def _scatter(runs: Sequence[tuple[np.ndarray, np.ndarray]], mean: float) -> tuple[float, float]:
    """Variance of the mean and the degrees of freedom it is known with: the first, or a larger one beyond chance."""
    ions = sum(d.shape[1] for d, _ in runs)
    pieces = max(2, -(-_CLUSTERS // ions))
    variance, dof = _variance(*_joined([_clustered(d, chosen, pieces) for d, chosen in runs]), mean)
    stretches = [_clustered(d, chosen, min(20, len(d))) for d, chosen in runs]
    by_time = _variance(*_joined([(sums.sum(axis=1), counts.sum(axis=1)) for sums, counts in stretches]), mean)
    by_run = _variance(np.array([sums.sum() for sums, _ in stretches]),
                       np.array([counts.sum() for _, counts in stretches]), mean, left=1)
    first, known = variance, dof
    for (other, other_dof), least in ((by_time, 4), (by_run, 1.5)):
        beyond = other_dof >= least and first > 0 and scipy.stats.f.sf(other / first, other_dof, known) < _CHANCE
        if beyond and other > variance:
            variance, dof = other, (dof if least == 4 else other_dof)
    return variance, dof


def _joined(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([sums.ravel() for sums, _ in parts]), np.concatenate([counts.ravel() for _, counts in parts])


def _clustered(d: np.ndarray, chosen: np.ndarray, pieces: int) -> tuple[np.ndarray, np.ndarray]:
    """(pieces, n) sums of the chosen d and their numbers, for each stretch of time and each ion."""
    edges = np.linspace(0, len(d), pieces + 1).astype(int)[:-1]
    sums = np.add.reduceat(d * chosen, edges, axis=0)
    counts = np.add.reduceat(chosen.astype(np.float64), edges, axis=0)
    return sums, counts


def _variance(sums: np.ndarray, counts: np.ndarray, mean: float, left: int = 2) -> tuple[float, float]:
    """Variance of the ratio Σsums/Σcounts from the scatter of its clusters, and their degrees of freedom.

    Residuals are divided by the share of themselves that the fitted mean left (as in a jackknife; for a handful of
    clusters their squares are, ``left`` = 1), and clusters of unequal size count as N²/Σn² equal ones.
    """
    total = float(counts.sum())
    if (counts > 0).sum() < 2:
        return 0.0, 0.0
    residual = (sums - mean * counts) ** 2 / np.maximum(1.0 - counts / total, 1e-9) ** left
    return float(residual.sum() / total**2), total**2 / float((counts**2).sum()) - 1.0
