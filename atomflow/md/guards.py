"""A run that has gone wrong stops, and says at which step, which atom, and where to go back to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from atomflow.md.config import MDConfig

if TYPE_CHECKING:
    from atomflow.md.neighbours import NeighbourList
    from atomflow.md.state import State

#: added to max_temperature_factor × target, so that cold runs are not stopped by ordinary fluctuations
MARGIN_K = 1000.0
#: a crystal or glass whose volume has changed by this factor since the start has evaporated or collapsed
VOLUME_FACTOR = 3.0


@dataclass(frozen=True)
class Failure:
    """What is wrong with one system, in words that name the atom, and what may help."""

    system: int
    reason: str
    advice: str = "try a shorter timestep_fs or relax the cell first"


class Guard:
    """Looks for numbers that are not finite, exploding forces, temperatures and cells, atoms on top of each other."""

    def __init__(self, state: State, configs: Sequence[MDConfig], volumes_A3: Sequence[float]) -> None:
        """``volumes_A3``: what each system's run began with."""

        def per_system(values: list[float]) -> torch.Tensor:
            return torch.tensor(values, dtype=torch.float64, device=state.device)

        hottest = [max(c.temperature_K, c.temperature_end_K or 0.0) for c in configs]
        factors = [c.max_temperature_factor for c in configs]
        self._max_K = per_system([f * t + MARGIN_K for f, t in zip(factors, hottest, strict=True)])
        self._volumes_A3 = per_system(list(volumes_A3))
        self._max_force = per_system([c.max_force_eV_per_A for c in configs])
        self._min_distance_A = max(c.min_distance_A for c in configs)

    def check(self, state: State, neighbours: NeighbourList | None) -> list[Failure]:
        """The failed systems; empty when all is well. Asks the device one question then."""
        largest = state.forces_eV_per_A.abs().amax(1)
        calm = (largest < self._max_force[state.system_index]).all()
        cool = (state.temperature_K() < self._max_K).all()
        there = state.energies_eV.isfinite().all() & state.positions_A.isfinite().all()
        good = calm & cool & there & self._sound(state).all()
        close = None
        if self._min_distance_A > 0 and neighbours is not None:
            close = self._too_close(state, neighbours)
            good = good & ~close.any()
        if bool(good):
            return []
        return [f for k in range(state.n_systems) if (f := self._diagnose(state, neighbours, close, k)) is not None]

    def _sound(self, state: State) -> torch.Tensor:
        """(S,) whether the cell is still of the size it began with, roughly."""
        growth = state.volume_A3() / self._volumes_A3
        return (growth < VOLUME_FACTOR) & (growth > 1 / VOLUME_FACTOR)

    def _too_close(self, state: State, neighbours: NeighbourList) -> torch.Tensor:
        """(E,) edges shorter than allowed."""
        return _lengths(state, neighbours) < self._min_distance_A

    def _diagnose(
        self, state: State, neighbours: NeighbourList | None, close: torch.Tensor | None, system: int
    ) -> Failure | None:
        atoms = torch.nonzero(state.system_index == system).flatten()
        first = int(atoms[0])
        forces, positions = state.forces_eV_per_A[atoms], state.positions_A[atoms]
        velocities = state.velocities_A_per_fs[atoms]
        for what, values in (("position", positions), ("force", forces), ("velocity", velocities)):
            broken = torch.nonzero(~values.isfinite().all(1)).flatten()
            if len(broken):
                return Failure(system, f"the {what} of {_name(state, first, int(broken[0]))} is not a finite number")
        if not bool(state.energies_eV[system].isfinite()):
            return Failure(system, "the potential energy is not a finite number")
        largest = forces.abs().amax(1)
        if bool(largest.max() >= self._max_force[system]):
            worst = int(largest.argmax())
            return Failure(system, f"the force on {_name(state, first, worst)} reached {float(largest[worst]):.3g} "
                                   f"eV/Å (limit {float(self._max_force[system]):g})")
        temperature = float(state.temperature_K()[system])
        if temperature >= float(self._max_K[system]):
            speeds = velocities.norm(dim=1)
            fastest = int(speeds.argmax())
            limit = float(self._max_K[system])
            return Failure(system, f"the temperature reached {temperature:.0f} K (limit {limit:.0f} K); "
                                   f"{_name(state, first, fastest)} is the fastest, "
                                   f"{float(speeds[fastest]):.3g} Å/fs")
        if not bool(self._sound(state)[system]):
            volume, start = float(state.volume_A3()[system]), float(self._volumes_A3[system])
            return Failure(system, f"the cell went from {start:.0f} to {volume:.0f} Å³ (limit: a factor of "
                                   f"{VOLUME_FACTOR:g})")
        if close is not None and neighbours is not None:
            here = torch.nonzero(close & (state.system_index[neighbours.edges.senders] == system)).flatten()
            if len(here):
                edge = int(here[0])
                pair = [int(end[edge]) for end in (neighbours.edges.senders, neighbours.edges.receivers)]
                names = [_name(state, first, atom - first) for atom in pair]
                distance = float(_lengths(state, neighbours)[edge])
                return Failure(system, f"{names[0]} and {names[1]} are {distance:.2f} Å apart "
                                       f"(limit {self._min_distance_A:g} Å)")
        return None


def _lengths(state: State, neighbours: NeighbourList) -> torch.Tensor:
    """(E,) present lengths of the edges in Å."""
    edges = neighbours.edges
    lattices = state.lattices_A[state.system_index[edges.senders]]
    moved = (edges.images[:, None, :] @ lattices)[:, 0]
    return (state.positions_A[edges.receivers] - state.positions_A[edges.senders] + moved).norm(dim=1)


def _name(state: State, first: int, atom: int) -> str:
    """``atom 3 (Na)``, counted from 0 inside its own cell; ``first`` is where that cell begins in the batch."""
    from ase.data import chemical_symbols

    return f"atom {atom} ({chemical_symbols[int(state.numbers[first + atom])]})"
