"""Tasks: one run each, named after what it is and a checksum of everything that decides its outcome."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from atomflow.campaign.config import CampaignConfig
from atomflow.cell import Cell


@dataclass(frozen=True)
class Task:
    """One molecular dynamics run of a campaign.

    Attributes:
        id: ``<structure>-<T>K-s<seed>-<first eight digits of key>``; the run folder's name.
        key: sha256 of cell, potential identity, quench, relaxation and MD configuration.
        config: MD configuration, JSON-able.
    """

    id: str
    key: str
    structure: str
    temperature_K: float
    seed: int
    n_atoms: int
    steps_total: int
    n_frames: int
    config: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Extension:
    """A run beyond those that the campaign file asks for: one more seed of a structure at one of its temperatures."""

    structure: str
    temperature_K: float
    seed: int


def digest(*parts: Any) -> str:
    """sha256 of JSON-able parts, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def relaxation(config: CampaignConfig) -> dict[str, Any] | None:
    """What is relaxed before dynamics; None for nothing."""
    if config.relax == "none":
        return None
    return {"cell_too": config.relax == "cell", "fmax_eV_per_A": config.relax_fmax_eV_per_A,
            "max_steps": config.relax_max_steps}


def needs_preparation(config: CampaignConfig, structure: str) -> bool:
    """Whether the cell as built is quenched or relaxed before dynamics."""
    return config.relax != "none" or config.quench(structure) is not None


def start_key(cell: Cell, identity: dict[str, Any], config: CampaignConfig, structure: str) -> str:
    """Checksum of what decides the cell that the runs of ``structure`` start from."""
    relaxed, quench = relaxation(config), config.quench(structure)
    model = {"sha256": identity["sha256"], "dtype": identity["dtype"]}
    if quench is None:
        return digest(cell.sha256, relaxed, model if relaxed else None)
    return digest(cell.sha256, relaxed, model, quench.dump())


def expand(
    config: CampaignConfig, cells: dict[str, Cell], identity: dict[str, Any], extensions: Iterable[Extension] = ()
) -> list[Task]:
    """All tasks of a campaign, in the order in which they are begun: the longest first (they then end together), among
    equals the hottest first (there a broken setting shows soonest)."""
    planned = [Extension(structure, temperature, seed)
               for temperature in sorted(config.temperatures_K, reverse=True)
               for structure in cells for seed in config.seed_list]
    tasks = []
    for wanted in dict.fromkeys([*planned, *(item for item in extensions if item.structure in cells)]):
        cell, md = cells[wanted.structure], config.md_config(wanted.temperature_K, wanted.seed)
        start = start_key(cell, identity, config, wanted.structure)
        key = digest(start, identity["sha256"], identity["dtype"], md.dump())
        tasks.append(Task(f"{wanted.structure}-{wanted.temperature_K:g}K-s{wanted.seed}-{key[:8]}", key,
                          wanted.structure, wanted.temperature_K, wanted.seed, len(cell), md.total_steps,
                          md.production_steps // md.frame_every + 1, md.dump()))
    return sorted(tasks, key=lambda task: -task.steps_total * task.n_atoms)  # stable
