"""From the gradient with respect to edge vectors to forces and stress; shared by every model that has edges.

An energy that depends on positions and lattice only through edge vectors v_e = r_j − r_i + n·L has, with g_e = dE/dv_e,
forces F_i = Σ_(e leaving i) g_e − Σ_(e reaching i) g_e and dE/d(strain) = Σ_e v_e ⊗ g_e, made symmetric.
"""

from __future__ import annotations

import torch

from atomflow.potentials.base import Edges


def edge_vectors(
    positions_A: torch.Tensor,
    lattices_A: torch.Tensor,
    edges: Edges,
    system_index: torch.Tensor,
    cutoff_A: float | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Senders (E,), receivers (E,) and float64 vectors (E, 3) of the edges; with a cutoff, only of those shorter.

    An edge whose length is not a number stays, so that a broken position shows in the energy.
    """
    if len(lattices_A) == 1:
        shifts = edges.images @ lattices_A[0]
    else:
        shifts = torch.einsum("ek,ekc->ec", edges.images, lattices_A[system_index[edges.senders]])
    vectors = positions_A[edges.receivers] - positions_A[edges.senders] + shifts
    if cutoff_A is None:
        return edges.senders, edges.receivers, vectors
    near = torch.nonzero(~((vectors * vectors).sum(-1) >= cutoff_A * cutoff_A)).squeeze(-1)
    if len(near) == len(vectors):
        return edges.senders, edges.receivers, vectors
    return edges.senders[near], edges.receivers[near], vectors[near]


def forces_and_stress(
    gradient: torch.Tensor,
    senders: torch.Tensor,
    receivers: torch.Tensor,
    vectors: torch.Tensor,
    system_index: torch.Tensor,
    lattices_A: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Forces (N, 3) in eV/Å and, with lattices (S, 3, 3), the stress (S, 3, 3) in eV/Å³. Everything float64."""
    forces = torch.zeros((len(system_index), 3), dtype=torch.float64, device=gradient.device)
    forces.index_add_(0, senders, gradient).index_add_(0, receivers, gradient, alpha=-1.0)
    if lattices_A is None:
        return forces, None
    dyads = vectors.unsqueeze(-1) * gradient.unsqueeze(-2)
    virial = torch.zeros((len(lattices_A), 3, 3), dtype=torch.float64, device=gradient.device)
    virial.index_add_(0, system_index[senders], dyads)
    virial = 0.5 * (virial + virial.transpose(-1, -2))
    return forces, virial / torch.linalg.det(lattices_A).abs().view(-1, 1, 1)
