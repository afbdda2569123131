"""A larger student that begins with what a smaller one knows.

Training a wide network from nothing costs many epochs that a narrow one has already paid for. Here the weights of a
MACE are laid into one with more channels, a higher degree of the spherical harmonics, a higher correlation or features
of a higher degree (vectors beside scalars), so that both give the same energies: whatever is new listens to the old at
once, with weights as they are drawn for a new model, but the old does not listen to it before training says so (Chen,
Goodfellow, Shlens, arXiv:1511.05641, widen networks in this spirit). The new parts then learn from the first step,
since the gradient of a zero weight is not zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from atomflow.errors import InputError
from atomflow.potentials.mace.shorter import fits


def grow(small: Any, large: Any) -> None:
    """Lay ``small``'s weights into ``large``, a freshly drawn ScaleShiftMACE, so that their energies agree to rounding.

    ``large`` is changed in place, its shift and scale and its zeros of energy included. A repulsion at short distance
    (:mod:`atomflow.potentials.repulsion`) is no weight: ``small``'s is left out.

    Raises:
        InputError: the models are no MACEs with equally many channels of each degree, or ``large`` differs in more than
            channels, degrees and correlation, or is smaller in one of them.
    """
    if not fits(small) or not fits(large):
        raise InputError("only students with hidden irreps such as 64x0e or 64x0e+64x1o can grow")
    old, new = small.state_dict(), large.state_dict()
    for key in ("atomic_numbers", "r_max", "num_interactions"):
        if not torch.equal(old[key].double(), new[key].double()):
            raise InputError("a student grows in channels, message_degree, max_ell and correlation only; "
                             f"{key} differs")
    before, after = shape_of(small), shape_of(large)
    for name in ("channels", "message_degree", "max_ell", "correlation"):
        if getattr(after, name) < getattr(before, name):
            raise InputError(f"the student has {getattr(after, name)} {name} where the one that it starts from has "
                             f"{getattr(before, name)}: it can grow, not shrink")
    both = [(_paths(one), _paths(other)) for one, other in zip(small.interactions, large.interactions, strict=True)]
    grown = {key: _grown(key, value, old, new, before, after, both) for key, value in new.items()}
    large.load_state_dict(grown)


@dataclass(frozen=True)
class Shape:
    """What may grow of a MACE, in the terms of a student's configuration."""

    channels: int
    message_degree: int
    max_ell: int
    correlation: int


def shape_of(model: Any) -> Shape:
    product = model.interactions[-1].conv_tp
    contraction = model.products[0].symmetric_contractions.contractions[0]
    return Shape(
        int(product.irreps_in1[0].mul), len(product.irreps_in1) - 1, len(product.irreps_in2) - 1,
        1 + len(contraction.weights),
    )  # fmt: skip


def _paths(block: Any) -> list[tuple[int, int, int]]:
    """The degrees that each path of an interaction joins: of features, of harmonics and of the message."""
    product = block.conv_tp
    return [(product.irreps_in1[each.i_in1].ir.l, product.irreps_in2[each.i_in2].ir.l,
             product.irreps_out[each.i_out].ir.l) for each in product.instructions]


def _grown(
    key: str, drawn: Tensor, old: dict[str, Tensor], new: dict[str, Tensor], before: Shape, after: Shape,
    both: list[tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]],
) -> Tensor:
    """The value of one entry of the larger model's state."""
    c, wide = before.channels, after.channels
    if ".contractions." in key:
        return _contraction(key, drawn, old, new, before, after)
    if key.endswith("output_mask") or key.startswith("pair_repulsion_fn.") or "._w3j_" in key:
        return drawn  # which outputs the larger model has, couplings; a repulsion is added to what was trained
    had = old[key].to(drawn)
    if key.startswith("interactions."):
        paths, more = both[int(key.split(".")[1])]
        if ".conv_tp_weights." in key and drawn.shape[1] == len(more) * wide and _is_last(key, new):
            laid = drawn.clone().view(len(drawn), len(more), wide)
            laid[:, [more.index(path) for path in paths], :c] = had.view(len(drawn), len(paths), c)
            return laid.view_as(drawn)
        if key.endswith(".linear.weight"):
            return _of_paths(drawn, had, paths, more, c, wide)
    if key == "node_embedding.linear.weight":  # (elements, channels), divided by √elements in both
        laid = drawn.clone().view(-1, wide)
        laid[:, :c] = had.view(-1, c)
        return laid.view_as(drawn)
    ratio = (wide / c) ** 0.5  # e3nn divides by the root of the number of inputs
    if key.endswith((".linear_up.weight", ".linear.weight")) and key.startswith(("interactions", "products")):
        laid, kept = drawn.clone().view(-1, wide, wide), had.view(-1, c, c)  # (degrees, channels, channels)
        laid[: len(kept), c:, :c] = 0
        laid[: len(kept), :c, :c] = kept * ratio
        return laid.view_as(drawn)
    if key.endswith(".skip_tp.weight"):  # (degrees or 1, channels, elements, channels)
        elements = new["node_embedding.linear.weight"].numel() // wide
        laid, kept = drawn.clone().view(-1, wide, elements, wide), had.view(-1, c, elements, c)
        laid[: len(kept), c:, :, :c] = 0
        laid[: len(kept), :c, :, :c] = kept * ratio
        return laid.view_as(drawn)
    if key.startswith("readouts") and had.numel() != drawn.numel():  # (channels, outputs)
        laid = torch.zeros_like(drawn).view(wide, -1)
        laid[:c] = had.view(c, -1) * ratio
        return laid.view_as(drawn)
    return had.view_as(drawn)


