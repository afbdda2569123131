"""The layers of a MACE that mix channels, as plain matrices: e3nn's ``Linear`` and its product with the species.

Both act degree by degree on channels alone. The product with one-hot species (``FullyConnectedTensorProduct``) is a
matrix for each element; e3nn applies those of all elements to every atom and keeps one. Here every atom meets its own.
Weights stay the modules' own parameters; what e3nn multiplies them with is found by trial.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Kinds:
    """Atoms by element: ``order`` sorts N atoms, ``place`` undoes it, ``counts`` (Z) of each element."""

    order: Tensor
    place: Tensor
    counts: list[int]


def kinds_of(node_attrs: Tensor) -> Kinds:
    """From one-hot species (N, Z)."""
    elements = node_attrs.argmax(1)
    order = torch.argsort(elements, stable=True)
    return Kinds(order, torch.argsort(order), torch.bincount(elements, minlength=node_attrs.shape[1]).tolist())


@dataclass(frozen=True)
class _Block:
    """A piece of a layer's weights: from which of the inputs, where it lies, its shape and what multiplies it."""

    source: int
    span: slice
    shape: tuple[int, ...]
    factor: float


class Mixing:
    """A layer that :func:`only_mixes`; its inputs and outputs are numbered as in its irreps."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer
        given = layer.irreps_in if hasattr(layer, "irreps_in") else layer.irreps_in1
        self.blocks: list[list[_Block]] = [[] for _ in layer.irreps_out]
        ones, start = torch.ones_like(layer.weight), 0
        for each in layer.instructions:
            source = each.i_in if hasattr(each, "i_in") else each.i_in1
            size = int(torch.tensor(each.path_shape).prod())
            unit = ones.new_zeros((1, given.dim))
            unit[0, given.slices()[source].start] = 1
            species = () if hasattr(layer, "irreps_in") else (torch.eye(layer.irreps_in2.dim).to(unit)[:1],)
            with torch.no_grad():
                factor = float(layer(unit, *species, ones)[0, layer.irreps_out.slices()[each.i_out].start])
            self.blocks[each.i_out].append(_Block(source, slice(start, start + size), tuple(each.path_shape), factor))
            start += size

    def weights(self, number: int) -> Tensor:
        """What makes the output of that number: (inputs · C, C'), or (Z, C, C') with species."""
        parts = [self.layer.weight[b.span].view(b.shape) * b.factor for b in self.blocks[number]]
        return torch.cat(parts) if parts[0].dim() == 2 else parts[0].transpose(0, 1)


def only_mixes(layer: Any) -> bool:
    """Whether every output has its weights, and of a product with species only one input."""
    if not isinstance(getattr(layer, "weight", None), torch.nn.Parameter) or layer.weight.dim() != 1:
        return False
    if getattr(layer, "bias_numel", 0) or not all(getattr(each, "has_weight", True) for each in layer.instructions):
        return False
    sources = [each.i_out for each in layer.instructions]
    with_species = not hasattr(layer, "irreps_in")
    if with_species and (len(set(sources)) < len(sources) or len(layer.irreps_in2) != 1):
        return False
    return set(sources) == set(range(len(layer.irreps_out)))


def by_kind(rows: Tensor, weights: Tensor, kinds: Kinds) -> Tensor:
    """(N, W, C') of (N, W, C): every atom's rows times the matrix of its element, ``weights`` (Z, C, C')."""
    n_atoms, width, channels = rows.shape
    spans = rows.index_select(0, kinds.order).view(-1, channels).split([width * count for count in kinds.counts])
    made = torch.cat([span @ weights[z] for z, span in enumerate(spans) if len(span)])
    return made.view(n_atoms, width, -1).index_select(0, kinds.place)
