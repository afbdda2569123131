"""Relaxing many small crystals side by side: one flat batch, one file per crystal, resumable.

Each crystal has ASE's LBFGS on the Frechet cell filter, as in :mod:`atomflow.md.relaxation`; what differs is that the
forces of all crystals at work come from one evaluation of the potential. A crystal that is done makes room for the
next. Its file is named after a checksum of crystal, potential and settings: a second study finds it, and another
potential does not.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from atomflow import crystals
from atomflow.campaign.tasks import digest
from atomflow.cell import Cell
from atomflow.config import StrictModel
from atomflow.errors import InputError, RunStopped
from atomflow.md.signals import StopRequest
from atomflow.potentials import Potential
from atomflow.potentials.evaluate import evaluate_cells
from atomflow.reactivity.changes import changes
from atomflow.runs.files import write_whole

FORMAT = "atomflow-relaxed-crystal"
#: Atoms that are evaluated together: on a CPU more at once is not faster.
_ATOMS_AT_ONCE = {"cpu": 100, "cuda": 4000}
#: Steps that a crystal is thought to need before any has finished.
_GUESSED_STEPS = 40
Say = Callable[[str], None]


class RelaxSettings(StrictModel):
    """How crystals are relaxed: forces on atoms and on the cell filter below ``fmax_eV_per_A``."""

    fmax_eV_per_A: Annotated[float, Field(gt=0)] = 0.02
    max_steps: Annotated[int, Field(ge=1)] = 400


@dataclass(frozen=True)
class RelaxedCrystal:
    """One crystal at its minimum.

    Attributes:
        formula: of the primitive cell that was relaxed. energy_eV: of it.
        converged: whether ``steps`` sufficed. problem: why there is no energy, or empty.
        changes: what became of the structure (:mod:`atomflow.reactivity.changes`); empty when it stayed.
        volume_change: share. cell: numbers, positions_A, lattice_A.
    """

    crystal: str
    formula: str
    n_atoms: int
    energy_eV: float | None
    converged: bool
    steps: int
    fmax_eV_per_A: float | None
    volume_change: float
    changes: tuple[str, ...]
    problem: str
    potential: dict[str, Any]
    cell: dict[str, Any]

    @property
    def usable(self) -> bool:
        return self.energy_eV is not None and self.converged

    @property
    def energy_per_atom_eV(self) -> float:
        if self.energy_eV is None:
            raise ValueError(f"{self.crystal} has no energy: {self.problem}")
        return self.energy_eV / self.n_atoms

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class _Given:
    """Makes ASE's calculator whose answers are given to it from the batch; it computes nothing."""

    @staticmethod
    def calculator() -> Any:
        from ase.calculators.calculator import Calculator

        class Given(Calculator):
            implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012  (ASE's own way)

            def give(self, atoms: Any, energy: float, forces: np.ndarray, stress: np.ndarray) -> None:
                self.atoms = atoms.copy()
                self.results = {"energy": energy, "forces": forces, "stress": stress}

            def calculate(self, *args: Any, **kwargs: Any) -> None:
                raise RuntimeError("a crystal was asked for forces that the batch has not computed")

        return Given()


class _Job:
    """A crystal at work."""

    def __init__(self, name: str, cell: Cell, path: Path) -> None:
        from ase.filters import FrechetCellFilter
        from ase.optimize import LBFGS

        self.name, self.before, self.path, self.steps = name, cell, path, 0
        self.atoms = self.before.to_ase()
        self.calculator = self.atoms.calc = _Given.calculator()
        self.filter: Any = FrechetCellFilter(self.atoms)
        self.optimiser: Any = LBFGS(self.filter, logfile=None)  # type: ignore[arg-type]

    def take(self, energy: float, forces: np.ndarray, stress: np.ndarray) -> float:
        """Accept the batch's answer; the largest force on atoms and filter."""
        from ase.stress import full_3x3_to_voigt_6_stress

        self.calculator.give(self.atoms, energy, forces, full_3x3_to_voigt_6_stress(stress))
        if not (np.isfinite(energy) and np.isfinite(forces).all() and np.isfinite(stress).all()):
            return float("nan")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="logm result may be inaccurate")
            return float(np.linalg.norm(self.filter.get_forces(), axis=1).max())

    def step(self) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="logm result may be inaccurate")
            self.optimiser.step()
        self.steps += 1

    def result(self, fmax: float, converged: bool, potential: Potential) -> RelaxedCrystal:
        finite = bool(np.isfinite(fmax))
        after = Cell(self.before.numbers, self.atoms.positions, self.atoms.cell.array) if finite else self.before
        problem = "" if converged else (f"not converged in {self.steps} steps: the largest force is {fmax:.3f} eV/Å"
                                        if finite else "its energy or a force became something that is not a number")
        return RelaxedCrystal(
            crystal=self.name, formula=self.before.formula, n_atoms=len(self.before),
            energy_eV=float(self.calculator.results["energy"]) if finite else None, converged=converged,
            steps=self.steps, fmax_eV_per_A=fmax if finite else None,
            volume_change=after.volume_A3 / self.before.volume_A3 - 1.0,
            changes=tuple(changes(self.before, after)), problem=problem,
            potential=potential.identity.model_dump(mode="json"),
            cell={"numbers": after.numbers.tolist(), "positions_A": after.positions_A.tolist(),
                  "lattice_A": after.lattice_A.tolist()})


def primitive_cell(name: str) -> Cell:
    """The primitive cell of a crystal of ``structures/``."""
    structure = crystals.load(name).get_primitive_structure(tolerance=0.05)
    lattice = np.array(structure.lattice.matrix)
    if np.linalg.det(lattice) < 0:
        lattice = -lattice
        positions = np.array(structure.frac_coords) @ lattice
    else:
        positions = np.array(structure.cart_coords)
    numbers = np.array([site.specie.Z for site in structure])
    return Cell(numbers, positions, lattice, provenance={"sources": [crystals.provenance(name)]})


