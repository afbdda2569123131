"""Velocity Verlet, and the place inside it where thermostats and barostats act.

    v += ½ dt F/m;  x += ½ dt v;  middle;  x += ½ dt v;  F = F(x);  v += ½ dt F/m

With nothing in the middle this is NVE (Swope et al., J. Chem. Phys. 76, 637 (1982)); with the Langevin velocity update
it is BAOAB (Leimkuhler & Matthews, Appl. Math. Res. Express 2013, 34).
"""

from __future__ import annotations

from collections.abc import Callable

from atomflow.md.state import State
from atomflow.units import ACCELERATION_A_PER_FS2

Action = Callable[[State], None]


def kick(state: State, time_fs: float) -> None:
    """Velocities under the present forces for ``time_fs``."""
    acceleration = state.forces_eV_per_A * (ACCELERATION_A_PER_FS2 / state.masses_amu)[:, None]
    state.velocities_A_per_fs = state.velocities_A_per_fs + time_fs * acceleration


def drift(state: State, time_fs: float) -> None:
    """Positions at the present velocities for ``time_fs``."""
    state.positions_A = state.positions_A + time_fs * state.velocities_A_per_fs


def verlet_init(state: State, forces: Action) -> None:
    """The forces that the first step starts from."""
    forces(state)


def verlet_step(state: State, forces: Action, timestep_fs: float, middle: Action | None = None) -> None:
    """One step of velocity Verlet; ``middle`` acts half way, between the two halves of the move."""
    kick(state, 0.5 * timestep_fs)
    if middle is None:
        drift(state, timestep_fs)
    else:
        drift(state, 0.5 * timestep_fs)
        middle(state)
        drift(state, 0.5 * timestep_fs)
    forces(state)
    kick(state, 0.5 * timestep_fs)
