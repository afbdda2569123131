"""Na hops: the student's barriers against those of the teacher's own band, both climbing to the saddle."""

from __future__ import annotations

from typing import Any

import numpy as np

from atomflow.cell import Cell
from atomflow.distill import decorate
from atomflow.distill.card_checks.kept import TeacherSilent
from atomflow.distill.card_checks.section import Context, Section, Work
from atomflow.distill.sides import Say, Side, answered, task

TITLE = "Na hop barriers against the teacher's own band"
ATOMS = 40
#: Ends nearer to one another than this (Å) are the same site: there is no hop.
SAME_SITE_A = 0.8


def work(context: Context) -> Work:
    """Both ends 60 evaluations each, a band some 50 steps."""
    settings = context.settings
    cost = len(settings.hop_seeds) * ATOMS * (120 + 50 * settings.hop_images)
    path = len(settings.hop_seeds) * ATOMS * (settings.hop_images + 2)
    return Work(student=cost, teacher=path + (cost if settings.hop_teacher_bands else 0))


def run(context: Context) -> Section:
    section = Section(
        columns=["decoration", "there and back (eV): student", "teacher, own band", "teacher on the student's path",
                 "largest difference", "ends apart (Å)"]
    )  # fmt: skip
    errors: list[float] = []
    along: list[float] = []
    for seed in context.settings.hop_seeds:
        context.say(f"hop {seed}")
        facts, rows = _one(context, seed)
        section.facts[str(seed)] = facts
        section.rows.append(rows)
        section.unfinished |= "silent" in facts
        errors += facts.get("errors_eV", [])
        along += facts.get("errors_on_students_path_eV", [])
    if errors:
        section.lines.append(
            f"{len(errors)} barriers: mean |student − teacher| {1e3 * np.abs(errors).mean():.0f} meV, largest "
            f"{1e3 * np.abs(errors).max():.0f} meV."
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
    section.lines.append(
        "Random decorations (x = 2) of the 40-atom cell at the volume they are made with; one Na goes to the nearest "
        "empty site. Each side relaxes both ends and climbs a band of its own from there; where the ends of the two "
        f"come to lie more than {SAME_SITE_A} Å apart, they describe different hops and are not counted."
    )
    return section


def _one(context: Context, seed: int) -> tuple[dict[str, Any], list[str]]:
    settings = context.settings
    first, last, ion = hop_ends(seed)
    asked = task("band", [first, last], images=settings.hop_images, fmax_eV_per_A=0.05, steps=settings.hop_steps)
    [own] = context.student.perform([asked], context.say)
    path = [answered(cell, first) for cell in own["cells"]]
    length = float(np.linalg.norm(path[-1].positions_A[ion] - path[0].positions_A[ion]))
    facts: dict[str, Any] = {"length_A": length, "student": _barrier(own)}
    name = f"seed {seed}, {length:.1f} Å"
    if length < SAME_SITE_A:
        facts["note"] = "both ends relax to the same site: no hop"
        return facts, [name, "both ends relax to the same site", "-", "-", "-", "-"]
    if context.teacher is None:
        return facts, [name, _text(own), "-", "-", "-", "-"]
    seen = "not asked"
    path_energies = _along(context.teacher, path, context.say)
    if path_energies:
        facts["teacher_on_students_path"] = path_energies
        facts["errors_on_students_path_eV"] = [own[key] - path_energies[key] for key in ("forward_eV", "backward_eV")]
        seen = f"{path_energies['forward_eV']:.3f} / {path_energies['backward_eV']:.3f}"
    if not settings.hop_teacher_bands:
        return facts, [name, _text(own), "left out", seen, "-", "-"]
    try:
        [told] = context.teacher.perform([asked], context.say)
    except TeacherSilent as error:
        facts["silent"] = str(error)
        return facts, [name, _text(own), "not kept", seen, "-", "-"]
    errors = [own[key] - told[key] for key in ("forward_eV", "backward_eV")]
    apart = max(_apart(own["cells"][end], told["cells"][end], first) for end in (0, -1))
    facts |= {"teacher": _barrier(told), "differences_eV": errors, "ends_apart_A": apart}
    counted = apart < SAME_SITE_A and own["converged"] and told["converged"]
    facts |= {"errors_eV": errors} if counted else {}
    return facts, [name, _text(own), _text(told), seen,
                   f"{max(map(abs, errors)):.3f}" + ("" if counted else " (not counted)"), f"{apart:.2f}"]  # fmt: skip


def _along(teacher: Side, path: list[Cell], say: Say) -> dict[str, float] | None:
    """The teacher's barriers along the student's path; None where it is silent."""
    try:
        [found] = teacher.perform([task("single", path)], say)
    except TeacherSilent:
        return None
    energies = np.array(found["energies_eV"])
    top = energies.max()
    return {"forward_eV": float(top - energies[0]), "backward_eV": float(top - energies[-1])}


def _apart(one: dict[str, Any], other: dict[str, Any], like: Cell) -> float:
    """The farthest that one Na of the two cells is from itself, Å."""
    off = np.array(one["positions_A"]) - np.array(other["positions_A"])
    return float(np.linalg.norm(off[like.symbols == "Na"], axis=1).max())


def _barrier(result: dict[str, Any]) -> dict[str, Any]:
    return {key: result[key] for key in ("forward_eV", "backward_eV", "converged", "evaluations")}


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