def _of_paths(
    drawn: Tensor, had: Tensor, paths: list[tuple[int, int, int]], more: list[tuple[int, int, int]], c: int, wide: int
) -> Tensor:
    """The layer that mixes what came along the paths: for each degree (paths to it · channels, channels)."""
    laid = drawn.clone()
    start = begun = 0
    for degree in sorted({path[2] for path in more}):
        ours, theirs = ([path for path in each if path[2] == degree] for each in (more, paths))
        stop, end = start + len(ours) * wide**2, begun + len(theirs) * c**2
        if theirs:
            part, kept = laid[start:stop].view(len(ours), wide, wide), had[begun:end].view(len(theirs), c, c)
            part[:, :, :c] = 0
            ratio = (len(ours) * wide / (len(theirs) * c)) ** 0.5
            part[[ours.index(path) for path in theirs], :c, :c] = kept * ratio
        start, begun = stop, end
    return laid


def _is_last(key: str, state: dict[str, Tensor]) -> bool:
    """Whether this is the last layer of a radial network, whose outputs are (paths · channels)."""
    prefix, _, rest = key.rpartition(".layer")
    number = int(rest.partition(".")[0])
    return f"{prefix}.layer{number + 1}.weight" not in state


def _contraction(
    key: str, drawn: Tensor, old: dict[str, Tensor], new: dict[str, Tensor], before: Shape, after: Shape
) -> Tensor:
    """Weights (elements, couplings, channels) of the products of ν messages; couplings are matched by their tensors.

    The couplings U of max_ell's larger basis hold those of the smaller one as a corner; a coupling that reaches beyond
    the corner is new. mace-torch stores the weights of the highest ν as weights_max, of the others as weights.0, .1
    and so on downwards.
    """
    prefix, _, rest = key.partition(".contractions.")
    number, _, name = rest.partition(".")
    prefix += f".contractions.{number}."
    if not name.startswith("weights") or name.endswith("zeroed") or int(number) > before.message_degree:
        return drawn
    order = after.correlation if name == "weights_max" else after.correlation - 1 - int(name.rpartition(".")[2])
    laid = drawn.clone()
    laid[..., : before.channels] = 0
    if order > before.correlation:
        return laid
    place = "weights_max" if order == before.correlation else f"weights.{before.correlation - 1 - order}"
    had = old[prefix + place].to(drawn)
    for coupling, match in enumerate(_matches(old, new, prefix, order)):
        laid[:, match, : before.channels] = had[:, coupling]
    return laid


def _matches(old: dict[str, Tensor], new: dict[str, Tensor], prefix: str, order: int) -> list[int]:
    """For each coupling of the smaller model the number of the same coupling in the larger one."""
    small, large = (state[f"{prefix}U_matrix_{order}"].double() for state in (old, new))
    corner = large[tuple(slice(0, size) for size in small.shape[:-1])].reshape(-1, large.shape[-1])
    wanted = small.reshape(-1, small.shape[-1])
    found = []
    for coupling in range(wanted.shape[1]):
        distance = (corner - wanted[:, coupling : coupling + 1]).abs().amax(dim=0)
        best = int(distance.argmin())
        if distance[best] > 1e-6:
            raise InputError(f"coupling {coupling} of {order} messages has no counterpart in the larger student")
        found.append(best)
    return found
