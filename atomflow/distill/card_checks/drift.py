"""Drift of the total energy at constant energy: whether the forces are the slope of the energy."""

from __future__ import annotations

from atomflow.distill.card_checks.engine_runs import nzsp_at_rest
from atomflow.distill.card_checks.section import Context, Section, Work
from atomflow.distill.checks import energy_drift

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
