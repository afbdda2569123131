"""A shorter way through MACE models (hidden irreps such as 64x0e, or 64x0e+64x1o).

mace-torch forms every term of the messages, E × C × (l_max+1)² numbers and more, several times over. Here

* the radial network R runs once a pair, not once a direction, since R(r) is the same both ways;
* Y_lm(−v) = (−1)^l Y_lm(v), so spherical harmonics too are formed once a pair;
* on a CPU with numba the sum over neighbours is one compiled pass over the pairs, which forms nothing of the size E × C
  at all (``messages.py``); elsewhere, where features are scalars, it is one matrix product an atom over neighbours
  laid out in rows of equal length, and otherwise mace-torch's own tensor product;
* an atom meets the weights of its own element only (``mixing.py``);
* a training looks the radial network up between knots instead of running it for every pair (``radial.py``).

All weights and all other layers are the model's own modules. The result is the model's to rounding; that is tried when
a model is loaded, and a model that does not fit takes mace-torch's own way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from atomflow.potentials.compiled import available
from atomflow.potentials.mace.messages import Pairs, messages
from atomflow.potentials.mace.mixing import Kinds, Mixing, by_kind, kinds_of, only_mixes
from atomflow.potentials.mace.paths import has_paths, paths_of
from atomflow.potentials.mace.products import PolynomialProduct, has_polynomials
from atomflow.potentials.mace.radial import N_KNOTS, Places, interpolated
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
        if not has_paths(block.conv_tp) or not only_mixes(block.linear):
            return False
        if type(block).__name__ == _BLOCKS[0] and not only_mixes(block.skip_tp):
            return False
    return True


def sends_scalars(block: Any) -> bool:
    """Whether the features that an interaction sends are scalars."""
    return len(block.conv_tp.irreps_in1) == 1


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


def _strengths(block: Any, radial: Tensor, cutoff: Tensor | None) -> Tensor:
    strengths = block.conv_tp_weights(radial)
    return strengths if cutoff is None else strengths * cutoff


class ShorterMace:
    """Evaluates the energies of the atoms of a MACE that :func:`fits`."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.degrees = [ir.l for _, ir in model.interactions[0].conv_tp.irreps_in2]
        parity = torch.tensor([(-1.0) ** degree for degree in self.degrees for _ in range(2 * degree + 1)])
        self.parity = parity.to(next(model.parameters()))
        self.paths = [paths_of(block.conv_tp) for block in model.interactions]
        self.linear = [Mixing(block.linear) for block in model.interactions]
        skips = [block.skip_tp for block in model.interactions]
        self.skips = [Mixing(skip) if only_mixes(skip) else None for skip in skips]
        self.forms = [torch.from_numpy(paths.form).to(self.parity) for paths in self.paths]
        self.products = [
            PolynomialProduct(product) if has_polynomials(product) else product
            for product in model.products
        ]
        self._knots: Tensor | None = None
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
        compiled = vectors.device.type == "cpu" and available()
        layout = None if compiled else lay_out(first, second, len(node_attrs))
        lengths = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
        harmonics = model.spherical_harmonics(vectors)
        if layout is None:
            pairs = Pairs(first.numpy(), second.numpy(), len(node_attrs))
        else:
            spread = _Spread.apply(harmonics, self.parity, layout)
        radial = self._radial(lengths, node_attrs, first, second, compiled)
        features, collected, kinds = model.node_embedding(node_attrs), [], kinds_of(node_attrs)
        for number, (block, product) in enumerate(zip(model.interactions, self.products, strict=True)):
            strengths = radial(block)
            if layout is None:
                sums = self._collected(number, features, strengths, harmonics, pairs)
            elif sends_scalars(block):
                sums = self._laid_out(block, features, strengths, spread, layout)
            else:
                sums = self._usual(number, features, strengths, harmonics, first, second)
            message = self._mixed(number, sums, kinds)
            skip = None if type(block).__name__ == _BLOCKS[0] else self._skipped(number, features, node_attrs, kinds)
            features = product(node_feats=message.mT, sc=skip, node_attrs=node_attrs)
            collected.append(features)
        sources = collected[-1:] if len(model.readouts) == 1 else collected
        read = [readout(x, heads)[everyone, heads] for readout, x in zip(model.readouts, sources, strict=True)]
        pushed = self.repulsion and self.repulsion.node_energies(node_attrs, first, second, lengths)
        if pushed is not None:
            read.append(pushed)
        energies = model.scale_shift(torch.stack(read).sum(0), heads)
        isolated = model.atomic_energies_fn(node_attrs)[everyone, heads]
        return isolated.double() + energies.double()

    def _radial(
        self, lengths: Tensor, node_attrs: Tensor, first: Tensor, second: Tensor, compiled: bool
    ) -> Callable[[Any], Tensor]:
        """What gives the strengths (U, L·C) of a block's messages; from knots where a training has many pairs."""
        model = self.model
        alike = not hasattr(model.radial_embedding, "distance_transform")  # the same for all pairs of elements
        training = alike and next(model.parameters()).requires_grad
        if not (compiled and training and len(lengths) > 2 * N_KNOTS):
            edges = torch.stack((first, second))
            radial, cutoff = model.radial_embedding(lengths, node_attrs, edges, model.atomic_numbers)
            return lambda block: _strengths(block, radial, cutoff)
        if self._knots is None:
            self._knots = torch.linspace(0, 1, N_KNOTS).to(lengths)[:, None] * float(model.r_max)
            self._knots[0] = 1e-3 * self._knots[1]
        nobody = torch.zeros((2, N_KNOTS), dtype=torch.int64)
        radial, cutoff = model.radial_embedding(self._knots, node_attrs, nobody, model.atomic_numbers)
        places = Places(lengths, float(model.r_max) / (N_KNOTS - 1), N_KNOTS)
        return lambda block: interpolated(_strengths(block, radial, cutoff), lengths, places)

    def _mixed(self, number: int, sums: list[Tensor], kinds: Kinds) -> Tensor:
        """Messages (N, M, C) from what reaches each atom, of degree l (N, 2l + 1, paths · C)."""
        block, linear, skip = self.model.interactions[number], self.linear[number], self.skips[number]
        made = []
        for degree, each in enumerate(sums):
            message = each @ linear.weights(degree) / block.avg_num_neighbors
            if type(block).__name__ == _BLOCKS[0] and skip is not None:
                message = by_kind(message, skip.weights(degree), kinds)
            made.append(message)
        return torch.cat(made, 1)

    def _skipped(self, number: int, features: Tensor, node_attrs: Tensor, kinds: Kinds) -> Tensor:
        """What of the features is added to the new ones, laid out as e3nn has it."""
        block, skip = self.model.interactions[number], self.skips[number]
        if skip is None or len(block.skip_tp.irreps_out) > 1:
            return block.skip_tp(features, node_attrs)  # type: ignore[no-any-return]
        scalars = features[:, : block.skip_tp.irreps_in1[0].mul]
        return by_kind(scalars[:, None], skip.weights(0), kinds)[:, 0]

    def _collected(
        self, number: int, features: Tensor, strengths: Tensor, harmonics: Tensor, pairs: Pairs
    ) -> list[Tensor]:
        """What reaches each atom, of degree l (N, 2l + 1, paths to it · C), from the pairs themselves."""
        block, paths, form = self.model.interactions[number], self.paths[number], self.forms[number]
        n_atoms, n_paths = len(features), len(paths.rows)
        sent = block.linear_up(features)
        channels = sent.shape[1] // paths.n_features
        by_row = [part.view(n_atoms, channels, -1).mT
                  for part in sent.split([part.dim for part in block.conv_tp.irreps_in1], dim=1)]  # fmt: skip
        strengths = strengths.view(len(strengths), n_paths, channels)
        collected = messages(strengths, torch.cat(by_row, 1), harmonics @ form, pairs, paths)
        return [torch.cat([collected[:, start:stop] for start, stop in paths.rows if stop - start == 2 * degree + 1], 2)
                for degree in self.degrees]  # fmt: skip

    def _usual(
        self, number: int, features: Tensor, strengths: Tensor, harmonics: Tensor, first: Tensor, second: Tensor
    ) -> list[Tensor]:
        """The same by mace-torch's own tensor product, edge by edge in both directions."""
        block = self.model.interactions[number]
        senders, receivers = torch.cat((first, second)), torch.cat((second, first))
        both = torch.cat((harmonics, harmonics * self.parity))
        terms = block.conv_tp(block.linear_up(features)[senders], both, torch.cat((strengths, strengths)))
        sums = terms.new_zeros((len(features), terms.shape[1])).index_add(0, receivers, terms)
        parts = sums.split([part.dim for part in block.conv_tp.irreps_out], dim=1)
        rows = [part.view(len(sums), -1, stop - start).mT
                for part, (start, stop) in zip(parts, self.paths[number].rows, strict=True)]
        return [torch.cat([part for part in rows if part.shape[1] == 2 * degree + 1], 2) for degree in self.degrees]

    def _laid_out(
        self, block: Any, features: Tensor, strengths: Tensor, harmonics: Tensor, layout: Layout
    ) -> list[Tensor]:
        """The same for features that are scalars, by one matrix product an atom."""
        rows, width = layout.shape
        channels = block.conv_tp.irreps_in1.dim
        carried = block.linear_up(features).index_select(0, layout.senders).view(rows, width, 1, channels)
        terms = _Spread.apply(strengths, None, layout).view(rows, width, len(self.degrees), channels) * carried
        # One product for all (l, l'm) and the blocks l = l' picked from it: cheaper than a small product for every l.
        products = torch.bmm(harmonics.view(rows, width, -1).transpose(1, 2), terms.view(rows, width, -1))
        products = products.view(rows, -1, len(self.degrees), channels)
        sums, start = [], 0
        for index, degree in enumerate(self.degrees):
            sums.append(products[:, start : start + 2 * degree + 1, index])
            start += 2 * degree + 1
        return sums
