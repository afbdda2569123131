"""Doubt of a potential: how far further models of the same making, trained apart, disagree about the force on an atom.

The force spread of atom i over the M members of a committee, the potential itself being one of them, is

    s_i = sqrt( Σ_m |F_im − F̄_i|² / (M − 1) ),   F̄_i = Σ_m F_im / M,   in eV/Å,

the standard deviation of the force vector. It is no error: members that learnt the same mistake agree on it. How well
it ranks true errors is measured (``atomflow potential doubt --labelled``), not assumed.

A potential carries its committee in its identity (files and checksums); the models are opened only when asked for.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from atomflow.errors import InputError
from atomflow.potentials.base import ANY_ELEMENT, BatchModel, CommitteeMember, Edges, Potential

if TYPE_CHECKING:
    import torch

    from atomflow.cell import Cell

COMMITTEE_FILE = "committee.json"
_FORMAT = "atomflow-committee"


def with_committee(
    potential: Any, members: Sequence[CommitteeMember], doubt_warn_eV_per_A: float | None = None
) -> Any:
    """The same potential, its identity naming these further members."""
    changed = {"committee": tuple(members), "doubt_warn_eV_per_A": doubt_warn_eV_per_A}
    named = copy.copy(potential)
    object.__setattr__(named, "identity", potential.identity.model_copy(update=changed))
    return named


def members_of_files(files: Sequence[str | Path]) -> tuple[CommitteeMember, ...]:
    """Members for model files of the user's; :class:`InputError` names one that is not there."""
    from atomflow.potentials.trust import file_sha256

    members = []
    for file in files:
        path = Path(file).expanduser()
        if not path.is_file():
            raise InputError(f"there is no file {path} for the committee")
        members.append(CommitteeMember(file=str(path.resolve()), sha256=file_sha256(path)))
    return tuple(members)


def open_members(potential: Potential) -> tuple[Potential, ...]:
    """The further models of a potential, on its device and in its precision; empty where it has no committee.

    Raises:
        InputError: a file is gone, has changed, or does not know the elements the potential knows.
    """
    identity = potential.identity
    opened = tuple(_open(member, identity.name, str(potential.device), identity.dtype) for member in identity.committee)
    for other in opened:
        missing = set(identity.elements) - set(other.identity.elements) - {*ANY_ELEMENT}
        if missing:
            raise InputError(f"the committee's member {other.identity.name} does not know "
                             f"{', '.join(sorted(missing))}, which {identity.name} knows")
    return opened


@lru_cache(maxsize=16)
def _open(member: CommitteeMember, name: str, device: str, dtype: str) -> Potential:
    from atomflow.potentials.mace.files import load_file
    from atomflow.potentials.trust import file_sha256

    path = Path(member.file)
    path = path if path.is_absolute() else Path(__file__).with_name("data") / path
    if not path.is_file():
        raise InputError(f"the committee of {name} is not whole: there is no file {path}")
    if file_sha256(path) != member.sha256:
        raise InputError(f"{path} is not the committee's member that {name} names (checksum)")
    return load_file(path, device=device, dtype=dtype)


class CommitteeBatch:
    """The further members of a committee bound to one flat batch, as :class:`BatchModel` is.

    Args:
        others: the members besides the potential itself.
        cutoff_A: reach of the potential itself, for which neighbour lists are made.
    """

    def __init__(
        self, others: Sequence[Potential], cutoff_A: float, numbers: np.ndarray, system_index: np.ndarray,
        n_systems: int,
    ) -> None:
        if not others:
            raise ValueError("a committee needs a member besides the potential itself")
        self._models: list[BatchModel] = [each.batch_model(numbers, system_index, n_systems) for each in others]
        self._cutoff_A, self._owner = cutoff_A, np.array(system_index)

    def forces(
        self, positions_A: torch.Tensor, lattices_A: torch.Tensor, edges: Edges | None
    ) -> list[torch.Tensor]:
        """(N, 3) float64 forces of each further member; ``edges`` as the potential itself was given them."""
        return [model(positions_A, lattices_A, self._edges(model, positions_A, lattices_A, edges), False)
                .forces_eV_per_A.double() for model in self._models]

    def spread(
        self, positions_A: torch.Tensor, lattices_A: torch.Tensor, edges: Edges | None, forces_eV_per_A: torch.Tensor
    ) -> torch.Tensor:
        """(N,) force spread in eV/Å; ``forces_eV_per_A`` (N, 3) are those of the potential itself, known already."""
        import torch

        forces = [forces_eV_per_A.double(), *self.forces(positions_A, lattices_A, edges)]
        return spread_of(torch.stack(forces))

    def _edges(
        self, model: BatchModel, positions_A: torch.Tensor, lattices_A: torch.Tensor, edges: Edges | None
    ) -> Edges | None:
        if not model.needs_edges:
            return None
        if edges is not None and model.cutoff_A <= self._cutoff_A:
            return edges
        from atomflow.potentials.edges import build_edges

        where = positions_A.cpu().numpy(), lattices_A.cpu().numpy()
        return build_edges(*where, self._owner, model.cutoff_A, model.device)


