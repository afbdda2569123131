"""What force errors do not show: is energy conserved, does it stay in one piece, where does it come to rest, how high
are its barriers. Every check takes an ASE calculator, so that student and teacher are asked the same question."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from atomflow.distill.distort import contact_ratio

if TYPE_CHECKING:
    import ase


def energy_drift(
    atoms: ase.Atoms, calculator: Any, temperature_K: float, time_ps: float, timestep_fs: float = 1.0, seed: int = 1
) -> dict[str, float]:
    """Constant-energy dynamics: slope (meV/atom/ps) and scatter of the TOTAL energy, kinetic part included.

    The first tenth is left out. ``temperature_K`` is that of the start; half of it is lost to potential energy.
    """
    from ase import units
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary
    from ase.md.verlet import VelocityVerlet

    atoms = atoms.copy()
    atoms.calc = calculator
    MaxwellBoltzmannDistribution(atoms, temperature_K=2 * temperature_K, rng=np.random.RandomState(seed))
    Stationary(atoms)
    dynamics = VelocityVerlet(atoms, timestep_fs * units.fs)
    times, energies, temperatures = [], [], []

    def record() -> None:
        times.append(dynamics.get_time() / (1000 * units.fs))
        energies.append(1e3 * atoms.get_total_energy() / len(atoms))
        temperatures.append(atoms.get_temperature())

    dynamics.attach(record, interval=5)
    dynamics.run(round(time_ps * 1000 / timestep_fs))
    late = np.array(times) > 0.1 * time_ps
    slope, intercept = np.polyfit(np.array(times)[late], np.array(energies)[late], 1)
    scatter = np.array(energies)[late] - slope * np.array(times)[late] - intercept
    return {"drift_meV_per_atom_per_ps": float(slope), "scatter_meV_per_atom": float(scatter.std()),
            "temperature_K": float(np.mean(np.array(temperatures)[late])), "time_ps": time_ps,
            "timestep_fs": timestep_fs}


def relaxed(atoms: ase.Atoms, calculator: Any, fmax_eV_per_A: float = 0.02, steps: int = 200) -> ase.Atoms:
    """A copy with atoms and cell relaxed together; the calculator stays attached."""
    from ase.filters import FrechetCellFilter
    from ase.optimize import LBFGS

    atoms = atoms.copy()
    atoms.calc = calculator
    filtered: Any = FrechetCellFilter(atoms)
    LBFGS(filtered, logfile=os.devnull).run(fmax=fmax_eV_per_A, steps=steps)
    return atoms


def rest(atoms: ase.Atoms, calculator: Any, fmax_eV_per_A: float = 0.02, steps: int = 200) -> dict[str, Any]:
    """Where a crystal comes to rest: cell parameters, volume per atom, mean bond lengths, energy per atom."""
    found = relaxed(atoms, calculator, fmax_eV_per_A, steps)
    return {"lengths_A": found.cell.lengths().tolist(), "angles_deg": found.cell.angles().tolist(),
            "volume_A3_per_atom": found.get_volume() / len(found),
            "energy_eV_per_atom": found.get_potential_energy() / len(found),
            "largest_force_eV_per_A": float(np.abs(found.get_forces()).max()), "bonds_A": bond_lengths_A(found)}


def bond_lengths_A(atoms: ase.Atoms) -> dict[str, float]:
    """Mean cation–oxygen distance over the nearest four (Si, P, B, Zn) or six (Zr) oxygens."""
    from ase.neighborlist import neighbor_list

    symbols = np.array(atoms.get_chemical_symbols())
    i, j, distances = neighbor_list("ijd", atoms, 3.2)
    bonds = {}
    for cation, count in (("Si", 4), ("P", 4), ("Zr", 6)):
        each = [np.sort(distances[(i == k) & (symbols[j] == "O")])[:count] for k in np.flatnonzero(symbols == cation)]
        if each:
            bonds[f"{cation}-O"] = float(np.mean(np.concatenate(each)))
    return bonds


def stays_whole(
    atoms: ase.Atoms, calculator: Any, temperature_K: float, time_ps: float, timestep_fs: float = 2.0, seed: int = 1
) -> dict[str, Any]:
    """Langevin dynamics at constant volume: does it stay near its temperature without overlapping atoms?

    ``framework_rms_A``: root mean square displacement of Zr from the start, which stays near 0.2 Å in a crystal.
    """
    from ase import units
    from ase.md.langevin import Langevin
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

    atoms = atoms.copy()
    atoms.calc = calculator
    random = np.random.RandomState(seed)
    MaxwellBoltzmannDistribution(atoms, temperature_K=temperature_K, rng=random)
    start = atoms.positions.copy()
    symbols = np.array(atoms.get_chemical_symbols())
    dynamics = Langevin(atoms, timestep_fs * units.fs, temperature_K=temperature_K, friction=0.002 / units.fs,
                        rng=random)
    temperatures, closest = [], np.inf
    for _ in range(round(time_ps * 1000 / timestep_fs / 50)):
        dynamics.run(50)
        temperatures.append(atoms.get_temperature())
        closest = min(closest, contact_ratio(symbols, atoms.positions, np.array(atoms.cell)))
        if not np.isfinite(temperatures[-1]) or temperatures[-1] > 5 * temperature_K:
            break
    moved = ((atoms.positions - start)[symbols == "Zr"] ** 2).sum(axis=1)
    return {"temperature_K": temperature_K, "time_ps": dynamics.get_time() / (1000 * units.fs),
            "mean_temperature_K": float(np.mean(temperatures)), "highest_temperature_K": float(np.max(temperatures)),
            "closest_contact": float(closest), "framework_rms_A": float(np.sqrt(moved.mean())) if len(moved) else None}


def barrier_eV(
    path: list[ase.Atoms], calculator: Any, fmax_eV_per_A: float = 0.06, steps: int = 40
) -> tuple[dict[str, float], list[ase.Atoms]]:
    """Barrier of a hop by the climbing-image nudged elastic band, both ends relaxed; and the relaxed path.

    Args:
        path: images of one cell. Only the first, the last and their number matter: both ends are relaxed here, and
            the band starts between the relaxed ends with interpolated distances, so that nothing overlaps.
    """
    from ase.mep import NEB
    from ase.optimize import FIRE, LBFGS

    images = [image.copy() for image in path]
    for image in images:
        image.calc = calculator
    for end in (images[0], images[-1]):
        LBFGS(end, logfile=os.devnull).run(fmax=fmax_eV_per_A / 2, steps=3 * steps)
    band = NEB(images, climb=False, allow_shared_calculator=True, method="improvedtangent", k=0.5)
    band.interpolate("idpp", mic=True)
    optimizer = FIRE(band, logfile=os.devnull)
    optimizer.run(fmax=3 * fmax_eV_per_A, steps=steps // 2)
    band.climb = True
    optimizer.run(fmax=fmax_eV_per_A, steps=steps)
    energies = np.array([image.get_potential_energy() for image in images])
    return {"forward_eV": float(energies.max() - energies[0]), "backward_eV": float(energies.max() - energies[-1]),
            "largest_force_eV_per_A": float(np.sqrt((band.get_forces() ** 2).sum(axis=1).max())),
            "steps": float(optimizer.nsteps)}, images
