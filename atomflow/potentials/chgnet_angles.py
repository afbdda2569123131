"""CHGNet's angles as arrays: pairs of short bonds that share an atom. No Python loops."""

from __future__ import annotations

import torch


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
