"""The product basis of MACE as polynomials of the messages: what SymmetricContraction does, with far fewer numbers.

For one channel of one atom, mace-torch's contraction is

    B = Σ_ν Σ_k w_ν,k(Z) Σ_{i1…iν} U_ν[m, i1, …, iν, k] A_i1 … A_iν          (Batatia et al. 2022, eqs. 10 and 11)

with i running over the (l, m) of the message A and m over the components of the result. mace-torch forms the tensors
of all i for every atom and channel. But A_1 A_2 and A_2 A_1 are one monomial, most monomials carry no weight, and many
k are the same polynomial (for l ≤ 2 and three messages 11 k make 5 polynomials). Here the few monomials are formed
once, turned into independent polynomials by one matrix product, and weighted. Weights stay the model's own parameters.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_NEGLIGIBLE = 1e-5  # of the largest coefficient: U holds Clebsch-Gordan coefficients to float32 or better


def has_polynomials(product: Any) -> bool:
    """Whether the product block's contraction is mace-torch's own, over products of at most three messages."""
    contraction = product.symmetric_contractions
    if type(contraction).__name__ != "SymmetricContraction" or getattr(product, "use_agnostic_product", False):
        return False
    return all(
        type(part).__name__ == "Contraction" and 1 <= part.correlation <= 3 for part in contraction.contractions
    )


@dataclass(frozen=True)
class _Degree:
    """Products of ν messages. P independent polynomials, K paths of mace-torch, M components of the result.

    Attributes:
        monomials: the Q sorted index tuples that occur.
        polynomials: (P·M, Q) coefficients.
        paths: (P, K): a path k is Σ_p paths[p, k] · polynomial p.
    """

    monomials: list[tuple[int, ...]]
    polynomials: Tensor
    paths: Tensor


def _degree(tensor: Tensor, order: int, components: int) -> _Degree:
    """Independent polynomials of U, (M, i1, …, iν, K) or without M where the result is a scalar."""
    tensor = tensor.double().cpu()
    n_messages, n_paths = tensor.shape[-2], tensor.shape[-1]
    flat = tensor.reshape(components, *[n_messages] * order, n_paths)
    rows: dict[tuple[int, ...], Tensor] = {}
    for indices in itertools.product(range(n_messages), repeat=order):
        key = tuple(sorted(indices))
        here = flat.permute(*range(1, order + 1), 0, order + 1)[indices]
        rows[key] = rows[key] + here if key in rows else here
    size = max(float(row.abs().max()) for row in rows.values())
    monomials = [key for key, row in rows.items() if float(row.abs().max()) > _NEGLIGIBLE * max(size, 1e-300)]
    if not monomials:
        return _Degree([], torch.zeros((0, 0)), torch.zeros((0, n_paths)))
    table = torch.stack([rows[key] for key in monomials], dim=1)  # (M, Q, K)
    left, strengths, right = torch.linalg.svd(table.reshape(-1, n_paths), full_matrices=False)
    rank = int((strengths > _NEGLIGIBLE * strengths[0]).sum())
    polynomials = (left[:, :rank] * strengths[:rank]).reshape(components, len(monomials), rank)
    return _Degree(monomials, polynomials.permute(2, 0, 1).reshape(rank * components, -1), right[:rank])


def _pick(indices: list[int], of: int) -> Tensor:
    """(len, of) one-hot rows: looking up rows as a matrix product, whose slopes are matrix products too."""
    return torch.eye(of, dtype=torch.float64)[torch.tensor(indices, dtype=torch.int64)]


class Polynomials:
    """One contraction (one irrep of the result) laid out as matrices."""

    def __init__(self, part: Any) -> None:
        self.part = part
        first = part.U_tensors(1)
        n_messages = first.shape[-2]
        self.components = first.shape[0] if first.dim() == 3 else 1
        degrees = [_degree(part.U_tensors(o), o, self.components) for o in range(1, part.correlation + 1)]
        self.paths = [degree.paths for degree in degrees]
        by_order = {order: degree.monomials for order, degree in enumerate(degrees, start=1)}
        triples = by_order.get(3, [])
        # A triple is a pair times a message: of its three pairs the one that most triples share.
        shared = Counter(pair for triple in triples for pair in set(_pairs_of(triple)))
        halves = [max(_pairs_of(triple), key=lambda pair: (shared[pair], pair)) for triple in triples]
        pairs = sorted(set(by_order.get(2, [])) | set(halves))
        rests = [_rest(triple, half) for triple, half in zip(triples, halves, strict=True)]
        self.tables = {
            "left": _pick([i for i, _ in pairs], n_messages),
            "right": _pick([j for _, j in pairs], n_messages),
            "half": _pick([pairs.index(half) for half in halves], len(pairs)),
            "rest": _pick(rests, n_messages),
            "of_one": degrees[0].polynomials @ _pick([i for (i,) in by_order[1]], n_messages),
        }
        if 2 in by_order:
            self.tables["of_two"] = degrees[1].polynomials @ _pick([pairs.index(m) for m in by_order[2]], len(pairs))
        if 3 in by_order:
            self.tables["of_three"] = degrees[2].polynomials

    def to(self, like: Tensor) -> None:
        self.tables = {name: table.to(like) for name, table in self.tables.items()}
        self.paths = [paths.to(like) for paths in self.paths]

    def __call__(self, messages: Tensor, species: Tensor) -> Tensor:
        """(N, C·M) from messages (i, N, C) and one-hot species (N, Z)."""
        n_messages, n_atoms, channels = messages.shape
        flat, tables = messages.reshape(n_messages, -1), self.tables
        values = [tables["of_one"] @ flat]
        if "of_two" in tables:
            pairs = (tables["left"] @ flat) * (tables["right"] @ flat)
            values.append(tables["of_two"] @ pairs)
        if "of_three" in tables:
            values.append(tables["of_three"] @ ((tables["half"] @ pairs) * (tables["rest"] @ flat)))
        weights = torch.cat(
            [torch.einsum("pk,zkc->zpc", paths, own) for paths, own in zip(self.paths, self.weights(), strict=True)], 1
        )  # (Z, P, C)
        of_atoms = (species @ weights.flatten(1)).view(n_atoms, -1, 1, channels)
        polynomials = torch.cat(values).view(of_atoms.shape[1], self.components, n_atoms, channels)
        result = (polynomials * of_atoms.permute(1, 2, 0, 3)).sum(0)  # (M, N, C)
        return result.permute(1, 2, 0).reshape(n_atoms, -1)

    def weights(self) -> list[Tensor]:
        """Of products of one, two, three messages; mace-torch keeps them from many to one."""
        return [*reversed(list(self.part.weights)), self.part.weights_max]


def _pairs_of(triple: tuple[int, ...]) -> list[tuple[int, int]]:
    a, b, c = triple
    return [(a, b), (a, c), (b, c)]


def _rest(triple: tuple[int, ...], pair: tuple[int, int]) -> int:
    left = list(triple)
    for index in pair:
        left.remove(index)
    return left[0]


class PolynomialProduct:
    """A product block that :func:`has_polynomials`: the block's own numbers to rounding."""

    def __init__(self, product: Any) -> None:
        self.product = product
        self.parts = [Polynomials(part) for part in product.symmetric_contractions.contractions]
        for part in self.parts:
            part.to(next(product.parameters()))

    def __call__(self, node_feats: Tensor, sc: Tensor | None, node_attrs: Tensor) -> Tensor:
        """(N, F) features from messages (N, C, i), what is added to them (N, F) and one-hot species (N, Z)."""
        by_message = node_feats.permute(2, 0, 1).contiguous()
        features = self.product.linear(torch.cat([part(by_message, node_attrs) for part in self.parts], dim=-1))
        return features if sc is None or not self.product.use_sc else features + sc
