"""Tracer and charge diffusivity of pooled runs, with posteriors that hold for few data and for hopping ions.

The model is that of :mod:`atomflow.transport.walk`. Two things make real ions scatter more than independent Gaussian
walks, and both are measured on the data and divide the information ("tempering", a magnitude adjustment of the
composite likelihood as in Ribatet, Cooley & Davison, Statistica Sinica 22 (2012) 813):

* hops are few and discrete: the ions' own scatter of D (a variance clustered by ion);
* hops are concerted: correlations between the paths of different ions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats

from atomflow.estimate import Estimate
from atomflow.transport.measure import Measured, Run
from atomflow.transport.walk import (
    Posterior,
    bin_means,
    information_weights,
    mode_shape,
    posterior,
    step_modes,
)
from atomflow.units import CM2_PER_S_PER_A2_PER_PS

#: Length of one hop in Å where nothing else is known: Na–Na neighbours in NZSP are 3.4–3.6 Å apart.
HOP_LENGTH_A = 3.5


@dataclass(frozen=True)
class Modes:
    """Sine-transformed steps of all runs at one bin length.

    Attributes:
        step_ps: Δ. ions: per run (n, 3, K). collective: per run (3, K), divided by √n. shapes: per run (K,) g_k.
    """

    step_ps: float
    ions: list[np.ndarray]
    collective: list[np.ndarray]
    shapes: list[np.ndarray]

    @property
    def g(self) -> np.ndarray:
        return np.concatenate(self.shapes)

    def tracer_power(self, directions: slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """(degrees of freedom, mean power) of every mode."""
        chosen = [y[:, directions] for y in self.ions]
        dof = np.concatenate([np.full(y.shape[2], float(y.shape[0] * y.shape[1])) for y in chosen])
        return dof, np.concatenate([(y**2).mean(axis=(0, 1)) for y in chosen])

    def charge_power(self) -> tuple[np.ndarray, np.ndarray]:
        dof = np.concatenate([np.full(y.shape[1], 3.0) for y in self.collective])
        return dof, np.concatenate([(y**2).mean(axis=0) for y in self.collective])


def modes(runs: Sequence[Run], bins_per_step: int, bin_ps: float) -> Modes:
    """Steps of length ``bins_per_step`` bins, transformed. Runs too short for three steps are left out."""
    ions, collective, shapes = [], [], []
    for run in runs:
        n, _, bins = run.ions_A.shape
        if bins // bins_per_step < 4:
            continue
        y = step_modes(bin_means(run.ions_A.reshape(3 * n, bins), bins_per_step))
        ions.append(y.reshape(n, 3, -1))
        collective.append(step_modes(bin_means(run.collective_A, bins_per_step)) / np.sqrt(n))
        shapes.append(mode_shape(y.shape[1]))
    return Modes(bins_per_step * bin_ps, ions, collective, shapes)


@dataclass(frozen=True)
class Diffusivity:
    """A posterior of D in cm²/s.

    Attributes:
        posterior: of q = 2DΔ in Å². step_ps: Δ. overdispersion: information was divided by it.
    """

    posterior: Posterior
    step_ps: float
    overdispersion: float

    @property
    def _factor(self) -> float:
        return CM2_PER_S_PER_A2_PER_PS / (2.0 * self.step_ps)

    @property
    def median_cm2_per_s(self) -> float:
        return self.posterior.quantile(0.5) * self._factor

    def quantile_cm2_per_s(self, p: float) -> float:
        return self.posterior.quantile(p) * self._factor

    def estimate(self, level: float) -> Estimate:
        low, value, high = (self.quantile_cm2_per_s(p) for p in (0.5 - level / 2, 0.5, 0.5 + level / 2))
        return Estimate(value, low, high, level)

    def sample_cm2_per_s(self, size: int, rng: np.random.Generator) -> np.ndarray:
        return self.posterior.sample(size, rng) * self._factor

    def log_moments(self) -> tuple[float, float]:
        """Mean and standard deviation of ln(D / cm² s⁻¹)."""
        mean, spread = self.posterior.log_moments()
        return mean + float(np.log(self._factor)), spread


def tracer(steps: Modes, directions: slice = slice(None)) -> Diffusivity:
    """Self-diffusion from every ion's own path; ``directions`` picks Cartesian axes (all three unless said)."""
    dof, power = steps.tracer_power(directions)
    plain = posterior(steps.g, dof, power)
    factor = _overdispersion(steps, plain, directions)
    return Diffusivity(posterior(steps.g, dof, power, factor), steps.step_ps, factor)


def charge(steps: Modes, hops: float, haven: float = 1.0) -> Diffusivity:
    """Diffusion of the summed displacement (σ follows from it). One path a run: a wide, χ²-like interval.

    ``hops``: hops seen in all runs. Few hops in a step are not Gaussian: n steps of H isotropic hops have a relative
    variance larger by 1 + 1.5 n/H, with H counted in concerted events, ``haven`` of each hop.
    """
    dof, power = steps.charge_power()
    factor = 1.0 + 1.5 * len(steps.g) / max(hops * min(1.0, haven), 1.0)
    return Diffusivity(posterior(steps.g, dof, power, factor), steps.step_ps, factor)


