"""The messages of a MACE with scalar features in one pass over the pairs of atoms, compiled for the processor.

The message that reaches atom i is A_i,lm,c = Σ_j S_l,c(r_ij) h_j,c Y_lm(r̂_ij) (Batatia et al. 2022, eq. 8, for messages
carried by scalars). Written with tensors it goes through memory several times, pair by channel; here every pair is
read once and nothing of that size is kept. A is linear in S, in h and in Y, so its slopes, and the slopes of these
slopes that a training on forces needs, are sums of the same form:

* ``_collect``: A from S, h, Y;
* ``_slopes``: what a change of S, of h and of Y does to Σ G·A, for a given G;
* ``_slopes_of_slopes``: what a change of G, S, h and Y does to these slopes, weighed with dS, dh, dY.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from atomflow.potentials.compiled import compiled


@dataclass(frozen=True, eq=False)
class Pairs:
    """U undirected bonds between N atoms and the parities of M harmonics.

    Attributes:
        first: (U,) int64 atom at which each bond starts.
        second: (U,) int64 atom at which it ends.
        degrees: (M,) int64 which of the L degrees each harmonic is of.
        parity: (M,) what a harmonic is multiplied by when the bond is read the other way.
        n_atoms: N.
    """

    first: np.ndarray
    second: np.ndarray
    degrees: np.ndarray
    parity: np.ndarray
    n_atoms: int


def _collect(S, h, Y, first, second, degrees, parity, A):  # type: ignore[no-untyped-def]
    n_channels = h.shape[1]
    forth, back = np.empty(n_channels, h.dtype), np.empty(n_channels, h.dtype)
    for u in range(len(first)):
        i, j = first[u], second[u]
        degree = -1
        for m in range(len(degrees)):
            if degrees[m] != degree:
                degree = degrees[m]
                for c in range(n_channels):
                    forth[c] = S[u, degree, c] * h[i, c]
                    back[c] = S[u, degree, c] * h[j, c]
            y = Y[u, m]
            z = y * parity[m]
            for c in range(n_channels):
                A[j, m, c] += y * forth[c]
            for c in range(n_channels):
                A[i, m, c] += z * back[c]


def _slopes(G, S, h, Y, first, second, degrees, parity, of_S, of_h, of_Y):  # type: ignore[no-untyped-def]
    n_channels, n_harmonics = h.shape[1], len(degrees)
    forth, back = np.empty(n_channels, h.dtype), np.empty(n_channels, h.dtype)
    sent, returned = np.empty(n_channels, h.dtype), np.empty(n_channels, h.dtype)
    zero = h.dtype.type(0)
    for u in range(len(first)):
        i, j = first[u], second[u]
        m = 0
        while m < n_harmonics:
            degree = degrees[m]
            for c in range(n_channels):
                forth[c] = zero
                back[c] = zero
                sent[c] = S[u, degree, c] * h[i, c]
                returned[c] = S[u, degree, c] * h[j, c]
            while m < n_harmonics and degrees[m] == degree:
                y = Y[u, m]
                z = y * parity[m]
                there, here = zero, zero
                for c in range(n_channels):
                    forth[c] += y * G[j, m, c]
                    back[c] += z * G[i, m, c]
                    there += G[j, m, c] * sent[c]
                    here += G[i, m, c] * returned[c]
                of_Y[u, m] = there + parity[m] * here
                m += 1
            for c in range(n_channels):
                of_S[u, degree, c] = forth[c] * h[i, c] + back[c] * h[j, c]
                of_h[i, c] += forth[c] * S[u, degree, c]
                of_h[j, c] += back[c] * S[u, degree, c]


def _slopes_of_slopes(  # type: ignore[no-untyped-def]
    G, S, h, Y, dS, dh, dY, first, second, degrees, parity, of_G, of_S, of_h, of_Y
):
    n_channels, n_harmonics = h.shape[1], len(degrees)
    changed = np.empty((2, n_channels), h.dtype)  # of S·h, at either end
    product = np.empty((2, n_channels), h.dtype)
    with_Y = np.empty((2, n_channels), h.dtype)
    with_dY = np.empty((2, n_channels), h.dtype)
    zero = h.dtype.type(0)
    for u in range(len(first)):
        i, j = first[u], second[u]
        m = 0
        while m < n_harmonics:
            degree = degrees[m]
            for c in range(n_channels):
                strength, change = S[u, degree, c], dS[u, degree, c]
                changed[0, c] = change * h[i, c] + strength * dh[i, c]
                changed[1, c] = change * h[j, c] + strength * dh[j, c]
                product[0, c] = strength * h[i, c]
                product[1, c] = strength * h[j, c]
            with_Y[:] = zero
            with_dY[:] = zero
            while m < n_harmonics and degrees[m] == degree:
                sign = parity[m]
                y, dy = Y[u, m], dY[u, m]
                z, dz = y * sign, dy * sign
                there, here = zero, zero
                for c in range(n_channels):
                    of_G[j, m, c] += y * changed[0, c] + dy * product[0, c]
                    with_Y[0, c] += y * G[j, m, c]
                    with_dY[0, c] += dy * G[j, m, c]
                    there += G[j, m, c] * changed[0, c]
                for c in range(n_channels):
                    of_G[i, m, c] += z * changed[1, c] + dz * product[1, c]
                    with_Y[1, c] += z * G[i, m, c]
                    with_dY[1, c] += dz * G[i, m, c]
                    here += G[i, m, c] * changed[1, c]
                of_Y[u, m] = there + sign * here
                m += 1
            for c in range(n_channels):
                strength, change = S[u, degree, c], dS[u, degree, c]
                of_S[u, degree, c] = (
                    with_Y[0, c] * dh[i, c] + with_Y[1, c] * dh[j, c]
                    + with_dY[0, c] * h[i, c] + with_dY[1, c] * h[j, c]
                )  # fmt: skip
                of_h[i, c] += with_Y[0, c] * change + with_dY[0, c] * strength
                of_h[j, c] += with_Y[1, c] * change + with_dY[1, c] * strength


class _Messages(torch.autograd.Function):
    """A (N, M, C) from S (U, L, C), h (N, C) and Y (U, M)."""

    @staticmethod
    def forward(ctx: Any, S: Tensor, h: Tensor, Y: Tensor, pairs: Pairs) -> Tensor:  # type: ignore[override]
        ctx.pairs = pairs
        ctx.save_for_backward(S, h, Y)
        return _collected(S, h, Y, pairs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return (*_Slopes.apply(gradients[0], *ctx.saved_tensors, ctx.pairs), None)


class _Slopes(torch.autograd.Function):
    """The slopes of Σ G·A with respect to S, h and Y; differentiable once more."""

    @staticmethod
    def forward(ctx: Any, G: Tensor, S: Tensor, h: Tensor, Y: Tensor, pairs: Pairs) -> Any:  # type: ignore[override]
        ctx.pairs = pairs
        ctx.save_for_backward(G, S, h, Y)
        return _sloped(G, S, h, Y, pairs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        inputs, pairs = ctx.saved_tensors, ctx.pairs
        found = [torch.zeros_like(each, memory_format=torch.contiguous_format) for each in inputs]
        compiled(_slopes_of_slopes)(
            *_arrays(*inputs, *gradients), pairs.first, pairs.second, pairs.degrees, pairs.parity,
            *(each.numpy() for each in found),
        )  # fmt: skip
        return (*found, None)


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


def _collected(S: Tensor, h: Tensor, Y: Tensor, pairs: Pairs) -> Tensor:
    A = h.new_zeros((pairs.n_atoms, len(pairs.degrees), h.shape[1]))
    compiled(_collect)(*_arrays(S, h, Y), pairs.first, pairs.second, pairs.degrees, pairs.parity, A.numpy())
    return A


def _sloped(G: Tensor, S: Tensor, h: Tensor, Y: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor, Tensor]:
    of_S, of_h, of_Y = S.new_empty(S.shape), h.new_zeros(h.shape), Y.new_empty(Y.shape)
    compiled(_slopes)(
        *_arrays(G, S, h, Y), pairs.first, pairs.second, pairs.degrees, pairs.parity,
        of_S.numpy(), of_h.numpy(), of_Y.numpy(),
    )  # fmt: skip
    return of_S, of_h, of_Y


def messages(S: Tensor, h: Tensor, Y: Tensor, pairs: Pairs) -> Tensor:
    """A (N, M, C), differentiable twice."""
    return _Messages.apply(S, h, Y, pairs)
