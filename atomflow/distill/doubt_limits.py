"""A limit of doubt chosen on one half of the held-out systems and judged on the other, both ways, many times.

A limit that is chosen and judged on the same frames looks better than it is; frames of one system look alike, so the
halves are of systems. Everything here is of frames: ``spread`` (F,) and ``error`` (F,) in eV/Å are those of the worst
atom of every frame, and a frame is flagged when its spread is above the limit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from atomflow.estimate import Estimate

#: the part of atoms or frames that counts as the worst
WORST = 0.10
#: a limit is chosen to flag this part of the worst tenth of the frames it is chosen on
CATCH = 0.9
HALVINGS = 100
#: fewer systems have no halves worth the name
SYSTEMS_AT_LEAST = 4


def worst(error: np.ndarray) -> np.ndarray:
    """The worst tenth, as a mask."""
    return np.asarray(error >= np.quantile(error, 1 - WORST))


def chosen_limit(spread: np.ndarray, error: np.ndarray, catch: float = CATCH) -> float:
    """The highest limit (eV/Å) that flags ``catch`` of the worst tenth of these frames."""
    bad = np.sort(spread[worst(error)])
    missed = int((1 - catch) * len(bad) + 1e-9)
    return float(np.nextafter(bad[missed], -np.inf))


def judged(spread: np.ndarray, error: np.ndarray, limit_eV_per_A: float) -> dict[str, float]:
    """What a limit does: the part of the worst tenth that it flags, of the others (false alarms), of all; the part of
    the flagged that is among the worst tenth; and the rank correlation, whatever the limit."""
    bad, flagged = worst(error), spread > limit_eV_per_A
    return {
        "caught": float(flagged[bad].mean()),
        "false_alarms": float(flagged[~bad].mean()) if not bad.all() else 0.0,
        "flagged": float(flagged.mean()),
        "right_when_flagged": float(bad[flagged].mean()) if flagged.any() else 0.0,
        "spearman_frames": rank_correlation(spread, error) or 0.0,
    }


def judged_by_halves(
    spread: np.ndarray, error: np.ndarray, systems: Sequence[str], families: Sequence[str],
    halvings: int = HALVINGS, seed: int = 0,
) -> dict[str, Any] | None:  # fmt: skip
    """Means over all halvings, both ways, with the middle 95 % of them; None for too few systems.

    Args:
        systems, families: of every frame. The systems of a family are dealt out to the halves in turns, in random
            order.
    """
    names = np.array(systems)
    by_family = [np.unique(names[np.array(families) == family]) for family in sorted(set(families))]
    if len(set(systems)) < SYSTEMS_AT_LEAST:
        return None
    rng, rows = np.random.default_rng(seed), []
    for _ in range(halvings):
        first = np.isin(names, _half(by_family, rng.permutation))
        for one, other in ((first, ~first), (~first, first)):
            limit = chosen_limit(spread[one], error[one])
            rows.append({"limit_eV_per_A": limit, **judged(spread[other], error[other], limit)})
    return {"halvings": halvings, "catch": CATCH, "worst": WORST,
            **{name: _over(np.array([row[name] for row in rows])).to_json() for name in rows[0]}}  # fmt: skip


def _half(families: Sequence[np.ndarray], shuffled: Callable[[np.ndarray], np.ndarray]) -> list[str]:
    """Every other system, families one after the other."""
    return np.concatenate([shuffled(systems) for systems in families]).tolist()[::2]


def _over(values: np.ndarray) -> Estimate:
    low, high = np.quantile(values, [0.025, 0.975])
    return Estimate(float(values.mean()), float(low), float(high), 0.95)


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """Spearman's coefficient; None where one side does not vary or there are fewer than three values."""
    from scipy.stats import spearmanr

    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(spearmanr(a, b).statistic)
