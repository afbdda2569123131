"""Runs of atomflow's engine for the card: begun, resumed or found done; a run that falls apart is a result too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from atomflow.cell import Cell
from atomflow.distill.card_checks.section import Context
from atomflow.distill.sides import answered, task
from atomflow.errors import RunFailed
from atomflow.md.config import MDConfig
from atomflow.potentials import Potential


def done(
    context: Context, name: str, cell: Cell, potential: Potential, config: MDConfig
) -> tuple[Path, dict[str, Any]]:
    """The folder of a run and its manifest, finished now if it was not; ``state`` is ``failed`` where it fell apart.

    The folder is named by the potential's checksum: a changed model runs anew.
    """
    from atomflow import md

    folder = (
        context.folder
        / "runs"
        / f"{name}-{potential.identity.sha256[:8]}-{config.temperature_K:g}K-{config.time_ps:g}ps-{config.seed}"
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    manifest = folder / "run.json"

    def show(state: md.Progress) -> None:
        context.say(
            f"{name} {config.temperature_K:g} K, seed {config.seed}: step {state.step}/{state.steps_total}, "
            f"{(state.seconds_left or 0) / 60:.1f} min left"
        )

    try:
        if not manifest.exists():
            return folder, md.run(cell, potential, config, folder, {"card": name}, show)
        if json.loads(manifest.read_text())["state"] not in ("done", "failed"):
            return folder, md.resume(folder, potential, show)
    except RunFailed as error:
        context.say(f"{name}, seed {config.seed}: {error}")
    return folder, json.loads(manifest.read_text())


def nzsp_at_rest(context: Context) -> Cell:
    """The ordered 80-atom cell at rest with the student, lattice too: every run of the card is at this volume."""
    from atomflow.build.nzsp import build_nzsp

    built = build_nzsp(order="ordered", cell="experimental")
    [result] = context.student.perform([task("relax", [built], fmax_eV_per_A=0.05, steps=200)], context.say)
    return answered(result["cells"][0], built)


def zbo_at_rest(context: Context, units: int, seed: int) -> Cell:
    """A packing of (ZnO)2(B2O3)3 units, its worst contacts relaxed away with the student, at the volume of packing."""
    from atomflow.build.glass import build_glass

    built = build_glass(units=units, seed=seed)
    asked = task("relax", [built], cell_too=False, fmax_eV_per_A=1.0, steps=60)
    [result] = context.student.perform([asked], context.say)
    return answered(result["cells"][0], built)
