"""Thermostats: each changes velocities only, and books the energy that it puts in (``state.heat_eV``).

Kinetic plus potential energy less that heat is conserved up to the error of the integrator and the model, whatever the
thermostat: its drift says how good the time step and the precision are.
"""

from __future__ import annotations

import math

import torch

from atomflow.md.state import State
from atomflow.units import BOLTZMANN_EV_PER_K, KINETIC_EV

#: length of the Nosé–Hoover chain
CHAIN = 3
#: Suzuki–Yoshida weights of fourth order (Yoshida, Phys. Lett. A 150, 262 (1990))
_W1 = 1.0 / (2.0 - 2.0 ** (1.0 / 3.0))
_SUZUKI_YOSHIDA = (_W1, 1.0 - 2.0 * _W1, _W1)


def _scale(state: State, factor: torch.Tensor, kinetic_before: torch.Tensor) -> None:
    """Scale each system's velocities by ``factor`` (S,) and book the heat."""
    state.velocities_A_per_fs = state.velocities_A_per_fs * factor[state.system_index, None]
    state.heat_eV = state.heat_eV + (factor * factor - 1) * kinetic_before


def bussi_step(
    state: State, timestep_fs: float, time_fs: float, target_K: torch.Tensor, numbers: torch.Tensor
) -> None:
    """Stochastic velocity rescaling over one time step, by its exact solution.

    Bussi, Donadio & Parrinello, J. Chem. Phys. 126, 014101 (2007), eq. A7, with 3N − 3 degrees of freedom. One random
    factor for the whole system: diffusion is not damped.

    Args:
        time_fs: relaxation time τ.
        target_K: (S,) target temperatures.
        numbers: (S, 2) a standard normal R₁ and the sum of 3N − 4 squared standard normals.
    """
    dof = state.degrees_of_freedom
    kinetic = state.kinetic_eV()
    target = 0.5 * dof * BOLTZMANN_EV_PER_K * target_K
    kept = math.exp(-timestep_fs / time_fs)
    ratio = (1 - kept) * target / (dof * kinetic)
    normal, squares = numbers[:, 0], numbers[:, 1]
    square = kept + ratio * (normal * normal + squares) + 2 * normal * torch.sqrt(kept * ratio)
    sign = torch.where(normal + torch.sqrt(kept / ratio) < 0, -1.0, 1.0)
    _scale(state, sign * torch.sqrt(square), kinetic)


def langevin_step(
    state: State, timestep_fs: float, friction_per_fs: float, target_K: torch.Tensor, normals: torch.Tensor
) -> None:
    """Exact Ornstein–Uhlenbeck update of the velocities (the O of BAOAB) with the centre of mass kept at rest.

    Taking off the centre-of-mass velocity is a projection that commutes with the update: the 3N − 3 degrees of
    freedom that remain stay exactly canonical.

    Args:
        target_K: (S,) target temperatures.
        normals: (N, 3) standard normals.
    """
    kept = math.exp(-friction_per_fs * timestep_fs)
    kT = (BOLTZMANN_EV_PER_K * target_K)[state.system_index]
    width = torch.sqrt((1 - kept * kept) * kT / (KINETIC_EV * state.masses_amu))
    before = state.kinetic_eV()
    mixed = kept * state.velocities_A_per_fs + width[:, None] * normals
    state.velocities_A_per_fs = state.without_drift(mixed)
    state.heat_eV = state.heat_eV + state.kinetic_eV() - before


def nose_hoover_init(state: State) -> None:
    """A chain at rest."""
    state.chain = torch.zeros((state.n_systems, 2, CHAIN), dtype=torch.float64, device=state.device)


def nose_hoover_step(state: State, half_step_fs: float, time_fs: float, target_K: torch.Tensor) -> None:
    """Half a time step of a Nosé–Hoover chain; to be done before and after velocity Verlet.

    Martyna, Tuckerman, Tobias & Klein, Mol. Phys. 87, 1117 (1996), with masses Q₁ = (3N−3)kTτ², Q_k = kTτ².
    """
    kT = BOLTZMANN_EV_PER_K * target_K
    dof = state.degrees_of_freedom
    masses = torch.stack([dof * kT * time_fs**2, *[kT * time_fs**2] * (CHAIN - 1)], dim=1)
    kinetic = state.kinetic_eV()
    start = kinetic
    positions, velocities = state.chain[:, 0].clone(), state.chain[:, 1].clone()
    factor = torch.ones_like(kinetic)

    def push(k: int, time: float) -> None:
        """Chain velocity k under its own force for ``time``, damped by the next link."""
        drive = 2 * kinetic - dof * kT if k == 0 else masses[:, k - 1] * velocities[:, k - 1] ** 2 - kT
        damp = torch.exp(-0.5 * time * velocities[:, k + 1]) if k + 1 < CHAIN else 1.0
        velocities[:, k] = (velocities[:, k] * damp + time * drive / masses[:, k]) * damp

    for weight in _SUZUKI_YOSHIDA:
        time = weight * half_step_fs
        for k in reversed(range(CHAIN)):
            push(k, 0.5 * time)
        slowed = torch.exp(-time * velocities[:, 0])
        factor, kinetic = factor * slowed, kinetic * slowed * slowed
        positions += time * velocities
        for k in range(CHAIN):
            push(k, 0.5 * time)
    state.chain = torch.stack([positions, velocities], dim=1)
    _scale(state, factor, start)


def nose_hoover_energy_eV(state: State, time_fs: float, target_K: torch.Tensor) -> torch.Tensor:
    """(S,) energy of the chain; with kinetic and potential energy the conserved quantity at constant target."""
    kT = BOLTZMANN_EV_PER_K * target_K
    dof = state.degrees_of_freedom
    masses = torch.stack([dof * kT * time_fs**2, *[kT * time_fs**2] * (CHAIN - 1)], dim=1)
    positions, velocities = state.chain[:, 0], state.chain[:, 1]
    return 0.5 * (masses * velocities**2).sum(1) + kT * (dof * positions[:, 0] + positions[:, 1:].sum(1))
