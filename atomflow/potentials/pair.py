"""Analytic Lennard-Jones pair potential: it tests the engine in milliseconds, and is meant for no battery material."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np
import torch

from atomflow.errors import InputError
from atomflow.potentials.base import (
    ANY_ELEMENT,
    BatchModel,
    Edges,
    Evaluation,
    PotentialIdentity,
    check_batch,
    in_a_line,
    torch_device,
    torch_dtype,
)

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator


class LennardJones:
    """4ε[(σ/r)¹² − (σ/r)⁶]·w(r), the same for every pair of atoms whatever their elements.

    ``w`` falls from 1 at ``switch_A`` to 0 at ``cutoff_A`` as 1 − 10x³ + 15x⁴ − 6x⁵, so that energy, force and
    the force's slope are continuous (C²). Defaults are argon (ε/k = 119.8 K, σ = 3.405 Å; Rahman 1964).
    """

    def __init__(
        self,
        epsilon_eV: float = 0.0103236,
        sigma_A: float = 3.405,
        cutoff_A: float = 8.5,
        switch_A: float | None = None,
        *,
        name: str = "lennard-jones-argon",
        device: str = "auto",
        dtype: str = "float64",
    ) -> None:
        switch_A = 0.8 * cutoff_A if switch_A is None else switch_A
        if min(epsilon_eV, sigma_A) <= 0 or not 0 < switch_A < cutoff_A:
            raise InputError("Lennard-Jones needs positive energy and length, and 0 < switch_A < cutoff_A")
        self.epsilon_eV, self.sigma_A, self.cutoff_A, self.switch_A = epsilon_eV, sigma_A, cutoff_A, switch_A
        self.device = torch_device(device)
        self.dtype = torch_dtype(dtype)
        parameters = {"epsilon_eV": epsilon_eV, "sigma_A": sigma_A, "cutoff_A": cutoff_A, "switch_A": switch_A}
        self.identity = PotentialIdentity(
            name=name,
            kind="pair",
            sha256=hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest(),
            elements=ANY_ELEMENT,
            cutoff_A=cutoff_A,
            dtype="float64" if self.dtype == torch.float64 else "float32",
            source="analytic, " + ", ".join(f"{key}={value:g}" for key, value in parameters.items()),
            reference="A. Rahman, Phys. Rev. 136, A405 (1964)",
            trained_for="tests of the engine; not for any battery material",
        )

    def __repr__(self) -> str:
        return in_a_line(self)

    def check_elements(self, numbers: np.ndarray) -> None:
        self.identity.check_elements(numbers)

    def with_dtype(self, dtype: str) -> LennardJones:
        return LennardJones(
            self.epsilon_eV, self.sigma_A, self.cutoff_A, self.switch_A,
            name=self.identity.name, device=str(self.device), dtype=dtype,
        )

    def calculator(self) -> Calculator:
        from atomflow.potentials.ase_calculator import BatchCalculator

        return BatchCalculator(self)

    def batch_model(self, numbers: np.ndarray, system_index: np.ndarray, n_systems: int) -> BatchModel:
        check_batch(numbers, system_index, n_systems)
        return _LennardJonesBatch(self, torch.as_tensor(np.array(system_index), device=self.device), n_systems)

    def pair_energy(self, r_A: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Energy u(r) in eV and its slope du/dr in eV/Å of one pair; both zero from the cutoff on."""
        s6 = (self.sigma_A / r_A) ** 6
        u = 4 * self.epsilon_eV * (s6 * s6 - s6)
        slope = 4 * self.epsilon_eV * (-12 * s6 * s6 + 6 * s6) / r_A
        width = self.cutoff_A - self.switch_A
        x = ((r_A - self.switch_A) / width).clamp(0.0, 1.0)
        weight = 1 + x**3 * (-10 + 15 * x - 6 * x**2)
        weight_slope = -30 * x**2 * (1 - x) ** 2 / width
        return u * weight, slope * weight + u * weight_slope


class _LennardJonesBatch:
    """Lennard-Jones of a flat batch, forces and virial in closed form."""

    needs_edges = True

    def __init__(self, potential: LennardJones, system_index: torch.Tensor, n_systems: int) -> None:
        self.potential = potential
        self.system_index = system_index
        self.n_systems = n_systems
        self.cutoff_A = potential.cutoff_A
        self.device = potential.device
        self.dtype = potential.dtype

    def __call__(
        self, positions_A: torch.Tensor, lattices_A: torch.Tensor, edges: Edges | None, stress: bool
    ) -> Evaluation:
        if edges is None:
            raise ValueError("Lennard-Jones needs a neighbour list")
        owner = self.system_index[edges.senders]
        shifts = torch.einsum("ek,ekc->ec", edges.images, lattices_A[owner])
        vectors = positions_A[edges.receivers] - positions_A[edges.senders] + shifts
        lengths = torch.linalg.norm(vectors, dim=-1)
        energies, slopes = self.potential.pair_energy(lengths.to(self.dtype))
        energies, slopes = energies.double(), slopes.double()

        energy = torch.zeros(self.n_systems, dtype=torch.float64, device=self.device)
        energy.index_add_(0, owner, 0.5 * energies)
        # The full list holds each pair twice, so an atom's force is the sum over the edges that leave it.
        pull = (slopes / lengths).unsqueeze(-1) * vectors
        forces = torch.zeros_like(positions_A, dtype=torch.float64).index_add_(0, edges.senders, pull)
        if not stress:
            return Evaluation(energy, forces)
        virial = torch.zeros((self.n_systems, 3, 3), dtype=torch.float64, device=self.device)
        virial.index_add_(0, owner, 0.5 * pull.unsqueeze(-1) * vectors.unsqueeze(-2))
        volume = torch.linalg.det(lattices_A).abs().view(-1, 1, 1)
        return Evaluation(energy, forces, virial / volume)
