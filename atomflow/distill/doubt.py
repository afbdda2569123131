"""How well a committee's doubt ranks true errors, measured on labelled frames, and the limit that follows from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atomflow.distill.doubt_limits import chosen_limit, judged, judged_by_halves, rank_correlation
from atomflow.distill.frames import Frame, labels_of
from atomflow.errors import InputError
from atomflow.estimate import Estimate


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
    with a bootstrap interval over systems. For every limit: which part is above it, which part of the worst tenth (by
    true error) is among those, and which part of the others. ``suggested_limit_eV_per_A`` is
    :func:`~atomflow.distill.doubt_limits.chosen_limit` of all these frames, and ``halves`` what a limit so chosen on
    one half of the systems does on the other.
    """

    if not found:
        raise InputError("there are no labelled frames to measure doubt on")
    families = sorted({each.frame.family for each in found})
    tops, errors = _worst_atoms(found)
    suggested = chosen_limit(tops, errors)
    limits = sorted({suggested, *(limits_eV_per_A or (float(np.quantile(tops, q)) for q in (0.5, 0.8, 0.9, 0.99)))})
    groups = {"all": list(found), **{name: [each for each in found if each.frame.family == name] for name in families}}
    return {
        "format": "atomflow-doubt-quality", "suggested_limit_eV_per_A": suggested,
        "groups": [_group(name, members, suggested) for name, members in groups.items()],
        "limits": [_limit(limit, found) for limit in limits],
        "halves": judged_by_halves(
            tops, errors, [each.frame.system for each in found], [each.frame.family for each in found]
        ),
    }


def _group(name: str, found: Sequence[Doubted], limit_eV_per_A: float) -> dict[str, Any]:
    spreads = np.concatenate([each.spread_eV_per_A for each in found])
    errors = np.concatenate([each.error_eV_per_A for each in found])
    return {
        "group": name, "frames": len(found), "systems": len({each.frame.system for each in found}),
        "atoms": len(spreads), "median_spread_eV_per_A": float(np.median(spreads)),
        "median_error_eV_per_A": float(np.median(errors)),
        "spearman_atoms": _spearman(found, _atoms).to_json(),
        "spearman_frames": _spearman(found, _worst_atoms).to_json(),
        "frames_above": float((_worst_atoms(found)[0] > limit_eV_per_A).mean()),
    }


def _atoms(found: Sequence[Doubted]) -> tuple[np.ndarray, np.ndarray]:
    return (np.concatenate([each.spread_eV_per_A for each in found]),
            np.concatenate([each.error_eV_per_A for each in found]))


def _worst_atoms(found: Sequence[Doubted]) -> tuple[np.ndarray, np.ndarray]:
    """(F,) largest spread and (F,) largest true error of every frame, eV/Å."""
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


def _limit(limit: float, found: Sequence[Doubted]) -> dict[str, float]:
    row = {"limit_eV_per_A": limit}
    for name, (spread, error) in {"atoms": _atoms(found), "frames": _worst_atoms(found)}.items():
        seen = judged(spread, error, limit)
        row |= {f"{name}_above": seen["flagged"], f"worst_{name}_caught": seen["caught"],
                f"other_{name}_above": seen["false_alarms"]}  # fmt: skip
    return row
