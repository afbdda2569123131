"""The stages of a quench, one ordinary run each, from what was asked for and the regions of the cell."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from atomflow.cell import Cell
from atomflow.md.config import MDConfig
from atomflow.quench.config import QuenchConfig
from atomflow.units import FS_PER_PS

FILM = "glass"
#: Two atoms nearer than this are a potential that has failed, Å.
TOO_CLOSE_A = 0.6
#: Bonds that form in a packing heat it by thousands of K; friction this strong takes that out as it comes.
START_FRICTION_PER_PS = 100.0


@dataclass(frozen=True)
class Stage:
    """One stage: a run, or (without ``md``) a relaxation of at most ``steps`` steps.

    ``steps`` counts time steps of a run. ``cell_too`` and ``fmax_eV_per_A`` belong to relaxations.
    """

    name: str
    steps: int
    md: MDConfig | None = None
    cell_too: bool = False
    fmax_eV_per_A: float = 0.05

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "steps": self.steps, "md": None if self.md is None else self.md.dump()}


def held_regions(cell: Cell, config: QuenchConfig) -> tuple[str, ...]:
    """Regions that stand still until the anneal: all but the film, where there is a film and something else."""
    others = sorted(set(cell.regions.tolist()) - {FILM})
    return tuple(others) if config.hold and others and FILM in cell.regions else ()


def stages(config: QuenchConfig, cell: Cell) -> list[Stage]:
    """The stages in order, named ``01-melt``, ``02-quench-2500``, ...; the last run is the one named ``settle``."""
    found = list(_unnumbered(config, cell))
    return [Stage(f"{k:02d}-{s.name}", s.steps, s.md, s.cell_too, s.fmax_eV_per_A) for k, s in enumerate(found, 1)]


def cooling_ps(config: QuenchConfig) -> float:
    """Time of all ramps together; a little more than rate asks for, as ramps are whole frame intervals."""
    ramps = [*_ramps(config, config.melt_temperature_K, config.anneal_temperature_K),
             *_ramps(config, config.anneal_temperature_K, config.end_temperature_K)]
    return sum(time_ps for _, _, time_ps in ramps)


def _unnumbered(config: QuenchConfig, cell: Cell) -> Iterator[Stage]:
    held = held_regions(cell, config)
    fixed: dict[str, Any] = {"ensemble": "nvt", "held_regions": held}
    only_film = set(cell.regions.tolist()) <= {FILM, "bulk"}
    barostat = ("isotropic" if only_film else "anisotropic") if config.barostat == "auto" else config.barostat
    moving: dict[str, Any] = {"ensemble": "npt", "barostat": barostat, "barostat_time_fs": config.barostat_time_fs,
                              "pressure_GPa": config.pressure_GPa}
    melt, anneal, end = config.melt_temperature_K, config.anneal_temperature_K, config.end_temperature_K
    yield _run(config, "melt", melt, config.melt_ps, fixed, equilibration_ps=config.start_ps,
               equilibration_friction_per_ps=START_FRICTION_PER_PS)  # fmt: skip
    for above, below, time_ps in _ramps(config, melt, anneal):
        yield _run(config, f"quench-{below:g}", above, time_ps, fixed, temperature_end_K=below)
    if held:
        yield Stage("release", config.release_steps)
    yield _run(config, "anneal", anneal, config.anneal_ps, moving)
    for above, below, time_ps in _ramps(config, anneal, end):
        yield _run(config, f"quench-{below:g}", above, time_ps, moving, temperature_end_K=below)
    yield _run(config, "settle", end, config.settle_ps, moving)
    if config.relax:
        yield Stage("relax", config.relax_steps, cell_too=True, fmax_eV_per_A=config.relax_fmax_eV_per_A)


def _ramps(config: QuenchConfig, above: float, below: float) -> list[tuple[float, float, float]]:
    """(from K, to K, ps) of equal ramps, each a whole number of frame intervals long."""
    count = math.ceil((above - below) / config.step_K - 1e-9)
    edges = [above + (below - above) * k / max(count, 1) for k in range(count + 1)]
    frame_ps = config.frame_interval_fs / FS_PER_PS
    ramps = []
    for high, low in pairwise(edges):
        frames = math.ceil((high - low) / config.rate_K_per_ps / frame_ps - 1e-9)
        ramps.append((high, low, round(max(frames, 1) * frame_ps, 9)))
    return ramps


def _run(
    config: QuenchConfig, name: str, temperature_K: float, time_ps: float, ensemble: dict[str, Any], **more: Any
) -> Stage:
    settings = MDConfig.from_dump({
        "temperature_K": temperature_K, "time_ps": time_ps, "timestep_fs": config.timestep_fs,
        "thermostat_time_fs": config.thermostat_time_fs, "frame_interval_fs": config.frame_interval_fs,
        "thermo_interval_fs": config.frame_interval_fs, "checkpoint_interval_ps": config.checkpoint_interval_ps,
        "min_distance_A": TOO_CLOSE_A, "seed": _seed(config.seed, name, temperature_K), **ensemble, **more,
    }, f"quench, stage {name}")  # fmt: skip
    return Stage(name, settings.total_steps, settings)


def _seed(seed: int, name: str, temperature_K: float) -> int:
    """Each stage draws its own numbers."""
    digest = hashlib.sha256(f"{seed} {name} {temperature_K!r}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
