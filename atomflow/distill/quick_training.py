"""``mace_run_train`` with a shorter forward pass: python -m atomflow.distill.quick_training [its options].

Three options more than mace_run_train's: ``--grow_from=FILE.mace.npz`` starts from the weights of that smaller
student, ``--optimizer=soap`` is a further optimiser (see :mod:`atomflow.distill.soap`), and ``--processes=N`` shares
every batch among N processes (see :mod:`atomflow.distill.shares`).

Training is mace-torch's own: data, loss, schedule, averages, checkpoints. Only the pass from positions to energy,
forces and stress of a ScaleShiftMACE takes the way of :mod:`atomflow.potentials.mace.shorter`, which gives the
same numbers to rounding in a half to a third of the time. Models that do not fit it are trained as they always were.

Whoever started it and reads its output may be killed outright: it then ends, too, for the checkpoints that it would go
on writing are those of the training to come.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.distributed import ProcessGroupGloo

from atomflow.distill import shares
from atomflow.distill.signals import end_with_reader
from atomflow.potentials.allocator import keep_freed_memory
from atomflow.potentials.mace.shorter import ShorterMace, fits

_GROW = "--grow_from="
_SOAP = "--optimizer=soap"
_PROCESSES = "--processes="


def each_pair_once(senders: Tensor, receivers: Tensor, unit_shifts: Tensor) -> Tensor:
    """(E,) which of the directed edges to keep so that of every pair of opposite ones exactly one is left.

    An edge of an atom to its own image has its opposite in the opposite image: the one into the positive half is kept.
    """
    a, b, c = unit_shifts.unbind(1)
    positive = (a > 0) | ((a == 0) & ((b > 0) | ((b == 0) & (c > 0))))
    return (senders < receivers) | ((senders == receivers) & positive)


def short_forward(model: Any, graph: dict[str, Tensor], training: bool, stress: bool) -> dict[str, Any]:
    """Energy (G,), forces (N, 3) and stress (G, 3, 3) of a batch of G graphs in mace-torch's own format and signs."""
    positions, owner, n_graphs = graph["positions"], graph["batch"], graph["ptr"].numel() - 1
    senders, receivers = graph["edge_index"]
    once = each_pair_once(senders, receivers, graph["unit_shifts"])
    first, second = senders[once], receivers[once]
    vectors = (positions[second] - positions[first] + graph["shifts"][once]).detach().requires_grad_(True)
    heads = graph["head"][owner] if "head" in graph else torch.zeros_like(owner)
    with torch.enable_grad():
        of_atoms = _shorter(model).node_energies(graph["node_attrs"], heads, first, second, vectors)
        energy = of_atoms.new_zeros(n_graphs).index_add(0, owner, of_atoms)
        (slope,) = torch.autograd.grad(energy.sum(), vectors, create_graph=training, retain_graph=training)
        forces = torch.zeros_like(positions).index_add(0, first, slope).index_add(0, second, -slope)
        answer: dict[str, Any] = dict.fromkeys(_UNASKED)
        answer.update(energy=energy.to(positions), node_energy=of_atoms.to(positions), forces=forces)
        if stress:
            outer = slope[:, :, None] * vectors[:, None, :]
            virials = slope.new_zeros((n_graphs, 3, 3)).index_add(0, owner[first], (outer + outer.mT) / 2)
            volumes = torch.linalg.det(graph["cell"].view(-1, 3, 3)).abs()
            answer.update(virials=-virials, stress=virials / volumes[:, None, None])
    return answer


_SHORTER: WeakKeyDictionary[Any, ShorterMace] = WeakKeyDictionary()


def _shorter(model: Any) -> ShorterMace:
    """The model's shorter way, laid out once; it reads the weights anew each time."""
    if model not in _SHORTER:
        _SHORTER[model] = ShorterMace(model)
    return _SHORTER[model]


#: What mace-torch's answer also holds and its training does not use.
_UNASKED = ("stress", "virials", "displacement", "hessian", "edge_forces", "atomic_virials", "atomic_stresses",
            "interaction_energy", "node_feats")  # fmt: skip


def install() -> None:
    """From now on every ScaleShiftMACE of this process that fits takes the shorter way."""
    from mace.modules.models import ScaleShiftMACE

    own = ScaleShiftMACE.forward

    def forward(
        self: Any, data: dict[str, Tensor], training: bool = False, compute_force: bool = True,
        compute_virials: bool = False, compute_stress: bool = False, **more: Any,
    ) -> dict[str, Any]:  # fmt: skip
        usual = compute_force and not any(more.values())
        if not usual or not fits(self):
            return own(self, data, training, compute_force, compute_virials, compute_stress, **more)
        return short_forward(self, data, training, compute_stress or compute_virials)

    setattr(ScaleShiftMACE, "forward", forward)  # noqa: B010  (a plain assignment is no type mypy accepts)


def install_growth(start: str) -> None:
    """From now on mace_run_train's model begins with the weights of the portable student ``start``, grown."""
    from mace.cli import run_train

    from atomflow.distill.growth import grow
    from atomflow.potentials.mace.files import load_portable

    own = run_train.configure_model

    def configure_model(*arguments: Any, **more: Any) -> Any:
        model, about = own(*arguments, **more)
        grow(load_portable(start), model)
        return model, about

    setattr(run_train, "configure_model", configure_model)  # noqa: B010


def install_soap() -> None:
    """From now on mace_run_train's model is trained with SOAP."""
    from mace.cli import run_train

    from atomflow.distill.soap import ShapedSoap, matrix_shapes

    configure, shapes = run_train.configure_model, {}

    def configure_model(*arguments: Any, **more: Any) -> Any:
        model, about = configure(*arguments, **more)
        shapes.update(matrix_shapes(model))
        return model, about

    def get_optimizer(arguments: Any, options: dict[str, Any]) -> ShapedSoap:
        return ShapedSoap(options["params"], arguments.lr, shapes)

    setattr(run_train, "configure_model", configure_model)  # noqa: B010
    setattr(run_train, "get_optimizer", get_optimizer)  # noqa: B010


def _take(option: str, words: list[str]) -> list[str]:
    """The values of ``option`` among ``words``, which keep all others."""
    values = [word.removeprefix(option) for word in words if word.startswith(option)]
    words[:] = [word for word in words if not word.startswith(option)]
    return values


def main() -> None:
    words = sys.argv[1:]
    helped = _take(shares.HELPER, words)
    processes = int((_take(_PROCESSES, words) or ["1"])[-1])
    if helped:
        _train(words, shares.helper(helped[-1]))
        return
    end_with_reader()
    with shares.helpers(words, processes) if processes > 1 else nullcontext() as group:
        _train(words, group)


def _train(words: list[str], group: ProcessGroupGloo | None) -> None:
    from mace.cli.run_train import main as run

    starts, soap = _take(_GROW, words), bool(_take(_SOAP, words))
    sys.argv[1:] = words
    keep_freed_memory()
    install()
    for start in starts:
        install_growth(start)
    if soap:
        install_soap()
    if group is not None:
        shares.install(group)
    run()


if __name__ == "__main__":
    main()
