"""Neighbour lists for flat batches of triclinic cells, with explicit periodic images.

Minimum image is never used: an 80-atom cell is smaller than twice the cutoff, and an atom may be its own neighbour.
Two builders give the same edges: :func:`torch_edges` on any device, :func:`matscipy_edges` on the host (C).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import torch

from atomflow.potentials.base import Edges

if TYPE_CHECKING:
    from atomflow.md.state import State

#: distances that the torch builder tests at once; bounds its memory to about 1 GB
PAIRS_AT_ONCE = 2**24
#: beyond this many distances a system the device builder (quadratic in atoms) gives way to the host's (linear)
MOST_PAIRS = 2**31

#: (senders, receivers, images) of one system, atoms counted from 0
Arrays = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
Builder = Callable[[torch.Tensor, torch.Tensor, float], Arrays]


def matscipy_edges(positions_A: torch.Tensor, lattice_A: torch.Tensor, cutoff_A: float) -> Arrays:
    """Edges of one system by matscipy's linked cells on the host.

    Args:
        positions_A: (n, 3), wrapped or not.
        lattice_A: (3, 3) rows.
        cutoff_A: an edge is shorter than this.

    Returns:
        senders (E,) and receivers (E,) int64, images (E, 3) float64 whole numbers, on the device of ``positions_A``;
        the vector of an edge is ``positions[receivers] - positions[senders] + images @ lattice``.
    """
    from matscipy.neighbours import neighbour_list

    wrapped, shifts = _wrap(positions_A.cpu(), lattice_A.cpu())
    i, j, images = neighbour_list(
        "ijS",
        positions=wrapped.numpy(),
        cell=lattice_A.cpu().numpy(),
        pbc=np.ones(3, dtype=bool),
        cutoff=float(cutoff_A),
    )
    senders, receivers = torch.from_numpy(i.astype(np.int64)), torch.from_numpy(j.astype(np.int64))
    unwrapped = torch.from_numpy(images.astype(np.float64)) + shifts[senders] - shifts[receivers]
    device = positions_A.device
    return senders.to(device), receivers.to(device), unwrapped.to(device)


def torch_edges(positions_A: torch.Tensor, lattice_A: torch.Tensor, cutoff_A: float) -> Arrays:
    """The same as :func:`matscipy_edges`, on the device: every pair in every image that can reach."""
    wrapped, shifts = _wrap(positions_A, lattice_A)
    translations = _translations(lattice_A, cutoff_A)
    n = len(wrapped)
    between = wrapped[None, :, :] - wrapped[:, None, :]
    chunk = max(1, PAIRS_AT_ONCE // (n * n))
    found = []
    for start in range(0, len(translations), chunk):
        moved = (translations[start : start + chunk] @ lattice_A)[:, None, None, :]
        near = (between + moved).square().sum(-1) < cutoff_A**2
        found.append(near.nonzero() + torch.tensor([start, 0, 0], device=near.device))
    image, senders, receivers = torch.cat(found).unbind(1)
    itself = (senders == receivers) & (translations[image] == 0).all(1)
    image, senders, receivers = image[~itself], senders[~itself], receivers[~itself]
    order = torch.argsort(senders, stable=True)
    image, senders, receivers = image[order], senders[order], receivers[order]
    return senders, receivers, translations[image] + shifts[senders] - shifts[receivers]


def _wrap(positions_A: torch.Tensor, lattice_A: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions inside the cell, and the whole lattice vectors (n, 3) that were taken off."""
    fractional = torch.linalg.solve(lattice_A, positions_A, left=False)
    shifts = torch.floor(fractional)
    return positions_A - shifts @ lattice_A, shifts


def _heights(lattice_A: torch.Tensor) -> torch.Tensor:
    """(3,) distances between opposite faces of the cell."""
    return 1.0 / torch.linalg.inv(lattice_A).norm(dim=0)


def _translations(lattice_A: torch.Tensor, cutoff_A: float) -> torch.Tensor:
    """(M, 3) whole translations by which one wrapped atom can come within the cutoff of another."""
    reach = torch.floor(cutoff_A / _heights(lattice_A) + 1.0 + 1e-9).to(torch.int64).tolist()
    ranges = [torch.arange(-m, m + 1, dtype=lattice_A.dtype, device=lattice_A.device) for m in reach]
    return torch.cartesian_prod(*ranges)


