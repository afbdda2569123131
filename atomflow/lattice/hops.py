"""Hop paths of Na between named sites: ASE's climbing nudged elastic band with atomflow's potentials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atomflow.build.nzsp import na_sites
from atomflow.cell import Cell
from atomflow.errors import InputError, RunFailed
from atomflow.lattice.rates import diffusivity_cm2_per_s, frequencies_THz, hessian, rate_per_ps, vineyard_THz
from atomflow.potentials import Potential

#: An ion this near to a site is on it, in Å.
ON_SITE_A = 1.2
Say = Callable[[str], None]


@dataclass(frozen=True)
class Choice:
    """Which ion goes where: indices of the atom and of both sites, length, and vacant sites of that kind as near."""

    atom: int
    start: int
    end: int
    names: tuple[str, str]
    length_A: float
    targets: int
    end_A: np.ndarray


@dataclass(frozen=True)
class HopResult:
    """One hop.

    Attributes:
        names: kinds of the sites. length_A: of the hop, after relaxation; ideal_length_A: between the named sites.
            targets: vacant sites of that kind as near. vacancy: whether the target site was emptied for it.
        barrier_eV, reverse_eV: from the relaxed start and end to the saddle. energy_eV: (images,) along the path.
        attempt_THz: Vineyard's, over ``n_vibrating`` atoms near the ion; None when not asked for,
            or where the ends and the top are no minimum and saddle (``warnings`` says which).
        rates: [{temperature_K, rate_per_ps, diffusivity_cm2_per_s}]; empty without an attempt frequency.
        images: the path as cells.
    """

    names: tuple[str, str]
    atom: int
    length_A: float
    ideal_length_A: float
    targets: int
    vacancy: bool
    barrier_eV: float
    reverse_eV: float
    energy_eV: np.ndarray
    path_A: np.ndarray
    converged: bool
    attempt_THz: float | None
    n_vibrating: int
    rates: tuple[dict[str, float], ...]
    potential: dict[str, Any]
    images: tuple[Cell, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "images"}


def choose(cell: Cell, start: str, end: str, rank: int = 0) -> Choice:
    """The ``rank``-th shortest hop of a Na on a site of kind ``start`` to a vacant site of kind ``end``.

    Raises:
        InputError: no such kind of site, none of them occupied or vacant.
    """
    names, sites, held, owner = _occupation(cell, start, end)
    from_ = np.flatnonzero((names == start) & held)
    to = np.flatnonzero((names == end) & ~held)
    if len(from_) == 0:
        raise InputError(f"no Na is on a {start} site of this cell")
    if len(to) == 0:
        raise InputError(f"no {end} site of this cell is vacant; --vacancy takes an ion out")
    steps = _separations(cell, sites[from_], sites[to])
    lengths = np.linalg.norm(steps, axis=2)
    order = np.argsort(lengths, axis=None, kind="stable")
    if not 0 <= rank < len(order):
        raise InputError(f"there are {len(order)} hops from {start} to {end}; --rank counts them from 0")
    i, j = np.unravel_index(order[rank], lengths.shape)
    length = float(lengths[i, j])
    atom = int(owner[from_[i]])
    end_A = cell.positions_A[atom] + _separations(cell, cell.positions_A[[atom]], sites[to[[j]]])[0, 0]
    return Choice(atom, int(from_[i]), int(to[j]), (start, end), length,
                  int((lengths[i] < 1.1 * length + 0.05).sum()), end_A)


def with_vacancy(cell: Cell, start: str, end: str, rank: int = 0) -> Cell:
    """The cell without the Na at the far end of the ``rank``-th shortest step from an occupied ``start`` to an
    occupied ``end`` site: where an ordered cell is full, ions move into vacancies.

    Raises:
        InputError: no such kind of site, or not two of them occupied.
    """
    names, sites, held, owner = _occupation(cell, start, end)
    from_, to = (np.flatnonzero((names == name) & held) for name in (start, end))
    lengths = np.linalg.norm(_separations(cell, sites[from_], sites[to]), axis=2)
    lengths[from_[:, None] == to[None]] = np.inf
    order = np.argsort(lengths, axis=None, kind="stable")[: int(np.isfinite(lengths).sum())]
    if len(order) == 0:
        raise InputError(f"no two Na are on {start} and {end} sites of this cell: no vacancy to make")
    if not 0 <= rank < len(order):
        raise InputError(f"there are {len(order)} steps from {start} to {end}; --rank counts them from 0")
    gone = int(owner[to[np.unravel_index(order[rank], lengths.shape)[1]]])
    kept = np.arange(len(cell)) != gone
    return Cell(cell.numbers[kept], cell.positions_A[kept], cell.lattice_A, cell.regions[kept], cell.sites[kept],
                {**cell.provenance, "vacancy": {"atom": gone, "site": end}})


def _occupation(cell: Cell, start: str, end: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Names and places of all sites, whether each is occupied, and the nearest Na of each."""
    names, sites = na_sites(cell)
    for name in (start, end):
        if name not in set(names.tolist()):
            raise InputError(f"there is no site {name} in the cell, only {', '.join(sorted(set(names.tolist())))}")
    ions = np.flatnonzero(cell.symbols == "Na")
    if len(ions) == 0:
        raise InputError("there is no Na in the cell")
    distance = np.linalg.norm(_separations(cell, sites, cell.positions_A[ions]), axis=2)
    return names, sites, distance.min(axis=1) < ON_SITE_A, ions[distance.argmin(axis=1)]


