"""A shorter way through MACE models whose messages are carried by scalars (hidden irreps such as 64x0e).

With scalars, the message that reaches atom i is A_i,c,lm = Σ_j R_c,l(r_ij) h_j,c Y_lm(r̂_ij). mace-torch forms each term
of the sum, E × C × (l_max+1)² numbers, several times over. Here

* the radial network R runs once a pair, not once a direction, since R(r) is the same both ways;
* Y_lm(−v) = (−1)^l Y_lm(v), so spherical harmonics too are formed once a pair;
* the sum over neighbours is one matrix product an atom, over neighbours laid out in rows of equal length.

All weights and all other layers are the model's own modules. The result is the model's to rounding; that is tried when
a model is loaded, and a model that does not fit takes mace-torch's own way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from atomflow.potentials import mace_products
from atomflow.potentials.repulsion import CloseBonds

_BLOCKS = ("RealAgnosticInteractionBlock", "RealAgnosticResidualInteractionBlock")


def fits(model: Any) -> bool:
    """Whether the model is built of the parts that this file knows how to shorten."""
    if type(model).__name__ != "ScaleShiftMACE":
        return False
    if hasattr(model, "joint_embedding"):
        return False
    for block in model.interactions:
        if type(block).__name__ not in _BLOCKS or hasattr(block, "conv_fusion"):
            return False
        product = block.conv_tp
        if len(product.irreps_in1) != 1 or product.irreps_in1[0].ir.l != 0 or product.irreps_in1[0].ir.p != 1:
            return False
        if [ir.l for _, ir in product.irreps_out] != list(range(len(product.irreps_in2))):
            return False
    return True


@dataclass(frozen=True)
class Layout:
    """Directed edges in rows of equal length, one row for the neighbours of each atom. N atoms, K slots a row.

    Attributes:
        directed: (N·K,) number of the directed edge in each slot; 2U in an empty slot.
        senders: (N·K,) atom at which it starts; 0 in an empty slot.
        pairs: (N·K,) undirected bond of each slot; U in an empty slot.
        slots: (2U,) slot of each directed edge.
        shape: (N, K).
    """

    directed: Tensor
    pairs: Tensor
    senders: Tensor
    slots: Tensor
    shape: tuple[int, int]


def lay_out(first: Tensor, second: Tensor, n_atoms: int) -> Layout:
    """Rows of the edges that reach each atom, from the U undirected bonds first → second."""
    senders, receivers = torch.cat((first, second)), torch.cat((second, first))
    counts = torch.bincount(receivers, minlength=n_atoms)
    width = max(int(counts.max()), 1)
    order = torch.argsort(receivers)
    sorted_receivers = receivers[order]
    rank = torch.arange(len(order), device=order.device) - (torch.cumsum(counts, 0) - counts)[sorted_receivers]
    slots = torch.empty_like(order)
    slots[order] = sorted_receivers * width + rank
    directed = torch.full((n_atoms * width,), len(senders), dtype=torch.int64, device=order.device)
    directed[slots] = torch.arange(len(slots), device=order.device)
    placed = torch.zeros_like(directed)
    placed[slots] = senders
    pairs = torch.where(directed == len(senders), len(first), directed % max(len(first), 1))
    return Layout(directed, pairs, placed, slots, (n_atoms, width))


class _Spread(torch.autograd.Function):
    """From undirected bonds (U, F) to slots (N·K, F); empty slots are zero. Its slope is two look-ups, not a sum."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, sign: Tensor | None, layout: Layout) -> Tensor:  # type: ignore[override]
        ctx.layout, ctx.sign = layout, sign
        empty = values.new_zeros((1, values.shape[1]))
        if sign is None:
            return torch.cat((values, empty)).index_select(0, layout.pairs)
        return torch.cat((values, values * sign, empty)).index_select(0, layout.directed)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        forth, back = gradients[0].index_select(0, ctx.layout.slots).chunk(2)
        return forth + (back if ctx.sign is None else back * ctx.sign), None, None


class ScalarMace:
    """Evaluates the energies of the atoms of a MACE that :func:`fits`."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.degrees = [ir.l for _, ir in model.interactions[0].conv_tp.irreps_in2]
        parity = torch.tensor([(-1.0) ** degree for degree in self.degrees for _ in range(2 * degree + 1)])
        self.parity = parity.to(next(model.parameters()))
        self.products = [
            mace_products.PolynomialProduct(product) if mace_products.fits(product) else product
            for product in model.products
        ]
        self.repulsion = CloseBonds(model) if hasattr(model, "pair_repulsion") else None

    def node_energies(
        self, node_attrs: Tensor, heads: Tensor, first: Tensor, second: Tensor, vectors: Tensor
    ) -> Tensor:
        """Energies (N,) in eV, float64.

        Args:
            node_attrs: (N, Z) one-hot species.
            heads: (N,) index of the readout head.
            first: (U,) atom at which each undirected bond starts; ``second`` (U,) where it ends.
            vectors: (U, 3) from first to second, shorter than the cutoff. Differentiable.
        """
        model, everyone = self.model, torch.arange(len(node_attrs), device=node_attrs.device)
        layout = lay_out(first, second, len(node_attrs))
        lengths = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
        harmonics = _Spread.apply(model.spherical_harmonics(vectors), self.parity, layout)
        radial, cutoff = model.radial_embedding(lengths, node_attrs, torch.stack((first, second)), model.atomic_numbers)
        features, collected = model.node_embedding(node_attrs), []
        for block, product in zip(model.interactions, self.products, strict=True):
            strengths = block.conv_tp_weights(radial)
            strengths = strengths if cutoff is None else strengths * cutoff
            message = self._message(block, features, strengths, harmonics, layout)
            if type(block).__name__ == _BLOCKS[0]:
                message, skip = block.skip_tp(message, node_attrs), None
            else:
                skip = block.skip_tp(features, node_attrs)
            features = product(node_feats=block.reshape(message), sc=skip, node_attrs=node_attrs)
            collected.append(features)
        sources = collected[-1:] if len(model.readouts) == 1 else collected
        read = [readout(x, heads)[everyone, heads] for readout, x in zip(model.readouts, sources, strict=True)]
        pushed = self.repulsion and self.repulsion.node_energies(node_attrs, first, second, lengths)
        if pushed is not None:
            read.append(pushed)
        energies = model.scale_shift(torch.stack(read).sum(0), heads)
        isolated = model.atomic_energies_fn(node_attrs)[everyone, heads]
        return isolated.double() + energies.double()

    def _message(self, block: Any, features: Tensor, strengths: Tensor, harmonics: Tensor, layout: Layout) -> Tensor:
        """A (N, Σ_l C·(2l+1)) of the docstring above, through the block's linear layer."""
        rows, width = layout.shape
        channels = block.conv_tp.irreps_in1.dim
        carried = block.linear_up(features).index_select(0, layout.senders).view(rows, width, 1, channels)
        terms = _Spread.apply(strengths, None, layout).view(rows, width, len(self.degrees), channels) * carried
        # One product for all (l, l'm) and the blocks l = l' picked from it: cheaper than a small product for every l.
        products = torch.bmm(harmonics.view(rows, width, -1).transpose(1, 2), terms.view(rows, width, -1))
        products = products.view(rows, -1, len(self.degrees), channels)
        sums, start = [], 0
        for index, degree in enumerate(self.degrees):
            sums.append(products[:, start : start + 2 * degree + 1, index].transpose(1, 2).reshape(rows, -1))
            start += 2 * degree + 1
        return block.linear(torch.cat(sums, dim=1)) / block.avg_num_neighbors
