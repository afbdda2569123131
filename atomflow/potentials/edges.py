"""A neighbour list for one cell on the CPU, for ``check``, ``evaluate`` and ASE. The engine has its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from atomflow.potentials.base import Edges

if TYPE_CHECKING:
    import torch


def neighbour_arrays(
    positions_A: np.ndarray, lattice_A: np.ndarray, cutoff_A: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Senders (E,), receivers (E,) and images (E, 3) of all directed pairs within the cutoff.

    Explicit periodic images, so it holds on cells smaller than the cutoff. Positions need not be wrapped.
    """
    from matscipy.neighbours import neighbour_list

    senders, receivers, images = neighbour_list(
        "ijS",
        positions=np.ascontiguousarray(positions_A, dtype=float),
        cell=np.ascontiguousarray(lattice_A, dtype=float),
        pbc=np.array([True, True, True]),
        cutoff=float(cutoff_A),
    )
    return senders.astype(np.int64), receivers.astype(np.int64), images.astype(float)


def build_edges(
    positions_A: np.ndarray, lattices_A: np.ndarray, system_index: np.ndarray, cutoff_A: float, device: torch.device
) -> Edges:
    """Edges of a flat batch: (N, 3) positions, (S, 3, 3) lattices, (N,) ascending owner of each atom."""
    import torch

    parts = []
    for system, lattice in enumerate(lattices_A):
        atoms = np.flatnonzero(system_index == system)
        senders, receivers, images = neighbour_arrays(positions_A[atoms], lattice, cutoff_A)
        parts.append((atoms[senders], atoms[receivers], images))
    senders, receivers, images = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Edges(
        torch.as_tensor(senders, device=device),
        torch.as_tensor(receivers, device=device),
        torch.as_tensor(images, device=device),
    )
