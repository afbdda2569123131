"""The Arrhenius line through posteriors of D and upper limits: ln D = ln D0 − Ea/kT.

Each temperature enters with its own likelihood: a measured D as a χ²-like (log-inverse-gamma) one with the mean and
spread of its posterior; an upper limit as censored data, the Poisson probability of not many more hops. Both parameters
are integrated on a grid, so that the interval of Ea is right for few temperatures and skew data. Where the points
scatter about the line more than their errors say (χ² > ν, degrees of freedom), the errors are scaled up by √(χ²/ν)
(Birge ratio); where that is beyond chance (5 %), Student's t with ν degrees of freedom replaces the normal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.optimize
import scipy.special
import scipy.stats

from atomflow.estimate import Estimate
from atomflow.units import BOLTZMANN_EV_PER_K

ROOM_TEMPERATURE_K = 298.15
LACK_OF_FIT_P = 0.05
_GRID = 121


@dataclass(frozen=True)
class Point:
    """ln of a positive quantity at one temperature: posterior mean and standard deviation."""

    temperature_K: float
    ln_mean: float
    ln_sd: float

    @property
    def beta_per_eV(self) -> float:
        return 1.0 / (BOLTZMANN_EV_PER_K * self.temperature_K)

    def log_likelihood(self, ln_value: np.ndarray) -> np.ndarray:
        """Of the quantity being exp(ln_value); log-inverse-gamma with the point's mean and spread."""
        shape = _shape_of_spread(self.ln_sd)
        x = ln_value - self.ln_mean - scipy.special.digamma(shape) + np.log(shape)
        return -shape * (x + np.exp(-x))


@dataclass(frozen=True)
class Limit:
    """Few or no hops seen: ``hops`` where ``exposure`` × quantity were expected.

    The bound is one hop above what was seen: a bound at the very number seen would pull the line down on average.
    """

    temperature_K: float
    hops: float
    exposure: float

    @property
    def beta_per_eV(self) -> float:
        return 1.0 / (BOLTZMANN_EV_PER_K * self.temperature_K)

    def log_likelihood(self, ln_value: np.ndarray) -> np.ndarray:
        """Censored: the probability of no more than one hop beyond what was seen."""
        expected = self.exposure * np.exp(np.minimum(ln_value, 700.0))
        return np.log(np.maximum(scipy.special.gammaincc(np.floor(self.hops) + 2.0, expected), 1e-300))


@dataclass(frozen=True)
class Line:
    """A fitted Arrhenius line.

    Attributes:
        activation_energy_eV, prefactor: estimates (prefactor in the unit of the points).
        chi2, dof, p_value: of the points about the line. inflation: what their errors were scaled by.
        warnings: in words.
    """

    activation_energy_eV: Estimate
    prefactor: Estimate
    chi2: float
    dof: int
    p_value: float
    inflation: float
    level: float
    warnings: list[str] = field(default_factory=list)
    _grid: tuple[np.ndarray, np.ndarray, np.ndarray, float] | None = field(default=None, repr=False)

    def at(self, temperature_K: float) -> Estimate:
        """The line at another temperature, with its interval."""
        if self._grid is None:
            return Estimate.unknown(self.level)
        energies, centred, weights, centre = self._grid
        beta = 1.0 / (BOLTZMANN_EV_PER_K * temperature_K)
        values = centred[None, :] - energies[:, None] * (beta - centre)
        return _exp(_interval(values, weights, self.level))


def fit(points: Sequence[Point], limits: Sequence[Limit] = (), level: float = 0.95) -> Line:
    """Fit the line; fewer than two measured temperatures give an unknown line with the reason in ``warnings``."""
    if len({point.temperature_K for point in points}) < 2:
        unknown = Estimate.unknown(level)
        why = f"no activation energy: {len(points)} temperature(s) with a diffusivity, two are needed"
        return Line(unknown, unknown, float("nan"), 0, float("nan"), 1.0, level, [why])
    beta = np.array([point.beta_per_eV for point in points])
    y = np.array([point.ln_mean for point in points])
    sd = np.array([point.ln_sd for point in points])
    _, chi2, dof = straight_line(beta, y, sd)
    p_value, scale, stretch = lack_of_fit(chi2, dof, level)
    warnings = []
    if len({*(point.temperature_K for point in points), *(limit.temperature_K for limit in limits)}) == 2:
        warnings.append("two temperatures: a line through them always fits, and nothing tests whether it is one")
    if p_value < LACK_OF_FIT_P:
        warnings.append(f"the points scatter more than their errors (χ² = {chi2:.3g} for {dof} degrees of freedom, "
                        f"p = {p_value:.2g}): errors scaled by {scale:.2f} and Student's t used")
    grid = _posterior_grid(points, limits, stretch)
    energies, centred, weights, centre = grid
    energy = _interval(np.broadcast_to(energies[:, None], weights.shape), weights, level)
    prefactor = _exp(_interval(centred[None, :] + energies[:, None] * centre, weights, level))
    return Line(energy, prefactor, chi2, dof, p_value, scale, level, warnings, grid)


