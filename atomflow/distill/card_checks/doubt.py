"""Does the committee's doubt tell the true error: force spread against the error, on held-out systems."""

from __future__ import annotations

from typing import Any

import numpy as np

from atomflow.distill.card_checks.section import Context, Section, Work, png
from atomflow.distill.frames import Frame
from atomflow.distill.train import labels_of

TITLE = "Doubt: the committee's force spread against the true error"
MOST_FRAMES = 150
GROUPS = 10


def work(context: Context) -> Work:
    frames = chosen(context)
    members = len(context.potential.identity.committee)
    return Work(student=float(members and sum(frame.n_atoms for frame in frames) * (members + 1)))


def run(context: Context) -> Section:
    from scipy.stats import spearmanr

    identity = context.potential.identity
    frames = chosen(context)
    if not identity.committee:
        return Section(missing=[f"{identity.name} has no committee"])
    if not frames:
        return Section(missing=["no labelled held-out frames are at hand (--labelled)"])
    spread, error, owner = measured(context, frames)
    family = np.array([frame.family for frame in frames])[owner]
    section = Section(
        columns=["family", "frames", "median spread (eV/Å)", "median error (eV/Å)", "rank correlation, atoms"]
    )
    for name in [*sorted(set(family)), "all"]:
        mask = np.ones(len(owner), bool) if name == "all" else family == name
        rank = float(spearmanr(spread[mask], error[mask]).statistic)
        section.rows.append(
            [
                name,
                str(len(set(owner[mask]))),
                f"{np.median(spread[mask]):.3f}",
                f"{np.median(error[mask]):.3f}",
                f"{rank:.2f}",
            ]
        )
        section.facts[name] = {
            "rank_correlation": rank,
            "ratio_error_to_spread": float(np.sqrt((error[mask] ** 2).mean() / (spread[mask] ** 2).mean())),
        }
    per_frame = np.array(
        [[spread[owner == k].max(), np.sqrt((error[owner == k] ** 2).mean() / 3)] for k in range(len(frames))]
    )
    worst = np.argsort(-per_frame[:, 1])[: max(1, len(frames) // 10)]
    flagged = np.argsort(-per_frame[:, 0])[: max(1, len(frames) // 5)]
    caught = len(set(worst) & set(flagged)) / len(worst)
    section.facts["worst_tenth_in_most_doubtful_fifth"] = caught
    section.lines.append(
        f"Over {len(frames)} held-out frames, {len(identity.committee) + 1} members: RMS error is "
        f"{section.facts['all']['ratio_error_to_spread']:.2f} times the RMS spread; {100 * caught:.0f} % of the "
        f"worst tenth "
        "of frames are among the fifth with the largest spread (20 % by chance)."
    )
    section.figure_png = _figure(spread, error)
    return section


def chosen(context: Context) -> list[Frame]:
    """Held-out labelled frames, evenly thinned to at most so many."""
    held_out = [frame for frame in context.frames if frame.split == "test"]
    return held_out[:: max(1, -(-len(held_out) // MOST_FRAMES))]


def measured(context: Context, frames: list[Frame]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spread and length of the force error of every atom (eV/Å), and which frame it is of."""
    from atomflow.potentials.committee import committee_forces, members_or_refuse, spread_of

    others = members_or_refuse(context.potential)
    spread, error, owner = [], [], []
    for index, frame in enumerate(frames):
        forces = committee_forces(context.potential, [frame.numbers], [frame.positions_A], [frame.lattice_A], others)
        spread.append(np.asarray(spread_of(forces)))
        error.append(np.linalg.norm(forces[0] - labels_of(frame).forces_eV_per_A, axis=1))
        owner.append(np.full(frame.n_atoms, index))
        if index % 20 == 0:
            context.say(f"doubt: frame {index}/{len(frames)}")
    return np.concatenate(spread), np.concatenate(error), np.concatenate(owner)


def _figure(spread: np.ndarray, error: np.ndarray) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axes: Any = figure.subplots()
    axes.loglog(spread, error, ".", ms=1, alpha=0.3, rasterized=True)
    pieces = np.array_split(np.argsort(spread), GROUPS)
    axes.loglog(
        [np.sqrt((spread[p] ** 2).mean()) for p in pieces],
        [np.sqrt((error[p] ** 2).mean()) for p in pieces],
        "k.-",
        ms=5,
        label="RMS in tenths",
    )
    axes.set(xlabel="spread of an atom's force (eV/Å)", ylabel="its true error (eV/Å)")
    axes.legend(fontsize=8)
    return png(figure)
