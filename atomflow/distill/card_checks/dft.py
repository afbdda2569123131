"""Forces beside density functional single points that were computed once and are kept (``workflows/potential/dft``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from atomflow.distill import dft_points
from atomflow.distill.card_checks.section import Context, Section, Work

TITLE = "Forces beside density functional theory"


def work(context: Context) -> Work:
    return Work()


def run(context: Context) -> Section:
    folder = context.dft_points
    if folder is None:
        return Section(missing=["density functional points: none are at hand (--dft-points FOLDER)"])
    points, found = dft_points.read(folder)
    teacher, told = dft_points.kept_teacher(folder, points)
    data = dft_points.compare(points, found, context.potential, teacher, told)
    section = Section(
        columns=["point", "cell", "RMS force (eV/Å)", "student RMSE", "slope", "teacher RMSE", "slope",
                 "cutoff (eV)", "change at other cutoffs", "other k-points"],
        facts={key: data[key] for key in ("functional", "code", "teacher", "points")},
    )  # fmt: skip
    for row in data["points"]:
        cutoffs = [row[f"change_{what}_eV_per_A"] for what in ("cutoff", "lower-cutoff")]
        section.rows.append(
            [row["name"], row["formula"], f"{row['force_rms_eV_per_A']:.2f}", _text(row["student_rmse_eV_per_A"]),
             _text(row["student_slope"]), _text(row.get("teacher_rmse_eV_per_A")), _text(row.get("teacher_slope")),
             f"{row['settings']['cutoff_eV']:g}", ", ".join(_text(x) for x in cutoffs if x is not None) or "-",
             _text(row["change_k-points_eV_per_A"])]
        )  # fmt: skip
    section.lines = _lines(data)
    if teacher is None:
        section.missing.append(f"the teacher's forces: there is no teacher-NAME.json in {folder}")
    return section


def _lines(data: dict[str, Any]) -> list[str]:
    rows = data["points"]
    parts = [row["student_rmse_eV_per_A"] / row["force_rms_eV_per_A"] for row in rows]
    lines = [
        f"{data['code']}, {data['functional']}; {len(rows)} points. Student: {_span(parts)} of the RMS force."
    ]
    both = [row for row in rows if "teacher_rmse_eV_per_A" in row]
    if both:
        told = [row["teacher_rmse_eV_per_A"] / row["force_rms_eV_per_A"] for row in both]
        lines.append(f"{data['teacher']}: {_span(told)} of the RMS force.")
    lines.append(
        "Changes are the largest of any force component; a point without one is as converged as those with the same "
        "elements are. The points judge; nothing was trained on them."
    )
    return lines


def _span(parts: list[float]) -> str:
    return f"{100 * min(parts):.0f} to {100 * max(parts):.0f} %, median {100 * float(np.median(parts)):.0f} %,"


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
