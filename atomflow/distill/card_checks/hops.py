"""Na hops: the student's barriers against those of the teacher's own band, both climbing to the saddle.

A decoration has many minima, and a Na beside the path may rest in another of them: barriers are compared only where
both sides speak of the same hop. The teacher's band begins from the student's converged one, its ends relaxed by the
teacher itself, and is kept under the decoration: a later student whose hop is the same is set beside it, and one whose
own band found another hop climbs the teacher's once more, from the teacher's band.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from atomflow.cell import Cell
from atomflow.distill import decorate
from atomflow.distill.card_checks.kept import TeacherSilent
from atomflow.distill.card_checks.section import Context, Section, Work
from atomflow.distill.card_checks.settings import CardSettings
from atomflow.distill.sides import Say, Side, Task, answered, task

TITLE = "Na hop barriers against the teacher's own band"
ATOMS = 40
#: Ends of a hop nearer to one another than this (Å) are the same site: there is no hop.
SAME_SITE_A = 0.8
#: Both sides speak of the same hop while no Na of either end is farther from itself than this (Å).
SAME_END_A = 0.5
#: A band is converged when no image feels more across the path and along the springs; its ends, half of it.
FMAX_EV_PER_A = 0.05
COLUMNS = ["decoration", "there and back (eV): student", "teacher, own band", "teacher on the student's path",
           "largest difference", "ends apart (Å)", "force calls: student, teacher"]  # fmt: skip


@dataclass(frozen=True)
class _Hop:
    """A decoration, the ion that moves in it, the band that is asked of both sides, and the student's own."""

    seed: int
    first: Cell
    ion: int
    asked: Task
    own: dict[str, Any]

    @property
    def path(self) -> list[Cell]:
        return [answered(cell, self.first) for cell in self.own["cells"]]

    @property
    def length_A(self) -> float:
        return _length(self.own, self.ion)


def work(context: Context) -> Work:
    """A band from between its ends takes some 60 evaluations of each end and 50 steps, from a converged one a fifth."""
    settings, teacher = context.settings, context.teacher
    paths = len(settings.hop_seeds) * ATOMS * (settings.hop_images + 2)
    own = len(settings.hop_seeds) * ATOMS * (120 + 50 * settings.hop_images)
    bands = 0
    if teacher is not None and settings.hop_teacher_bands:
        bands = sum(not teacher.kept(_asked(settings, *hop_ends(seed)[:2])) for seed in settings.hop_seeds)
    return Work(student=own, teacher=paths + bands * ATOMS * (30 + 10 * settings.hop_images))


def run(context: Context) -> Section:
    section = Section(columns=COLUMNS)
    errors: list[float] = []
    along: list[float] = []
    calls = 0
    found = [_own(context, seed) for seed in context.settings.hop_seeds]
    _ask(context, found)
    for hop in found:
        facts, row = _one(context, hop)
        section.facts[str(hop.seed)] = facts
        section.rows.append([*row, *["-"] * (len(COLUMNS) - len(row))])
        section.unfinished |= "silent" in facts
        errors += facts.get("errors_eV", [])
        along += facts.get("errors_on_students_path_eV", [])
        calls += facts.get("teacher", {}).get("evaluations", 0)
    if errors:
        section.lines.append(
            f"{len(errors)} barriers: mean |student − teacher| {1e3 * np.abs(errors).mean():.0f} meV, largest "
            f"{1e3 * np.abs(errors).max():.0f} meV. The teacher's bands took {calls} force calls of {ATOMS} atoms."
        )
    if along:
        section.lines.append(
            f"{len(along)} barriers against the teacher's energies on the student's path: mean |difference| "
            f"{1e3 * np.abs(along).mean():.0f} meV, largest {1e3 * np.abs(along).max():.0f} meV."
        )
    if context.teacher and not context.settings.hop_teacher_bands:
        section.missing.append("the teacher's bands: the settings (hop_teacher_bands) leave them out")
    if not context.teacher:
        section.missing.append(f"the teacher's bands: {context.no_teacher}")
    section.lines.append(_how(context.settings))
    return section


