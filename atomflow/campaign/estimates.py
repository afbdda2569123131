"""Where the Arrhenius line of every structure stands, from the runs that are done. Every group of runs is analyzed once
and kept in ``estimate.json``, so that asking again costs nothing until another run ends."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from atomflow.campaign import folder as places
from atomflow.errors import AtomflowError, RunFailed
from atomflow.estimate import Estimate
from atomflow.plain import named

#: how long somebody who watches waits for analysis; the groups left over come the next time
PATIENCE_S = 1.0
FILE = "estimate.json"


class DoneTask(Protocol):
    """What is asked of a task here."""

    @property
    def id(self) -> str: ...

    @property
    def structure(self) -> str: ...

    @property
    def temperature_K(self) -> float: ...


@dataclass(frozen=True)
class GroupEstimate:
    """The runs of one structure at one temperature.

    Attributes:
        runs: their tasks, analyzed together; left_out: task → why it is not among them.
        actual_K: the temperature the atoms had.
        ln_diffusivity: mean and standard deviation of ln(D / cm² s⁻¹); None where too little moved.
        hops, exposure_s_per_cm2: hops seen, and how many there would be per unit of D.
    """

    structure: str
    temperature_K: float
    runs: list[str]
    left_out: dict[str, str]
    actual_K: float
    ln_diffusivity: tuple[float, float] | None
    hops: float
    exposure_s_per_cm2: float


@dataclass(frozen=True)
class StructureEstimate:
    """The activation energy of one structure.

    Attributes:
        groups: what the line goes through, coldest first. runs: how many are in it.
        behind: runs that are done and not yet looked at.
        formula: of its cell. potential: identity of the potential.
    """

    structure: str
    activation_energy_eV: Estimate
    groups: list[GroupEstimate]
    behind: int
    formula: str | None
    potential: dict[str, Any] | None

    @property
    def runs(self) -> int:
        return sum(len(group.runs) for group in self.groups)

    @property
    def half_width_eV(self) -> float:
        """Half the interval of the activation energy; infinite while there is none."""
        low, high = self.activation_energy_eV.low, self.activation_energy_eV.high
        return float("inf") if low is None or high is None else (high - low) / 2

    def line(self) -> str:
        """One line of text: the energy, its interval, what it is from, and the cell and potential that it is of."""
        energy = self.activation_energy_eV
        found = "no activation energy yet"
        if energy.value is not None:
            found = f"Ea {energy.value:.3f} eV ({energy.low:.3f} to {energy.high:.3f}, {100 * energy.level:g} %)"
        limits = sum(group.ln_diffusivity is None and bool(group.runs) for group in self.groups)
        left_out = sum(len(group.left_out) for group in self.groups)
        notes = [f"{self.runs} runs at {len(self.groups)} temperatures"]
        notes += [f"{limits} of them upper limits"] if limits else []
        notes += [f"{left_out} runs left out"] if left_out else []
        notes += [f"{self.behind} more to be looked at"] if self.behind else []
        return (f"{self.structure}: {found} from {', '.join(notes)}; {self.formula or 'unknown cell'} with "
                f"{named(self.potential)}")

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "activation_energy_eV": self.activation_energy_eV.to_json(), "runs": self.runs}


def estimates(
    folder: Path, done: Sequence[DoneTask], patience_s: float | None = None, level: float = 0.95
) -> list[StructureEstimate]:
    """The present activation energies of the structures with finished runs.

    Args:
        done: finished tasks.
        patience_s: after this long no further group is analyzed; None for all.
    """
    groups: dict[tuple[str, float], list[str]] = defaultdict(list)
    for task in done:
        groups[task.structure, task.temperature_K].append(task.id)
    kept = places.read_json(folder / FILE)
    started, behind = time.monotonic(), dict.fromkeys((structure for structure, _ in groups), 0)
    found: dict[str, list[GroupEstimate]] = defaultdict(list)
    fresh = False
    for (structure, temperature), names in sorted(groups.items()):
        name = f"{structure} {temperature:g}"
        group = _from_json(kept.get(name))
        if group is None or set(names) != {*group.runs, *group.left_out}:
            if patience_s is None or time.monotonic() - started < patience_s:
                group = _analyze(folder, structure, temperature, sorted(names))
                kept[name], fresh = asdict(group), True
            else:
                behind[structure] += len(names) - (0 if group is None else len(group.runs) + len(group.left_out))
        if group is not None:
            found[structure].append(group)
    if fresh:
        _keep(folder, kept)
    campaign = places.read_json(folder / places.FILE)
    cells, potential = campaign.get("structures") or {}, campaign.get("potential")
    return [StructureEstimate(name, _energy(found[name], level), found[name], behind[name],
                              (cells.get(name) or {}).get("formula"), potential) for name in behind]


def _analyze(folder: Path, structure: str, temperature_K: float, names: list[str]) -> GroupEstimate:
    from atomflow.transport.analyze import analyze
    from atomflow.transport.campaign import usable

    pool, left_out = {}, {}
    for name in names:
        run, reason = usable(places.run_folder(folder, name))
        if reason:
            left_out[name] = reason
        else:
            pool[name] = run
    try:
        if not pool:
            return GroupEstimate(structure, temperature_K, [], left_out, temperature_K, None, 0.0, 0.0)
        result = analyze(list(pool.values()))
    except AtomflowError as error:
        return GroupEstimate(structure, temperature_K, [], {**left_out, **dict.fromkeys(pool, str(error))},
                             temperature_K, None, 0.0, 0.0)
    return GroupEstimate(structure, temperature_K, list(pool), left_out, result.actual_temperature_K or temperature_K,
                         result.ln_tracer, result.hops, result.hop_exposure_s_per_cm2)


def _energy(groups: list[GroupEstimate], level: float) -> Estimate:
    from atomflow.transport.arrhenius import Limit, Point, fit

    points = [Point(group.actual_K, *group.ln_diffusivity) for group in groups if group.ln_diffusivity]
    limits = [Limit(group.actual_K, group.hops, group.exposure_s_per_cm2)
              for group in groups if group.runs and not group.ln_diffusivity]
    return fit(points, limits, level).activation_energy_eV


def _from_json(data: dict[str, Any] | None) -> GroupEstimate | None:
    """A group as it was kept; None where it is not there or was written by another version."""
    try:
        group = GroupEstimate(**data) if data else None
    except TypeError:
        return None
    if group is not None and group.ln_diffusivity is not None:
        return GroupEstimate(**{**asdict(group), "ln_diffusivity": tuple(group.ln_diffusivity)})
    return group


def _keep(folder: Path, kept: dict[str, Any]) -> None:
    try:
        places.write_json(folder / FILE, kept)
    except RunFailed:  # a folder that may only be read, or a full disk: it is computed again next time
        return
