"""The flat state of a batch: all atoms of all systems one after another, float64, on one device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch

from atomflow.cell import Cell
from atomflow.errors import InputError
from atomflow.md.random import VELOCITIES, generator
from atomflow.units import BOLTZMANN_EV_PER_K, KINETIC_EV


@dataclass
class State:
    """S systems with N atoms altogether. Steps replace tensors; they do not write into them.

    Attributes:
        numbers: (N,) int64 atomic numbers.
        masses_amu: (N,).
        system_index: (N,) int64, ascending: the system that owns each atom.
        counts: (S,) int64 atoms of each system.
        free: (N,) float64, 1 for an atom that moves and 0 for one that is held where it is.
        positions_A: (N, 3) Cartesian, never wrapped.
        velocities_A_per_fs: (N, 3).
        lattices_A: (S, 3, 3) lattice vectors as rows.
        energies_eV: (S,) potential energy.
        forces_eV_per_A: (N, 3).
        stresses_eV_per_A3: (S, 3, 3) potential part, tension positive; zero where it is not computed (nve, nvt).
        heat_eV: (S,) energy that the thermostat has put in since the start.
        work_eV: (S,) enthalpy that the barostat has put in since the start.
        chain: (S, 2, M) positions and velocities (1/fs) of the Nosé–Hoover chain; M = 0 without one.
        step: steps done since the start of equilibration.
        cells_sha256: (S,) checksum of the cell that each system began as; with seed and temperature it keys the noise.
    """

    numbers: torch.Tensor
    masses_amu: torch.Tensor
    system_index: torch.Tensor
    counts: torch.Tensor
    free: torch.Tensor
    positions_A: torch.Tensor
    velocities_A_per_fs: torch.Tensor
    lattices_A: torch.Tensor
    energies_eV: torch.Tensor
    forces_eV_per_A: torch.Tensor
    stresses_eV_per_A3: torch.Tensor
    heat_eV: torch.Tensor
    work_eV: torch.Tensor
    chain: torch.Tensor
    step: int = 0
    cells_sha256: tuple[str, ...] = ()

    @property
    def n_systems(self) -> int:
        return len(self.counts)

    @property
    def device(self) -> torch.device:
        return self.positions_A.device

    def sum_atoms(self, values: torch.Tensor) -> torch.Tensor:
        """(N, ...) → (S, ...): the sum over each system's atoms, in the atoms' order."""
        total = torch.zeros((self.n_systems, *values.shape[1:]), dtype=values.dtype, device=values.device)
        return total.index_add_(0, self.system_index, values)

    @property
    def degrees_of_freedom(self) -> torch.Tensor:
        """(S,) 3N − 3, for the centre of mass stands still; three for each moving atom where some are held."""
        moving = self.sum_atoms(self.free)
        return 3 * moving - torch.where(moving < self.counts, 0.0, 3.0)

    def kinetic_eV(self) -> torch.Tensor:
        """(S,) kinetic energies."""
        squares = (self.velocities_A_per_fs * self.velocities_A_per_fs).sum(1)
        return 0.5 * KINETIC_EV * self.sum_atoms(self.masses_amu * squares)

    def temperature_K(self) -> torch.Tensor:
        """(S,) instantaneous temperatures 2K / (degrees of freedom × k), those of the moving atoms."""
        return 2 * self.kinetic_eV() / (self.degrees_of_freedom * BOLTZMANN_EV_PER_K)

    def volume_A3(self) -> torch.Tensor:
        """(S,) volumes."""
        return torch.linalg.det(self.lattices_A)

    def pressure_tensor_eV_per_A3(self) -> torch.Tensor:
        """(S, 3, 3) internal pressure Σ m v⊗v / V − stress; positive when the system pushes outwards."""
        v = self.velocities_A_per_fs
        kinetic = self.sum_atoms(KINETIC_EV * self.masses_amu[:, None, None] * v[:, :, None] * v[:, None, :])
        return kinetic / self.volume_A3()[:, None, None] - self.stresses_eV_per_A3

    def without_drift(self, velocities: torch.Tensor) -> torch.Tensor:
        """(N, 3) velocities less the centre-of-mass velocity of each system; where atoms are held, only these stop."""
        momentum = self.sum_atoms(self.masses_amu[:, None] * velocities)
        mass = self.sum_atoms(self.masses_amu)
        anchored = self.sum_atoms(self.free) < self.counts
        drift = torch.where(anchored[:, None], 0.0, momentum / mass[:, None])
        return (velocities - drift[self.system_index]) * self.free[:, None]


def from_cells(cells: Sequence[Cell], device: torch.device, held_regions: Sequence[str] = ()) -> State:
    """State at rest, forces not yet computed; atoms of ``held_regions`` will not move.

    Raises:
        InputError: a system has fewer than two atoms (nothing can move relative to its own centre of mass), a region
            that it does not have, or nothing that may move.
    """
    for cell in cells:
        if len(cell) < 2:
            raise InputError("molecular dynamics needs at least two atoms in the cell; build a supercell")
    n, s = sum(len(cell) for cell in cells), len(cells)
    owner = np.repeat(np.arange(s), [len(cell) for cell in cells])

    def tensor(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.array(values)).to(device)

    def zeros(*shape: int) -> torch.Tensor:
        return torch.zeros(shape, dtype=torch.float64, device=device)

    return State(
        numbers=tensor(np.concatenate([cell.numbers for cell in cells])),
        masses_amu=tensor(np.concatenate([cell.masses_amu for cell in cells])),
        system_index=tensor(owner),
        counts=tensor(np.array([len(cell) for cell in cells])),
        free=tensor(np.concatenate([_free(cell, held_regions) for cell in cells])),
        positions_A=tensor(np.concatenate([cell.positions_A for cell in cells])),
        velocities_A_per_fs=zeros(n, 3),
        lattices_A=tensor(np.stack([cell.lattice_A for cell in cells])),
        energies_eV=zeros(s),
        forces_eV_per_A=zeros(n, 3),
        stresses_eV_per_A3=zeros(s, 3, 3),
        heat_eV=zeros(s),
        work_eV=zeros(s),
        chain=zeros(s, 2, 0),
        cells_sha256=tuple(cell.sha256 for cell in cells),
    )


def _free(cell: Cell, held_regions: Sequence[str]) -> np.ndarray:
    """(n,) 1.0 for the atoms that move, 0.0 for those of the regions that are held."""
    present = sorted(set(cell.regions.tolist()))
    for region in held_regions:
        if region not in present:
            raise InputError(f"held_regions: the cell has no region {region}, only {', '.join(present)}")
    free = ~np.isin(cell.regions, list(held_regions))
    if not free.any():
        raise InputError(f"held_regions {', '.join(held_regions)} leave no atom that may move")
    return free.astype(np.float64)


def thermal_velocities(state: State, temperatures_K: Sequence[float], seeds: Sequence[int]) -> torch.Tensor:
    """(N, 3) velocities from the canonical distribution at each system's temperature, held atoms at rest.

    Where none is held, the centre of mass is at rest.
    """
    normals = [
        generator(seed, VELOCITIES, 0).standard_normal((n, 3))
        for seed, n in zip(seeds, state.counts.tolist(), strict=True)
    ]
    kT = torch.tensor(temperatures_K, dtype=torch.float64, device=state.device) * BOLTZMANN_EV_PER_K
    width = torch.sqrt(kT[state.system_index] / (KINETIC_EV * state.masses_amu))
    drawn = torch.from_numpy(np.concatenate(normals)).to(state.device)
    return state.without_drift(width[:, None] * drawn)


_PER_ATOM = ("positions_A", "velocities_A_per_fs", "forces_eV_per_A")
_PER_SYSTEM = ("lattices_A", "energies_eV", "stresses_eV_per_A3", "heat_eV", "work_eV", "chain")


def to_arrays(state: State, system: int) -> dict[str, np.ndarray]:
    """What moves, of one system, as float64 arrays: the physics part of a checkpoint.

    Arrays of atoms are (n, ...), those of the system itself (1, ...).
    """
    atoms = state.system_index == system
    arrays = {name: getattr(state, name)[atoms].cpu().numpy() for name in _PER_ATOM}
    return arrays | {name: getattr(state, name)[system : system + 1].cpu().numpy() for name in _PER_SYSTEM}


def load_arrays(state: State, arrays: Sequence[dict[str, np.ndarray]], step: int) -> None:
    """Put back what :func:`to_arrays` gave, one dict a system, and the step."""
    for name in (*_PER_ATOM, *_PER_SYSTEM):
        joined = np.concatenate([np.asarray(part[name]) for part in arrays])
        setattr(state, name, torch.from_numpy(joined).to(state.device))
    state.step = step


def select(state: State, systems: Sequence[int]) -> State:
    """A new state with only these systems, in this order of ascending index."""
    kept = torch.tensor(sorted(systems), device=state.device)
    atoms = torch.isin(state.system_index, kept)
    new = {}
    for field in fields(state):
        value = getattr(state, field.name)
        if field.name == "step":
            new[field.name] = value
        elif field.name == "cells_sha256":
            new[field.name] = tuple(value[system] for system in sorted(systems))
        elif field.name == "system_index":
            new[field.name] = torch.searchsorted(kept, value[atoms])
        else:
            new[field.name] = value[kept if field.name in (*_PER_SYSTEM, "counts") else atoms]
    return State(**new)