def tensor_cm2_per_s(steps: Modes, fit: Posterior) -> np.ndarray:
    """(3, 3) diffusivity tensor, Cartesian: weighted least squares of the cross spectra on 1 and g."""
    dof, _ = steps.tracer_power()
    g = steps.g
    weight = dof / (1.0 + fit.kappa * g) ** 2
    design = np.stack([np.ones_like(g), g])
    rows = np.linalg.solve((design * weight) @ design.T, design * weight)
    cross = np.concatenate([np.einsum("nak,nbk->kab", y, y) / len(y) for y in steps.ions])
    return np.einsum("k,kab->ab", rows[0], cross) * CM2_PER_S_PER_A2_PER_PS / (2.0 * steps.step_ps)


def equivalent_hops(d_cm2_per_s: float, ion_time_ps: float, hop_length_A: float) -> float:
    """Number of uncorrelated hops that make D over all ions and runs: 6·D·N·t/a²."""
    return 6.0 * d_cm2_per_s / CM2_PER_S_PER_A2_PER_PS * ion_time_ps / hop_length_A**2


def poisson_limit_cm2_per_s(hops: float, ion_time_ps: float, hop_length_A: float, level: float) -> float:
    """Largest D that agrees with so few hops: a²·n_upper/(6·N·t), n_upper the upper end of the exact interval."""
    n_upper = 0.5 * scipy.stats.chi2.ppf(0.5 + level / 2, 2 * (np.floor(hops) + 1))
    return float(hop_length_A**2 * n_upper / (6.0 * ion_time_ps) * CM2_PER_S_PER_A2_PER_PS)


def looks_diffusive(fit: Diffusivity, measured: Measured, hop_length_A: float) -> tuple[bool, str]:
    """Whether this is a diffusivity or only a limit, and why in words."""
    d = fit.median_cm2_per_s
    hops = equivalent_hops(d, measured.ion_time_ps, hop_length_A)
    rms = float(np.sqrt(6.0 * d / CM2_PER_S_PER_A2_PER_PS * measured.longest_ps))
    seen = f"hops seen: about {hops:.3g}, rms displacement {rms:.2g} Å in {measured.longest_ps:.3g} ps"
    if fit.posterior.drop < 6.63:
        return False, f"not diffusing: the MSD is a plateau, growth is not told from none ({seen})"
    if rms < 0.5 * hop_length_A:
        return False, f"not diffusing: ions moved less than half a hop of {hop_length_A:g} Å ({seen})"
    if hops < 5:
        return False, f"not diffusing: fewer than 5 hops in all ({seen})"
    return True, f"diffusing ({seen})"


def _overdispersion(steps: Modes, fit: Posterior, directions: slice) -> float:
    """How much more the estimate of ln q varies than for independent Gaussian ions; at least 1."""
    clusters, expected, cross = [], 0.0, 0.0
    for y, g in zip(steps.ions, steps.shapes, strict=True):
        z = y[:, directions] / np.sqrt(fit.q * (1.0 + fit.kappa * g))
        w = information_weights(g, fit.kappa)
        n, axes, _ = z.shape
        clusters.append(((z**2 - 1.0) @ w).sum(axis=1))
        expected += 2.0 * axes * n * float((w**2).sum())
        cross += _cross_correlation(z, w) * 2.0 * axes * n * float((w**2).sum())
    scores = np.concatenate(clusters)
    if len(scores) < 3:
        return 1.0
    own = float((scores**2).sum() / expected) * len(scores) / (len(scores) - 1)
    return max(1.0, own) + max(0.0, cross / expected)


def _cross_correlation(z: np.ndarray, w: np.ndarray) -> float:
    """Extra relative variance from correlated ions: Σ_{i≠j} Σ_ab r²_{ia,jb} / (axes·n), its noise removed.

    z: (n, axes, K) whitened modes. The sums of squares over pairs come from the smaller Gram matrix.
    """
    n, axes, k = z.shape
    if n < 2:
        return 0.0
    p = w**2 / (w**2).sum()
    noise = float((p**2).sum())
    if noise > 0.5:
        return 0.0
    weighted = (z * np.sqrt(p)).reshape(n * axes, k)
    gram = weighted @ weighted.T if n * axes < k else weighted.T @ weighted
    blocks = weighted.reshape(n, axes, k)
    own = float((np.einsum("nak,nbk->nab", blocks, blocks) ** 2).sum())
    pairs = float((gram**2).sum()) - own
    debiased = (pairs - axes**2 * n * (n - 1) * noise) / (1.0 - noise)
    return debiased / (axes * n)
