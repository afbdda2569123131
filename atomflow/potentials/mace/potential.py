"""MACE models evaluated on flat batches from our own neighbour list, without ASE in the loop.

A MACE energy depends on positions only through the edge vectors. So the vectors are formed here, in float64, cast to
the model's precision and handed over; the gradient of the energy with respect to them gives forces and
stress alike (see ``gradients.py``), so that stress costs no second pass and no strained copy of the graph.

On a CPU a model of the usual make takes a quicker way: compiled, without autograd, where numba is installed
(``dynamics.py``), and otherwise ``shorter.py``.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from atomflow.errors import InputError, nearest
from atomflow.potentials.base import (
    BatchModel,
    Edges,
    Evaluation,
    PotentialIdentity,
    check_batch,
    in_a_line,
    torch_device,
    torch_dtype,
)
from atomflow.potentials.bonds import undirected
from atomflow.potentials.gradients import edge_vectors, forces_and_stress
from atomflow.potentials.mace.arrays import Arrays
from atomflow.potentials.mace.dynamics import CompiledBatch, tried_arrays
from atomflow.potentials.mace.imports import mace_module
from atomflow.potentials.mace.shorter import ShorterMace, fits

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator


@dataclass(frozen=True)
class MacePotential:
    """A MACE module with its identity, frozen, on one device in one precision.

    ``head`` is the index of the readout head used (models trained on several datasets have several). ``shorter`` is
    the quicker way through the same model, where it has one.
    """

    identity: PotentialIdentity
    model: Any
    device: torch.device
    dtype: torch.dtype
    head: int = 0
    shorter: ShorterMace | None = None

    def __repr__(self) -> str:
        return in_a_line(self)

    @cached_property
    def arrays(self) -> Arrays | None:
        """The model for the compiled way, where it can take it; made when first asked for."""
        return None if self.shorter is None else tried_arrays(self.model, self.head, self.shorter)

    def check_elements(self, numbers: np.ndarray) -> None:
        self.identity.check_elements(numbers)

    def with_dtype(self, dtype: str) -> MacePotential:
        if dtype == self.identity.dtype:
            return self
        precision = torch_dtype(dtype)
        model = copy.deepcopy(self.model).to(precision)
        identity = self.identity.model_copy(update={"dtype": dtype})
        return replace(self, identity=identity, model=model, dtype=precision, shorter=_shorter_way(model))

    def calculator(self) -> Calculator:
        """A new MACECalculator (mace-torch's own) around this model."""
        head = head_names(self.model)[self.head]
        return mace_module("calculators").MACECalculator(
            models=self.model, device=str(self.device), default_dtype=self.identity.dtype, head=head
        )

    def batch_model(self, numbers: np.ndarray, system_index: np.ndarray, n_systems: int) -> BatchModel:
        check_batch(numbers, system_index, n_systems)
        self.check_elements(numbers)
        return MaceBatch(self, np.array(numbers), np.array(system_index), n_systems)


class MaceBatch:
    """A MACE bound to a flat batch: one-hot species, ownership and head are made once."""

    needs_edges = True

    def __init__(self, potential: MacePotential, numbers: np.ndarray, system_index: np.ndarray, n_systems: int) -> None:
        self.model, self.shorter = potential.model, potential.shorter
        self.device, self.dtype = potential.device, potential.dtype
        self.cutoff_A = potential.identity.cutoff_A
        self.n_systems = n_systems
        self.system_index = torch.as_tensor(system_index, dtype=torch.int64, device=self.device)
        table = self.model.atomic_numbers.cpu().numpy()
        one_hot = (numbers[:, None] == table[None, :]).astype(float)
        counts = np.bincount(system_index, minlength=n_systems)
        # On CUDA, choosing edges would wait for the device; edges beyond the cutoff weigh exactly nothing there.
        self._drop_long_edges = self.device.type == "cpu" or not ignores_long_edges(self.model)
        self._seen: tuple[Edges, Edges] | None = None
        self.compiled: CompiledBatch | None = None
        if potential.arrays is not None:
            self.compiled = CompiledBatch(potential.arrays, one_hot.argmax(1), system_index, n_systems)
        self._fixed = {
            "node_attrs": torch.as_tensor(one_hot, dtype=self.dtype, device=self.device),
            "positions": torch.zeros((len(numbers), 3), dtype=self.dtype, device=self.device),
            "batch": self.system_index,
            "ptr": torch.as_tensor(np.concatenate([[0], np.cumsum(counts)]), dtype=torch.int64, device=self.device),
            "head": torch.full((n_systems,), potential.head, dtype=torch.int64, device=self.device),
            "cell": torch.zeros((3 * n_systems, 3), dtype=self.dtype, device=self.device),
        }

    def __call__(
        self, positions_A: torch.Tensor, lattices_A: torch.Tensor, edges: Edges | None, stress: bool
    ) -> Evaluation:
        if edges is None:
            raise ValueError("MACE needs a neighbour list")
        if self.compiled is not None and self.shorter is not None:
            return self.compiled(positions_A, lattices_A, edges, stress)
        if self.shorter is not None:
            edges = self._one_way(edges)
        cutoff_A = self.cutoff_A if self._drop_long_edges else None
        senders, receivers, vectors = edge_vectors(positions_A, lattices_A, edges, self.system_index, cutoff_A)
        node_energy, gradient = self._energy_and_gradient(senders, receivers, vectors)
        energy = torch.zeros(self.n_systems, dtype=torch.float64, device=self.device)
        energy.index_add_(0, self.system_index, node_energy)
        forces, stress_tensor = forces_and_stress(
            gradient, senders, receivers, vectors, self.system_index, lattices_A if stress else None
        )
        return Evaluation(energy, forces, stress_tensor)

    def _one_way(self, edges: Edges) -> Edges:
        """Every pair once; kept until another list comes."""
        if self._seen is None or self._seen[0] is not edges:
            self._seen = (edges, undirected(edges).as_edges())
        return self._seen[1]

    def _energy_and_gradient(
        self, senders: torch.Tensor, receivers: torch.Tensor, vectors: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Energies of the atoms (N,) float64, and dE/d(edge vector) (E, 3) float64."""
        leaf = vectors.detach().to(self.dtype).requires_grad_(True)
        with torch.enable_grad():
            if self.shorter is not None:
                heads, one_hot = self._fixed["head"][self.system_index], self._fixed["node_attrs"]
                node_energy = self.shorter.node_energies(one_hot, heads, senders, receivers, leaf)
            else:
                # The model forms positions[receivers] - positions[senders] + shifts; with zero positions, the shifts.
                graph = {"edge_index": torch.stack((senders, receivers)), "shifts": leaf, "unit_shifts": leaf.detach()}
                node_energy = self.model({**self._fixed, **graph}, compute_force=False)["node_energy"]
            (gradient,) = torch.autograd.grad(node_energy.sum(), leaf, allow_unused=True)
        if gradient is None:  # no edge at all
            gradient = torch.zeros_like(leaf)
        return node_energy.detach().double(), gradient.double()


def head_names(model: Any) -> list[str]:
    """Names of the model's readout heads; one called Default where the model is older than heads."""
    return list(getattr(model, "heads", None) or ["Default"])


def choose_head(model: Any, head: str | None, where: str) -> int:
    """Index of the head asked for; without a name, the only one or the one called default."""
    names = head_names(model)
    if head is not None:
        if head not in names:
            raise InputError(f"{where} has no head '{head}'{nearest(head, names)}; it has {', '.join(names)}")
        return names.index(head)
    if len(names) == 1:
        return 0
    for index, name in enumerate(names):
        if name.lower() == "default":
            return index
    raise InputError(f"{where} has several heads ({', '.join(names)}); choose one as {where}#{names[0]}")


def ignores_long_edges(model: Any) -> bool:
    """Whether an edge longer than the cutoff changes neither the energies nor their gradient, to the last bit.

    Radial features carry the cutoff, which is exactly zero beyond it, and the radial networks have no bias; but a
    model may be of another make, so it is tried: two atoms with and without an edge longer than the cutoff.
    """
    near = torch.tensor([[0.3, 0.4, 1.8], [-0.3, -0.4, -1.8]])
    far = torch.tensor([[0.2, 0.1, 1.0], [-0.2, -0.1, -1.0]]) * 1.2 * float(model.r_max)
    there, back = torch.tensor([0, 1]), torch.tensor([1, 0])
    without, _ = _probe(model, near, there, back)
    with_, gradient = _probe(model, torch.cat([near, far]), there.repeat(2), back.repeat(2))
    return bool(torch.equal(without, with_) and (gradient[2:] == 0).all())


def probe_energies(model: Any) -> torch.Tensor:
    """Energies (2,) of two atoms joined by four edges: equal for equal models."""
    vectors = torch.tensor([[0.3, 0.4, 1.8], [-0.3, -0.4, -1.8], [2.1, -0.5, 0.2], [-2.1, 0.5, -0.2]])
    return _probe(model, vectors, torch.tensor([0, 1, 0, 1]), torch.tensor([1, 0, 1, 0]))[0]


def _probe(
    model: Any, vectors: torch.Tensor, senders: torch.Tensor, receivers: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Energies of two atoms, of the first and the last element, joined by E edges, and dE/d(vectors) (E, 3)."""
    one_hot = _two_atoms(model)
    leaf = vectors.to(one_hot).requires_grad_(True)
    zero = torch.zeros(1, dtype=torch.int64, device=one_hot.device)
    data = {
        "node_attrs": one_hot,
        "positions": one_hot.new_zeros((2, 3)),
        "edge_index": torch.stack((senders, receivers)).to(one_hot.device),
        "shifts": leaf,
        "unit_shifts": leaf.detach(),
        "cell": one_hot.new_zeros((3, 3)),
        "batch": zero.repeat(2),
        "ptr": torch.tensor([0, 2], device=one_hot.device),
        "head": zero,
    }
    energies = model(data, compute_force=False)["node_energy"]
    (gradient,) = torch.autograd.grad(energies.sum(), leaf)
    return energies.detach(), gradient


def from_module(
    model: Any, *, name: str, sha256: str, source: str, device: str = "auto", dtype: str = "float32",
    head: str | None = None, reference: str = "", trained_for: str = "", unvalidated: tuple[str, ...] = (),
) -> MacePotential:
    """A MACE module as a potential: moved, cast, frozen (in place) and identified."""
    from ase.data import chemical_symbols

    for attribute in ("atomic_numbers", "r_max", "interactions"):
        if not hasattr(model, attribute):
            raise InputError(f"{source} holds a {type(model).__name__}, which is no MACE model")
    where, precision = torch_device(device), torch_dtype(dtype)
    if where.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
    model = model.to(device=where, dtype=precision).eval().requires_grad_(False)
    identity = PotentialIdentity(
        name=name,
        kind="mace",
        sha256=sha256,
        elements=tuple(chemical_symbols[int(z)] for z in model.atomic_numbers),
        cutoff_A=float(model.r_max),
        dtype="float32" if precision == torch.float32 else "float64",
        source=source,
        reference=reference,
        trained_for=trained_for,
        unvalidated=unvalidated,
    )
    return MacePotential(identity, model, where, precision, choose_head(model, head, name), _shorter_way(model))


def _shorter_way(model: Any) -> ShorterMace | None:
    """The quicker way through the model on a CPU, if there is one and it agrees with the model on a trial."""
    parameter = next(model.parameters())
    if parameter.device.type != "cpu" or not fits(model):
        return None
    shorter = ShorterMace(model)
    first, second = torch.tensor([0, 0, 1, 1, 0]), torch.tensor([1, 1, 1, 1, 0])
    directions = torch.tensor([[3.0, 4, 0], [-2, 3, 6], [4, -7, 4], [1, 2, -2], [-6, -2, 3]])
    lengths = torch.tensor([0.35, 0.5, 0.6, 0.75, 0.9]) * float(model.r_max)
    vectors = (directions / directions.norm(dim=1, keepdim=True) * lengths[:, None]).to(parameter)
    both_ways = torch.cat((vectors, -vectors)), torch.cat((first, second)), torch.cat((second, first))
    energies, gradient = _probe(model, *both_ways)
    leaf = vectors.clone().requires_grad_(True)
    ours = shorter.node_energies(_two_atoms(model), torch.zeros(2, dtype=torch.int64), first, second, leaf)
    (slope,) = torch.autograd.grad(ours.sum(), leaf)
    forth, back = gradient.chunk(2)
    same_slope = (slope - (forth - back)).abs().max() <= 1e-4 * slope.abs().max()
    return shorter if bool(same_slope) and torch.allclose(ours, energies.double(), rtol=1e-5, atol=1e-6) else None


def _two_atoms(model: Any) -> torch.Tensor:
    """One-hot species (2, Z) of an atom of the model's first element and one of its last."""
    one_hot = torch.zeros((2, len(model.atomic_numbers))).to(next(model.parameters()))
    one_hot[0, 0] = one_hot[1, -1] = 1
    return one_hot