def _how(settings: CardSettings) -> str:
    return (
        "Random decorations (x = 2) of the 40-atom cell at the volume they are made with; one Na goes to the nearest "
        f"empty site. Bands of {settings.hop_images} images: ends at rest to {FMAX_EV_PER_A / 2} eV/Å, the band to "
        f"{2 * FMAX_EV_PER_A}, and only then its highest image climbs, until no image feels more than {FMAX_EV_PER_A} "
        f"eV/Å (converged; given up after {2 * settings.hop_steps} steps). The student begins interpolated between "
        "its ends, the teacher from a student's converged band, its ends relaxed by itself. Where a Na of the two ends "
        f"lies more than {SAME_END_A} Å apart they are different hops: the student then climbs the teacher's once "
        "more, from the teacher's band; where its ends leave that too, or a band is not converged, nothing is counted."
    )


def _asked(settings: CardSettings, first: Cell, last: Cell) -> Task:
    return task(
        "band", [first, last], images=settings.hop_images, fmax_eV_per_A=FMAX_EV_PER_A, steps=settings.hop_steps
    )


def _own(context: Context, seed: int) -> _Hop:
    context.say(f"hop {seed}")
    first, last, ion = hop_ends(seed)
    asked = _asked(context.settings, first, last)
    [own] = context.student.perform([asked], context.say)
    return _Hop(seed, first, ion, asked, own)


def _ask(context: Context, found: Sequence[_Hop]) -> None:
    """All that the teacher has not answered yet, at once, so that it is opened once; what is known is read later."""
    if context.teacher is None:
        return
    tasks = []
    for hop in found:
        if hop.length_A < SAME_SITE_A:
            continue
        tasks.append(task("single", hop.path))
        if context.settings.hop_teacher_bands and _nearest(context.teacher, hop, SAME_END_A) is None:
            tasks.append(hop.asked | {"start": hop.own["cells"]})
    with suppress(TeacherSilent):
        context.teacher.perform(tasks, context.say)


def _one(context: Context, hop: _Hop) -> tuple[dict[str, Any], list[str]]:
    """Facts and the row of one decoration; what is not known of a row is left off."""
    facts: dict[str, Any] = {"length_A": hop.length_A, "student": _barrier(hop.own)}
    row = [f"seed {hop.seed}, {hop.length_A:.1f} Å", _text(hop.own)]
    if hop.length_A < SAME_SITE_A:
        facts["note"] = "both ends relax to the same site: no hop"
        return facts, [row[0], "both ends relax to the same site"]
    if context.teacher is None:
        return facts, row
    seen = "not asked"
    energies = _along(context.teacher, hop.path, context.say)
    if energies:
        facts["teacher_on_students_path"] = energies
        facts["errors_on_students_path_eV"] = [hop.own[key] - energies[key] for key in ("forward_eV", "backward_eV")]
        seen = f"{energies['forward_eV']:.3f} / {energies['backward_eV']:.3f}"
    if not context.settings.hop_teacher_bands:
        return facts, [*row, "left out", seen]
    try:
        told = _teachers(context.teacher, hop, context.say)
    except TeacherSilent as error:
        facts["silent"] = str(error)
        return facts, [*row, "not kept", seen]
    return _compared(context, hop, told, facts, [*row, _text(told), seen])


def _compared(
    context: Context, hop: _Hop, told: dict[str, Any], facts: dict[str, Any], row: list[str]
) -> tuple[dict[str, Any], list[str]]:
    """The student's hop beside the teacher's: the one it found, or, where that is another, the teacher's."""
    facts["teacher"] = {**_barrier(told), "length_A": _length(told, hop.ion)}
    if facts["teacher"]["length_A"] < SAME_SITE_A:
        facts["note"] = "with the teacher both ends relax to the same site: no hop"
        return facts, [*row[:2], "both ends relax to the same site", row[3]]
    own, calls = hop.own, f"{hop.own['evaluations']}"
    if _ends_apart(own, told, hop.first) >= SAME_END_A:
        [own] = context.student.perform([hop.asked | {"start": told["cells"]}], context.say)
        facts["student_from_teachers_band"] = _barrier(own)
        row[1] += f"; from the teacher's band {_text(own)}"
        calls += f" + {own['evaluations']}"
    errors = [own[key] - told[key] for key in ("forward_eV", "backward_eV")]
    apart = _ends_apart(own, told, hop.first)
    facts |= {"differences_eV": errors, "ends_apart_A": apart}
    counted = apart < SAME_END_A and own["converged"] and told["converged"]
    facts |= {"errors_eV": errors} if counted else {}
    difference = f"{max(map(abs, errors)):.3f}" + ("" if counted else " (not counted)")
    return facts, [*row, difference, f"{apart:.2f}", f"{calls}, {told['evaluations']}"]


