"""Radial distributions and coordination from dynamics of student and teacher, beside one another."""

from __future__ import annotations

from typing import Any

import ase
import numpy as np

from atomflow.distill.card_checks.crystal import NZSP, primitive
from atomflow.distill.card_checks.section import Context, Section, Work, png
from atomflow.distill.sides import Side, task

TITLE = "Structure in dynamics: radial distributions and coordination"
PAIRS = ("Na-O", "Zr-O", "Si-O", "P-O")
TIMESTEP_FS, EVERY = 2.0, 5
#: Part of each run in which it only warms up.
WARMING = 0.3


def work(context: Context) -> Work:
    settings = context.settings
    return Work(
        student=40 * settings.order_student_ps * 1000 / TIMESTEP_FS,
        teacher=40 * settings.order_teacher_ps * 1000 / TIMESTEP_FS,
    )


def run(context: Context) -> Section:
    settings = context.settings
    section = Section(
        columns=[
            "pair",
            "first peak (Å): student",
            "teacher",
            "coordination: student",
            "teacher",
            "bond (Å): student",
            "teacher",
        ]
    )
    found = {"student": _measured(context, context.student, settings.order_student_ps)}
    if context.teacher:
        found["teacher"] = _measured(context, context.teacher, settings.order_teacher_ps)
    for pair in PAIRS:
        row = [pair]
        for pick in (
            lambda m, p=pair: _number(m.rdfs[p].peak_A),
            lambda m, p=pair: format(m.shells[p].mean, ".2f"),
            lambda m, p=pair: format(m.shells[p].length_A, ".3f"),
        ):
            row += [pick(found["student"]), pick(found["teacher"]) if "teacher" in found else "-"]
        section.rows.append(row)
    section.lines.append(
        f"Ordered 40-atom cell (lattice of Xie 2023), Langevin at {settings.order_temperature_K:g} K: student "
        f"{settings.order_student_ps:g} ps"
        + (f", teacher {settings.order_teacher_ps:g} ps" if context.teacher else "")
        + f"; the first {100 * WARMING:.0f} % left out."
    )
    if "teacher" in found:
        overlap = {pair: _overlap(found["student"].rdfs[pair], found["teacher"].rdfs[pair]) for pair in PAIRS}
        section.facts["common_area"] = overlap
        section.lines.append(
            "Common area of g(r) below 6 Å: "
            + ", ".join(f"{p} {100 * x:.0f} %" for p, x in overlap.items())
            + ". The teacher's run is short: its noise is in these numbers."
        )
    else:
        section.missing.append(f"the teacher's dynamics: {context.no_teacher}")
    section.facts |= {
        side: {
            pair: {
                "peak_A": m.rdfs[pair].peak_A,
                "coordination": m.shells[pair].mean.to_json(),
                "length_A": m.shells[pair].length_A.to_json(),
            }
            for pair in PAIRS
        }
        for side, m in found.items()
    }
    section.figure_png = _figure(found)
    return section


def _measured(context: Context, side: Side, time_ps: float) -> Any:
    """Order of the later part of a run."""
    from atomflow.order import measure
    from atomflow.runs import open_trajectory

    cell = primitive(NZSP).cell
    [result] = side.perform(
        [
            task(
                "dynamics",
                [cell],
                temperature_K=context.settings.order_temperature_K,
                steps=round(1000 * time_ps / TIMESTEP_FS),
                timestep_fs=TIMESTEP_FS,
                every=EVERY,
            )
        ],
        context.say,
    )
    positions = result["positions_A"][int(WARMING * len(result["positions_A"])) :]
    images = [ase.Atoms(cell.numbers, positions=frame, cell=cell.lattice_A, pbc=True) for frame in positions]
    walk = open_trajectory(
        images,
        frame_interval_fs=result["frame_interval_fs"],
        temperature_K=context.settings.order_temperature_K,
        wrapped=False,
    )
    return measure(walk, pairs=PAIRS)


def _overlap(a: Any, b: Any, r_max_A: float = 6.0) -> float:
    """Area under the lower of two g(r), over their mean area."""
    near = a.r_A < r_max_A
    return float(2 * np.minimum(a.g, b.g)[near].sum() / (a.g + b.g)[near].sum())


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _figure(found: dict[str, Any]) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 2.6), layout="constrained")
    axes: Any = figure.subplots(1, len(PAIRS))
    for axis, pair in zip(axes, PAIRS, strict=True):
        for side, measured in found.items():
            axis.plot(measured.rdfs[pair].r_A, measured.rdfs[pair].g, lw=1, label=side)
        axis.set(title=pair, xlabel="r (Å)", xlim=(1, 6))
    axes[0].legend(fontsize=8)
    axes[0].set(ylabel="g(r)")
    return png(figure)
