"""Does the committee's doubt tell the true error: force spread against the error, on held-out systems."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from atomflow.distill.card_checks.section import Context, Section, Work, png
from atomflow.distill.doubt import Doubted, doubt_quality, doubted
from atomflow.distill.frames import Frame
from atomflow.estimate import Estimate

TITLE = "Doubt: the committee's force spread against the true error"
MOST_FRAMES = 150
GROUPS = 10


def work(context: Context) -> Work:
    members = len(context.potential.identity.committee)
    return Work(student=float(members and sum(frame.n_atoms for frame in chosen(context)) * (members + 1)))


def run(context: Context) -> Section:
    identity = context.potential.identity
    if not identity.committee:
        return Section(missing=[f"{identity.name} has no committee"])
    frames = chosen(context)
    if not frames:
        return Section(missing=["no labelled held-out frames are at hand (--labelled)"])

    def show(done: int) -> None:
        if done % 20 == 0:
            context.say(f"doubt: frame {done}/{len(frames)}")

    found = doubted(frames, context.potential, show)
    quality = doubt_quality(found)
    section = Section(
        columns=["family", "frames", "median spread (eV/Å)", "median error (eV/Å)", "rank correlation: atoms",
                 "frames", "frames above the limit"],
        facts=quality,
    )
    for group in quality["groups"]:
        section.rows.append(
            [group["group"], str(group["frames"]), f"{group['median_spread_eV_per_A']:.3f}",
             f"{group['median_error_eV_per_A']:.3f}", *(format(Estimate.from_json(group[key]), ".2f")
                                                       for key in ("spearman_atoms", "spearman_frames")),
             f"{100 * group['frames_above']:.0f} %"]
        )  # fmt: skip
    [limit] = [row for row in quality["limits"] if row["limit_eV_per_A"] == quality["suggested_limit_eV_per_A"]]
    section.lines.append(
        f"{len(identity.committee) + 1} members, {len(frames)} held-out frames. A limit of "
        f"{limit['limit_eV_per_A']:.2f} eV/Å on the largest spread flags {100 * limit['worst_frames_caught']:.0f} % of "
        f"the worst tenth of the frames and {100 * limit['other_frames_above']:.0f} % of the others: chosen so on "
        "these very frames."
    )
    if quality["halves"] is not None:
        part = {name: format(Estimate.from_json(quality["halves"][name]), ".2f") for name in
                ("limit_eV_per_A", "caught", "false_alarms")}  # fmt: skip
        section.lines.append(
            f"Chosen on one half of the systems and judged on the other, {quality['halves']['halvings']} times both "
            f"ways (middle 95 %): limit {part['limit_eV_per_A']} eV/Å, flagged of the worst tenth {part['caught']}, of "
            f"the others {part['false_alarms']}."
        )
    if identity.doubt_warn_eV_per_A is not None:
        section.lines.append(f"The limit it is shipped with: {identity.doubt_warn_eV_per_A:g} eV/Å.")
    section.figure_png = _figure(found)
    return section


def chosen(context: Context) -> list[Frame]:
    """Held-out labelled frames, evenly thinned to at most so many."""
    held_out = [frame for frame in context.frames if frame.split == "test"]
    return held_out[:: max(1, -(-len(held_out) // MOST_FRAMES))]


def _figure(found: Sequence[Doubted]) -> str:
    from matplotlib.figure import Figure

    spread = np.concatenate([each.spread_eV_per_A for each in found])
    error = np.concatenate([each.error_eV_per_A for each in found])
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axes: Any = figure.subplots()
    axes.loglog(spread, error, ".", ms=1, alpha=0.3, rasterized=True)
    tenths = [(spread[part].mean(), error[part].mean()) for part in np.array_split(np.argsort(spread), GROUPS)]
    axes.loglog(*np.transpose(tenths), "k.-", ms=5, label="means of tenths")
    axes.set(xlabel="spread of an atom's force (eV/Å)", ylabel="its true error (eV/Å)")
    axes.legend(fontsize=8)
    return png(figure)
