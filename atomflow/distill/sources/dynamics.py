"""Frames from short molecular dynamics: a potential brings distorted cells to where atoms really go."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from atomflow.distill.distort import contact_ratio
from atomflow.distill.frames import Frame
from atomflow.distill.sources import starts
from atomflow.distill.sources.config import DynamicsSource
from atomflow.distill.sources.stream import Draw, Job, Start, Stream, distorted, with_copies

if TYPE_CHECKING:
    import ase

#: A trajectory ends, its last sane frame kept, when it is this hot (times the target, plus 500 K), ...
HOT = 6.0
#: ... any force is above this, eV/Å, ...
LARGEST_FORCE_EV_PER_A = 80.0
#: ... or two atoms are closer than this part of their natural distance.
CLOSEST = 0.55


def jobs(source: DynamicsSource, stream: Stream) -> list[Job]:
    from atomflow import potentials

    draws = starts.draws(source.start, stream)
    calculator = potentials.load(source.potential).calculator()  # type: ignore[attr-defined]
    return [partial(_frames, source, calculator, draw, number) for number, draw in enumerate(draws)]


def _frames(source: DynamicsSource, calculator: Any, draw: Draw, number: int) -> Iterator[Frame]:
    start, rng = draw()
    yield from with_copies(_trajectory(source, calculator, start, number, rng), source, rng)


def _trajectory(
    source: DynamicsSource, calculator: Any, start: Start, number: int, rng: np.random.Generator
) -> Iterator[Frame]:
    import ase

    positions, lattice, _ = distorted(start, rng)
    temperature = source.temperatures_K[number % len(source.temperatures_K)]
    atoms = ase.Atoms(list(start.symbols), positions=positions, cell=lattice, pbc=True)
    for moved, now_K, sane in trajectory_frames(
        atoms, calculator, temperature, source.gaps_steps, source.timestep_fs, source.friction_per_fs,
        source.descent_steps, int(rng.integers(2**31)), source.cooled_from_K,
    ):
        yield start.frame(moved, lattice, "md" if sane else "md-doubtful", now_K)


def descended(atoms: ase.Atoms, steps: int, step_A2_per_eV: float = 0.02, longest_A: float = 0.08) -> None:
    """Move ``atoms`` down their forces in place, a few capped steps: takes the edge off random distortions."""
    for _ in range(steps):
        move = step_A2_per_eV * atoms.get_forces()
        atoms.positions += move * min(1.0, longest_A / max(float(np.abs(move).max()), 1e-12))


def cooling(temperature_K: float, from_K: float | None, steps: int) -> list[float]:
    """(steps,) temperatures in K: all the target, or from the hot one down to the target in equal ratios."""
    hot_K = max(temperature_K, from_K or temperature_K)
    if steps == 1 or hot_K == temperature_K:
        return [temperature_K] * steps
    return [float(t) for t in np.geomspace(hot_K, temperature_K, steps)]


def trajectory_frames(
    atoms: ase.Atoms,
    calculator: Any,
    temperature_K: float,
    gaps_steps: tuple[int, ...],
    timestep_fs: float,
    friction_per_fs: float,
    descent_steps: int,
    seed: int,
    cooled_from_K: float | None = None,
) -> Iterator[tuple[np.ndarray, float, bool]]:
    """Yield (positions (N, 3), temperature in K, sane) after every gap of Langevin dynamics at constant volume.

    The thermostat's temperature is ``temperature_K``, or falls to it from ``cooled_from_K`` gap by gap.
    Velocities start at 1.6 times the temperature because half of the kinetic energy soon becomes potential energy.
    ``sane`` is False for the frame at which the trajectory was given up; frames with overlapping atoms are not yielded.
    """
    from ase import units
    from ase.md.langevin import Langevin
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

    atoms.calc = calculator
    descended(atoms, descent_steps)
    random = np.random.RandomState(seed)
    targets_K = cooling(temperature_K, cooled_from_K, len(gaps_steps))
    MaxwellBoltzmannDistribution(atoms, temperature_K=1.6 * targets_K[0], rng=random)
    with warnings.catch_warnings():  # held at its place, the centre of mass lacks its share of heat; no matter here
        warnings.filterwarnings("ignore", message=".*fixcm.*")
        dynamics = Langevin(atoms, timestep_fs * units.fs, temperature_K=temperature_K,
                            friction=friction_per_fs / units.fs, rng=random)
    for gap, target_K in zip(gaps_steps, targets_K, strict=True):
        dynamics.set_temperature(temperature_K=target_K)
        dynamics.run(gap)
        force = float(np.abs(atoms.get_forces()).max())
        ratio = contact_ratio(np.array(atoms.get_chemical_symbols()), atoms.positions, np.array(atoms.cell))
        sane = bool(np.isfinite(force) and force < LARGEST_FORCE_EV_PER_A and ratio > CLOSEST
                    and atoms.get_temperature() < HOT * target_K + 500)
        if sane or (np.isfinite(force) and ratio > 0.5):
            yield atoms.positions.copy(), target_K, sane
        if not sane:
            return
