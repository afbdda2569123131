"""How features and harmonics make a message: the tensor product of a MACE layer as a short list of terms.

The message that reaches atom i is (Batatia et al. 2022, eq. 8; e3nn's ``uvu`` tensor product)

    A_i,r,c = Σ_j Σ_q S_p(q),c(r_ij) · h_j,f(q),c · K_q(r̂_ij),      the sum being over the terms q with target row r.

A path p couples features of degree l₁ with harmonics of degree l₂ to messages of degree l₃ and has a radial strength
S_p of its own. K holds the Clebsch-Gordan coefficients and the harmonics: K_q = Σ_m Y_m form_m,q. With scalar features
l₁ = 0, l₂ = l₃, and K is Y itself; features that hold vectors have a few terms more, as 1 ⊗ 1 → 2.

Nothing is taken from e3nn's conventions: its tensor product is asked what it makes of unit vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

_NEGLIGIBLE = 1e-6  # of the largest coefficient


@dataclass(frozen=True, eq=False)
class Paths:
    """The terms of one layer, sorted by path, then by the row of the features. P paths, G groups, Q terms, R rows.

    Attributes:
        path, row: (G,) int64 path of each group of terms and the row of the features that they read.
        begins: (G + 1,) int64 where the terms of each group begin.
        target: (Q,) int64 row of the messages to which each term is added.
        parity: (Q,) what the term is multiplied by when the bond is read the other way, (−1)^l₂.
        form: (M, Q) the terms of M harmonics.
        rows: for each path the rows of its messages, as (start, stop), in the order in which e3nn lays them out.
        n_features: F, rows of the features: 1 for scalars, 4 for scalars and vectors.
    """

    path: np.ndarray
    row: np.ndarray
    begins: np.ndarray
    target: np.ndarray
    parity: np.ndarray
    form: np.ndarray
    rows: tuple[tuple[int, int], ...]
    n_features: int

    @property
    def n_rows(self) -> int:
        return self.rows[-1][1]

    @property
    def scalars(self) -> bool:
        """Whether the features are scalars, so that the terms are the harmonics."""
        return self.n_features == 1


def has_paths(product: Any) -> bool:
    """Whether the tensor product carries equally many channels of each degree 0, 1, ..., and a path has its output."""
    sent, harmonics = product.irreps_in1, product.irreps_in2
    if [part.ir.l for part in sent] != list(range(len(sent))) or any(part.ir.p != (-1) ** part.ir.l for part in sent):
        return False
    if [part.ir.l for part in harmonics] != list(range(len(harmonics))) or {part.mul for part in harmonics} != {1}:
        return False
    modes = {each.connection_mode for each in product.instructions}
    outputs = sorted(each.i_out for each in product.instructions)
    alone = outputs == list(range(len(product.irreps_out)))
    return len({part.mul for part in sent}) == 1 and modes == {"uvu"} and alone


def paths_of(product: Any) -> Paths:
    """The terms of an e3nn tensor product that :func:`has_paths`."""
    like = next((buffer for buffer in product.buffers() if buffer.is_floating_point()), torch.zeros(0))
    channels, n_harmonics = product.irreps_in1[0].mul, product.irreps_in2.dim
    sent = [slices.start for slices in product.irreps_in1.slices()]
    first = [start + m for start, part in zip(sent, product.irreps_in1, strict=True) for m in range(part.ir.dim)]
    x = torch.zeros((len(first), product.irreps_in1.dim), dtype=like.dtype, device=like.device)
    x[torch.arange(len(first)), torch.tensor(first)] = 1  # the first channel
    y = torch.eye(n_harmonics).to(x)
    ones = x.new_ones((len(first) * n_harmonics, product.weight_numel))
    made = product(x.repeat_interleave(n_harmonics, 0), y.repeat(len(first), 1), ones)
    made = made.view(len(first), n_harmonics, -1).double().cpu().numpy()
    starts, width = [], 0
    for part in product.irreps_out:
        starts.append(width)
        width += part.ir.dim
    path_of, row_of, begins, target, parity, form = [], [], [0], [], [], []
    largest = np.abs(made).max()
    for p, each in enumerate(product.instructions):
        degree, at = product.irreps_in1[each.i_in1].ir.l, product.irreps_out.slices()[each.i_out].start
        for f in range(degree**2, (degree + 1) ** 2):
            for m in range(product.irreps_out[each.i_out].ir.dim):
                coefficients = made[f, :, at + m]  # of the first channel's components
                if np.abs(coefficients).max() > _NEGLIGIBLE * largest:
                    target.append(starts[each.i_out] + m)
                    parity.append((-1.0) ** product.irreps_in2[each.i_in2].ir.l)
                    form.append(coefficients)
            path_of.append(p)
            row_of.append(f)
            begins.append(len(target))
    assert channels * width == product.irreps_out.dim
    spans = tuple((start, start + part.ir.dim) for start, part in zip(starts, product.irreps_out, strict=True))
    lists = [np.array(each, dtype=np.int64) for each in (path_of, row_of, begins, target)]
    return Paths(lists[0], lists[1], lists[2], lists[3], np.array(parity), np.array(form).T, spans, len(first))
