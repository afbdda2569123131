"""What a finished quench says of itself: how it was cooled, how well energy was kept, what came out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atomflow import order, runs
from atomflow.build.checks import check_cell
from atomflow.cell import Cell
from atomflow.quench.config import QuenchConfig
from atomflow.quench.stages import Stage, cooling_ps, held_regions
from atomflow.units import FS_PER_PS, PS_PER_S

_OF_A_RUN = ("temperature_mean_K", "energy_drift_meV_per_atom_per_ps", "energy_scatter_meV_per_atom", "volume_mean_A3",
             "pressure_mean_GPa", "steps_per_s")  # fmt: skip


def summarize(folder: Path, config: QuenchConfig, plan: Sequence[Stage], final: Cell, start: Cell) -> dict[str, Any]:
    """The summary of one quench, its stages all done.

    ``seconds`` is what its runs took at the speed each ended with; the drift is the mean over all of their time.
    """
    rows = [_of_stage(stage, folder / "stages" / stage.name) for stage in plan]
    of_runs = [row for row in rows if "steps_per_s" in row]
    rate = (config.melt_temperature_K - config.end_temperature_K) / cooling_ps(config)
    settled = folder / "stages" / next(stage.name for stage in reversed(plan) if stage.md is not None)
    return {
        "held_regions": list(held_regions(start, config)),
        "rate_K_per_ps": rate,
        "rate_K_per_s": rate * PS_PER_S,
        "simulated_ps": sum(row["simulated_ps"] for row in of_runs),
        "seconds": sum(row["steps"] / row["steps_per_s"] for row in of_runs if row["steps_per_s"]),
        "energy_drift_meV_per_atom_per_ps": _mean_drift(of_runs),
        "stages": rows,
        "composition": final.composition,
        "problems": list(check_cell(final).problems),
        "acceptance": acceptance([settled]),
    }


def summarize_replicas(manifests: Sequence[dict[str, Any]], folders: Sequence[Path]) -> dict[str, Any]:
    """The summary over replicas: the acceptance of them all together."""
    summaries = [manifest["summary"] for manifest in manifests]
    return {
        "replicas": len(summaries),
        "held_regions": summaries[0]["held_regions"],
        "rate_K_per_ps": summaries[0]["rate_K_per_ps"],
        "rate_K_per_s": summaries[0]["rate_K_per_s"],
        "simulated_ps": sum(summary["simulated_ps"] for summary in summaries),
        "seconds": sum(summary["seconds"] for summary in summaries),
        "energy_drift_meV_per_atom_per_ps": _mean_drift(summaries),
        "problems": [f"{folder.name}: {problem}" for folder, summary in zip(folders, summaries, strict=True)
                     for problem in summary["problems"]],
        "acceptance": acceptance(folders),
    }  # fmt: skip


def acceptance(folders: Sequence[Path]) -> dict[str, Any] | None:
    """The glass lines of these runs; None where there is no zinc borate in them."""
    symbols = set(runs.open_run(folders[0]).symbols.tolist())
    return order.accept_glass(list(folders)).to_json() if {"B", "Zn", "O"} <= symbols else None


def warnings(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What the stages warned of; what not all of them did, with their names."""
    by_text: dict[str, list[str]] = {}
    of_runs = [row for row in rows if "warnings" in row]
    for row in of_runs:
        for text in row["warnings"]:
            by_text.setdefault(text, []).append(row["name"])
    return [text if len(names) == len(of_runs) else f"{', '.join(names)}: {text}" for text, names in by_text.items()]


def _mean_drift(rows: Sequence[dict[str, Any]]) -> float | None:
    """Mean of the drifts, each for as long as it lasted, over the stages that are long enough to have one."""
    known = [row for row in rows if row["energy_drift_meV_per_atom_per_ps"] is not None]
    if not known:
        return None
    weighted = sum(row["energy_drift_meV_per_atom_per_ps"] * row["simulated_ps"] for row in known)
    return float(weighted / sum(row["simulated_ps"] for row in known))


def _of_stage(stage: Stage, folder: Path) -> dict[str, Any]:
    if stage.md is None:
        return {"name": stage.name, **json.loads((folder / "relax.json").read_text(encoding="utf-8"))}
    manifest = runs.open_run(folder).manifest
    found = {name: manifest["summary"].get(name) for name in _OF_A_RUN}
    simulated_ps = stage.steps * stage.md.timestep_fs / FS_PER_PS
    return {"name": stage.name, "steps": stage.steps, "simulated_ps": simulated_ps, **found,
            "warnings": manifest["warnings"]}
