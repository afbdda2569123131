"""Phonons of a relaxed cell: phonopy's finite displacements with atomflow's potentials.

Frequencies are in THz; an imaginary one (a direction in which the energy falls) is written negative, as phonopy does.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from atomflow.cell import Cell, check_cell_given
from atomflow.errors import InputError, MissingPackageError, RunFailed, check_positive, said
from atomflow.plain import Shown, named
from atomflow.potentials import Potential
from atomflow.potentials.base import check_potential_given
from atomflow.units import EV_IN_KJ_PER_MOL

#: Below this (THz) a mode is called imaginary; acoustic modes at Γ are noise of this size.
IMAGINARY_THZ = -0.1
_MIN_LENGTH_A = 10.0
_MOST_FORCE_EV_PER_A = 0.05
#: (done, of all)
Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Mode:
    """One imaginary mode: where, how far down, and who moves ({element or site: share of the squared displacement})."""

    q: tuple[float, float, float]
    label: str
    frequency_THz: float
    movers: dict[str, float]

    @property
    def name(self) -> str:
        """In words, e.g. ``Γ, 1.2i THz: Na2 61 %, O 20 %``."""
        who = ", ".join(f"{name} {100 * share:.0f} %" for name, share in list(self.movers.items())[:3])
        return f"{self.label}, {-self.frequency_THz:.2f}i THz: {who}"

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "name": self.name}


@dataclass(frozen=True, repr=False)
class PhononResult(Shown):
    """Phonons of one cell.

    Attributes:
        n_displacements: force calculations. supercell: repeats. primitive_atoms: of the cell that the modes belong to.
        residual_eV_per_A: the largest force before anything was displaced.
        gamma_THz: (3n,) frequencies at Γ. bands: segments of ``{"labels", "q", "distance", "frequency_THz"}``.
        dos: ``{"frequency_THz", "states_per_THz"}`` of the primitive cell (integral 3n).
        imaginary: named modes, the worst first. mesh: of the density of states.
        zero_point_eV, heat_capacity_J_per_mol_K, free_energy_eV: of the primitive cell at ``temperature_K``, harmonic;
            imaginary modes are left out of them.
    """

    formula: str
    potential: dict[str, Any]
    supercell: tuple[int, int, int]
    n_displacements: int
    primitive_atoms: int
    residual_eV_per_A: float
    gamma_THz: np.ndarray
    bands: tuple[dict[str, Any], ...]
    dos: dict[str, np.ndarray]
    imaginary: tuple[Mode, ...]
    mesh: tuple[int, int, int]
    temperature_K: float
    zero_point_eV: float
    free_energy_eV: float
    heat_capacity_J_per_mol_K: float
    warnings: tuple[str, ...]

    @property
    def acoustic_THz(self) -> float:
        """The largest of the three frequencies at Γ that should vanish."""
        return float(np.sort(np.abs(self.gamma_THz))[:3].max())

    def text(self) -> str:
        """For people, as ``atomflow phonon`` prints it."""
        lines = [f"{self.formula}: {_counted(len(self.imaginary))}; at Γ the acoustic ones are "
                 f"{self.acoustic_THz:.3f} THz, the highest "
                 f"{self.gamma_THz.max():.2f} THz",
                 f"{self.n_displacements} displacements, supercell {'x'.join(map(str, self.supercell))}, "
                 f"{self.primitive_atoms} atoms in the primitive cell; {named(self.potential)}, largest force left "
                 f"{self.residual_eV_per_A:.4f} eV/Å",
                 f"at {self.temperature_K:g} K: heat capacity {self.heat_capacity_J_per_mol_K:.1f} J/mol/K, "
                 f"free energy {self.free_energy_eV:.4f} eV, zero-point energy {self.zero_point_eV:.4f} eV "
                 "(primitive cell, harmonic)"]
        lines += [f"  {mode.name}" for mode in self.imaginary[:12]]
        return "\n".join(lines + [f"warning: {text}" for text in self.warnings])

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "acoustic_THz": self.acoustic_THz}


def phonons(
    cell: Cell,
    potential: Potential,
    supercell: Sequence[int] | None = None,
    displacement_A: float = 0.01,
    mesh_A: float = 25.0,
    temperature_K: float = 298.15,
    symmetry_A: float = 1e-3,
    progress: Report | None = None,
) -> PhononResult:
    """Bands, density of states and imaginary modes of a cell that was relaxed with the same potential.

    Args:
        supercell: repeats along the lattice vectors; as many as make every length 10 Å when not given.
        displacement_A: of one atom at a time. mesh_A: the density of states' mesh resolves this length.
        symmetry_A: tolerance with which symmetry is looked for; it saves displacements.

    Raises:
        InputError: the cell is not relaxed, an element that the potential does not know, numbers that make no sense.
    """
    for name, value in (("displacement", displacement_A), ("mesh length", mesh_A), ("temperature", temperature_K),
                        ("symmetry tolerance", symmetry_A)):
        check_positive(f"the {name}", value)
    check_cell_given(cell)
    check_potential_given(potential)
    potential.check_elements(cell.numbers)
    repeats = _repeats(cell, supercell)
    phonon, unit = _phonopy(cell, repeats, symmetry_A)
    calculator = _calculator(potential)
    residual = _forces(unit, calculator)
    worst = float(np.linalg.norm(residual, axis=1).max())
    if worst > _MOST_FORCE_EV_PER_A:
        raise InputError(f"the cell is not relaxed with {potential.identity.name}: a force of {worst:.3f} eV/Å is "
                         "left; run atomflow relax first (--fmax 0.001 serves phonons)")
    phonon.generate_displacements(distance=displacement_A)
    cells = phonon.supercells_with_displacements
    forces = []
    for index, displaced in enumerate(cells):
        forces.append(_forces(displaced, calculator))
        if progress is not None:
            progress(index + 1, len(cells))
    phonon.forces = forces
    phonon.produce_force_constants()
    phonon.symmetrize_force_constants()
    return _collect(cell, potential, phonon, repeats, worst, mesh_A, temperature_K)


def _phonopy(cell: Cell, repeats: tuple[int, int, int], symmetry_A: float) -> tuple[Any, Any]:
    try:
        from phonopy import Phonopy
        from phonopy.structure.atoms import PhonopyAtoms
    except ImportError:
        raise MissingPackageError("phonons need phonopy: pip install 'atomflow[lattice]'") from None
    unit = PhonopyAtoms(numbers=cell.numbers.tolist(), positions=np.array(cell.positions_A),
                        cell=np.array(cell.lattice_A))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that "auto" finds a smaller cell
        return Phonopy(unit, supercell_matrix=np.diag(repeats), primitive_matrix="auto", symprec=symmetry_A), unit


def _repeats(cell: Cell, wanted: Sequence[int] | None) -> tuple[int, int, int]:
    if wanted is None:
        wanted = [int(np.ceil(_MIN_LENGTH_A / length - 1e-9)) for length in np.linalg.norm(cell.lattice_A, axis=1)]
    if not isinstance(wanted, (list, tuple, np.ndarray)) or len(wanted) != 3 or min(wanted) < 1:
        given = " ".join(map(str, wanted)) if isinstance(wanted, (list, tuple)) else said(wanted)
        raise InputError(f"the supercell takes three repeats of at least 1, not {given}")
    return int(wanted[0]), int(wanted[1]), int(wanted[2])


def _calculator(potential: Potential) -> Any:
    from atomflow.potentials.ase_calculator import BatchCalculator

    return BatchCalculator(potential)


def _forces(atoms: Any, calculator: Any) -> np.ndarray:
    """(N, 3) eV/Å of phonopy atoms."""
    import ase

    copy = ase.Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
    copy.calc = calculator
    forces = np.asarray(copy.get_forces(), dtype=np.float64)
    if not np.isfinite(forces).all():
        raise RunFailed("a force is not a number; look for overlapping atoms")
    return forces


def _collect(cell: Cell, potential: Potential, phonon: Any, repeats: tuple[int, int, int], residual: float,
             mesh_A: float, temperature_K: float) -> PhononResult:
    primitive = phonon.primitive
    bands, special = _bands(phonon)
    phonon.run_mesh(mesh_A)
    mesh = tuple(int(n) for n in phonon.mesh.mesh_numbers)
    phonon.run_total_dos(sigma=None, use_tetrahedron_method=True)
    dos = phonon.total_dos
    phonon.run_thermal_properties(temperatures=[0.0, temperature_K], cutoff_frequency=0.01)
    thermal = phonon.thermal_properties
    movers = [str(cell.sites[i]) or str(cell.symbols[i]) for i in _original(cell, phonon)]
    imaginary = _imaginary(phonon, special, movers)
    notes = []
    gamma = _frequencies(phonon, [[0.0, 0.0, 0.0]])[0]
    acoustic = float(np.sort(np.abs(gamma))[:3].max())
    if acoustic > -IMAGINARY_THZ:
        notes.append(f"the acoustic modes at Γ are {acoustic:.2f} THz, not 0: relax further, or use float64")
    if imaginary:
        notes.append(f"{_counted(len(imaginary))}: the cell is no minimum; thermal numbers leave them out")
    return PhononResult(
        cell.formula, potential.identity.model_dump(mode="json"), repeats, len(phonon.supercells_with_displacements),
        len(primitive), residual, gamma, tuple(bands),
        {"frequency_THz": np.array(dos.frequency_points), "states_per_THz": np.array(dos.dos)}, imaginary,
        (mesh[0], mesh[1], mesh[2]), temperature_K, float(thermal.free_energy[0]) / EV_IN_KJ_PER_MOL,
        float(thermal.free_energy[1]) / EV_IN_KJ_PER_MOL, float(thermal.heat_capacity[1]), tuple(notes))


def _counted(modes: int) -> str:
    return f"{modes or 'no'} imaginary mode{'' if modes == 1 else 's'}"


def _original(cell: Cell, phonon: Any) -> list[int]:
    """For each primitive atom the index of an atom of the cell on it."""
    inverse = np.linalg.inv(phonon.primitive.cell)
    found = []
    for position in phonon.primitive.positions:
        away = (cell.positions_A - position) @ inverse
        found.append(int(np.abs(away - np.round(away)).sum(axis=1).argmin()))
    return found


def _frequencies(phonon: Any, q: Any) -> np.ndarray:
    phonon.run_qpoints(q)
    return np.array(phonon.qpoints.frequencies)


def _bands(phonon: Any) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Segments along ASE's path for the primitive lattice, and its special points."""
    import ase.cell
    from ase.dft.kpoints import parse_path_string

    path = ase.cell.Cell(phonon.primitive.cell).bandpath(npoints=150)
    special = {name: np.array(point) for name, point in path.special_points.items()}
    segments: list[dict[str, Any]] = []
    distance = 0.0
    reciprocal = np.linalg.inv(phonon.primitive.cell).T
    for chain in parse_path_string(path.path):
        for first, last in pairwise(chain):
            q = special[first] + np.linspace(0, 1, 21)[:, None] * (special[last] - special[first])
            length = np.linalg.norm((special[last] - special[first]) @ reciprocal)
            segments.append({"labels": [_greek(first), _greek(last)], "q": q,
                             "distance": distance + np.linspace(0, length, 21),
                             "frequency_THz": _frequencies(phonon, q)})
            distance += float(length)
    return segments, special


