"""Frames from short molecular dynamics: a potential brings distorted cells to where atoms really go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from atomflow.distill.distort import contact_ratio

if TYPE_CHECKING:
    import ase

#: A trajectory ends, its last sane frame kept, when it is this hot (times the target, plus 500 K), ...
HOT = 6.0
#: ... any force is above this, eV/Å, ...
LARGEST_FORCE_EV_PER_A = 80.0
#: ... or two atoms are closer than this part of their natural distance.
CLOSEST = 0.55


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
