"""What ``atomflow interface`` prints for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atomflow.plain import table
from atomflow.units import EV_PER_A2_IN_J_PER_M2

if TYPE_CHECKING:
    from atomflow.interfaces.dft import Comparison
    from atomflow.interfaces.energy import InterfaceEnergy
    from atomflow.interfaces.separation import Adhesion
    from atomflow.interfaces.translation import SearchResult


def search_text(found: SearchResult) -> str:
    """What a search found, for people."""
    alike = "both boundaries alike, moved together" if found.alike else f"{found.n_boundaries} boundaries on their own"
    lines = [f"{found.n_scanned} translations and gaps scanned, {found.n_short} relaxed a little, "
             f"{len(found.finalists)} to the end; {alike}"]
    lowest = found.finalists[0]["energy_eV"]
    per = found.n_boundaries * found.area_A2
    rows = [[" ".join(f"{x:.2f},{y:.2f}" for x, y in one["translations_A"]), f"{one['energy_eV']:.3f}",
             f"{(one['energy_eV'] - lowest) / per * EV_PER_A2_IN_J_PER_M2:.3f}",
             "yes" if one["converged"] else f"no, {one['fmax_eV_per_A']:.3f} eV/Å left",
             "; ".join(one["problems"]) or "-"] for one in found.finalists]  # fmt: skip
    header = ["translation/Å", "energy/eV", "above lowest, J/m²", "converged", "problems"]
    return "\n".join([*lines, table(rows, header)])


def energy_text(found: InterfaceEnergy) -> str:
    """One energy per area, for people."""
    lines = [f"{found.what} energy {found.energy_J_per_m2:.4f} J/m² = {found.energy_eV_per_A2:.6f} eV/Å² "
             f"(mean of {found.n}, {found.area_A2:.2f} Å² each, {found.n_atoms} atoms)"]
    if found.excess_volume_A is not None:
        lines.append(f"excess volume {found.excess_volume_A:.3f} Å per area")
    if found.thicker_J_per_m2 is not None:
        lines.append(f"grains twice as thick: {found.thicker_J_per_m2:.4f} J/m² "
                     f"(differs by {found.thickness_error_J_per_m2:.4f})")
    lines += [f"reference: {found.reference}", f"stoichiometry excess: {found.excess}",
              f"potential: {found.potential['name']} ({found.potential['sha256'][:12]})"]
    return "\n".join(lines + [f"warning: {text}" for text in found.warnings])


def adhesion_text(found: Adhesion) -> str:
    """Work of adhesion, for people."""
    parts = ", ".join(f"{name} {count} atoms" for name, count in found.parts.items())
    lines = [f"work of adhesion, mean of {found.n_interfaces} interface(s) of {found.area_A2:.2f} Å² ({parts})",
             f"rigid parts    {found.rigid_J_per_m2:.4f} J/m² = {found.rigid_eV_per_A2:.6f} eV/Å²"]
    if found.relaxed_J_per_m2 is not None:
        lines.append(f"relaxed parts  {found.relaxed_J_per_m2:.4f} J/m² = {found.relaxed_eV_per_A2:.6f} eV/Å²")
    lines += [f"reference: {found.reference}; opened by {found.opening_A:g} Å",
              f"potential: {found.potential['name']} ({found.potential['sha256'][:12]})"]
    return "\n".join(lines + [f"warning: {text}" for text in found.warnings])


def comparison_text(found: Comparison) -> str:
    """Ours beside theirs, for people."""
    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f}"

    rows = []
    for row in found.rows:
        name = [row.what, " ".join(map(str, row.plane)), "-" if row.cut is None else str(row.cut)]
        numbers = [row.ours_J_per_m2, row.thicker_J_per_m2, row.runner_up_J_per_m2, row.excess_volume_A]
        ours, thick, runner, excess = map(number, numbers)
        name += [f"{row.theirs_J_per_m2:.2f}", ours, f"{row.difference_J_per_m2:+.3f}"]
        rows.append([*name, thick, runner, excess, "yes" if row.converged else "no"])
    header = ["what", "plane", "cut", "DFT, J/m²", "ours, J/m²", "difference", "twice as thick", "next finalist above",
              "excess volume, Å", "converged"]  # fmt: skip
    percent = 100 * (found.volume_A3 / found.dft_volume_A3 - 1)
    lines = [table(rows, header),
             f"{found.potential['name']} ({found.potential['sha256'][:12]}); the volume of its crystal is DFT's "
             f"{percent:+.1f} %"]
    if found.kendall is not None:
        same = "the order is DFT's" if found.kendall == 1.0 else "the order is NOT DFT's"
        lines.append(f"{same}: Spearman {found.spearman:.2f}, Kendall {found.kendall:.2f}")
    if any(row.what == "boundary" for row in found.rows):
        lines.append(f"mean absolute error of the boundaries {found.mean_abs_error_J_per_m2:.3f} J/m² "
                     f"(goal: the order, and at most 0.08: {'met' if found.goal_met else 'not met'})")
    if found.same_cell_error_J_per_m2 is not None:
        order = "" if found.same_cell_kendall is None else f", Kendall {found.same_cell_kendall:.2f}"
        lines.append(f"mean absolute error in their own cells {found.same_cell_error_J_per_m2:.3f} J/m²{order}: that "
                     "of the potential alone; a boundary below DFT's is a translation that was not tried there")
    lines.append(f"DFT: {found.source}")
    notes = {text for row in found.rows for text in row.warnings}
    return "\n".join(lines + [f"warning: {text}" for text in sorted(notes)])
