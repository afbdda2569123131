"""Lattice parameters and density of crystals at rest, beside experiment and the teacher."""

from __future__ import annotations

import numpy as np

from atomflow import crystals
from atomflow.distill.card_checks.crystal import NZSP, NZSP_MEASURED, where_from
from atomflow.distill.card_checks.crystal_relax import EVALUATIONS, at_rest, atoms_in, known, with_nzsp
from atomflow.distill.card_checks.section import Context, Section, Work

TITLE = "Lattice parameters and density"


def work(context: Context) -> Work:
    cost = EVALUATIONS * atoms_in(with_nzsp(known(context, context.settings.crystals)))
    return Work(student=cost, teacher=cost)


def run(context: Context) -> Section:
    names = with_nzsp(known(context, context.settings.crystals))
    student = at_rest(context, context.student, names)
    teacher = at_rest(context, context.teacher, names) if context.teacher else {}
    section = Section(
        columns=[
            "crystal",
            "origin of the reference",
            "a, b, c (Å): student",
            "reference",
            "density, g/cm³: student",
            "teacher",
            "reference",
            "student − teacher",
            "student − reference",
        ]
    )
    shifts = []
    for name in names:
        rest = student[name]
        tabled, origin = _reference(name)
        own = rest.crystal.lattice_parameters(rest.cell)
        density = rest.cell.density_g_per_cm3
        reference = rest.crystal.cell.density_g_per_cm3 if name != NZSP else crystal_density(NZSP_MEASURED[0])
        told = teacher[name].cell.density_g_per_cm3 if name in teacher else None
        if told is not None:
            shifts.append(density / told - 1)
        section.rows.append(
            [
                name,
                origin,
                _lengths(own),
                _lengths(np.array(tabled)),
                f"{density:.3f}",
                "-" if told is None else f"{told:.3f}",
                f"{reference:.3f}",
                "-" if told is None else f"{100 * (density / told - 1):+.1f} %",
                f"{100 * (density / reference - 1):+.1f} %",
            ]
        )
        section.facts[name] = {
            "lattice_student": own.tolist(),
            "lattice_reference": list(tabled),
            "reference": origin,
            "lattice_teacher": rest.crystal.lattice_parameters(teacher[name].cell).tolist()
            if name in teacher
            else None,
            "density_student_g_per_cm3": density,
            "density_teacher_g_per_cm3": told,
            "density_reference_g_per_cm3": reference,
            "largest_force_left_eV_per_A": rest.largest_force_eV_per_A,
        }
    if shifts:
        section.lines.append(
            f"Density against the teacher: mean |difference| {100 * np.abs(shifts).mean():.2f} %, largest "
            f"{100 * np.abs(shifts).max():.2f} % over {len(shifts)} crystals."
        )
    else:
        section.missing.append(f"the teacher's lattices: {context.no_teacher}")
    section.lines.append(
        "Crystals at rest at 0 K; experiments are at room temperature, where oxides are 0.5 to 1 % larger."
    )
    return section


def _reference(name: str) -> tuple[tuple[float, ...], str]:
    if name == NZSP:
        return crystals.facts(NZSP_MEASURED[0]).cell, NZSP_MEASURED[1]
    return crystals.facts(name).cell, where_from(name)


def crystal_density(name: str) -> float:
    """g/cm³ of the tabulated cell of an ordered crystal."""
    return float(crystals.load(name).density)


def _lengths(parameters: np.ndarray) -> str:
    angles = "".join(
        f", {symbol} {angle:.1f}°"
        for symbol, angle in zip("αβγ", parameters[3:], strict=True)
        if abs(angle - 90) > 0.05 and abs(angle - 120) > 0.05
    )
    return " ".join(f"{length:.3f}" for length in parameters[:3]) + angles
