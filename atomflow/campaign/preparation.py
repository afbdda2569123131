"""What happens to a structure once, before its runs: melt and quench, then relaxation. In a worker's process."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, Protocol

from atomflow.campaign import folder as places
from atomflow.campaign.config import CampaignConfig
from atomflow.campaign.tasks import relaxation, start_key
from atomflow.cell import Cell, read_cell
from atomflow.runs.lock import holder

#: seconds to wait for a worker whose driver was killed: it stops at its next step
STOPPING_S = 60.0


class Report(Protocol):
    """Where progress goes."""

    def step(self, data: dict[str, Any]) -> None: ...


def prepare(folder: Path, config: CampaignConfig, structure: str, potential: Any, report: Report) -> None:
    """Quench (from where it stands) and relax, as the campaign asks; then put down the cell that runs start from."""
    from atomflow import md

    cell = config.build(structure)
    key = start_key(cell, potential.identity.model_dump(mode="json"), config, structure)
    about: dict[str, Any] = {"settings": relaxation(config), "result": None}
    if config.quench(structure) is not None:
        cell, about["quench"] = _quenched(folder, config, structure, cell, potential, report)
    if about["settings"] is not None:

        def show(step: int, energy_eV: float, fmax: float) -> None:
            report.step({"stage": "relaxing", "step": step, "energy_eV": energy_eV, "fmax_eV_per_A": fmax})

        journal = places.relax_journal(folder, structure)
        patience = time.monotonic() + STOPPING_S
        while holder(journal) is not None and time.monotonic() < patience:
            time.sleep(0.2)
        cell, result = md.relax(cell, potential, progress=show, journal=journal, **about["settings"])
        about["result"] = result.to_json()
        if not result.converged:
            print(f"{structure}: relaxation stopped after {result.steps} steps at {result.fmax_eV_per_A:.3f} eV/Å; "
                  f"dynamics start from there", file=sys.stderr)
    places.write_start(folder, structure, cell, key, about)


def _quenched(
    folder: Path, config: CampaignConfig, structure: str, cell: Cell, potential: Any, report: Report
) -> tuple[Cell, dict[str, Any]]:
    """The cell after its quench, and what came out of it."""
    from atomflow import quench
    from atomflow.quench.progress import QuenchProgress

    settings = config.quench(structure)
    assert settings is not None

    def show(moment: QuenchProgress) -> None:
        report.step({"stage": "quenching", "step": moment.step, "steps_total": moment.steps_total,
                     "seconds_left": moment.seconds_left, "words": moment.line()})

    place = places.quench_folder(folder, structure)
    place.parent.mkdir(exist_ok=True)
    patience = time.monotonic() + STOPPING_S
    while holder(place / "lock") is not None and time.monotonic() < patience:
        time.sleep(0.2)
    manifest = quench.run(cell, potential, settings, place, labels={"structure": structure}, progress=show)
    return read_cell(place), {"settings": settings.dump(), "summary": manifest["summary"]}
