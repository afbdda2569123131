"""Boundary and surface energies beside published DFT, as ``atomflow interface compare-dft --json`` measured them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from atomflow.distill.card_checks.section import Context, Section, Work
from atomflow.errors import InputError

TITLE = "Boundary and surface energies beside published DFT"
KEYS = ("what", "plane", "ours_J_per_m2", "theirs_J_per_m2")


def work(context: Context) -> Work:
    return Work()


def run(context: Context) -> Section:
    path = context.boundary_energies
    if path is None:
        return Section(missing=["boundary energies: none were given (--boundary-energies FILE)"])
    try:
        data = json.loads(path.read_text())
        rows: list[dict[str, Any]] = data["rows"]
        what, planes, ours, theirs = ([row[key] for row in rows] for key in KEYS)
        off = np.array(ours, float) - np.array(theirs, float)
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            f"{path} does not hold what atomflow interface compare-dft --json prints: rows with {', '.join(KEYS)}"
        ) from None
    section = Section(columns=["interface", "this model (J/m²)", "published DFT", "difference"], facts={"rows": rows})
    names = [f"{kind} ({' '.join(map(str, plane))})" for kind, plane in zip(what, planes, strict=True)]
    for name, own, other, difference in zip(names, ours, theirs, off, strict=True):
        section.rows.append([name, f"{own:.3f}", f"{other:.3f}", f"{difference:+.3f}"])
    for kind in dict.fromkeys(what):
        mask = np.array([each == kind for each in what])
        same = bool((np.argsort(np.array(ours)[mask]) == np.argsort(np.array(theirs)[mask])).all())
        section.lines.append(
            f"{mask.sum()} of kind {kind}: mean |difference| {np.abs(off[mask]).mean():.3f} J/m², "
            f"order {'right' if same else 'NOT right'}."
        )
    made_with = (data.get("potential") or {}).get("sha256")
    if made_with != context.potential.identity.sha256:
        section.missing.append(f"these energies were measured with another model ({str(made_with)[:16]}…)")
    return section
