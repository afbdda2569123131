"""Try a potential on a cell: does it know the elements, is its precision enough, do its forces fit its energy?"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from atomflow.cell import Cell
from atomflow.config import StrictModel
from atomflow.potentials.base import BatchModel, Edges, Potential, PotentialIdentity
from atomflow.potentials.edges import build_edges
from atomflow.units import EV_PER_A3_IN_GPA

#: What still counts as agreement.
_FLOAT32_FORCE_EV_PER_A = 2e-3
_FLOAT32_FORCE_RELATIVE = 1e-4
_FLOAT32_ENERGY_MEV_PER_ATOM = 0.1
_DERIVATIVE_RELATIVE = 1e-4
_REPEAT_FORCE_EV_PER_A = 1e-6
_RATTLE_A = 0.05
_SKIN_A = 0.5


class CheckReport(StrictModel):
    """What :func:`check` found. Everything but the energy is measured on the cell with its atoms displaced a little.

    Attributes:
        energy_eV_per_atom: of the cell as given, in float64.
        max_force_eV_per_A: longest force, displaced cell, float64.
        pressure_GPa: minus the mean of the stress's diagonal, cell as given, float64.
        float32_energy_meV_per_atom: difference that float32 makes.
        float32_force_eV_per_A: largest component by which float32 changes a force.
        force_derivative_error: forces against differences of the energy, along random directions; relative.
        stress_derivative_error: stress against differences of the energy, along random strains; relative.
        repeat_force_eV_per_A: largest change of a force when the cell is written out twice along its shortest width.
        narrowest_width_A: smallest distance between opposite faces; under the cutoff an atom sees its own images.
        neighbours_per_atom: mean number within the cutoff.
        seconds_per_call: forces only, in the precision asked for; ``seconds_per_call_with_stress`` with stress.
        verdict: ``good``, or what is wrong.
    """

    identity: PotentialIdentity
    formula: str
    atoms: int
    energy_eV_per_atom: float
    max_force_eV_per_A: float
    pressure_GPa: float
    float32_energy_meV_per_atom: float
    float32_force_eV_per_A: float
    force_derivative_error: float
    stress_derivative_error: float
    repeat_force_eV_per_A: float
    narrowest_width_A: float
    neighbours_per_atom: float
    seconds_per_call: float
    seconds_per_call_with_stress: float
    microseconds_per_atom: float
    problems: tuple[str, ...]
    verdict: str

    def lines(self) -> list[tuple[str, str]]:
        """The report as (label, value) pairs for people."""
        identity = self.identity
        return [
            ("potential", f"{identity.name} ({identity.kind}, sha256 {identity.sha256[:16]})"),
            ("cell", f"{self.formula}, {self.atoms} atoms; every element is known"),
            ("cutoff, narrowest width of the cell", f"{identity.cutoff_A:g} Å, {self.narrowest_width_A:.2f} Å"),
            ("neighbours an atom", f"{self.neighbours_per_atom:.1f}"),
            ("energy", f"{self.energy_eV_per_atom:.5f} eV/atom"),
            ("pressure", f"{self.pressure_GPa:.3f} GPa"),
            ("largest force, atoms displaced", f"{self.max_force_eV_per_A:.3f} eV/Å"),
            ("float32 changes the energy by", f"{self.float32_energy_meV_per_atom:.2g} meV/atom"),
            ("float32 changes a force by at most", f"{self.float32_force_eV_per_A:.2g} eV/Å"),
            ("forces against the energy's slope", f"{self.force_derivative_error:.1e} (relative)"),
            ("stress against the energy's slope", f"{self.stress_derivative_error:.1e} (relative)"),
            ("repeating the cell changes a force by", f"{self.repeat_force_eV_per_A:.1e} eV/Å"),
            ("time a call, forces", f"{self.seconds_per_call:.4f} s, {self.microseconds_per_atom:.0f} µs/atom"),
            ("time a call, forces and stress", f"{self.seconds_per_call_with_stress:.4f} s"),
            ("verdict", self.verdict),
        ]


@dataclass(frozen=True)
class _Bound:
    """One cell bound to a model, with an edge list wide enough for small displacements."""

    model: BatchModel
    edges: Edges | None
    positions_A: np.ndarray
    lattice_A: np.ndarray

    @classmethod
    def make(cls, potential: Potential, numbers: np.ndarray, positions_A: np.ndarray, lattice_A: np.ndarray) -> _Bound:
        owner = np.zeros(len(numbers), dtype=np.int64)
        model = potential.batch_model(numbers, owner, 1)
        edges = None
        if model.needs_edges:
            edges = build_edges(positions_A, lattice_A[None], owner, model.cutoff_A + _SKIN_A, model.device)
        return cls(model, edges, positions_A, lattice_A)

    def at(self, positions_A: np.ndarray, lattice_A: np.ndarray, stress: bool = False) -> Any:
        import torch

        device = self.model.device
        positions = torch.as_tensor(positions_A, dtype=torch.float64, device=device)
        lattices = torch.as_tensor(lattice_A[None], dtype=torch.float64, device=device)
        return self.model(positions, lattices, self.edges, stress)

    def here(self, stress: bool = False) -> tuple[float, np.ndarray, np.ndarray | None]:
        answer = self.at(self.positions_A, self.lattice_A, stress)
        tensor = answer.stress_eV_per_A3[0].cpu().numpy() if stress else None
        return float(answer.energy_eV[0]), answer.forces_eV_per_A.cpu().numpy(), tensor


def check(potential: Potential, cell: Cell, dtype: str | None = None, seed: int = 1) -> CheckReport:
    """Run the cell through the potential in both precisions and report.

    Args:
        potential: best loaded in float64: then float32 is compared with the weights as they are in the file.
        cell: what to try it on.
        dtype: precision to time, ``float32`` or ``float64``; by default the potential's.
        seed: of the displacements and directions.

    Raises:
        InputError: the cell holds an element that the potential does not know.
    """
    potential.check_elements(cell.numbers)
    single, double = potential.with_dtype("float32"), potential.with_dtype("float64")
    rng = np.random.default_rng(seed)
    lattice = np.array(cell.lattice_A)
    positions = cell.positions_A + rng.normal(0, _RATTLE_A, cell.positions_A.shape)
    exact = _Bound.make(double, cell.numbers, positions, lattice)
    energy, forces, _ = exact.here()
    energy_32, forces_32, _ = _Bound.make(single, cell.numbers, positions, lattice).here()
    given = _Bound.make(double, cell.numbers, np.array(cell.positions_A), lattice)
    given_energy, _, given_stress = given.here(stress=True)
    assert given_stress is not None
    asked = potential.with_dtype(dtype or potential.identity.dtype)
    seconds, seconds_stress = _timing(_Bound.make(asked, cell.numbers, positions, lattice))
    n = len(cell)
    measured = {
        "energy_eV_per_atom": given_energy / n,
        "max_force_eV_per_A": float(np.linalg.norm(forces, axis=1).max()),
        "pressure_GPa": float(-np.trace(given_stress) / 3 * EV_PER_A3_IN_GPA),
        "float32_energy_meV_per_atom": abs(energy_32 - energy) / n * 1000,
        "float32_force_eV_per_A": float(np.abs(forces_32 - forces).max()),
        "force_derivative_error": _force_error(exact, forces, rng),
        "stress_derivative_error": _stress_error(exact, rng),
        "repeat_force_eV_per_A": _repeat_error(double, cell.numbers, positions, lattice, forces),
    }
    problems = _problems(measured)
    return CheckReport(
        identity=asked.identity,
        formula=cell.formula,
        atoms=n,
        narrowest_width_A=float(_widths(lattice).min()),
        neighbours_per_atom=_neighbours(exact, potential.identity.cutoff_A),
        seconds_per_call=seconds,
        seconds_per_call_with_stress=seconds_stress,
        microseconds_per_atom=seconds / n * 1e6,
        problems=problems,
        verdict="; ".join(problems) or "good",
        **measured,
    )


def _widths(lattice_A: np.ndarray) -> np.ndarray:
    """Distances (3,) between opposite faces of the cell."""
    return 1 / np.linalg.norm(np.linalg.inv(lattice_A), axis=0)


def _neighbours(bound: _Bound, cutoff_A: float) -> float:
    owner = np.zeros(len(bound.positions_A), dtype=np.int64)
    edges = build_edges(bound.positions_A, bound.lattice_A[None], owner, cutoff_A, bound.model.device)
    return len(edges.senders) / len(owner)


def _force_error(bound: _Bound, forces: np.ndarray, rng: np.random.Generator, step_A: float = 1e-3) -> float:
    """Largest relative error of −F·d against central differences of the energy, over random directions d."""
    errors = []
    for _ in range(3):
        direction = rng.normal(size=forces.shape)
        direction /= np.sqrt((direction**2).sum() / len(forces))
        energies = [
            float(bound.at(bound.positions_A + sign * step_A * direction, bound.lattice_A).energy_eV[0])
            for sign in (2, 1, -1, -2)
        ]
        slope = _five_point(energies, step_A)
        errors.append(abs(slope + (forces * direction).sum()) / np.sqrt((forces**2).sum() * len(forces)))
    return float(max(errors))


def _stress_error(bound: _Bound, rng: np.random.Generator, step: float = 1e-4) -> float:
    """Largest relative error of V·σ:ε against central differences of the energy, over random strains ε."""
    _, _, stress = bound.here(stress=True)
    assert stress is not None
    virial = stress * np.linalg.det(bound.lattice_A)
    errors = []
    for _ in range(2):
        strain = rng.normal(size=(3, 3))
        strain = (strain + strain.T) / np.linalg.norm(strain + strain.T)
        energies = []
        for factor in (2, 1, -1, -2):
            deform = np.eye(3) + factor * step * strain
            energies.append(float(bound.at(bound.positions_A @ deform, bound.lattice_A @ deform).energy_eV[0]))
        errors.append(abs(_five_point(energies, step) - (virial * strain).sum()) / np.linalg.norm(virial))
    return float(max(errors))


def _five_point(energies: list[float], step: float) -> float:
    """Slope at 0 from values at 2, 1, −1, −2 steps; exact to fourth order."""
    return (8 * (energies[1] - energies[2]) - (energies[0] - energies[3])) / (12 * step)


def _repeat_error(
    potential: Potential, numbers: np.ndarray, positions: np.ndarray, lattice: np.ndarray, forces: np.ndarray
) -> float:
    """Largest change of a force when the cell stands twice along its narrowest width."""
    axis = int(_widths(lattice).argmin())
    twice = lattice.copy()
    twice[axis] *= 2
    both = np.concatenate([positions, positions + lattice[axis]])
    _, doubled, _ = _Bound.make(potential, np.concatenate([numbers, numbers]), both, twice).here()
    return float(np.abs(doubled - np.concatenate([forces, forces])).max())


def _timing(bound: _Bound, repeats: int = 5) -> tuple[float, float]:
    """Median seconds of a call without and with stress, the first two calls left out."""
    import torch

    medians = []
    for stress in (False, True):
        times = []
        for _ in range(repeats + 2):
            begin = time.perf_counter()
            bound.at(bound.positions_A, bound.lattice_A, stress)
            if bound.model.device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - begin)
        medians.append(float(np.median(times[2:])))
    return medians[0], medians[1]


def _problems(measured: dict[str, float]) -> tuple[str, ...]:
    force_limit = max(_FLOAT32_FORCE_EV_PER_A, _FLOAT32_FORCE_RELATIVE * measured["max_force_eV_per_A"])
    limits = {
        "float32_energy_meV_per_atom": (_FLOAT32_ENERGY_MEV_PER_ATOM, "float32 changes the energy; use float64"),
        "float32_force_eV_per_A": (force_limit, "float32 changes the forces; use float64"),
        "force_derivative_error": (_DERIVATIVE_RELATIVE, "the forces are not the slope of the energy"),
        "stress_derivative_error": (_DERIVATIVE_RELATIVE, "the stress is not the slope of the energy"),
        "repeat_force_eV_per_A": (_REPEAT_FORCE_EV_PER_A, "the forces change when the cell is repeated"),
    }
    return tuple(
        f"{text} ({key} {measured[key]:.2g}, limit {limit:g})"
        for key, (limit, text) in limits.items()
        if not measured[key] <= limit
    )
