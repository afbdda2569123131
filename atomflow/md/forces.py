"""Forces of a state: the neighbour list kept good, then one call of the batched model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from atomflow.errors import RunFailed
from atomflow.md.neighbours import NeighbourList

if TYPE_CHECKING:
    from atomflow.md.state import State
    from atomflow.potentials import Potential

#: on a GPU the host asks for the neighbour list's state once in so many steps: each question waits for the device
GPU_CHECK_EVERY = 4
#: between questions an atom may go faster than the fastest one at the question, by this factor
SPEED_MARGIN = 1.5


class Forces:
    """Energies, forces and stresses of a batch by one potential.

    On the CPU the neighbour list is checked before each call, and only the systems that need it are rebuilt: what a
    system meets does not depend on the others. With ``check_every`` > 1 the host looks once in so many calls, with room
    for the distance that atoms cover until it looks again; had that room ever been too small, the run fails rather
    than go on with forces that miss a pair.
    """

    def __init__(
        self,
        potential: Potential,
        state: State,
        skin_A: float,
        timestep_fs: float,
        *,
        stress: bool = False,
        check_every: int | None = None,
    ) -> None:
        self.model = potential.batch_model(
            state.numbers.cpu().numpy(), state.system_index.cpu().numpy(), state.n_systems
        )
        self.stress = stress
        self._timestep_fs = timestep_fs
        self._check_every = check_every or (1 if state.device.type == "cpu" else GPU_CHECK_EVERY)
        self._calls = 0
        self._free = state.free[:, None] if bool((state.free < 1).any()) else None
        self._least_slack = torch.zeros(state.n_systems, dtype=torch.float64, device=state.device)
        self.neighbours: NeighbourList | None = None
        if self.model.needs_edges:
            self.neighbours = NeighbourList(state, self.model.cutoff_A, skin_A, fixed_cell=not stress)

    def __call__(self, state: State) -> None:
        """Set ``energies_eV``, ``forces_eV_per_A`` (none on held atoms) and, if this object computes it,
        ``stresses_eV_per_A3``."""
        if self.neighbours is not None:
            self._follow(self.neighbours, state)
        edges = self.neighbours.edges if self.neighbours is not None else None
        answer = self.model(state.positions_A, state.lattices_A, edges, self.stress)
        state.energies_eV = answer.energy_eV.to(torch.float64)
        forces = answer.forces_eV_per_A.to(torch.float64)
        state.forces_eV_per_A = forces if self._free is None else forces * self._free
        if answer.stress_eV_per_A3 is not None:
            state.stresses_eV_per_A3 = answer.stress_eV_per_A3.to(torch.float64)

    def _follow(self, neighbours: NeighbourList, state: State) -> None:
        slack = neighbours.slack_A(state.positions_A, state.lattices_A)
        if self._check_every == 1:
            due = torch.nonzero(~(slack >= 0)).flatten().tolist()
            if due:
                neighbours.rebuild(_finite(state.positions_A), state.lattices_A, due)
            return
        self._calls += 1
        self._least_slack = torch.minimum(self._least_slack, slack)
        if self._calls % self._check_every:
            return
        speed = state.velocities_A_per_fs.square().sum(1).amax().sqrt()
        ahead = 2 * self._check_every * self._timestep_fs * SPEED_MARGIN * speed
        late, due_soon = torch.stack([self._least_slack.min() < 0, ~(slack.min() >= ahead)]).tolist()
        if late:
            raise RunFailed(f"step {state.step}: atoms moved more than the neighbour list can follow between two "
                            f"checks; the forces of the last {self._check_every} steps may miss pairs")
        if due_soon:
            neighbours.rebuild(_finite(state.positions_A), state.lattices_A, range(state.n_systems))


def _finite(positions_A: torch.Tensor) -> torch.Tensor:
    """Positions that a neighbour search survives: the guard stops the run on what is not finite, one step later."""
    return torch.nan_to_num(positions_A, nan=0.0, posinf=0.0, neginf=0.0)
