"""The messages of a MACE in one pass over the pairs of atoms, compiled for the processor.

The message that reaches atom i is A_i,r,c = Σ_j Σ_q S_p(q),c(r_ij) h_j,f(q),c K_q(r̂_ij); ``paths.py`` has the terms q.
Written with tensors it goes through memory several times, pair by channel; here every pair is read once and nothing of
that size is kept. A is linear in S, in h and in K, so its slopes, and the slopes of these slopes that a training on
forces needs, are sums of the same form:

* ``_collect``: A from S, h, K;
* ``_slopes``: what a change of S, of h and of K does to Σ G·A, for a given G;
* ``_slopes_of_slopes``: what a change of G, S, h and K does to these slopes, weighed with dS, dh, dK.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from atomflow.potentials.compiled import compiled
from atomflow.potentials.mace.paths import Paths


@dataclass(frozen=True, eq=False)
class Pairs:
    """U undirected bonds between N atoms.

    Attributes:
        first: (U,) int64 atom at which each bond starts.
        second: (U,) int64 atom at which it ends.
        n_atoms: N.
    """

    first: np.ndarray
    second: np.ndarray
    n_atoms: int


def _collect(S, h, K, first, second, path, row, begins, target, parity, A):  # type: ignore[no-untyped-def]
    n_channels = h.shape[2]
    forth, back = np.empty(n_channels, h.dtype), np.empty(n_channels, h.dtype)
    for u in range(len(first)):
        i, j = first[u], second[u]
        for g in range(len(path)):
            p, f = path[g], row[g]
            for c in range(n_channels):
                forth[c] = S[u, p, c] * h[i, f, c]
                back[c] = S[u, p, c] * h[j, f, c]
            for q in range(begins[g], begins[g + 1]):
                r, k = target[q], K[u, q]
                z = k * parity[q]
                for c in range(n_channels):
                    A[j, r, c] += k * forth[c]
                for c in range(n_channels):
                    A[i, r, c] += z * back[c]


def _slopes(  # type: ignore[no-untyped-def]
    G, S, h, K, first, second, path, row, begins, target, parity, of_S, of_h, of_K
):
    n_channels = h.shape[2]
    forth, back = np.empty(n_channels, h.dtype), np.empty(n_channels, h.dtype)
    sent, returned = np.empty(n_channels, h.dtype), np.empty(n_channels, h.dtype)
    zero = h.dtype.type(0)
    for u in range(len(first)):
        i, j = first[u], second[u]
        for g in range(len(path)):
            p, f = path[g], row[g]
            for c in range(n_channels):
                forth[c] = zero
                back[c] = zero
                sent[c] = S[u, p, c] * h[i, f, c]
                returned[c] = S[u, p, c] * h[j, f, c]
            for q in range(begins[g], begins[g + 1]):
                r, k = target[q], K[u, q]
                z = k * parity[q]
                there, here = zero, zero
                for c in range(n_channels):
                    forth[c] += k * G[j, r, c]
                    back[c] += z * G[i, r, c]
                    there += G[j, r, c] * sent[c]
                    here += G[i, r, c] * returned[c]
                of_K[u, q] = there + parity[q] * here
            first_of_path = g == 0 or path[g - 1] != p
            for c in range(n_channels):
                part = forth[c] * h[i, f, c] + back[c] * h[j, f, c]
                of_S[u, p, c] = part if first_of_path else of_S[u, p, c] + part
                of_h[i, f, c] += forth[c] * S[u, p, c]
                of_h[j, f, c] += back[c] * S[u, p, c]


def _slopes_of_slopes(  # type: ignore[no-untyped-def]
    G, S, h, K, dS, dh, dK, first, second, path, row, begins, target, parity, of_G, of_S, of_h, of_K
):
    n_channels = h.shape[2]
    changed = np.empty((2, n_channels), h.dtype)  # of S·h, at either end
    product = np.empty((2, n_channels), h.dtype)
    with_K = np.empty((2, n_channels), h.dtype)
    with_dK = np.empty((2, n_channels), h.dtype)
    zero = h.dtype.type(0)
    for u in range(len(first)):
        i, j = first[u], second[u]
        for g in range(len(path)):
            p, f = path[g], row[g]
            for c in range(n_channels):
                strength, change = S[u, p, c], dS[u, p, c]
                changed[0, c] = change * h[i, f, c] + strength * dh[i, f, c]
                changed[1, c] = change * h[j, f, c] + strength * dh[j, f, c]
                product[0, c] = strength * h[i, f, c]
                product[1, c] = strength * h[j, f, c]
            with_K[:] = zero
            with_dK[:] = zero
            for q in range(begins[g], begins[g + 1]):
                r, sign = target[q], parity[q]
                k, dk = K[u, q], dK[u, q]
                z, dz = k * sign, dk * sign
                there, here = zero, zero
                for c in range(n_channels):
                    of_G[j, r, c] += k * changed[0, c] + dk * product[0, c]
                    with_K[0, c] += k * G[j, r, c]
                    with_dK[0, c] += dk * G[j, r, c]
                    there += G[j, r, c] * changed[0, c]
                for c in range(n_channels):
                    of_G[i, r, c] += z * changed[1, c] + dz * product[1, c]
                    with_K[1, c] += z * G[i, r, c]
                    with_dK[1, c] += dz * G[i, r, c]
                    here += G[i, r, c] * changed[1, c]
                of_K[u, q] = there + sign * here
            first_of_path = g == 0 or path[g - 1] != p
            for c in range(n_channels):
                strength, change = S[u, p, c], dS[u, p, c]
                part = (
                    with_K[0, c] * dh[i, f, c] + with_K[1, c] * dh[j, f, c]
                    + with_dK[0, c] * h[i, f, c] + with_dK[1, c] * h[j, f, c]
                )  # fmt: skip
                of_S[u, p, c] = part if first_of_path else of_S[u, p, c] + part
                of_h[i, f, c] += with_K[0, c] * change + with_dK[0, c] * strength
                of_h[j, f, c] += with_K[1, c] * change + with_dK[1, c] * strength


class _Messages(torch.autograd.Function):
    """A (N, R, C) from S (U, P, C), h (N, F, C) and K (U, Q)."""

    @staticmethod
    def forward(ctx: Any, S: Tensor, h: Tensor, K: Tensor, pairs: Pairs, paths: Paths) -> Tensor:  # type: ignore[override]
        ctx.lists = lists = _lists(pairs, paths, K)
        ctx.save_for_backward(S, h, K)
        A = h.new_zeros((pairs.n_atoms, paths.n_rows, h.shape[2]))
        compiled(_collect)(*_arrays(S, h, K), *lists, A.numpy())
        return A

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return (*_Slopes.apply(gradients[0], *ctx.saved_tensors, ctx.lists), None, None)


class _Slopes(torch.autograd.Function):
    """The slopes of Σ G·A with respect to S, h and K; differentiable once more."""

    @staticmethod
    def forward(ctx: Any, G: Tensor, S: Tensor, h: Tensor, K: Tensor, lists: Any) -> Any:  # type: ignore[override]
        ctx.lists = lists
        ctx.save_for_backward(G, S, h, K)
        of_S, of_h, of_K = S.new_empty(S.shape), h.new_zeros(h.shape), K.new_empty(K.shape)
        compiled(_slopes)(*_arrays(G, S, h, K), *lists, of_S.numpy(), of_h.numpy(), of_K.numpy())
        return of_S, of_h, of_K

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        G, S, h, K = inputs = ctx.saved_tensors
        found = (G.new_zeros(G.shape), S.new_empty(S.shape), h.new_zeros(h.shape), K.new_empty(K.shape))
        compiled(_slopes_of_slopes)(*_arrays(*inputs, *gradients), *ctx.lists, *(each.numpy() for each in found))
        return (*found, None)


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


def _lists(pairs: Pairs, paths: Paths, like: Tensor) -> tuple[np.ndarray, ...]:
    parity = paths.parity.astype(np.float32 if like.dtype == torch.float32 else np.float64)
    return pairs.first, pairs.second, paths.path, paths.row, paths.begins, paths.target, parity


def messages(S: Tensor, h: Tensor, K: Tensor, pairs: Pairs, paths: Paths) -> Tensor:
    """A (N, R, C) from strengths S (U, P, C), features h (N, F, C) and terms K (U, Q); differentiable twice."""
    return _Messages.apply(S, h, K, pairs, paths)
