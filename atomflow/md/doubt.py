"""A run asks its potential's committee, every now and then, how far its members disagree, and says so if they do.

The look is taken at positions the run has anyway and changes nothing in it: positions, velocities and random numbers
are those of a run without a committee, bit by bit. See :mod:`atomflow.potentials.committee` for the measure.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from atomflow.errors import InputError
from atomflow.md.guards import Failure
from atomflow.units import FS_PER_PS

if TYPE_CHECKING:
    from atomflow.cell import Cell
    from atomflow.md.config import MDConfig
    from atomflow.md.forces import Forces
    from atomflow.md.state import State
    from atomflow.potentials import Potential

#: unless the interval is given, looks are so rare that the further members take this part of the run's force calls
COST = 0.02
MAX, MEAN, ATOM = "force_spread_max_eV_per_A", "force_spread_mean_eV_per_A", "force_spread_atom"
#: how every first warning begins
_BEGINNING = "the models of the committee disagree"
ADVICE = "label such frames and train on (atomflow potential active), or raise doubt_stop_eV_per_A"


def look_every(config: MDConfig, others: int) -> int:
    """Steps between looks for so many further members; 0: never. Looks fall on thermo rows."""
    if others == 0 or config.doubt_interval_fs == 0:
        return 0
    if config.doubt_interval_fs is not None:
        return round(config.doubt_interval_fs / config.timestep_fs)
    rows = int(np.ceil(others / COST / config.thermo_every))
    return rows * config.thermo_every


def check_committee(potential: Potential, config: MDConfig) -> None:
    """Raise :class:`InputError` if doubt is to be watched and there is no committee to ask, or it cannot be opened."""
    from atomflow.potentials.committee import open_members

    asked = [name for name in ("doubt_interval_fs", "doubt_warn_eV_per_A", "doubt_stop_eV_per_A")
             if getattr(config, name)]
    if asked and not potential.identity.committee:
        raise InputError(f"{asked[0]} needs a potential with a committee, which {potential.identity.name} has not; "
                         f"give further models with --committee")
    if look_every(config, len(potential.identity.committee)):
        open_members(potential)


class Doubt:
    """The committee bound to a batch."""

    def __init__(self, potential: Potential, config: MDConfig, state: State, forces: Forces) -> None:
        from atomflow.potentials.committee import CommitteeBatch, open_members

        self.every = look_every(config, len(potential.identity.committee))
        self.warn_eV_per_A = warn_limit(potential.identity.model_dump(), config)
        self._stop_eV_per_A, self._forces = config.doubt_stop_eV_per_A, forces
        if self.every:
            numbers, owner = state.numbers.cpu().numpy(), state.system_index.cpu().numpy()
            self._batch = CommitteeBatch(
                open_members(potential), forces.model.cutoff_A, numbers, owner, state.n_systems)

    def due(self, since: int) -> bool:
        """Whether to look at this step, counted from the start of production."""
        return self.every > 0 and since % self.every == 0

    def look(self, state: State) -> dict[str, np.ndarray]:
        """Largest and mean force spread and the worst atom's index of every system, (S,) each; held atoms count not."""
        edges = self._forces.neighbours.edges if self._forces.neighbours is not None else None
        spread = self._batch.spread(state.positions_A, state.lattices_A, edges, state.forces_eV_per_A) * state.free
        moving = state.sum_atoms(state.free)
        largest, mean = torch.zeros_like(moving), state.sum_atoms(spread) / moving
        largest.scatter_reduce_(0, state.system_index, spread, "amax")
        counts, values = state.counts.tolist(), spread.cpu().numpy()
        worst = [int(part.argmax()) for part in np.split(values, np.cumsum(counts)[:-1])]
        return {MAX: largest.cpu().numpy(), MEAN: mean.cpu().numpy(), ATOM: np.array(worst, float)}

    def failures(self, row: dict[str, np.ndarray], state: State) -> list[Failure]:
        """The systems whose spread is beyond the limit at which a run is to stop."""
        from ase.data import chemical_symbols

        if self._stop_eV_per_A is None:
            return []
        firsts = [0, *np.cumsum(state.counts.tolist()).tolist()]
        found = []
        for system in np.flatnonzero(~(row[MAX] <= self._stop_eV_per_A)).tolist():
            atom = int(row[ATOM][system])
            symbol = chemical_symbols[int(state.numbers[firsts[system] + atom])]
            found.append(Failure(system, f"{_BEGINNING} by {row[MAX][system]:.2f} eV/Å about the force on atom {atom} "
                                         f"({symbol}) (limit {self._stop_eV_per_A:g} eV/Å)", ADVICE))
        return found


