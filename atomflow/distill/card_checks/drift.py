"""Drift of the total energy at constant energy: whether the forces are the slope of the energy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from atomflow.distill.card_checks.engine_runs import nzsp_at_rest
from atomflow.distill.card_checks.section import Context, Section, Work

if TYPE_CHECKING:
    import ase

TITLE = "Energy drift at constant energy"
TIMESTEP_FS = 1.0


def work(context: Context) -> Work:
    return Work(student=80 * context.settings.drift_ps * 1000 / TIMESTEP_FS)


def run(context: Context) -> Section:
    from atomflow.potentials.ase_calculator import BatchCalculator

    settings = context.settings
    found = energy_drift(
        nzsp_at_rest(context).to_ase(),
        BatchCalculator(context.potential),
        settings.drift_temperature_K,
        settings.drift_ps,
        TIMESTEP_FS,
    )
    line = (
        f"Ordered NZSP, 80 atoms, {found['timestep_fs']:g} fs, {found['time_ps']:g} ps, "
        f"mean {found['temperature_K']:.0f} K, "
        f"{context.potential.identity.dtype}: {1e3 * found['drift_meV_per_atom_per_ps']:+.2f} µeV/atom/ps, scatter "
        f"{found['scatter_meV_per_atom']:.3f} meV/atom."
    )
    return Section(lines=[line], facts=dict(found))


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
