"""SOAP for mace-torch's training: Adam in the eigenbasis of each weight matrix's gradients (Vyas et al. 2024).

The optimiser is pytorch-optimizer's; SOAP trains interatomic potentials in fewer passes than Adam (arXiv:2607.02499;
docs/distill.md has what was measured here). It needs to know which weights are matrices, and e3nn keeps the matrices
of a layer one after another in one long row. So it is given views of that row in the shapes that they mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from pytorch_optimizer.optimizer.soap import SOAP
from torch import Tensor, nn

#: gradients and curvature are averaged over some 20 and 100 steps, the bases renewed every 10
_SETTINGS: dict[str, Any] = {"betas": (0.95, 0.99), "precondition_frequency": 10, "weight_decay": 0.0}


def matrix_shapes(model: nn.Module) -> dict[Tensor, list[tuple[int, ...]]]:
    """The shapes of the matrices that lie one after another in each flat weight of e3nn's layers."""
    shapes: dict[Tensor, list[tuple[int, ...]]] = {}
    for module in model.modules():
        weight, instructions = getattr(module, "weight", None), getattr(module, "instructions", None)
        if not isinstance(weight, nn.Parameter) or weight.dim() != 1 or instructions is None:
            continue
        found = [tuple(each.path_shape) for each in instructions if getattr(each, "has_weight", True)]
        if sum(map(math.prod, found)) == weight.numel():
            shapes[weight] = found
    return shapes


class ShapedSoap(SOAP):
    """SOAP over the matrices that a model's parameters hold.

    Args:
        groups: torch's parameter groups; of their settings only the rate is taken.
        lr: rate of groups that have none.
        shapes: of :func:`matrix_shapes`; other parameters have the shape they have.
    """

    def __init__(
        self, groups: Iterable[dict[str, Any]], lr: float, shapes: dict[Tensor, list[tuple[int, ...]]]
    ) -> None:
        self.views: list[tuple[nn.Parameter, nn.Parameter, int]] = []
        viewed = []
        for group in groups:
            first = len(self.views)
            for parameter in group["params"]:
                self._look_at(parameter, shapes.get(parameter, [tuple(parameter.shape)]))
            viewed.append({"params": [view for _, view, _ in self.views[first:]], "lr": group.get("lr", lr)})
        super().__init__(viewed, lr=lr, **_SETTINGS)

    def _look_at(self, parameter: nn.Parameter, shapes: list[tuple[int, ...]]) -> None:
        start, flat = 0, parameter.data.view(-1)
        for shape in shapes:
            size = math.prod(shape)
            self.views.append((parameter, nn.Parameter(flat[start : start + size].view(shape)), start))
            start += size

    def zero_grad(self, set_to_none: bool = True) -> None:
        for parameter, view, _ in self.views:
            parameter.grad = view.grad = None

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        for parameter, view, start in self.views:
            if parameter.grad is not None:
                view.grad = parameter.grad.view(-1)[start : start + view.numel()].view(view.shape)
        return super().step(closure)
