"""Phonons of ordered C2/c NZSP: imaginary modes in a supercell, and frequencies at Γ against the teacher's."""

from __future__ import annotations

from typing import Any

import numpy as np

from atomflow.cell import Cell
from atomflow.distill.card_checks.crystal import NZSP
from atomflow.distill.card_checks.section import Context, Section, Work, png
from atomflow.distill.sides import Side, answered, task
from atomflow.errors import AtomflowError

TITLE = "Phonons of C2/c NZSP"
#: Residual forces that phonons tolerate, eV/Å, and the displacements that C2/c leaves for 40 atoms.
FMAX_EV_PER_A, DISPLACEMENTS = 0.003, 66
_BINS_THZ = np.arange(-3.0, 36.0, 0.5)


def work(context: Context) -> Work:
    # the supercell of 2 x 2 x 2 primitive cells is the student's alone
    return Work(student=40 * (150 + 9 * DISPLACEMENTS), teacher=40 * (100 + DISPLACEMENTS))


def run(context: Context) -> Section:
    from atomflow.lattice.phonons import phonons

    section = Section(columns=["at Γ of the 40-atom cell", "student", "teacher"])
    cell = _rest(context, context.student)
    done = phonons(
        cell,
        context.student.potential,
        displacement_A=context.settings.phonon_displacement_A,
        progress=lambda k, n: context.say(f"phonons: displacement {k}/{n}") if k % 10 == 0 else None,
    )
    worst = [mode.name for mode in done.imaginary[:4]]
    section.lines.append(
        f"Supercell {' x '.join(map(str, done.supercell))} ({len(cell) * int(np.prod(done.supercell))} atoms), "
        f"{done.n_displacements} displacements: "
        + (f"{len(done.imaginary)} imaginary modes ({'; '.join(worst)})." if worst else "no imaginary mode.")
    )
    section.facts = {
        "supercell": list(done.supercell),
        "imaginary": [mode.to_json() for mode in done.imaginary],
        "residual_eV_per_A": done.residual_eV_per_A,
        "acoustic_THz": done.acoustic_THz,
    }
    own = at_gamma(context, context.student, cell)
    told = None
    if context.teacher:
        told = at_gamma(context, context.teacher, _rest(context, context.teacher))
        section.facts["gamma_teacher_THz"] = told.tolist()
        section.lines.append(
            f"Γ against the teacher, each at its own rest: RMS difference {_rms(own - told):.2f} THz of "
            f"{len(own) - 3} optical modes, ratio of the mean frequencies {own[3:].mean() / told[3:].mean():.3f}."
        )
        if done.imaginary:
            false = told.min() > -0.1
            section.lines.append(
                "The teacher has "
                + (
                    "no imaginary mode at Γ: an imaginary mode there is the student's own."
                    if false
                    else f"imaginary modes at Γ too, down to {told.min():.2f} THz."
                )
            )
    else:
        section.missing.append(f"the teacher's frequencies: {context.no_teacher}")
    section.facts["gamma_THz"] = own.tolist()
    for name, pick in (
        ("lowest optical mode, THz", lambda x: x[3]),
        ("mean of all, THz", lambda x: x[3:].mean()),
        ("highest mode, THz", lambda x: x[-1]),
    ):
        section.rows.append([name, f"{pick(own):.2f}", "-" if told is None else f"{pick(told):.2f}"])
    section.figure_png = _figure(own, told)
    return section


def at_gamma(context: Context, side: Side, cell: Cell) -> np.ndarray:
    """(3N,) sorted frequencies at Γ in THz, imaginary ones negative; the three acoustic ones, nearest zero, first."""
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    unit = PhonopyAtoms(numbers=cell.numbers.tolist(), positions=cell.positions_A, cell=cell.lattice_A)
    phonon: Any = Phonopy(unit, supercell_matrix=np.eye(3), symprec=1e-3)
    phonon.generate_displacements(distance=context.settings.phonon_displacement_A)
    displaced = [
        Cell(np.array(x.numbers), np.array(x.positions), np.array(x.cell)) for x in phonon.supercells_with_displacements
    ]
    answers = side.perform(
        [task("single", displaced[first : first + 8]) for first in range(0, len(displaced), 8)], context.say
    )
    phonon.forces = [np.array(forces) for answer in answers for forces in answer["forces_eV_per_A"]]
    phonon.produce_force_constants()
    phonon.symmetrize_force_constants()
    phonon.run_qpoints([[0.0, 0.0, 0.0]])
    found = np.array(phonon.qpoints.frequencies[0])
    acoustic = np.argsort(np.abs(found))[:3]
    return np.concatenate([found[acoustic], np.sort(np.delete(found, acoustic))])


def _rest(context: Context, side: Side) -> Cell:
    """Ordered NZSP at rest, to smaller forces than elsewhere."""
    from atomflow.distill.card_checks.crystal_relax import at_rest

    near = at_rest(context, side, [NZSP])[NZSP].cell
    [result] = side.perform([task("relax", [near], fmax_eV_per_A=FMAX_EV_PER_A, steps=300)], context.say)
    if result["largest_forces_eV_per_A"][0] > 5 * FMAX_EV_PER_A:
        raise AtomflowError(
            f"{side.name} did not bring NZSP to rest: {result['largest_forces_eV_per_A'][0]:.3f} eV/Å is left"
        )
    return answered(result["cells"][0], near)


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt((x[3:] ** 2).mean()))


def _figure(own: np.ndarray, told: np.ndarray | None) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 2.8), layout="constrained")
    axes: Any = figure.subplots()
    axes.hist(own[3:], _BINS_THZ, histtype="step", label="student")
    if told is not None:
        axes.hist(told[3:], _BINS_THZ, histtype="step", label="teacher")
    axes.axvline(0, color="k", lw=0.5)
    axes.set(xlabel="frequency at Γ (THz; imaginary below 0)", ylabel="modes")
    axes.legend(fontsize=8)
    return png(figure)
