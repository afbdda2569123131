"""Radial strengths of many pairs from a few knots: how a training saves most of the work of the radial networks.

R(r) of a MACE is a network of one number. A batch of a hundred atoms has two thousand pairs, and a training on forces
goes through the network some seven times for each. Here the network is evaluated at evenly spaced knots once, and pairs
are interpolated with the polynomial through the six knots nearest to them; with 256 knots in 5 Å strengths and their
slopes agree with the network's to some 1e-6 of the largest. Weights receive their gradients through the knots.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from atomflow.potentials.compiled import compiled

N_KNOTS = 256
_POINTS = 6


def _look_up(table, start, weights, of_pairs):  # type: ignore[no-untyped-def]
    for u in range(len(start)):
        for p in range(weights.shape[1]):
            weight, knot = weights[u, p], start[u] + p
            for f in range(table.shape[1]):
                of_pairs[u, f] += weight * table[knot, f]


def _along(table, start, weights, G, of_pairs):  # type: ignore[no-untyped-def]
    for u in range(len(start)):
        total = weights.dtype.type(0)
        for p in range(weights.shape[1]):
            part, knot = weights.dtype.type(0), start[u] + p
            for f in range(table.shape[1]):
                part += G[u, f] * table[knot, f]
            total += weights[u, p] * part
        of_pairs[u] = total


def _put_down(of_pairs, start, weights, table):  # type: ignore[no-untyped-def]
    for u in range(len(start)):
        for p in range(weights.shape[1]):
            weight, knot = weights[u, p], start[u] + p
            for f in range(table.shape[1]):
                table[knot, f] += weight * of_pairs[u, f]


class Places:
    """Where U lengths lie between the knots: the first of six knots, and what each of the six weighs.

    Attributes:
        start: (U,) int64.
        weights: (U, 6) of the values at the knots; ``slopes`` (U, 6) likewise for the derivative with length, 1/Å.
    """

    def __init__(self, lengths_A: Tensor, spacing_A: float, n_knots: int) -> None:
        at = lengths_A.detach().double().view(-1) / spacing_A
        self.start = (at.floor().long() - (_POINTS // 2 - 1)).clamp(0, n_knots - _POINTS)
        away = (at - self.start)[:, None] - torch.arange(_POINTS, dtype=torch.float64)
        weights, slopes = [], []
        for point in range(_POINTS):
            others = [other for other in range(_POINTS) if other != point]
            scale = 1.0
            for other in others:
                scale /= point - other
            weights.append(scale * away[:, others].prod(1))
            parts = [away[:, [rest for rest in others if rest != left]].prod(1) for left in others]
            slopes.append(scale * torch.stack(parts).sum(0) / spacing_A)
        self.weights = torch.stack(weights, 1).to(lengths_A.dtype)
        self.slopes = torch.stack(slopes, 1).to(lengths_A.dtype)

    def looked_up(self, table: Tensor, weights: Tensor, added_to: Tensor | None = None) -> Tensor:
        of_pairs = table.new_zeros((len(self.start), table.shape[1])) if added_to is None else added_to
        compiled(_look_up)(table.detach().contiguous().numpy(), self.start.numpy(), weights.numpy(), of_pairs.numpy())
        return of_pairs

    def along(self, table: Tensor, weights: Tensor, G: Tensor) -> Tensor:
        """(U,) the values looked up times G, summed."""
        of_pairs = table.new_empty(len(self.start))
        values, factors = (each.detach().contiguous().numpy() for each in (table, G))
        compiled(_along)(values, self.start.numpy(), weights.numpy(), factors, of_pairs.numpy())
        return of_pairs

    def put_down(self, of_pairs: Tensor, weights: Tensor, like: Tensor) -> Tensor:
        table = torch.zeros_like(like)
        compiled(_put_down)(of_pairs.detach().contiguous().numpy(), self.start.numpy(), weights.numpy(), table.numpy())
        return table


class _Interpolated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, lengths: Tensor, places: Places) -> Tensor:  # type: ignore[override]
        ctx.places = places
        ctx.save_for_backward(table, lengths)
        return places.looked_up(table, places.weights)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return (*_Slopes.apply(gradients[0], *ctx.saved_tensors, ctx.places), None)


class _Slopes(torch.autograd.Function):
    """Slopes of Σ G·R with respect to the knots and the lengths; differentiable once more, but not with length."""

    @staticmethod
    def forward(ctx: Any, G: Tensor, table: Tensor, lengths: Tensor, places: Places) -> Any:  # type: ignore[override]
        ctx.places = places
        ctx.save_for_backward(G, table)
        ctx.set_materialize_grads(False)
        along = places.along(table, places.slopes, G)
        return places.put_down(G, places.weights, table), along.view(lengths.shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (G, table), places = ctx.saved_tensors, ctx.places
        of_table, of_lengths = gradients
        of_G, back = None, None
        if of_table is not None:
            of_G = places.looked_up(of_table, places.weights)
        if of_lengths is not None:
            slopes = places.slopes * of_lengths.view(-1, 1)
            of_G = places.looked_up(table, slopes, of_G)
            back = places.put_down(G, slopes, table)
        return of_G, back, None, None


def interpolated(table: Tensor, lengths_A: Tensor, places: Places) -> Tensor:
    """(U, F) values at U lengths from those at the knots (K, F); differentiable as a training on forces needs it."""
    return _Interpolated.apply(table, lengths_A, places)
