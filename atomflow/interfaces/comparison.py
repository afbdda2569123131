"""What a comparison with published boundary and surface energies says, row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from atomflow.plain import Shown, named, table


@dataclass(frozen=True)
class Row:
    """One plane: theirs, ours, and how sure ours is.

    Attributes:
        what: boundary, surface, or ``their cell`` and ``their slab``: the published boundary or slab itself, relaxed on
            from where DFT left it at DFT's lattice. plane: on the primitive cell.
        theirs_J_per_m2, ours_J_per_m2.
        thicker_J_per_m2: ours with grains twice as thick, None when not asked for.
        runner_up_J_per_m2: how far above the lowest the next finalist came, None for surfaces.
        excess_volume_A, n_atoms, converged, warnings: of the lowest. cut: which cut that is (``build boundary --cut``).
    """

    what: str
    plane: tuple[int, int, int]
    theirs_J_per_m2: float
    ours_J_per_m2: float
    thicker_J_per_m2: float | None
    runner_up_J_per_m2: float | None
    excess_volume_A: float | None
    n_atoms: int
    converged: bool
    warnings: tuple[str, ...]
    cut: int | None = None

    @property
    def difference_J_per_m2(self) -> float:
        return self.ours_J_per_m2 - self.theirs_J_per_m2

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "difference_J_per_m2": self.difference_J_per_m2}


@dataclass(frozen=True, repr=False)
class Comparison(Shown):
    """Ours beside theirs.

    Attributes:
        rows: boundaries, their cells, then surfaces.
        spearman, kendall: of the boundary energies, ours against theirs (1: same order); None for fewer than three.
        mean_abs_error_J_per_m2: over the boundaries that were searched (NaN: none). goal_met: order right and that
            error at most 0.08 J/m².
        same_cell_error_J_per_m2: over ``their cell`` and ``their slab``: the error of the potential alone, whichever
            translations were tried; None without such rows. same_cell_kendall: their order; None for fewer than three.
        volume_A3: of the primitive cell relaxed with the potential, beside ``dft_volume_A3``.
    """

    rows: tuple[Row, ...]
    spearman: float | None
    kendall: float | None
    mean_abs_error_J_per_m2: float
    same_cell_error_J_per_m2: float | None
    same_cell_kendall: float | None
    goal_met: bool
    volume_A3: float
    dft_volume_A3: float
    potential: dict[str, Any]
    source: str

    def text(self) -> str:
        """For people, as ``atomflow interface compare-dft`` prints it."""
        def number(value: float | None) -> str:
            return "-" if value is None else f"{value:.3f}"

        rows = []
        for row in self.rows:
            name = [row.what, " ".join(map(str, row.plane)), "-" if row.cut is None else str(row.cut)]
            numbers = [row.ours_J_per_m2, row.thicker_J_per_m2, row.runner_up_J_per_m2, row.excess_volume_A]
            ours, thick, runner, excess = map(number, numbers)
            name += [f"{row.theirs_J_per_m2:.2f}", ours, f"{row.difference_J_per_m2:+.3f}"]
            rows.append([*name, thick, runner, excess, "yes" if row.converged else "no"])
        header = ["what", "plane", "cut", "DFT, J/m²", "ours, J/m²", "difference", "twice as thick",
                  "next finalist above", "excess volume, Å", "converged"]  # fmt: skip
        percent = 100 * (self.volume_A3 / self.dft_volume_A3 - 1)
        lines = [f"{named(self.potential)} beside DFT; the volume of its crystal is DFT's {percent:+.1f} %",
                 table(rows, header)]  # fmt: skip
        if self.kendall is not None:
            same = "the order is DFT's" if self.kendall == 1.0 else "the order is NOT DFT's"
            lines.append(f"{same}: Spearman {self.spearman:.2f}, Kendall {self.kendall:.2f}")
        if any(row.what == "boundary" for row in self.rows):
            met = "met" if self.goal_met else "not met"
            lines.append(f"mean absolute error of the boundaries {self.mean_abs_error_J_per_m2:.3f} J/m² (goal: the "
                         f"order, and at most 0.08: {met})")
        if self.same_cell_error_J_per_m2 is not None:
            order = "" if self.same_cell_kendall is None else f", Kendall {self.same_cell_kendall:.2f}"
            lines.append(f"mean absolute error in their own cells {self.same_cell_error_J_per_m2:.3f} J/m²"
                         f"{order}: that of the potential alone; a boundary below DFT's is a "
                         "translation that was not tried there")
        lines.append(f"DFT: {self.source}")
        notes = {text for row in self.rows for text in row.warnings}
        return "\n".join(lines + [f"warning: {text}" for text in sorted(notes)])

    def to_json(self) -> dict[str, Any]:
        return dict(self.__dict__)
