"""How far a walk that also rattles has diffused: the posterior of D from the spectrum of its steps.

A coordinate is averaged over bins of length Δ; v_j is the step between neighbouring bins. For diffusion plus anything
that forgets itself within one bin (vibration in a cage, a back-jump, localisation noise, motion blur) the steps are
a moving-average process of order one, with variance 2DΔ + s and neighbour covariance −s/2 (Berglund, Phys. Rev. E 82
(2010) 011917; Vestergaard, Blainey & Flyvbjerg, Phys. Rev. E 89 (2014) 022726). The discrete sine transform
makes its n components independent and Gaussian, of variance

    λ_k = 2DΔ + s·g_k = q (1 + κ g_k),   g_k = 1 − cos(π k / (n + 1)),   q = 2DΔ

so D is the power at frequency zero, and everything known about it is an exact χ² likelihood. With Jeffreys' prior,
q given κ is an inverse-gamma variable and κ is integrated on a grid: the interval is positive, skew when data
are few, and covers the truth as often as it says (tests/test_transport_coverage.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.optimize
import scipy.special
import scipy.stats

_GRID = 400
#: Power of ions that do not move at all (frozen atoms), in Å²: far below rounding of any trajectory.
_NOTHING_A2 = 1e-24
#: Quantiles are looked for this far (in ln q) from the middle.
_FAR = 60.0


def bin_means(columns: np.ndarray, bin_frames: int) -> np.ndarray:
    """(c, B) means of the columns (c, F) over consecutive bins; what is left over at the start is dropped."""
    c, n_frames = columns.shape
    bins = n_frames // bin_frames
    if bin_frames == 1:
        return columns
    used = columns[:, n_frames - bins * bin_frames :].reshape(c * bins, bin_frames)
    return (used @ np.full(bin_frames, 1.0 / bin_frames)).reshape(c, bins)


def step_modes(binned: np.ndarray) -> np.ndarray:
    """(c, n) sine-transformed steps of binned columns (c, n + 1); component k has variance λ_k."""
    return scipy.fft.dst(np.diff(binned, axis=1), type=1, norm="ortho", axis=1)


def mode_shape(n: int) -> np.ndarray:
    """(n,) g_k = 1 − cos(πk/(n+1))."""
    return 1.0 - np.cos(np.pi * np.arange(1, n + 1) / (n + 1))


@dataclass(frozen=True)
class Posterior:
    """Posterior of q = 2DΔ given power at modes g (all runs together).

    Attributes:
        shape, rates, weights: q is a mixture over κ of inverse-gamma(shape, rates[i]) with weights[i].
        q, kappa: the most likely values.
        drop: twice the fall in log-likelihood (tempered) when diffusion is taken away (q → 0).
    """

    shape: float
    rates: np.ndarray
    weights: np.ndarray
    q: float
    kappa: float
    drop: float

    def cdf(self, q: float) -> float:
        return float(self.weights @ scipy.special.gammaincc(self.shape, self.rates / q))

    def quantile(self, p: float) -> float:
        centre = np.log(np.average(self.rates, weights=self.weights) / self.shape)
        low, high = centre - 2.0, centre + 2.0
        while self.cdf(np.exp(low)) > p and low > centre - _FAR:
            low -= 4.0
        while self.cdf(np.exp(high)) < p and high < centre + _FAR:
            high += 4.0
        if (self.cdf(np.exp(low)) - p) * (self.cdf(np.exp(high)) - p) > 0:  # next to no information at all
            return float(np.exp(high if p > 0.5 else low))
        return float(np.exp(scipy.optimize.brentq(lambda x: self.cdf(np.exp(x)) - p, low, high, xtol=1e-10)))

    def sample(self, size: int, rng: np.random.Generator) -> np.ndarray:
        chosen = rng.choice(len(self.weights), size=size, p=self.weights)
        return self.rates[chosen] / rng.gamma(self.shape, size=size)

    def log_moments(self) -> tuple[float, float]:
        """Mean and standard deviation of ln q."""
        mean = np.log(self.rates) - scipy.special.digamma(self.shape)
        centre = float(self.weights @ mean)
        spread = float(self.weights @ (mean - centre) ** 2) + float(scipy.special.polygamma(1, self.shape))
        return centre, float(np.sqrt(spread))


def posterior(g: np.ndarray, dof: np.ndarray, power: np.ndarray, temper: float = 1.0) -> Posterior:
    """Posterior of q from the mean ``power`` (K,) of ``dof`` (K,) independent components at each mode ``g`` (K,).

    ``temper`` ≥ 1 divides the information: how much more the power scatters than that of independent Gaussians.
    """
    power = np.maximum(power, _NOTHING_A2)
    kappa = _kappa_grid(g)
    one = 1.0 + kappa[:, None] * g
    h = g / one
    total = dof.sum()
    q_sum = (dof * power / one).sum(axis=1)
    log_likelihood = -0.5 * total * np.log(q_sum) - 0.5 * (dof * np.log(one)).sum(axis=1)
    mean_h = (dof * h).sum(axis=1) / total
    jeffreys = 0.5 * np.log((dof * (h - mean_h[:, None]) ** 2).sum(axis=1))
    log_step = np.log(1.0 + 2.0 * kappa)  # the grid is even in ln(1 + 2κ)
    log_weights = log_likelihood / temper + jeffreys + log_step
    weights = np.exp(log_weights - log_weights.max())
    best = int(np.argmax(log_likelihood))
    without = -0.5 * total * np.log((dof * power / g).sum()) - 0.5 * (dof * np.log(g)).sum()
    return Posterior(
        shape=0.5 * total / temper,
        rates=0.5 * q_sum / temper,
        weights=weights / weights.sum(),
        q=float(q_sum[best] / total),
        kappa=float(kappa[best]),
        drop=2.0 * float(log_likelihood[best] - without) / temper,
    )


def _kappa_grid(g: np.ndarray) -> np.ndarray:
    return 0.5 * (np.exp(np.linspace(np.log(1e-3), np.log(1e3 / g.min()), _GRID)) - 1.0)


def information_weights(g: np.ndarray, kappa: float) -> np.ndarray:
    """(K,) weight of each mode in the efficient estimate of ln q when κ is fitted too."""
    h = g / (1.0 + kappa * g)
    return 1.0 - h * h.sum() / (h**2).sum()


def misfit(g: np.ndarray, dof: np.ndarray, power: np.ndarray, fit: Posterior, temper: float) -> float:
    """p-value that the spectrum has the fitted form: χ² of the power in up to six frequency bands."""
    power = np.maximum(power, _NOTHING_A2)
    expected = fit.q * (1.0 + fit.kappa * g)
    bands = np.array_split(np.argsort(g), min(6, len(g) // 2))
    if len(bands) <= 2:
        return 1.0
    chi2 = 0.0
    for band in bands:
        n = dof[band].sum()
        ratio = (dof[band] * power[band] / expected[band]).sum() / n
        chi2 += n * (ratio - 1.0 - np.log(ratio))  # deviance: the χ² of a variance, good for few components too
    return float(scipy.stats.chi2.sf(chi2 / temper, len(bands) - 2))