def _separations(cell: Cell, from_A: np.ndarray, to_A: np.ndarray) -> np.ndarray:
    """(n, m, 3) shortest vectors from one set of places to another, images counted."""
    inverse = np.linalg.inv(cell.lattice_A)
    fraction = (to_A[None] - from_A[:, None]) @ inverse
    near = fraction - np.round(fraction)
    shifts = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), -1).reshape(-1, 3)
    every = (near[:, :, None] + shifts) @ cell.lattice_A
    best = np.linalg.norm(every, axis=3).argmin(axis=2)
    return np.take_along_axis(every, best[:, :, None, None], axis=2)[:, :, 0]


def hop(
    cell: Cell,
    potential: Potential,
    start: str,
    end: str,
    rank: int = 0,
    n_images: int = 5,
    fmax_eV_per_A: float = 0.05,
    max_steps: int = 300,
    vibrating_A: float | None = 4.0,
    temperatures_K: Sequence[float] = (300.0, 600.0, 900.0),
    vacancy: bool = False,
    say: Say | None = None,
) -> HopResult:
    """Relax both ends, climb the band between them, and give the rate of harmonic transition-state theory.

    Args:
        rank: 0 the shortest hop between sites of these kinds, 1 the next, ...
        n_images: between the ends. vibrating_A: atoms this near to the ion (at either end of the hop or on top) vibrate
            in the attempt frequency, all others are held; None: no attempt frequency.
        vacancy: take the ion on the target site out first (:func:`with_vacancy`); ``rank`` then counts such steps.

    Raises:
        InputError: sites that do not fit. RunFailed: an end leaves its site, or there is no barrier.
    """
    import ase.mep

    if n_images < 1 or max_steps < 1 or not fmax_eV_per_A > 0:
        raise InputError("a hop needs at least one image and one step, and a positive --fmax")
    if any(not (np.isfinite(t) and t > 0) for t in temperatures_K):
        raise InputError("temperatures must be positive numbers")
    potential.check_elements(cell.numbers)
    if vacancy:
        cell, rank = with_vacancy(cell, start, end, rank), 0
    choice = choose(cell, start, end, rank)
    say = say or (lambda text: None)
    calculator = _calculator(potential)
    first, last = _ends(cell, choice, calculator, fmax_eV_per_A, max_steps, say)
    images = [first, *(first.copy() for _ in range(n_images)), last]
    for image in images[1:-1]:
        image.calc = calculator
    band = ase.mep.NEB(images, k=0.1, climb=False, method="improvedtangent", allow_shared_calculator=True)
    band.interpolate(method="idpp", mic=True)
    converged = _climb(band, fmax_eV_per_A, max_steps, say)
    energy = np.array([image.get_potential_energy() for image in images])
    top = int(energy.argmax())
    if top in (0, len(images) - 1):
        raise RunFailed(f"there is no barrier between {start} and {end}: the energy only rises to an end; one of the "
                        "sites is not stable with this potential")
    warnings = [] if converged else [f"the band did not converge in {max_steps} steps (--max-steps)"]
    attempt: float | None = None
    n_vibrating = 0
    if vibrating_A is not None:
        chosen = _near(cell, [images[i].positions for i in (0, top, -1)], choice.atom, vibrating_A)
        n_vibrating = len(chosen)
        at = [frequencies_THz(hessian(_forces_of(image, calculator), image.positions, chosen), cell.masses_amu[chosen])
              for image in (first, images[top])]
        try:
            attempt = vineyard_THz(*at)
        except RunFailed as error:  # the barrier stands without it
            warnings.append(f"no attempt frequency and no rate: {error}")
    barrier = float(energy[top] - energy[0])
    length = float(np.linalg.norm(last.positions[choice.atom] - first.positions[choice.atom]))
    rates = []
    for kelvin in temperatures_K if attempt is not None else ():
        rate = rate_per_ps(attempt, barrier, kelvin)  # type: ignore[arg-type]
        rates.append({"temperature_K": float(kelvin), "rate_per_ps": rate,
                      "diffusivity_cm2_per_s": diffusivity_cm2_per_s(rate, length, choice.targets)})
    travelled = np.array([image.positions[choice.atom] for image in images])
    path = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(travelled, axis=0), axis=1))])
    return HopResult(choice.names, choice.atom, length, choice.length_A, choice.targets, vacancy, barrier,
                     float(energy[top] - energy[-1]), energy - energy[0], path, converged, attempt, n_vibrating,
                     tuple(rates), potential.identity.model_dump(mode="json"), _cells(cell, images), tuple(warnings))


