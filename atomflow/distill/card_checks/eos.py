"""Equation of state: volume and bulk modulus of crystals, atoms at rest at each volume, against the teacher."""

from __future__ import annotations

from typing import Any

import numpy as np

from atomflow.cell import Cell
from atomflow.distill.card_checks.crystal_relax import at_rest, atoms_in, known
from atomflow.distill.card_checks.section import Context, Section, Work
from atomflow.distill.sides import Side, task
from atomflow.units import EV_PER_A3_IN_GPA

TITLE = "Equation of state"
#: Evaluations that the atoms take to come to rest at a new volume, as a rule.
EVALUATIONS = 12


def work(context: Context) -> Work:
    names = known(context, context.settings.eos_crystals)
    cost = (EVALUATIONS * context.settings.eos_points + 40) * atoms_in(names)
    return Work(student=cost, teacher=cost)


def run(context: Context) -> Section:
    section = Section(columns=["crystal", "V0 (Å³/atom): student", "teacher", "B0 (GPa): student", "teacher"])
    names = known(context, context.settings.eos_crystals)
    student = {name: curve(context, context.student, name) for name in names}
    teacher = {name: curve(context, context.teacher, name) for name in names} if context.teacher else {}
    for name in names:
        own, told = student[name], teacher.get(name)
        section.rows.append(
            [
                name,
                f"{own['V0_A3_per_atom']:.3f}",
                f"{told['V0_A3_per_atom']:.3f}" if told else "-",
                f"{own['B0_GPa']:.1f}",
                f"{told['B0_GPa']:.1f}" if told else "-",
            ]
        )
        section.facts[name] = {"student": own, "teacher": told}
    if teacher:
        off = [student[name]["B0_GPa"] / teacher[name]["B0_GPa"] - 1 for name in names]
        section.lines.append(f"B0 against the teacher's: {', '.join(f'{100 * x:+.0f} %' for x in off)}.")
    else:
        section.missing.append(f"the teacher's curve: {context.no_teacher}")
    section.lines.append(
        "Third-order Birch-Murnaghan fits; the shape of the cell is kept, the atoms come to rest at every volume."
    )
    return section


def curve(context: Context, side: Side, name: str) -> dict[str, Any]:
    """Volumes and energies around the side's own rest, and the fit's V0 and B0."""
    settings = context.settings
    rest = at_rest(context, side, [name])[name].cell
    cells = [_scaled(rest, 1 + x) for x in np.linspace(-settings.eos_strain, settings.eos_strain, settings.eos_points)]
    results = side.perform(
        [
            task("relax", [cell], cell_too=False, fmax_eV_per_A=2 * settings.fmax_eV_per_A, steps=settings.relax_steps)
            for cell in cells
        ],
        context.say,
    )
    volumes = np.array([cell.volume_A3 for cell in cells]) / len(rest)
    energies = np.array([result["energies_eV"][0] for result in results]) / len(rest)
    volume, modulus = birch_murnaghan(volumes, energies)
    return {
        "V0_A3_per_atom": volume,
        "B0_GPa": modulus * EV_PER_A3_IN_GPA,
        "volumes_A3_per_atom": volumes.tolist(),
        "energies_eV_per_atom": energies.tolist(),
    }


def birch_murnaghan(volumes: np.ndarray, energies: np.ndarray) -> tuple[float, float]:
    """V0 and B0 (energy per volume) of the third-order fit, a cubic in V^(-2/3) (F. Birch, Phys. Rev. 71, 809 (1947)).

    Raises:
        ValueError: the energies have no minimum among the volumes.
    """
    x = volumes ** (-2 / 3)
    cubic = np.polynomial.Polynomial.fit(x, energies, 3).convert()
    slope, bend = cubic.deriv(1), cubic.deriv(2)
    places = [float(np.real(root)) for root in slope.roots() if abs(np.imag(root)) < 1e-9 and bend(np.real(root)) > 0]
    inside = [place for place in places if 0.9 * x.min() < place < 1.1 * x.max()]
    if not inside:
        raise ValueError("the energies have no minimum near these volumes")
    best = min(inside, key=lambda place: abs(place - x.mean()))
    volume = best ** (-3 / 2)
    return float(volume), float(4 / 9 * bend(best) * volume ** (-7 / 3))


def _scaled(cell: Cell, factor: float) -> Cell:
    return Cell(
        cell.numbers, cell.positions_A * factor, cell.lattice_A * factor, cell.regions, cell.sites, cell.provenance
    )
