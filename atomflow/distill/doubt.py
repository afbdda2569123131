"""How well a committee's doubt ranks true errors, measured on labelled frames, and the limit that follows from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atomflow.distill.frames import Frame
from atomflow.distill.train import labels_of
from atomflow.errors import InputError
from atomflow.estimate import Estimate

#: the part of atoms or frames that counts as the worst
WORST = 0.05
#: the limit suggested is passed by this part of the held-out frames
PASSED_BY = 0.05


@dataclass(frozen=True, eq=False)
class Doubted:
    """One labelled frame: force spread (N,) and length of the true force error (N,) of every atom, in eV/Å."""

    frame: Frame
    spread_eV_per_A: np.ndarray
    error_eV_per_A: np.ndarray


def doubted(
    frames: Iterable[Frame], potential: Any, progress: Callable[[int], None] = lambda n: None
) -> list[Doubted]:
    """Spread and true error of every labelled frame.

    Raises:
        InputError: the potential has no committee, or a frame no labels.
    """
    from atomflow.potentials.committee import committee_forces, members_or_refuse, spread_of

    others = members_or_refuse(potential)
    found = []
    for number, frame in enumerate(frames):
        teacher = labels_of(frame).forces_eV_per_A
        forces = committee_forces(potential, [frame.numbers], [frame.positions_A], [frame.lattice_A], others)
        found.append(Doubted(frame, spread_of(forces), np.linalg.norm(forces[0] - teacher, axis=1)))
        progress(number + 1)
    return found


def doubt_quality(found: Sequence[Doubted], limits_eV_per_A: Sequence[float] = ()) -> dict[str, Any]:
    """What the spread is worth on these frames, JSON-able.

    A frame's spread and error are those of its worst atom. ``spearman`` is the rank correlation of spread and error,
    with a bootstrap interval over systems. For every limit: which part is above it, and which part of the worst 5 %
    (by true error) is among those. ``suggested_limit_eV_per_A`` is passed by 5 % of these frames.
    """
    if not found:
        raise InputError("there are no labelled frames to measure doubt on")
    families = sorted({each.frame.family for each in found})
    tops = np.array([each.spread_eV_per_A.max() for each in found])
    suggested = float(np.quantile(tops, 1 - PASSED_BY))
    limits = [*limits_eV_per_A] or [float(np.quantile(tops, q)) for q in (0.5, 0.8, 0.9, 1 - PASSED_BY, 0.99)]
    groups = {"all": list(found), **{name: [each for each in found if each.frame.family == name] for name in families}}
    return {
        "format": "atomflow-doubt-quality", "suggested_limit_eV_per_A": suggested,
        "groups": [_group(name, members) for name, members in groups.items()],
        "limits": [_limit(limit, found) for limit in limits],
    }


def _group(name: str, found: Sequence[Doubted]) -> dict[str, Any]:
    spreads = np.concatenate([each.spread_eV_per_A for each in found])
    errors = np.concatenate([each.error_eV_per_A for each in found])
    return {
        "group": name, "frames": len(found), "systems": len({each.frame.system for each in found}),
        "atoms": len(spreads), "median_spread_eV_per_A": float(np.median(spreads)),
        "median_error_eV_per_A": float(np.median(errors)),
        "spearman_atoms": _spearman(found, _atoms).to_json(), "spearman_frames": _spearman(found, _worst).to_json(),
    }


def _atoms(found: Sequence[Doubted]) -> tuple[np.ndarray, np.ndarray]:
    return (np.concatenate([each.spread_eV_per_A for each in found]),
            np.concatenate([each.error_eV_per_A for each in found]))


def _worst(found: Sequence[Doubted]) -> tuple[np.ndarray, np.ndarray]:
    return (np.array([each.spread_eV_per_A.max() for each in found]),
            np.array([each.error_eV_per_A.max() for each in found]))


def _spearman(
    found: Sequence[Doubted], measure: Callable[[Sequence[Doubted]], tuple[np.ndarray, np.ndarray]],
    draws: int = 200, level: float = 0.95,
) -> Estimate:
    """Rank correlation, with its bootstrap interval over systems; none from fewer than three systems or values."""
    value = rank_correlation(*measure(found))
    systems: dict[str, list[Doubted]] = {}
    for each in found:
        systems.setdefault(each.frame.system, []).append(each)
    if value is None or len(systems) < 3:
        return Estimate(value, None, None, level) if value is not None else Estimate.unknown(level)
    parts, rng = list(systems.values()), np.random.default_rng(0)
    drawn = []
    for _ in range(draws):
        chosen = [each for k in rng.integers(len(parts), size=len(parts)) for each in parts[k]]
        again = rank_correlation(*measure(chosen))
        drawn.append(value if again is None else again)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high), level)


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """Spearman's coefficient; None where one side does not vary or there are fewer than three values."""
    from scipy.stats import rankdata

    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


def _limit(limit: float, found: Sequence[Doubted]) -> dict[str, float]:
    row = {"limit_eV_per_A": limit}
    for name, (spread, error) in {"atoms": _atoms(found), "frames": _worst(found)}.items():
        worst = error >= np.quantile(error, 1 - WORST)
        row[f"{name}_above"] = float((spread > limit).mean())
        row[f"worst_{name}_caught"] = float((spread > limit)[worst].mean())
    return row