def _calculator(potential: Potential) -> Any:
    from atomflow.potentials.ase_calculator import BatchCalculator

    return BatchCalculator(potential)


def _ends(cell: Cell, choice: Choice, calculator: Any, fmax: float, max_steps: int, say: Say) -> tuple[Any, Any]:
    """Both ends relaxed at the cell's lattice, still on their sites."""
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.optimize import LBFGS

    _, sites = na_sites(cell)
    ends = []
    for name, site, move in zip(choice.names, (choice.start, choice.end), (None, choice.end_A), strict=True):
        atoms = cell.to_ase()
        if move is not None:
            atoms.positions[choice.atom] = move
        atoms.calc = calculator
        optimiser: Any = LBFGS(atoms, logfile=None)  # type: ignore[arg-type]
        if not optimiser.run(fmax=0.5 * fmax, steps=max_steps):
            raise RunFailed(f"the end on {name} did not relax in {max_steps} steps (--max-steps)")
        off = float(np.linalg.norm(_separations(cell, atoms.positions[[choice.atom]], sites[[site]])[0, 0]))
        if off > ON_SITE_A:
            raise RunFailed(f"the ion left its {name} site while relaxing ({off:.1f} Å away): that site is not stable "
                            "here with this potential")
        say(f"{name}: relaxed in {optimiser.nsteps} steps, {off:.2f} Å from the ideal site")
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        ends.append(atoms)
    return ends[0], ends[1]


def _climb(band: Any, fmax: float, max_steps: int, say: Say) -> bool:
    """Converge the band roughly, then with the highest image climbing."""
    from ase.optimize import FIRE

    optimiser: Any = FIRE(band, logfile=None)  # type: ignore[arg-type]
    optimiser.run(fmax=5.0 * fmax, steps=max_steps // 2)
    band.climb = True
    converged = bool(optimiser.run(fmax=fmax, steps=max_steps))
    say(f"band: {'converged' if converged else 'NOT converged'} after {optimiser.nsteps} steps")
    return converged


def _near(cell: Cell, places: Sequence[np.ndarray], atom: int, radius_A: float) -> list[int]:
    """Atoms that come within the radius of the ion in any of the places."""
    near = np.zeros(len(cell), dtype=bool)
    for positions in places:
        near |= np.linalg.norm(_separations(cell, positions[[atom]], positions)[0], axis=1) < radius_A
    near[atom] = True
    return [int(i) for i in np.flatnonzero(near)]


def _forces_of(atoms: Any, calculator: Any) -> Callable[[np.ndarray], np.ndarray]:
    copy = atoms.copy()
    copy.calc = calculator

    def forces(positions_A: np.ndarray) -> np.ndarray:
        copy.positions = positions_A
        return np.array(copy.get_forces())

    return forces


def _cells(cell: Cell, images: Sequence[Any]) -> tuple[Cell, ...]:
    return tuple(Cell(cell.numbers, image.positions, cell.lattice_A, cell.regions, cell.sites, cell.provenance)
                 for image in images)