def _greek(name: str) -> str:
    return "Γ" if name == "G" else name


def _imaginary(phonon: Any, special: dict[str, np.ndarray], movers: list[str]) -> tuple[Mode, ...]:
    """Imaginary modes at the special points and on the mesh, the worst first; each frequency of a point once."""
    where = {_greek(name): point for name, point in special.items()}
    on_mesh = phonon.mesh
    for q, frequencies in zip(on_mesh.qpoints, on_mesh.frequencies, strict=True):
        if frequencies.min() < IMAGINARY_THZ and not any(np.allclose(q, point) for point in where.values()):
            where["(" + " ".join(f"{x:.3g}" for x in q) + ")"] = np.array(q)
    modes = []
    for label, point in where.items():
        phonon.run_qpoints([point], with_eigenvectors=True)
        frequencies, vectors = phonon.qpoints.frequencies[0], phonon.qpoints.eigenvectors[0]
        for index in np.flatnonzero(frequencies < IMAGINARY_THZ):
            weights = (np.abs(vectors[:, index]) ** 2).reshape(-1, 3).sum(axis=1)
            shares: dict[str, float] = {}
            for name, weight in zip(movers, weights, strict=True):
                shares[name] = shares.get(name, 0.0) + float(weight)
            modes.append(Mode((float(point[0]), float(point[1]), float(point[2])), label, float(frequencies[index]),
                              dict(sorted(shares.items(), key=lambda item: -item[1]))))
    return tuple(sorted(modes, key=lambda mode: mode.frequency_THz))
