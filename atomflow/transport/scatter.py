"""How much more a diffusivity scatters than that of independent Gaussian walks alike along x, y and z.

All of it is measured on the paths and divides the information of the likelihood (a magnitude adjustment of a composite
likelihood: Ribatet, Cooley & Davison, Statistica Sinica 22 (2012) 813).

* Uneven: where D differs between axes, the axis that moves most is most of the sum, and the others tell little.
* Discrete: few hops scatter as √(number of hops), whatever the model of the walk. The fourth cumulant of the steps
  tells; for hops of one length at Poisson times it is (number of hops per step)·a⁴.
* Concerted: ions that move in one event count as one. The variance over time of the whole cell's activity (sum of
  squared short steps), relative to the sum of the ions' own variances, is the number of ions in an event.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.fft
import scipy.stats

from atomflow.transport.measure import Run
from atomflow.transport.modes import Modes
from atomflow.transport.walk import Posterior, bin_means, information_weights

_FINE_STEPS = 128
_HETEROGENEOUS_P = 0.01


def concerted(runs: Sequence[Run]) -> float:
    """Ions that move in one event; at least 1."""
    together, alone = 0.0, 0.0
    for run in runs:
        n, _, bins = run.ions_A.shape
        fine = np.diff(bin_means(run.ions_A.reshape(3 * n, bins), max(1, bins // _FINE_STEPS)), axis=1)
        activity = (fine.reshape(n, 3, -1) ** 2).sum(axis=1)
        activity -= activity.mean(axis=1, keepdims=True)
        together += float((activity.sum(axis=0) ** 2).sum())
        alone += float((activity**2).sum())
    return max(1.0, together / alone) if alone > 0 else 1.0


def unevenness(steps: Modes, fit: Posterior, directions: slice = slice(None)) -> float:
    """Extra relative variance of the mean over axes where they differ: axes · tr Σ² / (tr Σ)², between 1 and axes.

    Σ is the covariance of an ion's modes, each over its fitted power and weighted as it tells of D. Its N samples make
    both traces too large or small by chance; the unbiased ones of a Wishart matrix are taken.
    """
    covariance: Any = 0.0
    first, second = 0.0, 0.0
    for y, g in zip(steps.ions, steps.shapes, strict=True):
        z = y[:, directions] / np.sqrt(fit.q * (1.0 + fit.kappa * g))
        w = (1.0 + fit.kappa * g) ** -2.0
        covariance = covariance + np.einsum("nak,nbk,k->ab", z, z, w)
        first, second = first + len(z) * float(w.sum()), second + len(z) * float((w**2).sum())
    n, axes = first**2 / second, len(covariance)
    of_square, square = float((covariance**2).sum()) / first**2, float(np.trace(covariance)) ** 2 / first**2
    of_trace = (1.0 + 1.0 / n) * square - 2.0 * of_square / n
    if of_trace <= 0.0:  # a single sample, or nothing moves
        return 1.0
    return float(np.clip(axes * (of_square - square / n) / of_trace, 1.0, axes))


def own_scatter(steps: Modes, fit: Posterior, directions: slice = slice(None)) -> float:
    """Extra relative variance of D from the ions' own discreteness and uneven axes; at least 1."""
    weights = [information_weights(g, fit.kappa) for g in steps.shapes]
    used = float(sum(w.sum() for w in weights))
    modes = float(sum(len(w) for w in weights))
    axes = steps.ions[0][:, directions].shape[1]
    per_step = _fourth_cumulant(steps, directions) / (_split_hops(steps.step_frames) * 2.0 * axes * fit.q**2)
    discrete = unevenness(steps, fit, directions) + max(0.0, per_step) * (used + 0.5) / modes
    return max(discrete, _between_ions(steps, weights, fit, directions, discrete))


def _fourth_cumulant(steps: Modes, directions: slice) -> float:
    """⟨|v|⁴⟩ beyond that of a Gaussian of the same covariance, of all steps together, in Å⁴."""
    fourth, count = 0.0, 0
    covariance: Any = 0.0
    for y in steps.ions:
        v = scipy.fft.dst(y[:, directions], type=1, norm="ortho", axis=2)  # its own inverse: the steps in time
        square = (v**2).sum(axis=1)
        fourth += float((square**2).sum())
        covariance = covariance + np.einsum("nak,nbk->ab", v, v)
        count += square.size
    sigma = covariance / count
    return fourth / count - float(np.trace(sigma) ** 2 + 2.0 * (sigma**2).sum())


def _split_hops(step_frames: int) -> float:
    """Mean fourth power that a hop at a random frame leaves in the two steps of bin means that share it."""
    share = np.arange(1, step_frames + 1) / step_frames
    return float((share**4 + (1.0 - share) ** 4).mean())


def _between_ions(steps: Modes, weights: list[np.ndarray], fit: Posterior, directions: slice, floor: float) -> float:
    """The same from the scatter between ions, where that is beyond chance: ions that differ for long."""
    scores, expected = [], 0.0
    for y, g, w in zip(steps.ions, steps.shapes, weights, strict=True):
        z = y[:, directions] / np.sqrt(fit.q * (1.0 + fit.kappa * g))
        scores.append(((z**2 - 1.0) @ w).sum(axis=1))
        expected += 2.0 * z.shape[0] * z.shape[1] * float((w**2).sum())
    every = np.concatenate(scores)
    n = len(every)
    if n < 4:
        return 1.0
    ratio = float((every**2).sum() / expected) * n / (n - 1)
    beyond = scipy.stats.chi2.sf(ratio / floor * (n - 1), n - 1) < _HETEROGENEOUS_P
    return ratio if beyond else 1.0
