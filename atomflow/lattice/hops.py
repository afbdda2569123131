"""Hop paths of Na between named sites: ASE's climbing nudged elastic band with atomflow's potentials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atomflow.build.nzsp import na_sites
from atomflow.cell import Cell, check_cell_given
from atomflow.errors import InputError, RunFailed, check_positive, said
from atomflow.lattice.choice import ON_SITE_A, Choice, choose, into_vacancy, separations
from atomflow.lattice.rates import diffusivity_cm2_per_s, frequencies_THz, hessian, rate_per_ps, vineyard_THz
from atomflow.plain import Shown, named, table
from atomflow.potentials import Potential
from atomflow.potentials.base import check_potential_given

Say = Callable[[str], None]
#: Steps of the band, and displacements of its Hessians, between two words about them.
_TELL_EVERY = 20


@dataclass(frozen=True, repr=False)
class HopResult(Shown):
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

    def text(self) -> str:
        """For people, as ``atomflow hop`` prints it."""
        start, end = self.names
        cell = f" in {self.images[0].formula}" if self.images else ""
        lines = [f"{start} → {end}{cell}, {self.length_A:.2f} Å, {self.targets} such vacant sites: barrier "
                 f"{self.barrier_eV:.3f} eV, back {self.reverse_eV:.3f} eV",
                 f"{len(self.energy_eV) - 2} images, {'converged' if self.converged else 'NOT converged'}, with "
                 f"{named(self.potential)}; no interval: it would be the potential's error"]
        if self.attempt_THz is not None:
            lines.append(f"attempt frequency {self.attempt_THz:.3g} THz ({self.n_vibrating} atoms vibrate)")
            rows = [[f"{r['temperature_K']:g}", f"{r['rate_per_ps']:.3g}", f"{r['diffusivity_cm2_per_s']:.3g}"]
                    for r in self.rates]
            lines.append(table(rows, ["T/K", "rate, 1/ps", "D of such hops alone, cm²/s"]))
        return "\n".join(lines + [f"warning: {text}" for text in self.warnings])

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "images"}

    @classmethod
    def from_json(cls, data: dict[str, Any], temperatures_K: Sequence[float]) -> HopResult:
        """A kept hop, without its images, with the rates at other temperatures."""
        known = {name: data[name] for name in cls.__dataclass_fields__ if name not in ("images", "rates")}
        found = rates(data["attempt_THz"], data["barrier_eV"], data["length_A"], data["targets"], temperatures_K)
        arrays = {name: np.array(data[name]) for name in ("energy_eV", "path_A")}
        return cls(**{**known, **arrays, "names": tuple(data["names"]), "warnings": tuple(data["warnings"]),
                      "rates": found, "images": ()})


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
    length_A: float | None = None,
) -> HopResult:
    """Relax both ends, climb the band between them, and give the rate of harmonic transition-state theory.

    Args:
        rank: 0 the shortest hop between sites of these kinds, 1 the next, ... length_A: count from the hop that is
            nearest to this long instead.
        n_images: between the ends. vibrating_A: atoms this near to the ion (at either end of the hop or on top) vibrate
            in the attempt frequency, all others are held; None: no attempt frequency.
        vacancy: take the ion on the target site out first (:func:`~atomflow.lattice.choice.into_vacancy`); ``rank``
            then counts such steps.

    Raises:
        InputError: sites that do not fit. RunFailed: an end leaves its site, or there is no barrier.
    """
    if n_images < 1 or max_steps < 1 or not fmax_eV_per_A > 0:
        raise InputError("a hop needs at least one image and one step, and a positive --fmax")
    check_temperatures(temperatures_K)
    check_cell_given(cell)
    check_potential_given(potential)
    for kind in (start, end):
        if not isinstance(kind, str):
            raise InputError(f"a site is given by its kind, like 'Na2', not by {said(kind)}")
    potential.check_elements(cell.numbers)
    if vacancy:
        cell, choice = into_vacancy(cell, start, end, rank, length_A)
    else:
        choice = choose(cell, start, end, rank, length_A)
    say = say or (lambda text: None)
    calculator = _calculator(potential)
    first, last = _ends(cell, choice, calculator, fmax_eV_per_A, max_steps, say)
    images, converged = _band(first, last, n_images, calculator, fmax_eV_per_A, max_steps, say)
    energy = np.array([image.get_potential_energy() for image in images])
    top = int(energy.argmax())
    if top in (0, len(images) - 1):
        raise RunFailed(f"there is no barrier between {start} and {end}: the energy only rises to an end; one of the "
                        "sites is not stable with this potential")
    warnings = [] if converged else [f"the band did not converge in {max_steps} steps (--max-steps)"]
    attempt, n_vibrating = _attempt(cell, images, top, choice.atom, vibrating_A, calculator, warnings, say)
    length = float(np.linalg.norm(last.positions[choice.atom] - first.positions[choice.atom]))
    travelled = np.array([image.positions[choice.atom] for image in images])
    path = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(travelled, axis=0), axis=1))])
    barrier = float(energy[top] - energy[0])
    return HopResult(choice.names, choice.atom, length, choice.length_A, choice.targets, vacancy, barrier,
                     float(energy[top] - energy[-1]), energy - energy[0], path, converged, attempt, n_vibrating,
                     rates(attempt, barrier, length, choice.targets, temperatures_K),
                     potential.identity.model_dump(mode="json"), _cells(cell, images), tuple(warnings))


def check_temperatures(temperatures_K: Sequence[float]) -> None:
    """Raises InputError unless all are positive numbers."""
    if not isinstance(temperatures_K, (list, tuple, np.ndarray)):
        raise InputError(f"temperatures_K is a list of temperatures, like [300, 600], not {said(temperatures_K)}")
    for kelvin in temperatures_K:
        check_positive("a temperature", kelvin)


def rates(attempt_THz: float | None, barrier_eV: float, length_A: float, targets: int,
          temperatures_K: Sequence[float]) -> tuple[dict[str, float], ...]:
    """Rate and D of such hops alone at every temperature; none without an attempt frequency."""
    if attempt_THz is None:
        return ()
    found = [(kelvin, rate_per_ps(attempt_THz, barrier_eV, kelvin)) for kelvin in temperatures_K]
    return tuple({"temperature_K": float(kelvin), "rate_per_ps": rate,
                  "diffusivity_cm2_per_s": diffusivity_cm2_per_s(rate, length_A, targets)} for kelvin, rate in found)


def _band(first: Any, last: Any, n_images: int, calculator: Any, fmax: float, max_steps: int, say: Say
          ) -> tuple[list[Any], bool]:
    """The images from end to end, the highest on the saddle, and whether that converged."""
    import ase.mep

    images = [first, *(first.copy() for _ in range(n_images)), last]
    for image in images[1:-1]:
        image.calc = calculator
    band = ase.mep.NEB(images, k=0.1, climb=False, method="improvedtangent", allow_shared_calculator=True)
    band.interpolate(method="idpp", mic=True)
    return images, _climb(band, fmax, max_steps, say)


def _attempt(cell: Cell, images: Sequence[Any], top: int, atom: int, vibrating_A: float | None, calculator: Any,
             warnings: list[str], say: Say) -> tuple[float | None, int]:
    """Vineyard's frequency and how many atoms vibrate in it; where it has none the reason joins the warnings."""
    if vibrating_A is None:
        return None, 0
    chosen = _near(cell, [images[i].positions for i in (0, top, -1)], atom, vibrating_A)
    at = []
    for name, image in (("the start", images[0]), ("the top", images[top])):

        def tell(done: int, total: int, name: str = name) -> None:
            if done % _TELL_EVERY == 0 or done == total:
                say(f"vibrations at {name}: displacement {done} of {total}")

        found = hessian(_forces_of(image, calculator), image.positions, chosen, progress=tell)
        at.append(frequencies_THz(found, cell.masses_amu[chosen]))
    try:
        return vineyard_THz(at[0], at[1]), len(chosen)
    except RunFailed as error:  # the barrier stands without it
        warnings.append(f"no attempt frequency and no rate: {error}")
        return None, len(chosen)


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
        off = float(np.linalg.norm(separations(cell, atoms.positions[[choice.atom]], sites[[site]])[0, 0]))
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

    def tell() -> None:
        if optimiser.nsteps:
            say(f"band: step {optimiser.nsteps}, largest force {band.get_residual():.3f} eV/Å")

    optimiser.attach(tell, interval=_TELL_EVERY)
    optimiser.run(fmax=5.0 * fmax, steps=max_steps // 2)
    band.climb = True
    converged = bool(optimiser.run(fmax=fmax, steps=max_steps))
    say(f"band: {'converged' if converged else 'NOT converged'} after {optimiser.nsteps} steps")
    return converged


def _near(cell: Cell, places: Sequence[np.ndarray], atom: int, radius_A: float) -> list[int]:
    """Atoms that come within the radius of the ion in any of the places."""
    near = np.zeros(len(cell), dtype=bool)
    for positions in places:
        near |= np.linalg.norm(separations(cell, positions[[atom]], positions)[0], axis=1) < radius_A
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
