"""Boundary and surface energies beside published DFT: those of ``atomflow interface compare-dft``, run here or given.

The same numbers either way: this section only shows what :func:`atomflow.interfaces.compare_dft` finds.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from atomflow.distill.card_checks.section import Context, Section, Work
from atomflow.errors import InputError
from atomflow.interfaces.dft import THEIRS
from atomflow.plain import to_jsonable

TITLE = "Boundary and surface energies beside published DFT"
KEYS = ("what", "plane", "ours_J_per_m2", "theirs_J_per_m2")
ELEMENTS = {"Na", "Zr", "Si", "P", "O"}
#: Atoms times evaluations, roughly: of the published cells relaxed on, and of all searches.
THEIRS_ATOM_EVALUATIONS, SEARCHES_ATOM_EVALUATIONS = 0.1e6, 1.5e6
#: How a line of the section speaks of a kind of row.
SPOKEN = {
    "boundary": "Boundaries, lowest found",
    "surface": "Surfaces, lowest cut",
    "theirs": "In DFT's own cells, relaxed on",
}


def work(context: Context) -> Work:
    if context.boundary_energies is not None or not _can(context):
        return Work()
    return Work(student=THEIRS_ATOM_EVALUATIONS + SEARCHES_ATOM_EVALUATIONS * context.settings.boundary_searches)


def run(context: Context) -> Section:
    """The energies of the file that was given, or, where there is none, of searches with this model."""
    path = context.boundary_energies
    if path is None:
        if not _can(context):
            return Section(missing=["boundary energies: the model does not know all of Na, Zr, Si, P and O"])
        return shown(_searched(context), "the searches", context)
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError):
        data = None
    return shown(data, str(path), context)


def shown(data: Any, where: str, context: Context) -> Section:
    """The section of what ``interface compare-dft --json`` prints.

    Raises:
        InputError: it is something else.
    """
    try:
        rows: list[dict[str, Any]] = data["rows"]
        what, planes, ours, theirs = ([row[key] for row in rows] for key in KEYS)
        off = np.array(ours, float) - np.array(theirs, float)
    except (ValueError, KeyError, TypeError):
        raise InputError(
            f"{where} does not hold what atomflow interface compare-dft --json prints: rows with {', '.join(KEYS)}"
        ) from None
    section = Section(columns=["interface", "this model (J/m²)", "published DFT", "difference"], facts={"rows": rows})
    names = [f"{kind} ({' '.join(map(str, plane))})" for kind, plane in zip(what, planes, strict=True)]
    for name, own, other, difference in zip(names, ours, theirs, off, strict=True):
        section.rows.append([name, f"{own:.3f}", f"{other:.3f}", f"{difference:+.3f}"])
    kinds = ["theirs" if each in THEIRS else each for each in what]
    for kind in dict.fromkeys(kinds):
        mask = np.array([each == kind for each in kinds])
        line = f"{SPOKEN.get(kind, kind)}: {mask.sum()}, mean |difference| {np.abs(off[mask]).mean():.3f} J/m²"
        if mask.sum() > 1:
            same = (np.argsort(np.array(ours)[mask]) == np.argsort(np.array(theirs)[mask])).all()
            line += f", order {'right' if same else 'NOT right'}"
        section.lines.append(f"{line}.")
    made_with = (data.get("potential") or {}).get("sha256")
    if made_with != context.potential.identity.sha256:
        section.missing.append(f"these energies were measured with another model ({str(made_with)[:16]}…)")
    return section


def _can(context: Context) -> bool:
    return set(context.potential.identity.elements) >= ELEMENTS


def _searched(context: Context) -> Any:
    """``interface compare-dft --no-thicker``, kept in the work folder; killed, the same command goes on."""
    from atomflow import interfaces
    from atomflow.md.signals import StopRequest

    folder = context.folder / f"boundary-{context.potential.identity.sha256[:8]}"
    with StopRequest() as stop:
        found = interfaces.compare_dft(
            context.potential, folder, thicker=False, say=context.say, stop=lambda: stop.received is not None,
            searches=context.settings.boundary_searches,
        )  # fmt: skip
    return json.loads(json.dumps(to_jsonable(found)))