def relax_crystals(
    names: Sequence[str],
    potential: Potential,
    folder: str | Path,
    settings: RelaxSettings | None = None,
    say: Say | None = None,
) -> dict[str, RelaxedCrystal]:
    """Relax crystals of ``structures/`` with one potential; those that ``folder`` already holds are read.

    Raises:
        InputError: no such crystal, an element that the potential does not know, a file that is not readable.
        RunStopped: a signal came; what is finished is kept, the same call goes on.
    """
    sources = {name: crystals.facts(name).sha256 for name in names}
    return _relaxed(sources, primitive_cell, potential, Path(folder), settings or RelaxSettings(), say)


def relax_cell(cell: Cell, name: str, potential: Potential, folder: str | Path, settings: RelaxSettings | None = None,
               say: Say | None = None) -> RelaxedCrystal:
    """The same for one cell that is not of ``structures/``, a quenched glass for example."""
    sources = {name: cell.sha256}
    return _relaxed(sources, lambda _: cell, potential, Path(folder), settings or RelaxSettings(), say)[name]


def _relaxed(sources: dict[str, str], cell_of: Callable[[str], Cell], potential: Potential, folder: Path,
             settings: RelaxSettings, say: Say | None) -> dict[str, RelaxedCrystal]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}-{_key(checksum, potential, settings)[:12]}.json"
             for name, checksum in sources.items()}
    done = {name: _read(path) for name, path in paths.items() if path.is_file()}
    waiting = {name: cell_of(name) for name in sources if name not in done}
    for cell in waiting.values():
        potential.check_elements(cell.numbers)
    say = say or (lambda text: None)
    if done:
        say(f"{len(done)} of {len(paths)} were relaxed before")
    if waiting:
        done |= _relax(waiting, paths, potential, settings, say)
    return {name: done[name] for name in sources}


def _relax(cells: dict[str, Cell], paths: dict[str, Path], potential: Potential, settings: RelaxSettings,
           say: Say) -> dict[str, RelaxedCrystal]:
    room = _ATOMS_AT_ONCE[potential.device.type]
    waiting = sorted(cells, key=lambda name: -len(cells[name]))
    progress = _Progress({name: len(cell) for name, cell in cells.items()}, say)
    done: dict[str, RelaxedCrystal] = {}
    active: list[_Job] = []
    with StopRequest() as stop:
        while waiting or active:
            if stop.received:
                raise RunStopped(f"stopped by {stop.received} with {len(waiting) + len(active)} crystals to go; the "
                                 "same command goes on")
            while waiting and (not active or sum(len(job.before) for job in active) + len(cells[waiting[0]]) <= room):
                name = waiting.pop(0)
                active.append(_Job(name, cells[name], paths[name]))
            progress.step(active)
            for job, fmax in zip(list(active), _evaluate(active, potential), strict=True):
                converged = fmax <= settings.fmax_eV_per_A
                if np.isfinite(fmax) and not converged and job.steps < settings.max_steps:
                    job.step()
                    continue
                done[job.name] = job.result(fmax, converged, potential)
                write_whole(job.path, json.dumps({"format": FORMAT, **done[job.name].to_json()}).encode())
                active.remove(job)
                progress.finished(job)
    return done


def _evaluate(active: list[_Job], potential: Potential) -> list[float]:
    """Largest force of every crystal at work, after giving each its share of one evaluation."""
    answer = evaluate_cells(potential, [job.before.numbers for job in active], [job.atoms.positions for job in active],
                            [job.atoms.cell.array for job in active])
    if answer.stress_eV_per_A3 is None:
        raise RuntimeError("the model was asked for the stress and gave none")
    energies, stresses = answer.energy_eV.cpu().numpy(), answer.stress_eV_per_A3.cpu().numpy()
    forces = np.split(answer.forces_eV_per_A.cpu().numpy(), np.cumsum([len(job.before) for job in active])[:-1])
    return [job.take(float(energies[k]), forces[k], stresses[k]) for k, job in enumerate(active)]


class _Progress:
    """How many are done, and when the rest will be: atoms × steps to go at the speed so far."""

    def __init__(self, sizes: dict[str, int], say: Say) -> None:
        self.sizes, self.say = sizes, say
        self.left = dict(sizes)
        self.steps: list[int] = []
        self.work, self.began = 0, time.monotonic()  # atoms × evaluations

    def step(self, active: list[_Job]) -> None:
        self.work += sum(len(job.before) for job in active)

    def finished(self, job: _Job) -> None:
        del self.left[job.name]
        self.steps.append(job.steps + 1)
        typical = float(np.mean(self.steps)) if len(self.steps) >= 5 else _GUESSED_STEPS
        seconds = (time.monotonic() - self.began) * typical * sum(self.left.values()) / max(self.work, 1)
        more = f"; about {max(1, round(seconds / 60))} min to go" if self.left else ""
        self.say(f"{len(self.sizes) - len(self.left)} of {len(self.sizes)}: {job.name}, {len(job.before)} atoms, "
                 f"{job.steps} steps{more}")


def _key(checksum: str, potential: Potential, settings: RelaxSettings) -> str:
    return digest(checksum, potential.identity.sha256, potential.identity.dtype, settings.model_dump())


def _read(path: Path) -> RelaxedCrystal:
    try:
        data = json.loads(path.read_text())
        if data.pop("format") != FORMAT:
            raise ValueError("another format")
        return RelaxedCrystal(**{**data, "changes": tuple(data["changes"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a relaxed crystal ({error}); remove it to have it made again") from None
