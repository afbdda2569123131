"""Which trajectories may be taken as seeds of one run, how hot they were, and what to say where it is doubtful."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from atomflow.errors import InputError, said
from atomflow.plain import with_error
from atomflow.runs.means import MEMORY, is_held, mean_temperature_K, thermostat_fs
from atomflow.transport.displacement import Displacements

#: Å without an atom, between planes: more than any pore of these materials.
_EMPTY_A = 6.0
#: A mean nearer to its target than so many of its standard errors may be there by chance.
_CHANCE = 3.0
#: Å, below which no atom of a run has moved; far above what formats round to.
_STILL_A = 0.01
#: Ratio of the boxes of two files above which they are hardly seeds of one run.
_SAME_VOLUME = 1.02


def about_pool(opened: list[Any]) -> list[str]:
    """What stands in the way of taking run folders as seeds of one run at one temperature, in words."""
    notes = [f"{ramp}: D is of no one temperature" for ramp in map(temperature_ramp, opened) if ramp]
    notes += [f"{item.source} is {item.state} at {item.n_frames} frames: what is said is of these"
              for item in opened if getattr(item, "state", "done") != "done"]
    moved = [item.positions_A(item.n_frames - 1, item.n_frames)[0] - item.positions_A(0, 1)[0] for item in opened]
    notes += [f"{one.source} and {other.source} are the same trajectory: the errors come out too small"
              for (one, a), (other, b) in combinations(zip(opened, moved, strict=True), 2) if _same_path(a, b)]
    summaries = [item.cell_summary or {} for item in opened if hasattr(item, "manifest")]
    cells = {summary.get("sha256") for summary in summaries}
    if len(cells) > 1:
        volumes = sorted(summary.get("volume_A3") or 0.0 for summary in summaries)
        notes.append(f"the runs pooled start from {len(cells)} different cells ({volumes[0]:.1f} to {volumes[-1]:.1f} "
                     "Å³): right for snapshots of one structure, wrong for structures that differ (Si/P order, "
                     "glasses, volumes), each of which has a D of its own")
    foreign = [abs(np.linalg.det(item.lattices_A(0, 1)[0])) for item in opened if not hasattr(item, "manifest")]
    if len(foreign) > 1 and max(foreign) > _SAME_VOLUME * min(foreign):
        notes.append(f"the runs pooled begin in boxes of {min(foreign):.1f} to {max(foreign):.1f} Å³: seeds of one run "
                     "have one box, and D and σ are of the mean of these")
    return list(dict.fromkeys(notes))


def _same_path(moved_A: np.ndarray, also_A: np.ndarray) -> bool:
    """Whether every atom ends as far from where it began in both: no two runs that are independent do that."""
    return bool(moved_A.shape == also_A.shape and np.abs(moved_A).max() > _STILL_A
                and np.abs(moved_A - also_A).max() < _STILL_A)


def held_still(opened: list[Any], species: str) -> list[str]:
    """A word on mobile ions that the run did not let move."""
    run = opened[0]
    held = settings(run).get("held_regions") or ()
    still = int((np.isin(run.regions, held) & (np.asarray(run.symbols) == species)).sum()) if held else 0
    return [f"{still} {species} were held in place ({', '.join(held)}) and count as ions that do not move: resolve "
            "by region"] if still else []


def vacuum(run: Any) -> list[str]:
    """A word on a box that is partly empty: a density of ions, and so a conductivity, is per volume of the box."""
    lattice = np.asarray(run.lattices_A(0, 1))[0]
    fractional = np.sort(np.linalg.solve(lattice.T, run.positions_A(0, 1)[0].T) % 1.0, axis=1)
    gaps = np.diff(fractional, axis=1, append=fractional[:, :1] + 1.0).max(axis=1)
    widest = float((gaps / np.linalg.norm(np.linalg.inv(lattice), axis=0)).max())
    return [f"the box is empty over {widest:.3g} Å: the conductivity is per volume of the box, vacuum included, and "
            "too small for the solid by that share"] if widest > _EMPTY_A else []


def settings(run: Any) -> dict[str, Any]:
    """What the run was asked to do, where that is known."""
    return getattr(run, "config", None) or {}


def temperature_ramp(run: Any) -> str:
    """In words, for a run whose thermostat went from one temperature to another; else empty."""
    config = settings(run)
    if is_held(config):
        return ""
    return f"the thermostat went from {config['temperature_K']:g} to {config['temperature_end_K']:g} K"


@dataclass(frozen=True)
class Temperature:
    """How hot seeds of one run were.

    Attributes:
        target_K: of the thermostat. mean_K: of what is used of the runs; None where one of them did not record it.
        error_K: its standard error.
    """

    target_K: float | None
    mean_K: float | None
    error_K: float | None
    warnings: list[str]

    @property
    def actual_K(self) -> float | None:
        """The mean where it was recorded, else the target: D, σ = n q² D/kT and the Arrhenius line are of this one.

        The Einstein relation holds at the temperature at which the ions were diffusing. A canonical run's energy
        fluctuates over the thermostat's relaxation time, far slower than ions rattle, so a short run whose mean lies
        above its target had ions that did move as at that mean; and a run off its target for any other reason (badly
        equilibrated, heated, at constant energy) never was at the target.
        """
        return self.mean_K or self.target_K


def temperature_of(opened: list[Any], discard_ps: float = 0.0) -> Temperature:
    """The temperature of seeds of one run; their errors are independent."""
    target = opened[0].temperature_K
    found = [mean_temperature_K(item, discard_ps) for item in opened]
    means, errors = [mean for mean, _ in found if mean], [error for _, error in found if error]
    mean = float(np.mean(means)) if len(means) == len(opened) else None
    error = float(np.linalg.norm(errors) / len(opened)) if mean and len(errors) == len(opened) else None
    warnings = []
    if target and mean and abs(mean / target - 1) > 0.02:
        chance = " (so short a run may be by chance)" if error and abs(mean - target) < _CHANCE * error else ""
        asked = settings(opened[0])
        held = asked.get("temperature_K") and asked.get("ensemble") != "nve"
        warnings.append(f"the atoms were at {with_error(mean, error, '.0f')} K on average, "
                        f"{100 * (mean / target - 1):+.1f} % off the {'target' if held else 'mean'} of {target:g} K"
                        f"{'' if held else ' of the whole run'}{chance}; the measured temperature is used")
    return Temperature(target, mean, error, warnings)


def temperature_scatter(run: Any) -> float:
    """Relative standard error that the mean temperature of a thermostatted run must show by chance.

    Canonical: the temperature of one instant scatters by √(2/(3N−3)). Instants are independent after about twice the
    thermostat's relaxation time τ, since the potential energy shares in what the thermostat gives; a run of length t
    holds t/4τ such stretches, at least one.
    """
    length_fs = (run.n_frames - 1) * run.frame_interval_fs
    looks = max(1.0, length_fs / (MEMORY * (thermostat_fs(settings(run)) or 500.0)))
    return float(np.sqrt(2.0 / max(3 * run.n_atoms - 3, 1) / looks))


def open_all(
    trajectories: Any, frame_interval_fs: float | None = None, temperature_K: float | None = None
) -> list[Any]:
    """Trajectories from one or a list of them, or of paths to them; the latter with what their files do not say.

    Raises:
        InputError: there is none, or something in the list is neither.
    """
    items = list(trajectories) if isinstance(trajectories, (list, tuple)) else [trajectories]
    if not items:
        raise InputError("there is nothing to analyze: the list of trajectories is empty")
    from atomflow import runs

    for item in items:
        if isinstance(item, (str, os.PathLike)) and (Path(item) / "campaign.json").is_file():
            raise InputError(f"{item} is the folder of a campaign: transport.analyze_campaign({str(item)!r}) takes it")
    given = [name for name, value in (("frame_interval_fs", frame_interval_fs), ("temperature_K", temperature_K))
             if value is not None]
    opened = [runs.open_trajectory(item, frame_interval_fs, temperature_K)
              if isinstance(item, (str, os.PathLike)) else item for item in items]
    for item in items:
        if given and hasattr(item, "positions_A"):
            raise InputError(f"{' and '.join(given)}: for a path; {item.source} is open already and knows its own")
    for item in opened:
        if hasattr(item, "get_positions"):
            raise InputError("ASE atoms are frames of one trajectory: runs.open_trajectory(images, "
                             "frame_interval_fs=..., temperature_K=...) makes one of their list")
        if not hasattr(item, "positions_A"):
            raise InputError(f"{said(item)} is no trajectory; give a path, runs.open_run(...) or "
                             "runs.open_trajectory(...)")
    _check_different(opened)
    return opened


def _check_different(items: list[Any]) -> None:
    """The same run twice would halve the variance without a new fact."""
    places = [str(Path(item.source).resolve()) if Path(item.source).exists() else id(item) for item in items]
    for index, place in enumerate(places):
        if place in places[:index]:
            raise InputError(f"{items[index].source} is given twice: it would count as two independent seeds")


def similar(one_K: float | None, other_K: float | None) -> bool:
    """Equal, or means of constant-energy runs within 2 %."""
    return one_K == other_K or (one_K is not None and other_K is not None and abs(one_K / other_K - 1) < 0.02)


def check_same(opened: list[Any], pool: list[Displacements]) -> None:
    """Seeds of one run agree in what they hold and how hot it was."""
    for item, run in zip(opened[1:], pool[1:], strict=True):
        if run.n_ions != pool[0].n_ions or sorted(item.symbols) != sorted(opened[0].symbols):
            raise InputError(f"{opened[0].source} and {item.source} hold different cells; pool only seeds of one run")
        if not similar(item.temperature_K, opened[0].temperature_K):
            raise InputError(f"{opened[0].source} is at {opened[0].temperature_K} K and {item.source} at "
                             f"{item.temperature_K} K; pool only runs of one temperature")
