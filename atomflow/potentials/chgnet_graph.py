"""CHGNet's two graphs as arrays: undirected bonds, and pairs of short bonds that share an atom. No Python loops."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from atomflow.potentials.base import Edges


@dataclass(frozen=True)
class Bonds:
    """Undirected bonds: every pair of a full edge list once. U bonds; bond u points from ``first`` to ``second``.

    As directed edges they are numbered 0…U−1 (first → second) and U…2U−1 (second → first).
    """

    first: torch.Tensor
    second: torch.Tensor
    images: torch.Tensor


def undirected(edges: Edges) -> Bonds:
    """One of the two directions of every edge of a full list.

    The one kept has the smaller atom first; between an atom and its own image, the first component of the image that
    is not zero is positive.
    """
    first, second, images = edges.senders, edges.receivers, edges.images
    positive = torch.zeros_like(first, dtype=torch.bool)
    undecided = first == second
    for axis in range(3):
        component = images[:, axis]
        positive |= undecided & (component > 0)
        undecided = undecided & (component == 0)
    keep = torch.nonzero((first < second) | positive).squeeze(-1)
    if 2 * len(keep) != len(first):
        raise ValueError("the neighbour list is not full: an edge has no edge back")
    return Bonds(first[keep], second[keep], images[keep])


def angle_pairs(centers: torch.Tensor, n_atoms: int) -> tuple[torch.Tensor, torch.Tensor]:
    """All ordered pairs (a, b), a ≠ b, of directed edges that leave the same atom; grouped by ascending a.

    Args:
        centers: (D,) atom that each directed edge leaves.

    Returns:
        Two (A,) index tensors into the directed edges.
    """
    order = torch.argsort(centers, stable=True)
    counts = torch.bincount(centers, minlength=n_atoms)
    starts = torch.cumsum(counts, 0) - counts
    rank = torch.empty_like(centers)
    rank[order] = torch.arange(len(centers), device=centers.device) - starts[centers[order]]

    partners = counts[centers] - 1
    first = torch.repeat_interleave(torch.arange(len(centers), device=centers.device), partners)
    begin = torch.cumsum(partners, 0) - partners
    turn = torch.arange(len(first), device=centers.device) - begin[first]
    turn = turn + (turn >= rank[first]).to(turn.dtype)
    return first, order[starts[centers[first]] + turn]
