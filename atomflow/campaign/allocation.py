"""Where another run narrows the activation energy most per hour.

ln D = ln D0 − β Ea with β = 1/kT, so with weights w = n/v (n runs at a temperature, v the variance of ln D from one)
Var Ea = 1 / Σ w (β − β̄)², where β̄ is the mean weighted by w. Where the temperatures scatter about the line more than
their errors say, the Arrhenius fit widens its interval, and the variance here is widened alike: then a run at the
temperature that lies off the line, which shows whether it does, can be worth more than one at the ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from atomflow.transport.arrhenius import lack_of_fit


@dataclass(frozen=True)
class Arm:
    """One temperature that further runs can go to.

    Attributes:
        beta_per_eV: 1/kT.
        runs: so far. variance_of_one: of ln D from a single run. hours: of a single run.
        misfit: squared distance of ln D from the line in units of its variance; None where ln D is not measured.
    """

    beta_per_eV: float
    runs: int
    variance_of_one: float
    hours: float
    misfit: float | None = None


def misfits(betas: Sequence[float], ln_values: Sequence[float], variances: Sequence[float]) -> list[float]:
    """Squared distance of every measured ln D from their common line, in units of its variance."""
    sd = np.sqrt(np.array(variances))
    if len(sd) < 3:
        return [0.0] * len(sd)
    slope, offset = np.polyfit(betas, ln_values, 1, w=1 / sd)
    return [float(x) for x in ((np.array(ln_values) - slope * np.array(betas) - offset) / sd) ** 2]


def energy_variance(arms: Sequence[Arm]) -> float:
    """Variance of the activation energy in eV²; infinite while fewer than two temperatures have runs."""
    weights = np.array([arm.runs / arm.variance_of_one for arm in arms])
    betas = np.array([arm.beta_per_eV for arm in arms])
    if np.count_nonzero(weights) < 2:
        return float("inf")
    spread = float((weights * (betas - np.average(betas, weights=weights)) ** 2).sum())
    return _widening(arms) / spread if spread > 0 else float("inf")


def _widening(arms: Sequence[Arm]) -> float:
    """What the fit multiplies the variance by for scatter about the line."""
    measured = [arm.misfit for arm in arms if arm.misfit is not None]
    return lack_of_fit(sum(measured), len(measured) - 2)[2] ** 2 if len(measured) > 2 else 1.0


def gain_per_hour(arms: Sequence[Arm], index: int) -> float:
    """By how much Var Ea is expected to fall with one more run at ``arms[index]``, per hour of it."""
    return (energy_variance(arms) - energy_variance(_one_more(arms, index))) / arms[index].hours


def spend(arms: Sequence[Arm], runs: int, variance_wanted: float = 0.0, hours: float = float("inf")) -> list[int]:
    """Indices of the next ``runs`` runs, each the best after those before it.

    Fewer when ``variance_wanted`` is reached before, or when none fits into ``hours`` any more.
    """
    chosen: list[int] = []
    arms = list(arms)
    while len(chosen) < runs and energy_variance(arms) > variance_wanted:
        affordable = [i for i, arm in enumerate(arms) if arm.hours <= hours]
        if not affordable:
            break
        best = max(affordable, key=lambda i: gain_per_hour(arms, i))
        chosen.append(best)
        hours -= arms[best].hours
        arms = _one_more(arms, best)
    return chosen


def _one_more(arms: Sequence[Arm], index: int) -> list[Arm]:
    """With one more run at ``index``: if the line holds, a misfit m is expected to become (n m + 1)/(n + 1)."""
    arm = arms[index]
    misfit = None if arm.misfit is None else (arm.runs * arm.misfit + 1) / (arm.runs + 1)
    return [replace(arm, runs=arm.runs + 1, misfit=misfit) if i == index else other for i, other in enumerate(arms)]
