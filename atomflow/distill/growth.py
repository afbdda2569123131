"""A larger student that begins with what a smaller one knows.

Training a wide network from nothing costs many epochs that a narrow one has already paid for. Here the weights of a
scalar MACE are laid into one with more channels, a higher degree of the spherical harmonics or a higher correlation, so
that both give the same energies: whatever is new listens to the old at once, with weights as they are drawn for a new
model, but the old does not listen to it before training says so (Chen, Goodfellow, Shlens, arXiv:1511.05641, widen
networks in this spirit). The new parts then learn from the first step, since the gradient of a zero weight is not zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from atomflow.errors import InputError
from atomflow.potentials.mace_scalar import fits


def grow(small: Any, large: Any) -> None:
    """Lay ``small``'s weights into ``large``, a freshly drawn ScaleShiftMACE, so that their energies agree to rounding.

    ``large`` is changed in place, its shift and scale and its zeros of energy included. A repulsion at short distance
    (:mod:`atomflow.potentials.repulsion`) is no weight: ``small``'s is left out.

    Raises:
        InputError: the models are not scalar MACEs, or ``large`` differs in more than channels, degree and correlation,
            or is smaller in one of them.
    """
    if not fits(small) or not fits(large):
        raise InputError("only students with scalar messages (hidden irreps such as 64x0e) can grow")
    old, new = small.state_dict(), large.state_dict()
    for key in ("atomic_numbers", "r_max", "num_interactions"):
        if not torch.equal(old[key].double(), new[key].double()):
            raise InputError(f"a student grows in channels, max_ell and correlation only; {key} differs")
    before, after = shape_of(small), shape_of(large)
    for name in ("channels", "degrees", "correlation"):
        if getattr(after, name) < getattr(before, name):
            raise InputError(f"the student has {getattr(after, name)} {name} where the one that it starts from has "
                             f"{getattr(before, name)}: it can grow, not shrink")
    grown = {key: _grown(key, value, old, new, before, after) for key, value in new.items()}
    large.load_state_dict(grown)


@dataclass(frozen=True)
class Shape:
    """What may grow of a scalar MACE; ``degrees`` counts l = 0 ... max_ell."""

    channels: int
    degrees: int
    correlation: int


def shape_of(model: Any) -> Shape:
    product = model.interactions[0].conv_tp
    contraction = model.products[0].symmetric_contractions.contractions[0]
    return Shape(int(product.irreps_in1.dim), len(product.irreps_in2), 1 + len(contraction.weights))


def _grown(
    key: str, drawn: Tensor, old: dict[str, Tensor], new: dict[str, Tensor], before: Shape, after: Shape
) -> Tensor:
    """The value of one entry of the larger model's state."""
    c, wide = before.channels, after.channels
    if ".contractions." in key:
        return _contraction(key, drawn, old, new, before, after)
    if key.endswith("output_mask") or key.startswith("pair_repulsion_fn."):
        return drawn  # the mask says which outputs the larger model has; a repulsion is added to what was trained
    had = old[key].to(drawn)
    if ".conv_tp_weights." in key and drawn.shape[1] == after.degrees * wide and _is_last(key, new):
        laid = drawn.clone().view(len(drawn), after.degrees, wide)
        laid[:, : before.degrees, :c] = had.view(len(drawn), before.degrees, c)
        return laid.view_as(drawn)
    if key == "node_embedding.linear.weight":  # (elements, channels), divided by √elements in both
        laid = drawn.clone().view(-1, wide)
        laid[:, :c] = had.view(-1, c)
        return laid.view_as(drawn)
    ratio = (wide / c) ** 0.5  # e3nn divides by the root of the number of inputs
    if key.endswith((".linear_up.weight", ".linear.weight")) and key.startswith(("interactions", "products")):
        laid, kept = drawn.clone().view(-1, wide, wide), had.view(-1, c, c)  # (degrees or 1, channels, channels)
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


def _is_last(key: str, state: dict[str, Tensor]) -> bool:
    """Whether this is the last layer of a radial network, whose outputs are (degrees · channels)."""
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
    prefix, _, name = key.partition(".contractions.0.")
    prefix += ".contractions.0."
    if not name.startswith("weights") or name.endswith("zeroed"):
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
