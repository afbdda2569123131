"""Where another run lowers the variance of the activation energy most per hour.

ln D = ln D0 − β Ea with β = 1/kT, so with weights w = n/v (n runs at a temperature, v the variance of ln D from one)
Var Ea = 1 / Σ w (β − β̄)², where β̄ is the mean weighted by w.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Arm:
    """One temperature that further runs can go to.

    Attributes:
        beta_per_eV: 1/kT.
        runs: so far. variance_of_one: of ln D from a single run. hours: of a single run.
    """

    beta_per_eV: float
    runs: int
    variance_of_one: float
    hours: float


def energy_variance(arms: Sequence[Arm]) -> float:
    """Variance of the activation energy in eV²; infinite while fewer than two temperatures have runs."""
    weights = np.array([arm.runs / arm.variance_of_one for arm in arms])
    betas = np.array([arm.beta_per_eV for arm in arms])
    if np.count_nonzero(weights) < 2:
        return float("inf")
    spread = float((weights * (betas - np.average(betas, weights=weights)) ** 2).sum())
    return 1.0 / spread if spread > 0 else float("inf")


def gain_per_hour(arms: Sequence[Arm], index: int) -> float:
    """By how much Var Ea falls with one more run at ``arms[index]``, per hour of it."""
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
    return [replace(arm, runs=arm.runs + 1) if i == index else arm for i, arm in enumerate(arms)]
