"""Is it one Arrhenius line or two? A continuous kink against a straight line, with a p-value that counts the search.

The kink may lie between any two temperatures that leave two measured points on either side; the statistic is the
largest fall in χ². Its distribution when there is no kink is drawn from the same design (temperatures and errors) and
Gaussian noise, so looking at every place is paid for. If the two lines still scatter more than the errors allow (5 %),
the fall is compared with what is left (an F ratio).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats

from atomflow.transport.arrhenius import Point
from atomflow.units import BOLTZMANN_EV_PER_K

MIN_POINTS = 5
_MIN_BRANCH = 2
_DRAWS = 2000


@dataclass(frozen=True)
class Kink:
    """The best kink and how likely so good a one is by chance."""

    temperature_K: float
    p_value: float
    energy_below_eV: float
    energy_above_eV: float

    @property
    def significant(self) -> bool:
        return self.p_value < 0.05

    def to_json(self) -> dict[str, Any]:
        return {"temperature_K": self.temperature_K, "p_value": self.p_value, "significant": self.significant,
                "energy_below_eV": self.energy_below_eV, "energy_above_eV": self.energy_above_eV}


def find_kink(points: Sequence[Point]) -> Kink | None:
    """The best kink, or None where there are too few temperatures to ask."""
    ordered = sorted(points, key=lambda point: point.beta_per_eV)
    if len({point.temperature_K for point in ordered}) < MIN_POINTS:
        return None
    beta = np.array([point.beta_per_eV for point in ordered])
    sd = np.array([point.ln_sd for point in ordered])
    places = _places(beta)
    designs = [_hinge(beta, place) for place in places]
    y = np.array([point.ln_mean for point in ordered])[:, None] / sd[:, None]
    noise = np.random.default_rng(0).standard_normal((len(beta), _DRAWS))
    straight = np.stack([np.ones_like(beta), -beta], axis=1)
    line, hinges = _chi2(straight, sd, y), np.stack([_chi2(design, sd, y) for design in designs])
    line_null, hinges_null = _chi2(straight, sd, noise), np.stack([_chi2(design, sd, noise) for design in designs])
    best = int(np.argmin(hinges[:, 0]))
    dof = len(beta) - 4
    left, left_null = hinges[best, 0], hinges_null.min(axis=0)
    fall, fall_null = line[0] - left, line_null - left_null
    if scipy.stats.chi2.sf(left, dof) < 0.05:
        fall, fall_null = fall / left, fall_null / left_null
    p_value = float((1 + (fall_null >= fall).sum()) / (1 + _DRAWS))
    coefficients = np.linalg.lstsq(designs[best] / sd[:, None], y[:, 0], rcond=None)[0]
    above = float(coefficients[1])
    return Kink(float(1.0 / (BOLTZMANN_EV_PER_K * places[best])), p_value, above + float(coefficients[2]), above)


def _places(beta: np.ndarray) -> np.ndarray:
    """Ten places between each pair of neighbouring temperatures that leaves two points on either side."""
    gaps = [np.linspace(beta[i - 1], beta[i], 12)[1:-1] for i in range(_MIN_BRANCH, len(beta) - _MIN_BRANCH + 1)]
    return np.concatenate(gaps)


def _hinge(beta: np.ndarray, place: float) -> np.ndarray:
    """Columns for (c, E above, extra E below) of a line whose slope changes at 1/kT = place."""
    return np.stack([np.ones_like(beta), -beta, -np.maximum(beta - place, 0.0)], axis=1)


def _chi2(design: np.ndarray, sd: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(m,) residual χ² of columns y (k, m), already divided by sd."""
    basis = np.linalg.qr(design / sd[:, None])[0]
    return (y**2).sum(axis=0) - ((basis.T @ y) ** 2).sum(axis=0)
