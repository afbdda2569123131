"""Boundary and surface energies beside published DFT, as measured elsewhere and handed over as JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from atomflow.distill.card_checks.section import Context, Section, Work
from atomflow.errors import InputError

TITLE = "Boundary and surface energies beside published DFT"
KEYS = ("name", "ours_J_per_m2", "reference_J_per_m2")


def work(context: Context) -> Work:
    return Work()


def run(context: Context) -> Section:
    path = context.boundary_energies
    if path is None:
        return Section(missing=["boundary energies: none were given (--boundary-energies FILE)"])
    try:
        data = json.loads(path.read_text())
        rows: list[dict[str, Any]] = data["rows"]
        names, ours, reference = ([row[key] for row in rows] for key in KEYS)
        off = np.array(ours, float) - np.array(reference, float)
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            f'{path} does not hold boundary energies: an object with "rows", each with {", ".join(KEYS)}'
        ) from None
    section = Section(columns=["interface", "this model (J/m²)", "published DFT", "difference"], facts={"rows": rows})
    section.rows = [
        [str(n), f"{o:.3f}", f"{r:.3f}", f"{d:+.3f}"] for n, o, r, d in zip(names, ours, reference, off, strict=True)
    ]
    same = bool((np.argsort(ours) == np.argsort(reference)).all())
    made_with = data.get("potential", {}).get("sha256")
    section.lines.append(
        f"{len(rows)} interfaces: mean |difference| {np.abs(off).mean():.3f} J/m², "
        f"order {'right' if same else 'NOT right'}."
    )
    if made_with != context.potential.identity.sha256:
        section.missing.append(f"these energies were measured with another model ({str(made_with)[:16]}…)")
    return section
