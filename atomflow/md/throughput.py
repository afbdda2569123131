"""How many replicas of a system one device should run at a time: measured, up to where more of them gain little."""

from __future__ import annotations

import gc
import time
from dataclasses import asdict, dataclass
from typing import Any

import torch

from atomflow.cell import Cell, check_cell_given
from atomflow.config import check_config_given
from atomflow.errors import RunFailed
from atomflow.md.config import MDConfig
from atomflow.md.forces import Forces
from atomflow.md.protocols import Protocol, random_keys
from atomflow.md.session import is_out_of_memory
from atomflow.md.state import from_cells, thermal_velocities
from atomflow.plain import Shown
from atomflow.potentials import Potential
from atomflow.potentials.base import check_potential_given

#: twice as many must give this much more throughput to be worth their memory and their common fate
LEAST_GAIN = 0.10
WARM_UP_STEPS, LEAST_STEPS, MOST_STEPS = 2, 3, 50
#: a size is timed this long; and no larger one is tried after this long altogether
TIMED_S, PATIENCE_S = 0.3, 60.0


@dataclass(frozen=True, repr=False)
class Knee(Shown):
    """What :func:`knee` found.

    Attributes:
        size: replicas to run at a time.
        throughput: replicas at a time → steps a second, summed over them.
        why: what ended the search: ``gain`` (more gave little more), ``memory``, ``enough`` (no more are needed) or
            ``time``.
    """

    size: int
    throughput: dict[int, float]
    why: str

    def text(self) -> str:
        """One line."""
        ends = {"gain": f"twice as many give less than {100 * LEAST_GAIN:.0f} % more", "memory": "more do not fit",
                "enough": "there are no more", "time": "trying more takes too long"}
        found = ", ".join(f"{size}: {rate:.3g}" for size, rate in self.throughput.items())
        return f"{self.size} runs at a time ({ends[self.why]}; steps/s altogether by size: {found})"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def knee(cell: Cell, potential: Potential, config: MDConfig, most: int) -> Knee:
    """Time a few steps with 1, 2, 4, ... replicas of ``cell``, up to ``most``. Nothing is written.

    Raises:
        RunFailed: not even one replica fits into the memory.
    """
    check_cell_given(cell)
    check_potential_given(potential)
    check_config_given(config, MDConfig)
    found: dict[int, float] = {}
    started, size = time.monotonic(), 1
    while True:
        try:
            found[size] = _throughput(cell, potential, config, size)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        _free_memory(potential)
        if size not in found:
            if not found:
                raise RunFailed(f"{len(cell)} atoms do not fit into the memory of {potential.device}")
            return Knee(max(found), found, "memory")
        before = found.get(size // 2)
        if size > 1 and before is not None and found[size] < (1 + LEAST_GAIN) * before:
            return Knee(size // 2, found, "gain")
        if 2 * size > most:
            return Knee(size, found, "enough")
        if time.monotonic() - started > PATIENCE_S:
            return Knee(size, found, "time")
        size *= 2


def _throughput(cell: Cell, potential: Potential, config: MDConfig, size: int) -> float:
    """Steps a second, summed over ``size`` replicas."""
    state = from_cells([cell] * size, potential.device, config.held_regions)
    configs = [config.model_copy(update={"seed": seed}) for seed in range(size)]
    state.velocities_A_per_fs = thermal_velocities(state, [config.temperature_K] * size, random_keys(state, configs))
    forces = Forces(potential, state, config.skin_A, config.timestep_fs, stress=config.ensemble == "npt")
    protocol = Protocol(state, configs)
    forces(state)
    for _ in range(WARM_UP_STEPS):
        protocol.advance(state, forces)
    _wait(potential)
    started, steps = time.perf_counter(), 0
    while steps < LEAST_STEPS or (steps < MOST_STEPS and time.perf_counter() - started < TIMED_S):
        protocol.advance(state, forces)
        _wait(potential)
        steps += 1
    return size * steps / (time.perf_counter() - started)


def _wait(potential: Potential) -> None:
    if potential.device.type == "cuda":
        torch.cuda.synchronize(potential.device)


def _free_memory(potential: Potential) -> None:
    gc.collect()
    if potential.device.type == "cuda":
        torch.cuda.empty_cache()
