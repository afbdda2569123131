"""Undirected bonds: every pair of a full edge list once. What is the same in both directions is computed once."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from atomflow.potentials.base import Edges


@dataclass(frozen=True)
class Bonds:
    """U bonds; bond u points from ``first`` to ``second``, and ``images`` is as in :class:`Edges`.

    As directed edges they are numbered 0…U−1 (first → second) and U…2U−1 (second → first).
    """

    first: torch.Tensor
    second: torch.Tensor
    images: torch.Tensor

    def as_edges(self) -> Edges:
        """The bonds as edges in one direction only."""
        return Edges(self.first, self.second, self.images)


def undirected(edges: Edges) -> Bonds:
    """One of the two directions of every edge of a full list.

    The one kept has the smaller atom first; between an atom and its own image, the first component of the image that
    is not zero is positive.

    Raises:
        ValueError: the list is not full.
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