def lack_of_fit(chi2: float, dof: int, level: float = 0.95) -> tuple[float, float, float]:
    """(p value, what the errors are scaled by, what the interval is stretched by altogether)."""
    if dof < 1:
        return 1.0, 1.0, 1.0
    p_value = float(scipy.stats.chi2.sf(chi2, dof))
    scale = float(np.sqrt(max(1.0, chi2 / dof)))
    return p_value, scale, scale * (_student_over_normal(dof, level) if p_value < LACK_OF_FIT_P else 1.0)


def straight_line(beta: np.ndarray, y: np.ndarray, sd: np.ndarray) -> tuple[np.ndarray, float, int]:
    """Weighted least squares y = c − E β: ((c, E), χ², degrees of freedom)."""
    design = np.stack([np.ones_like(beta), -beta], axis=1) / sd[:, None]
    solution = np.linalg.lstsq(design, y / sd, rcond=None)[0]
    chi2 = float(((y / sd - design @ solution) ** 2).sum())
    return solution, chi2, len(y) - 2


def _posterior_grid(
    points: Sequence[Point], limits: Sequence[Limit], stretch: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """(energies, ln values at the centre, weights, centre): flat prior, energies × values on a grid."""
    beta = np.array([point.beta_per_eV for point in points])
    weight = np.array([point.ln_sd for point in points]) ** -2.0
    centre = float(np.average(beta, weights=weight))
    everything: list[Point | Limit] = [*points, *limits]

    def log_posterior(energy: np.ndarray, value: np.ndarray) -> np.ndarray:
        total = np.zeros(np.broadcast_shapes(energy.shape, value.shape))
        for item in everything:
            total += item.log_likelihood(value - energy * (item.beta_per_eV - centre))
        return total / stretch**2

    start, _, _ = straight_line(beta, np.array([p.ln_mean for p in points]), weight**-0.5)
    best = scipy.optimize.minimize(
        lambda x: -float(log_posterior(np.array(x[0]), np.array(x[1]))),
        [start[1], start[0] - start[1] * centre], method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-8}).x
    spread_value = stretch * float(weight.sum() ** -0.5)
    spread_energy = stretch * float((weight * (beta - centre) ** 2).sum() ** -0.5)
    for _ in range(3):  # widen until nothing is left at the edges, then look closely
        energies = best[0] + spread_energy * np.linspace(-9, 9, _GRID)
        values = best[1] + spread_value * np.linspace(-9, 9, _GRID)
        log_weights = log_posterior(energies[:, None], values[None, :])
        weights = np.exp(log_weights - log_weights.max())
        weights /= weights.sum()
        rows, columns = weights.sum(axis=1), weights.sum(axis=0)
        best = np.array([rows @ energies, columns @ values])
        edge = max(rows[0], rows[-1], columns[0], columns[-1])
        if edge < 1e-7:
            break
        spread_energy, spread_value = 2 * spread_energy, 2 * spread_value
    return energies, values, weights, centre


def _interval(values: np.ndarray, weights: np.ndarray, level: float) -> Estimate:
    """Median and equal-tailed interval of weighted values."""
    order = np.argsort(values, axis=None)
    flat = values.ravel()[order]
    cumulative = np.cumsum(weights.ravel()[order])
    low, value, high = np.interp([0.5 - level / 2, 0.5, 0.5 + level / 2], cumulative, flat)
    return Estimate(float(value), float(low), float(high), level)


def _exp(estimate: Estimate) -> Estimate:
    low, value, high = (float(np.exp(x)) for x in (estimate.low, estimate.value, estimate.high))  # type: ignore[arg-type]
    return Estimate(value, low, high, estimate.level)


def _student_over_normal(dof: int, level: float) -> float:
    p = 0.5 + level / 2
    return float(scipy.stats.t.ppf(p, dof) / scipy.stats.norm.ppf(p))


def _shape_of_spread(ln_sd: float) -> float:
    """Shape of the inverse-gamma whose logarithm has this standard deviation: ψ'(shape) = sd²."""
    target = ln_sd**2
    return float(np.exp(scipy.optimize.brentq(
        lambda x: scipy.special.polygamma(1, np.exp(x)) - target, -15.0, 30.0)))


def distance_in_words(temperatures_K: Sequence[float], to_K: float = ROOM_TEMPERATURE_K) -> str:
    """How far ``to_K`` lies from the temperatures used."""
    coldest, hottest = min(temperatures_K), max(temperatures_K)
    if coldest <= to_K <= hottest:
        return f"inside the range of the runs ({coldest:g} to {hottest:g} K)"
    nearest = coldest if to_K < coldest else hottest
    gap = abs(1.0 / to_K - 1.0 / nearest) / BOLTZMANN_EV_PER_K
    span = (1.0 / coldest - 1.0 / hottest) / BOLTZMANN_EV_PER_K
    beyond = f", {gap / span:.1f} times the span of the fit" if span > 0 else ""
    which = "below the coldest" if to_K < coldest else "above the hottest"
    return f"{abs(nearest - to_K):.0f} K and {gap:.3g} per eV of 1/kT {which} run{beyond}"
