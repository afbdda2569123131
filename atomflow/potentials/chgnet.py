"""CHGNet from the weights that come with its package, evaluated on flat batches from our own neighbour list.

Only the weight file of the ``chgnet`` package is read here, without its code and without pymatgen.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import io
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from atomflow.errors import InputError, MissingPackageError
from atomflow.potentials import trust
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
from atomflow.potentials.bonds import Bonds, undirected
from atomflow.potentials.chgnet_network import ChgnetNetwork
from atomflow.potentials.gradients import edge_vectors, forces_and_stress
from atomflow.potentials.registry import Entry

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

#: Elements that CHGNet has a slot for but saw in no training structure.
_UNTRAINED = ("Po", "At", "Rn", "Fr", "Ra")
_N_ELEMENTS = 94


@dataclass(frozen=True)
class ChgnetPotential:
    """CHGNet with its identity, on one device in one precision."""

    identity: PotentialIdentity
    network: ChgnetNetwork
    reference_energies_eV: torch.Tensor
    device: torch.device
    dtype: torch.dtype
    version: str

    def __repr__(self) -> str:
        return in_a_line(self)

    def check_elements(self, numbers: np.ndarray) -> None:
        self.identity.check_elements(numbers)

    def with_dtype(self, dtype: str) -> ChgnetPotential:
        if dtype == self.identity.dtype:
            return self
        precision = torch_dtype(dtype)
        network = copy.copy(self.network).to(self.device, precision)
        identity = self.identity.model_copy(update={"dtype": dtype})
        return replace(self, identity=identity, network=network, dtype=precision)

    def calculator(self) -> Calculator:
        """A new CHGNetCalculator (chgnet's own; float32 whatever the precision here). Imports chgnet and pymatgen."""
        with contextlib.redirect_stdout(io.StringIO()):
            from chgnet.model.dynamics import CHGNetCalculator
            from chgnet.model.model import CHGNet

            model = CHGNet.load(model_name=self.version, use_device=str(self.device), verbose=False)
            return CHGNetCalculator(model, use_device=str(self.device))

    def batch_model(self, numbers: np.ndarray, system_index: np.ndarray, n_systems: int) -> BatchModel:
        check_batch(numbers, system_index, n_systems)
        self.check_elements(numbers)
        return ChgnetBatch(self, np.array(numbers), np.array(system_index), n_systems)


class ChgnetBatch:
    """CHGNet bound to a flat batch. The undirected bonds of an edge list are kept until another list comes."""

    needs_edges = True

    def __init__(
        self, potential: ChgnetPotential, numbers: np.ndarray, system_index: np.ndarray, n_systems: int
    ) -> None:
        self.network = potential.network
        self.device, self.dtype = potential.device, potential.dtype
        self.cutoff_A = potential.identity.cutoff_A
        self.species = torch.as_tensor(numbers, dtype=torch.int64, device=self.device)
        self.system_index = torch.as_tensor(system_index, dtype=torch.int64, device=self.device)
        references = potential.reference_energies_eV.to(self.device)[self.species - 1]
        self.reference_eV = torch.zeros(n_systems, dtype=torch.float64, device=self.device)
        self.reference_eV.index_add_(0, self.system_index, references)
        self._seen: tuple[Edges, Bonds] | None = None

    def __call__(
        self, positions_A: torch.Tensor, lattices_A: torch.Tensor, edges: Edges | None, stress: bool
    ) -> Evaluation:
        if edges is None:
            raise ValueError("CHGNet needs a neighbour list")
        if self._seen is None or self._seen[0] is not edges:
            self._seen = (edges, undirected(edges))
        one_way = self._seen[1].as_edges()
        first, second, vectors = edge_vectors(positions_A, lattices_A, one_way, self.system_index, self.cutoff_A)
        leaf = vectors.detach().to(self.dtype).requires_grad_(True)
        with torch.enable_grad():
            energies = self.network.energies(self.species, first, second, leaf)
            (gradient,) = torch.autograd.grad(energies.sum(), leaf, allow_unused=True)
        gradient = torch.zeros_like(vectors) if gradient is None else gradient.double()
        energy = self.reference_eV.index_add(0, self.system_index, energies.detach().double())
        forces, stress_tensor = forces_and_stress(
            gradient, first, second, vectors, self.system_index, lattices_A if stress else None
        )
        return Evaluation(energy, forces, stress_tensor)


def load(name: str, known: Entry, *, device: str = "auto", dtype: str = "float32") -> ChgnetPotential:
    """CHGNet by its registry entry.

    Raises:
        MissingPackageError: the ``chgnet`` package, which brings the weights, is not installed.
        InputError: the weight file is not the one pinned in the registry.
    """
    from ase.data import chemical_symbols

    path = weight_file(str(known.version))
    sha256 = trust.file_sha256(path)
    if sha256 != known.sha256:
        raise InputError(f"{path} has sha256 {sha256}, not the {known.sha256} of {name}: reinstall the chgnet package")
    where, precision = torch_device(device), torch_dtype(dtype)
    saved = torch.load(path, map_location="cpu", weights_only=True)["model"]
    network = ChgnetNetwork(saved["model_args"], saved["state_dict"]).to(where, precision)
    references = saved["state_dict"]["composition_model.fc.weight"][0].double()
    identity = PotentialIdentity(
        name=name,
        kind="chgnet",
        sha256=sha256,
        elements=tuple(s for s in chemical_symbols[1 : _N_ELEMENTS + 1] if s not in _UNTRAINED),
        cutoff_A=network.cutoff_A,
        dtype="float32" if precision == torch.float32 else "float64",
        source=f"package chgnet {version('chgnet')}, {path.name}",
        reference=known.reference,
        trained_for=known.trained_for,
    )
    return ChgnetPotential(identity, network, references, where, precision, str(known.version))


def weight_file(model_version: str) -> Path:
    """Where the installed ``chgnet`` package keeps the weights of a version; the package is not imported."""
    spec = importlib.util.find_spec("chgnet")
    if spec is None or spec.origin is None:
        raise MissingPackageError("CHGNet's weights come with the package chgnet: pip install 'atomflow[md]'")
    files = sorted((Path(spec.origin).parent / "pretrained" / model_version).glob("*.pth.tar"))
    if len(files) != 1:
        raise InputError(f"the installed chgnet package has no weights of version {model_version}; install chgnet>=0.4")
    return files[0]
