"""What judges a loop: labelled frames of the region it is for, never trained on, and errors that can be compared.

Errors are kept as sums over systems, so that two students judged on the same frames are compared system by system: the
interval of their ratio is far narrower than those of the two errors, which share the hard systems and the easy ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from atomflow.distill.active_config import ActiveConfig
from atomflow.distill.active_stages import Say, ask_teacher, drawn, timed
from atomflow.distill.frames import Frame, labels_of, read_frames
from atomflow.errors import InputError
from atomflow.estimate import Estimate

#: force errors of a student: system → (sum of squares in (eV/Å)², number of components)
Sums = dict[str, tuple[float, int]]
#: far from the seeds of rounds, which are a thousand apart
_SEED_AFTER = 500


def exam_frames(config: ActiveConfig, folder: Path, model: Path, say: Say) -> list[Frame]:
    """The frames of the exam, drawn and labelled in ``folder/exam`` now unless they are; none where none is asked for.

    Args:
        model: the student that the loop begins with.
    """
    exam = config.exam
    if exam is None:
        return []
    if exam.labelled:
        return [frame for path in exam.labelled for frame in read_frames(path)]
    home = folder / "exam"
    home.mkdir(parents=True, exist_ok=True)
    with timed(home, "sample"):
        drawn(config, f"{config.name}-exam", config.seed + _SEED_AFTER, config.sources_for(str(model), exam.sources),
              home / "pool", lambda text: say(f"exam: {text}"), judges=True, keep=exam.frames)
    with timed(home, "label"):
        return ask_teacher(config.teacher, home / "pool", home / "labelled", lambda text: say(f"exam: {text}"))


def exam_sets(config: ActiveConfig, folder: Path) -> list[str]:
    """The labelled sets of the exam."""
    if config.exam is None:
        return []
    return list(config.exam.labelled) or [str(folder / "exam" / "labelled" / "labelled.npz")]


def old_held_out(config: ActiveConfig) -> list[Frame]:
    """The held-out frames of ``labelled``: what the student knew before."""
    return [frame for path in config.labelled for frame in read_frames(path) if frame.split == "test"]


def judged(model: Path, frames: Sequence[Frame]) -> dict[str, Any] | None:
    """Force RMSE of a student on labelled frames, of every member of its committee, and the sums by system."""
    from atomflow import potentials
    from atomflow.potentials.committee import open_members

    if not frames:
        return None
    student = potentials.load(model)
    sums = [_sums(potential, frames) for potential in (student, *open_members(student))]
    return {"frames": len(frames), "force_rmse_eV_per_A": rmse(sums[0]).to_json(),
            "members_eV_per_A": [rmse(each).value for each in sums], "systems": sums[0]}


def _sums(potential: Any, frames: Sequence[Frame]) -> Sums:
    from atomflow.potentials.evaluate import evaluate_cells

    sums: Sums = {}
    for frame in frames:
        found = evaluate_cells(potential, [frame.numbers], [frame.positions_A], [frame.lattice_A], stress=False)
        errors = found.forces_eV_per_A.cpu().numpy() - labels_of(frame).forces_eV_per_A
        before = sums.get(frame.system, (0.0, 0))
        sums[frame.system] = (before[0] + float((errors**2).sum()), before[1] + errors.size)
    return sums


def rmse(sums: Sums) -> Estimate:
    """Force RMSE in eV/Å with its bootstrap interval over systems."""
    table = np.array([sums[system] for system in sorted(sums)], float)
    return _estimate(table[:, :1], table[:, 1:])


def ratio(after: Sums, before: Sums) -> Estimate:
    """RMSE of one student over that of another on the same frames, the bootstrap drawing the same systems for both."""
    if set(after) != set(before):
        raise InputError("two students can be compared on the same systems only")
    table = np.array([(after[system][0], before[system][0]) for system in sorted(after)], float)
    return _estimate(table[:, :1], table[:, 1:])


def _estimate(above: np.ndarray, below: np.ndarray, draws: int = 2000, level: float = 0.95) -> Estimate:
    """sqrt(Σ above / Σ below) over systems (S, 1); no interval from fewer than three systems."""
    value = float(np.sqrt(above.sum() / below.sum()))
    if len(above) < 3:
        return Estimate(value, None, None, level)
    chosen = np.random.default_rng(0).integers(len(above), size=(draws, len(above)))
    drawn_values = np.sqrt(above[chosen, 0].sum(axis=1) / below[chosen, 0].sum(axis=1))
    low, high = np.quantile(drawn_values, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high), level)