def _choose_builder(device: torch.device) -> Builder:
    if not find_spec("matscipy"):
        return torch_edges
    if device.type == "cpu":
        return matscipy_edges

    def on_device(positions_A: torch.Tensor, lattice_A: torch.Tensor, cutoff_A: float) -> Arrays:
        pairs = len(_translations(lattice_A, cutoff_A)) * len(positions_A) ** 2
        return (torch_edges if pairs < MOST_PAIRS else matscipy_edges)(positions_A, lattice_A, cutoff_A)

    return on_device


class NeighbourList:
    """Edges up to cutoff + skin, good until they might miss a pair inside the cutoff.

    With F the strain since the build (lattice = reference lattice @ F) and u = x − x₀F the displacements beside it, a
    pair that is not listed is at least (1 − ‖F − 1‖)(cutoff + skin) − 2 max|u| apart (‖·‖ the Frobenius norm, which
    bounds the spectral one). :meth:`slack_A` is by how much that exceeds the cutoff.
    """

    def __init__(
        self, state: State, cutoff_A: float, skin_A: float, fixed_cell: bool, builder: Builder | None = None
    ) -> None:
        """Build for the positions and lattices of ``state``; ``fixed_cell`` promises that lattices never change."""
        self.cutoff_A, self.skin_A, self.fixed_cell = cutoff_A, skin_A, fixed_cell
        self._builder = builder or _choose_builder(state.device)
        self._owner = state.system_index
        ends = np.cumsum(state.counts.tolist()).tolist()
        self._slices = [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
        self._parts: list[Arrays] = [(torch.empty(0),) * 3] * len(ends)
        self.reference_positions_A = torch.empty_like(state.positions_A)
        self.reference_lattices_A = torch.empty_like(state.lattices_A)
        self.builds = 0
        self.rebuild(state.positions_A, state.lattices_A, range(len(ends)))

    def rebuild(self, positions_A: torch.Tensor, lattices_A: torch.Tensor, systems: Sequence[int]) -> None:
        """New lists for ``systems`` from positions (N, 3) and lattices (S, 3, 3) of the whole batch."""
        for k in systems:
            atoms = self._slices[k]
            senders, receivers, images = self._builder(positions_A[atoms], lattices_A[k], self.cutoff_A + self.skin_A)
            self._parts[k] = (senders + atoms.start, receivers + atoms.start, images)
            self.reference_positions_A[atoms] = positions_A[atoms]
            self.reference_lattices_A[k] = lattices_A[k]
        self._inverse = torch.linalg.inv(self.reference_lattices_A)
        senders, receivers, images = (torch.cat(column) for column in zip(*self._parts, strict=True))
        self.edges = Edges(senders, receivers, images)
        self.builds += 1

    def slack_A(self, positions_A: torch.Tensor, lattices_A: torch.Tensor) -> torch.Tensor:
        """(S,) how far beyond the cutoff every unlisted pair surely is; negative: the list may miss one."""
        listed = self.cutoff_A + self.skin_A
        if self.fixed_cell:
            moved = positions_A - self.reference_positions_A
            reach = torch.full_like(lattices_A[:, 0, 0], listed)
        else:
            strain = self._inverse @ lattices_A
            moved = positions_A - (self.reference_positions_A[:, None, :] @ strain[self._owner])[:, 0]
            identity = torch.eye(3, dtype=strain.dtype, device=strain.device)
            reach = (1 - (strain - identity).norm(dim=(1, 2))) * listed
        furthest = torch.zeros_like(reach).scatter_reduce(0, self._owner, moved.square().sum(1), "amax")
        return reach - 2 * furthest.sqrt() - self.cutoff_A

    def reference(self, system: int) -> dict[str, np.ndarray]:
        """Where one system's list was built: with it :meth:`restore` makes the very same list again."""
        return {
            "neighbour_positions_A": self.reference_positions_A[self._slices[system]].cpu().numpy(),
            "neighbour_lattice_A": self.reference_lattices_A[system].cpu().numpy(),
        }

    def restore(self, references: Sequence[dict[str, np.ndarray]]) -> None:
        """Rebuild every system's list where it was built before, one :meth:`reference` a system."""
        device = self.reference_positions_A.device
        positions = np.concatenate([part["neighbour_positions_A"] for part in references])
        lattices = np.stack([part["neighbour_lattice_A"] for part in references])
        here = torch.from_numpy(positions).to(device), torch.from_numpy(lattices).to(device)
        self.rebuild(*here, range(len(references)))
