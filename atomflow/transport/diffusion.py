"""Tracer and charge diffusivity of pooled runs, with posteriors that hold for few data and for hopping ions.

The model is that of :mod:`atomflow.transport.walk`. What makes real ions scatter more than independent Gaussian walks
divides the information (see :mod:`atomflow.transport.scatter`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.stats

from atomflow.estimate import Estimate
from atomflow.transport.measure import Measured
from atomflow.transport.modes import Modes
from atomflow.transport.scatter import own_scatter, unevenness
from atomflow.transport.walk import Posterior, posterior
from atomflow.units import CM2_PER_S_PER_A2_PER_PS

#: Length of one hop in Å where nothing else is known: Na–Na neighbours in NZSP are 3.4–3.6 Å apart.
HOP_LENGTH_A = 3.5


@dataclass(frozen=True)
class Diffusivity:
    """A posterior of D in cm²/s.

    Attributes:
        posterior: of q = 2DΔ in Å². step_ps: Δ. overdispersion: information was divided by it.
        unevenness: what of the latter is that axes differ.
    """

    posterior: Posterior
    step_ps: float
    overdispersion: float
    unevenness: float

    @property
    def _factor(self) -> float:
        return CM2_PER_S_PER_A2_PER_PS / (2.0 * self.step_ps)

    @property
    def likely_cm2_per_s(self) -> float:
        """The most likely D (what little there is of it, for ions that only vibrate)."""
        return self.posterior.q * self._factor

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


def tracer(
    steps: Modes, together: float = 1.0, directions: slice = slice(None), discrete: bool = True
) -> Diffusivity:
    """Self-diffusion from every ion's own path.

    ``together``: ions that move in one event (:func:`atomflow.transport.scatter.concerted`). ``directions`` picks
    Cartesian axes, all three unless said. ``discrete=False`` leaves the count of hops out (upper limits count them
    exactly).
    """
    dof, power = steps.tracer_power(directions)
    plain = posterior(steps.g, dof, power)
    uneven = unevenness(steps, plain, directions)
    factor = (own_scatter(steps, plain, directions) if discrete else uneven) * together
    return Diffusivity(posterior(steps.g, dof, power, factor), steps.step_ps, factor, uneven)


def charge(steps: Modes, tracer_fit: Diffusivity, together: float = 1.0, widened: float = 1.0) -> Diffusivity:
    """Diffusion of the summed displacement (σ follows from it). One path a run: a wide, χ²-like interval.

    Discrete hops scatter the sum of n ions 1/n times as much, relative to its own spread, as they do a single ion; axes
    that differ scatter both alike. ``widened``: what else divides the information (seeds that disagree).
    """
    dof, power = steps.charge_power()
    uneven = tracer_fit.unevenness
    excess = max(0.0, tracer_fit.overdispersion / together - uneven)
    factor = (uneven + excess * together / steps.n_ions) * widened
    return Diffusivity(posterior(steps.g, dof, power, factor), steps.step_ps, factor, uneven)


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
    d = fit.likely_cm2_per_s
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
