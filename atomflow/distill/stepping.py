"""What one step of the engine costs: processor time of a thread, so that other programs on the machine do not count."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from atomflow.estimate import Estimate

if TYPE_CHECKING:
    from atomflow.cell import Cell


class Stepper:
    """A potential that steps a cell at constant temperature in the engine, and writes nothing.

    Args:
        potential: as ``potentials.load`` gives it, on the CPU.
        cell: where it starts.
        temperature_K: of velocities and thermostat.
    """

    def __init__(self, potential: Any, cell: Cell, temperature_K: float = 900.0) -> None:
        from atomflow.md.config import MDConfig
        from atomflow.md.forces import Forces
        from atomflow.md.protocols import Protocol
        from atomflow.md.state import from_cells, thermal_velocities

        config = MDConfig(temperature_K=temperature_K, time_ps=1000.0, timestep_fs=1.0)
        self._state = from_cells([cell], potential.device)
        self._state.velocities_A_per_fs = thermal_velocities(self._state, [temperature_K], [1])
        self._forces = Forces(potential, self._state, config.skin_A, config.timestep_fs)
        self._forces(self._state)
        self._protocol = Protocol(self._state, [config])

    def block_ms(self, steps: int) -> float:
        """Milliseconds of processor time a step, over so many further steps."""
        begun = time.process_time()
        for _ in range(steps):
            self._protocol.advance(self._state, self._forces)
        return 1e3 * (time.process_time() - begun) / steps


def ms_per_step(potentials: Sequence[Any], cell: Cell, steps: int = 10, blocks: int = 9) -> list[Estimate]:
    """Milliseconds a step of every potential on one thread: median over blocks, with the 95 % interval of the median.

    The potentials take turns, block by block, so that whatever else happens on the machine meets all of them alike.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        steppers = [Stepper(potential, cell) for potential in potentials]
        for stepper in steppers:
            stepper.block_ms(steps)
        times = np.array([[stepper.block_ms(steps) for stepper in steppers] for _ in range(blocks)])
    finally:
        torch.set_num_threads(threads)
    return [_median(column) for column in times.T]


def _median(values: np.ndarray, draws: int = 1000, level: float = 0.95) -> Estimate:
    """The median and its bootstrap interval."""
    chosen = np.random.default_rng(0).choice(values, (draws, len(values)))
    low, high = np.quantile(np.median(chosen, axis=1), [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(np.median(values)), float(low), float(high), level)