def _teachers(teacher: Side, hop: _Hop, say: Say) -> dict[str, Any]:
    """The teacher's band of the student's hop: one that is kept, or a new one from the student's.

    Raises:
        TeacherSilent: none of this decoration is kept, and it is not asked anew.
    """
    same = _nearest(teacher, hop, SAME_END_A)
    if same is not None:
        return same
    try:
        [new] = teacher.perform([hop.asked | {"start": hop.own["cells"]}], say)
    except TeacherSilent:
        other = _nearest(teacher, hop, np.inf)
        if other is None:
            raise
        return other
    return new


def _nearest(teacher: Side, hop: _Hop, within_A: float) -> dict[str, Any] | None:
    """The kept band of the teacher's whose ends are nearest to the student's, if they are so near."""
    bands = sorted(teacher.kept(hop.asked), key=lambda band: _ends_apart(hop.own, band, hop.first))
    return bands[0] if bands and _ends_apart(hop.own, bands[0], hop.first) < within_A else None


def _along(teacher: Side, path: list[Cell], say: Say) -> dict[str, float] | None:
    """The teacher's barriers along the student's path; None where it is silent."""
    try:
        [found] = teacher.perform([task("single", path)], say)
    except TeacherSilent:
        return None
    energies = np.array(found["energies_eV"])
    top = energies.max()
    return {"forward_eV": float(top - energies[0]), "backward_eV": float(top - energies[-1])}


def _ends_apart(one: dict[str, Any], other: dict[str, Any], like: Cell) -> float:
    """The farthest that one Na at either end of the two bands is from itself, Å."""
    off = [np.array(one["cells"][end]["positions_A"]) - np.array(other["cells"][end]["positions_A"]) for end in (0, -1)]
    return float(np.linalg.norm(np.array(off)[:, like.symbols == "Na"], axis=2).max())


def _length(band: dict[str, Any], ion: int) -> float:
    """How far the ion is from one end to the other, Å."""
    first, last = (np.array(band["cells"][end]["positions_A"][ion]) for end in (0, -1))
    return float(np.linalg.norm(last - first))


def _barrier(band: dict[str, Any]) -> dict[str, Any]:
    keys = ("forward_eV", "backward_eV", "converged", "largest_force_eV_per_A", "steps", "evaluations")
    return {key: band[key] for key in keys if key in band}  # bands of earlier versions lack some


def _text(result: dict[str, Any]) -> str:
    note = "" if result["converged"] else " (not converged)"
    return f"{result['forward_eV']:.3f} / {result['backward_eV']:.3f}{note}"


def hop_ends(seed: int) -> tuple[Cell, Cell, int]:
    """A random decoration (x = 2), the same with one Na on the nearest empty Na site, and which atom that is."""
    rng = np.random.default_rng(seed)
    symbols, positions, lattice = decorate.decorated("monoclinic", 2.0, 0, rng)
    labels, sites, full = decorate.sites("monoclinic")
    places = sites[labels == "Na"] * (np.linalg.det(lattice) / np.linalg.det(full)) ** (1 / 3)
    sodium = np.flatnonzero(symbols == "Na")
    steps = [
        (atom, _shortest(site - positions[atom], lattice))
        for site in places
        for atom in sodium
        if np.linalg.norm(positions[sodium] - site, axis=1).min() > 0.5
    ]
    ion, step = min(steps, key=lambda pair: float(np.linalg.norm(pair[1])))
    moved = positions.copy()
    moved[ion] += step
    first = Cell(_numbers(symbols), positions, lattice, provenance={"builder": "decorated", "seed": seed})
    return first, Cell(first.numbers, moved, lattice, provenance=first.provenance), int(ion)


def _shortest(vector: np.ndarray, lattice: np.ndarray) -> np.ndarray:
    fraction = vector @ np.linalg.inv(lattice)
    return np.asarray((fraction - np.round(fraction)) @ lattice)


def _numbers(symbols: np.ndarray) -> np.ndarray:
    from ase.data import atomic_numbers

    return np.array([atomic_numbers[str(symbol)] for symbol in symbols])