def spread_of(forces_eV_per_A: Any) -> Any:
    """(M, N, 3) forces of M members → (N,) spread, the standard deviation of the force vector with M − 1 below."""
    off = forces_eV_per_A - forces_eV_per_A.mean(0)
    return ((off * off).sum((0, 2)) / (len(forces_eV_per_A) - 1)) ** 0.5


def force_spread(potential: Potential, cell: Cell, others: Sequence[Potential] | None = None) -> np.ndarray:
    """(N,) force spread of a cell in eV/Å.

    Raises:
        InputError: the potential has no committee, or its committee cannot be opened.
    """
    forces = committee_forces(potential, [cell.numbers], [cell.positions_A], [cell.lattice_A], others)
    return np.asarray(spread_of(forces))


def committee_forces(
    potential: Potential, numbers: Sequence[np.ndarray], positions_A: Sequence[np.ndarray],
    lattices_A: Sequence[np.ndarray], others: Sequence[Potential] | None = None,
) -> np.ndarray:
    """(M, N, 3) forces of all members on a batch of systems, N atoms altogether; first those of the potential itself.

    Args:
        others: the further members, if they are open already.
    """
    from atomflow.potentials.evaluate import evaluate_cells

    others = members_or_refuse(potential) if others is None else others
    given = list(numbers), list(positions_A), list(lattices_A)
    return np.stack([evaluate_cells(each, *given, stress=False).forces_eV_per_A.cpu().numpy()
                     for each in (potential, *others)])


def members_or_refuse(potential: Potential) -> tuple[Potential, ...]:
    """The further members; :class:`InputError` where there are none."""
    others = open_members(potential)
    if not others:
        raise InputError(f"the potential {potential.identity.name} has no committee, so nothing can be said of its "
                         f"doubt; give further models with --committee, or train some (committee: 3)")
    return others


# --- a folder that `atomflow potential train` wrote ------------------------------------------------------------------


def write_committee(folder: str | Path, leader: str, others: Sequence[str]) -> Path:
    """``committee.json``: which portable model of ``folder`` is the potential, and which are its further members."""
    from atomflow.potentials.trust import file_sha256

    folder = Path(folder)

    def facts(name: str) -> dict[str, str]:
        return {"file": name, "sha256": file_sha256(folder / name)}

    data = {"format": _FORMAT, "format_version": 1, "leader": facts(leader), "members": [facts(k) for k in others],
            "doubt_warn_eV_per_A": None}
    return _write(folder / COMMITTEE_FILE, data)


def set_limit(folder: str | Path, doubt_warn_eV_per_A: float) -> Path:
    """Keep a measured limit in the folder of a trained committee, for every run to come."""
    path = Path(folder) / COMMITTEE_FILE
    return _write(path, {**_read(path), "doubt_warn_eV_per_A": doubt_warn_eV_per_A})


def load_folder(folder: str | Path, device: str = "auto", dtype: str = "float32") -> Potential:
    """The student in a folder that ``atomflow potential train`` wrote, with its committee if it has one."""
    from atomflow.potentials.mace.files import load_file

    folder = Path(folder)
    if not (folder / COMMITTEE_FILE).exists():
        files = sorted(folder.glob("*.mace.npz"))
        if len(files) != 1:
            raise InputError(f"{folder} holds {len(files) or 'no'} trained models (.mace.npz); give the file you want")
        return load_file(files[0], device=device, dtype=dtype)
    data = _read(folder / COMMITTEE_FILE)
    leader = folder / data["leader"]["file"]
    if not leader.is_file():
        raise InputError(f"{folder} names {leader.name}, which is not there; train it again")
    members = [CommitteeMember(file=str((folder / each["file"]).resolve()), sha256=each["sha256"])
               for each in data["members"]]
    loaded = load_file(leader, device=device, dtype=dtype)
    return with_committee(loaded, members, data["doubt_warn_eV_per_A"])  # type: ignore[no-any-return]


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text())
        if data["format"] != _FORMAT or data["format_version"] != 1:
            raise InputError(f"{path} is no committee of a version that this atomflow reads")
        data["leader"]["file"], data["members"], data["doubt_warn_eV_per_A"]
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path} does not describe a committee; train it again") from None
    return dict(data)


def _write(path: Path, data: dict[str, Any]) -> Path:
    import os

    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(data, indent=2, allow_nan=False) + "\n")
    os.replace(partial, path)
    return path
