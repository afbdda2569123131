"""What every potential is to the rest of atomflow: an identity, an ASE calculator, and a batched model for the engine.

Nothing here imports torch: the names of torch types are for the reader and the type checker.

Conventions, everywhere in this package:

* lattices are rows: ``lattice[k]`` is the k-th lattice vector in Å, and ``images @ lattice`` is a translation;
* the edge list is full (i→j and j→i both stand in it), an atom may be its own neighbour through an image;
* stress is dE/d(strain)/V in eV/Å³, symmetric, positive under tension, as in ASE.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
import pydantic

from atomflow.config import StrictModel
from atomflow.errors import InputError, MissingPackageError, said
from atomflow.plain import named

if TYPE_CHECKING:
    import ase.calculators.calculator
    import torch

#: ``PotentialIdentity.elements`` of a potential that takes whatever it is given.
ANY_ELEMENT = ("any",)


class CommitteeMember(StrictModel):
    """A further model of the same kind, trained apart: a file inside the package's data, or an absolute path."""

    file: str
    sha256: str


class PotentialIdentity(StrictModel):
    """Which potential this is, to the bit. It goes into every run's manifest.

    ``sha256`` is the checksum of the file that holds the weights (of the parameters, for an analytic potential).
    ``source`` is where the file came from, ``reference`` what to cite, ``trained_for`` on what and for what;
    ``unvalidated`` names elements that it knows but was not tested on. ``committee`` are further models of the same
    making, whose disagreement is the doubt of this one (see ``committee.py``), and ``doubt_warn_eV_per_A`` is the
    disagreement beyond which a run deserves a warning.
    """

    name: str
    kind: Literal["mace", "chgnet", "pair"]
    sha256: str
    elements: tuple[str, ...]
    cutoff_A: float
    dtype: Literal["float32", "float64"]
    source: str
    reference: str
    trained_for: str
    unvalidated: tuple[str, ...] = ()
    committee: tuple[CommitteeMember, ...] = ()
    doubt_warn_eV_per_A: float | None = None

    @pydantic.model_serializer(mode="wrap")
    def _without_what_is_not_there(self, handler: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Potentials without a committee are written as they always were."""
        data: dict[str, Any] = handler(self)
        if not self.committee:
            data.pop("committee", None)
        if self.doubt_warn_eV_per_A is None:
            data.pop("doubt_warn_eV_per_A", None)
        return data

    def caution(self, numbers: np.ndarray) -> str | None:
        """One line for a cell that holds an element this potential was not validated for; else ``None``.

        A potential that takes whatever it is given knows no element from another, and of several says so.
        """
        from ase.data import chemical_symbols

        present = {chemical_symbols[z] for z in np.unique(np.asarray(numbers))}
        if self.elements == ANY_ELEMENT and len(present) > 1:
            return f"the potential {self.name} takes all atoms for the same, whatever their element: {self.trained_for}"
        doubtful = [symbol for symbol in self.unvalidated if symbol in present]
        if not doubtful:
            return None
        return f"the potential {self.name} was not validated for cells with {', '.join(doubtful)}: {self.trained_for}"

    def check_elements(self, numbers: np.ndarray) -> None:
        """Raise :class:`InputError` that names the elements this potential does not know."""
        from ase.data import chemical_symbols

        if self.elements == ANY_ELEMENT:
            return
        present = [chemical_symbols[z] for z in np.unique(np.asarray(numbers))]
        missing = [symbol for symbol in present if symbol not in self.elements]
        if missing:
            known = ", ".join(self.elements) if len(self.elements) <= 12 else f"{len(self.elements)} elements"
            raise InputError(f"the potential {self.name} does not know {', '.join(missing)}; it was made for {known}")


def check_potential_given(value: object) -> None:
    """Raise :class:`InputError` that says how to load a potential where something else was given in its place."""
    if hasattr(value, "check_elements") and hasattr(value, "identity"):
        return
    how = f"; atomflow.potentials.load({str(value)!r}) loads one" if isinstance(value, (str, os.PathLike)) else ""
    raise InputError(f"a loaded potential is wanted, not {said(value)}{how}")


def in_a_line(potential: Potential) -> str:
    """What a notebook shows of a loaded potential."""
    own = potential.identity
    knows = "any element" if own.elements == ANY_ELEMENT else (
        ", ".join(own.elements) if len(own.elements) <= 12 else f"{len(own.elements)} elements")
    knows += f" (not validated: {', '.join(own.unvalidated)})" if own.unvalidated else ""
    committee = f"; a committee of {len(own.committee) + 1}" if own.committee else ""
    return (f"<{type(potential).__name__} {named(own.model_dump())} on {potential.device}: {knows}; cutoff "
            f"{own.cutoff_A:g} Å{committee}>")


@dataclass(frozen=True)
class Edges:
    """A full neighbour list of a flat batch. E edges.

    Attributes:
        senders: (E,) int64 index of the atom an edge starts at.
        receivers: (E,) int64 index of the atom it ends at.
        images: (E, 3) float64 whole numbers. The vector of an edge is
            ``positions[receivers] - positions[senders] + images @ lattices[system of the sender]``.

    The list may hold edges longer than the cutoff (a skin); the model drops them or gives them exactly no weight.
    A new list is a new object: models keep what they derive from one for as long as they are given the same.
    """

    senders: torch.Tensor
    receivers: torch.Tensor
    images: torch.Tensor


@dataclass(frozen=True)
class Evaluation:
    """What a model says of a flat batch of S systems with N atoms altogether. Detached from autograd.

    Attributes:
        energy_eV: (S,) float64.
        forces_eV_per_A: (N, 3) float64.
        stress_eV_per_A3: (S, 3, 3) float64 = dE/d(strain)/V, tension positive; ``None`` when not asked for.
    """

    energy_eV: torch.Tensor
    forces_eV_per_A: torch.Tensor
    stress_eV_per_A3: torch.Tensor | None = None


class BatchModel(Protocol):
    """A potential bound to the atoms of one flat batch: species and ownership are fixed, positions are not."""

    cutoff_A: float
    device: torch.device
    dtype: torch.dtype
    needs_edges: bool

    def __call__(
        self, positions_A: torch.Tensor, lattices_A: torch.Tensor, edges: Edges | None, stress: bool
    ) -> Evaluation:
        """Energy, forces and, if asked, stress.

        Args:
            positions_A: (N, 3) float64, wrapped or not.
            lattices_A: (S, 3, 3) float64, rows.
            edges: the neighbour list where ``needs_edges``; ignored otherwise.
            stress: whether to compute the stress too.
        """
        ...


@runtime_checkable
class Potential(Protocol):
    """A loaded potential on one device in one precision."""

    @property
    def identity(self) -> PotentialIdentity: ...

    @property
    def device(self) -> torch.device: ...

    def check_elements(self, numbers: np.ndarray) -> None:
        """Raise :class:`InputError` that names an element the potential does not know."""
        ...

    def calculator(self) -> ase.calculators.calculator.Calculator:
        """A new ASE calculator: the model's own where it has one."""
        ...

    def with_dtype(self, dtype: str) -> Potential:
        """The same potential in another precision (itself, if it has that already)."""
        ...

    def batch_model(self, numbers: np.ndarray, system_index: np.ndarray, n_systems: int) -> BatchModel:
        """Bind to a flat batch: (N,) atomic numbers, (N,) ascending index of the system that owns each atom."""
        ...


def check_batch(numbers: np.ndarray, system_index: np.ndarray, n_systems: int) -> None:
    """Raise ``ValueError`` unless the batch is flat, grouped by system, and no system is empty."""
    numbers, system_index = np.asarray(numbers), np.asarray(system_index)
    if numbers.ndim != 1 or numbers.shape != system_index.shape:
        raise ValueError(f"numbers {numbers.shape} and system_index {system_index.shape} must be (N,) both")
    if not np.array_equal(np.unique(system_index), np.arange(n_systems)) or (np.diff(system_index) < 0).any():
        raise ValueError(f"system_index must ascend from 0 to {n_systems - 1} and leave no system without atoms")


def _torch() -> Any:
    try:
        import torch
    except ModuleNotFoundError:
        raise MissingPackageError("potentials need torch: pip install 'atomflow[md]'") from None
    return torch


def torch_dtype(dtype: str) -> Any:
    """``torch.float32`` or ``torch.float64`` for its name."""
    torch = _torch()
    if dtype not in ("float32", "float64"):
        raise InputError(f"the precision must be float32 or float64, not '{dtype}'")
    return torch.float32 if dtype == "float32" else torch.float64


def torch_device(device: str) -> Any:
    """The torch device of a name; ``auto`` is CUDA where there is one, else the CPU.

    Raises:
        InputError: CUDA was asked for and this machine or this torch has none, or the name is no device.
    """
    torch = _torch()
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError):
        raise InputError(f"'{device}' is no device; use auto, cpu or cuda") from None
    if resolved.type not in ("cpu", "cuda"):
        raise InputError(f"atomflow runs on cpu or cuda, not on '{device}'")
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise InputError("no CUDA device is available here; use --device cpu")
    return resolved