def warn_limit(identity: dict[str, Any], config: MDConfig) -> float | None:
    """The spread that deserves a warning: the run's own, else the potential's, else none."""
    own = config.doubt_warn_eV_per_A
    return own if own is not None else identity.get("doubt_warn_eV_per_A")


def first_warning(
    row: dict[str, float], time_fs: float, limit: float, cell: Cell, identity: dict[str, Any]
) -> str:
    """One line for the first look beyond the limit."""
    return (f"{_BEGINNING} by {row[MAX]:.2f} eV/Å about the force on {_name(cell, int(row[ATOM]))} at "
            f"{time_fs / FS_PER_PS:.2f} ps, more than {limit:g}: the run may have left what {identity['name']} knows "
            f"({identity['trained_for'] or 'not stated'}); ask another potential about such frames")


def warned(warnings: list[str]) -> bool:
    """Whether a run's warnings hold a :func:`first_warning` already."""
    return any(text.startswith(_BEGINNING) for text in warnings)


def doubt_summary(thermo: dict[str, np.ndarray], limit: float | None, cell: Cell) -> dict[str, Any] | None:
    """What the looks of a run found, equilibration included; None without any."""
    if MAX not in thermo or not (looked := np.isfinite(thermo[MAX])).any():
        return None
    times, largest = thermo["time_fs"][looked] / FS_PER_PS, thermo[MAX][looked]
    atoms = thermo[ATOM][looked].astype(int)
    worst = int(largest.argmax())
    above = np.zeros(len(largest), bool) if limit is None else largest > limit
    symbols = np.array(cell.symbols)
    return {
        MAX: float(largest.max()), MEAN: float(thermo[MEAN][looked].mean()),
        "doubt_looks": len(largest), "doubt_looks_above": int(above.sum()), "doubt_warn_eV_per_A": limit,
        "doubt_worst_atom": int(atoms[worst]), "doubt_worst_element": str(symbols[atoms[worst]]),
        "doubt_worst_region": str(cell.regions[atoms[worst]]), "doubt_worst_time_ps": float(times[worst]),
        "doubt_above_by_element": dict(Counter(symbols[atoms[above]].tolist()).most_common()),
    }


def doubt_remark(summary: dict[str, Any] | None, cell: Cell) -> str | None:
    """One line for a finished run with looks beyond the limit."""
    if summary is None or not summary["doubt_looks_above"]:
        return None
    above, looks = summary["doubt_looks_above"], summary["doubt_looks"]
    by_element = ", ".join(f"{symbol} {count}" for symbol, count in summary["doubt_above_by_element"].items())
    return (f"{above} of {looks} looks at the committee ({100 * above / looks:.0f} %) found a force spread above "
            f"{summary['doubt_warn_eV_per_A']:g} eV/Å; the largest was {summary[MAX]:.2f} eV/Å at "
            f"{summary['doubt_worst_time_ps']:.2f} ps on {_name(cell, summary['doubt_worst_atom'])}; worst atoms by "
            f"element: {by_element}")


def _name(cell: Cell, atom: int) -> str:
    """``atom 12 (B, region glass)``; no region where the cell has only one."""
    region = f", region {cell.regions[atom]}" if len(set(cell.regions.tolist())) > 1 else ""
    return f"atom {atom} ({cell.symbols[atom]}{region})"
