"""Stochastic cell rescaling: the cell follows the pressure and fluctuates as in the isothermal–isobaric ensemble.

Isotropic: Bernetti & Bussi, J. Chem. Phys. 153, 114107 (2020). Anisotropic: Del Tatto, Raiteri, Bernetti & Bussi,
Appl. Sci. 12, 1139 (2022). Both are written for the generator ε of the rescaling, lattice → lattice @ exp(ε):

    dε = β/(3τ) (P_int − P₀ + kT/V) dt + √(2 β kT / (3 V τ)) dW                (3 × 3, anisotropic)
    d ln V = β/τ (P_int − P₀ + kT/V) dt + √(2 β kT / (V τ)) dW                 (ε = ln V / 3, isotropic)

β is the compressibility, τ the relaxation time, P_int the internal pressure with its kinetic part. The matrix
exponential supplies the kT/V of Del Tatto's Itô form; the kT/V written here is for the centre of mass, whose momentum
is held at zero: with it an ideal gas has ⟨V⟩ = (N + 1) kT/P. Only the symmetric part of the noise is drawn, for the
antisymmetric part turns the box and changes nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from atomflow.md.state import State
from atomflow.units import BOLTZMANN_EV_PER_K, EV_PER_A3_IN_GPA


@dataclass(frozen=True)
class Barostat:
    """Settings of the rescaling; ``pressure_GPa`` is (S,), one target a system."""

    kind: Literal["anisotropic", "isotropic"]
    pressure_GPa: torch.Tensor
    time_fs: float
    compressibility_per_GPa: float


def strain_increment(
    state: State, pressure: torch.Tensor, barostat: Barostat, timestep_fs: float, target_K: torch.Tensor,
    normals: torch.Tensor,
) -> torch.Tensor:
    """(S, 3, 3) symmetric generator ε of one time step.

    Args:
        pressure: (S, 3, 3) internal pressure tensor in eV/Å³, with its kinetic part.
        target_K: (S,) target temperatures.
        normals: (S, 3, 3) standard normals.
    """
    kT = BOLTZMANN_EV_PER_K * target_K
    volume = state.volume_A3()
    rate = barostat.compressibility_per_GPa * EV_PER_A3_IN_GPA * timestep_fs / barostat.time_fs
    target = barostat.pressure_GPa / EV_PER_A3_IN_GPA - kT / volume
    identity = torch.eye(3, dtype=pressure.dtype, device=pressure.device)
    if barostat.kind == "isotropic":
        mean = torch.diagonal(pressure, dim1=1, dim2=2).mean(1)
        growth = rate * (mean - target) + torch.sqrt(2 * rate * kT / volume) * normals[:, 0, 0]
        return growth[:, None, None] / 3 * identity
    symmetric = 0.5 * (normals + normals.transpose(1, 2))
    push = 0.5 * (pressure + pressure.transpose(1, 2)) - target[:, None, None] * identity
    return rate / 3 * push + torch.sqrt(2 * rate * kT / (3 * volume))[:, None, None] * symmetric


def frame(lattices_A: torch.Tensor) -> torch.Tensor:
    """(S, 3, 3) rows: unit vectors along **a**, in the plane of **a** and **b** beside **a**, and normal to both."""
    a, b = lattices_A[:, 0], lattices_A[:, 1]
    first = a / a.norm(dim=1, keepdim=True)
    second = b - (b * first).sum(1, keepdim=True) * first
    second = second / second.norm(dim=1, keepdim=True)
    return torch.stack([first, second, torch.linalg.cross(first, second)], dim=1)


def rescale(state: State, strain: torch.Tensor) -> torch.Tensor:
    """Rescale cell, positions and velocities by exp(ε), then turn everything so that the box has not rotated.

    **a** keeps its direction and **b** its plane with **a**, whatever orientation the cell came in. The change in
    kinetic energy is booked in ``state.work_eV``. Returns ε (S, 3, 3) in the new, turned frame.
    """
    before = state.kinetic_eV()
    stretch = torch.linalg.matrix_exp(strain)
    stretched = state.lattices_A @ stretch
    turn = frame(stretched).transpose(1, 2) @ frame(state.lattices_A)
    on_positions = stretch @ turn
    on_velocities = torch.linalg.matrix_exp(-strain) @ turn
    owner = state.system_index
    state.lattices_A = stretched @ turn
    state.positions_A = (state.positions_A[:, None, :] @ on_positions[owner])[:, 0]
    state.velocities_A_per_fs = (state.velocities_A_per_fs[:, None, :] @ on_velocities[owner])[:, 0]
    state.work_eV = state.work_eV + state.kinetic_eV() - before
    return turn.transpose(1, 2) @ strain @ turn


def stress_work_eV(state: State, strain: torch.Tensor) -> torch.Tensor:
    """(S,) V σ : ε, the potential energy that a small strain costs at the state's present stress."""
    return state.volume_A3() * (state.stresses_eV_per_A3 * strain).sum(dim=(1, 2))


def kinetic_pressure_GPa(state: State) -> torch.Tensor:
    """(S,) scalar internal pressure, kinetic part included."""
    return torch.diagonal(state.pressure_tensor_eV_per_A3(), dim1=1, dim2=2).mean(1) * EV_PER_A3_IN_GPA
