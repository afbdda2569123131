"""Which trajectories may be taken as seeds of one run, how hot they were, and what to say where it is doubtful."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from atomflow.errors import InputError, said
from atomflow.transport.displacement import Displacements
from atomflow.units import FS_PER_PS

#: Å without an atom, between planes: more than any pore of these materials.
_EMPTY_A = 6.0


def about_pool(opened: list[Any]) -> list[str]:
    """What stands in the way of taking run folders as seeds of one run at one temperature, in words."""
    notes = [f"{ramp}: D is of no one temperature" for ramp in map(temperature_ramp, opened) if ramp]
    summaries = [item.cell_summary or {} for item in opened if hasattr(item, "manifest")]
    cells = {summary.get("sha256") for summary in summaries}
    if len(cells) > 1:
        volumes = sorted(summary.get("volume_A3") or 0.0 for summary in summaries)
        notes.append(f"the runs pooled start from {len(cells)} different cells ({volumes[0]:.1f} to {volumes[-1]:.1f} "
                     "Å³): right for snapshots of one structure, wrong for structures that differ (Si/P order, "
                     "glasses, volumes), each of which has a D of its own")
    return list(dict.fromkeys(notes))


def held_still(opened: list[Any], species: str) -> list[str]:
    """A word on mobile ions that the run did not let move."""
    run = opened[0]
    held = ((run.manifest.get("config") or {}).get("held_regions") or ()) if hasattr(run, "manifest") else ()
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


def temperature_ramp(run: Any) -> str:
    """In words, for a run whose thermostat went from one temperature to another; else empty."""
    config = (run.manifest.get("config") or {}) if hasattr(run, "manifest") else {}
    start, end = config.get("temperature_K"), config.get("temperature_end_K")
    return "" if end in (None, start) else f"the thermostat went from {start:g} to {end:g} K"


def temperatures(opened: list[Any], discard_ps: float = 0.0) -> tuple[float | None, float | None, list[str]]:
    """(target, mean over what is used of the runs, warnings) of seeds of one run."""
    target = opened[0].temperature_K
    means = [mean for item in opened if (mean := measured_temperature_K(item, discard_ps)) is not None]
    mean = float(np.mean(means)) if len(means) == len(opened) else None
    warnings = []
    if target and mean and abs(mean / target - 1) > 0.02:
        warnings.append(f"the atoms were at {mean:.0f} K on average, {100 * (mean / target - 1):+.1f} % off the target "
                        f"of {target:g} K; the measured temperature is used")
    return target, mean, warnings


def measured_temperature_K(trajectory: Any, discard_ps: float = 0.0) -> float | None:
    """Mean temperature of the production part after ``discard_ps``, where the run recorded it."""
    if not hasattr(trajectory, "thermo"):
        return None
    thermo = trajectory.thermo()
    values, times = thermo.get("temperature_K"), thermo.get("time_fs")
    if values is None or len(values) == 0:
        return None
    values = np.asarray(values, dtype=np.float64)
    if times is not None:
        values = values[np.asarray(times) >= FS_PER_PS * discard_ps]
    return float(values.mean()) if len(values) and np.isfinite(values).all() else None


def temperature_scatter(run: Any) -> float:
    """Relative standard error that the mean temperature of a thermostatted run must show by chance.

    Canonical: the temperature of one instant scatters by √(2/(3N−3)). Instants are independent after about twice the
    thermostat's relaxation time τ, since the potential energy shares in what the thermostat gives; a run of length t
    holds t/4τ such stretches, at least one.
    """
    tau_fs = float((run.manifest.get("config") or {}).get("thermostat_time_fs") or 500.0)
    length_fs = (run.n_frames - 1) * run.frame_interval_fs
    return float(np.sqrt(2.0 / max(3 * run.n_atoms - 3, 1) / max(1.0, length_fs / (4.0 * tau_fs))))


def open_all(trajectories: Any) -> list[Any]:
    """Trajectories from one or a list of them, or of paths to them.

    Raises:
        InputError: there is none, or something in the list is neither.
    """
    items = list(trajectories) if isinstance(trajectories, (list, tuple)) else [trajectories]
    if not items:
        raise InputError("there is nothing to analyze: the list of trajectories is empty")
    from atomflow import runs

    for item in items:
        if isinstance(item, (str, Path)) and (Path(item) / "campaign.json").is_file():
            raise InputError(f"{item} is the folder of a campaign: transport.analyze_campaign({str(item)!r}) takes it")
    opened = [runs.open_trajectory(item) if isinstance(item, (str, Path)) else item for item in items]
    for item in opened:
        if hasattr(item, "get_positions"):
            raise InputError("ASE atoms are frames of one trajectory: runs.open_trajectory(images, "
                             "frame_interval_fs=..., temperature_K=...) makes one of their list")
        if not hasattr(item, "positions_A"):
            raise InputError(f"{said(item)} is no trajectory; give a path, runs.open_run(...) or "
                             "runs.open_trajectory(...)")
    return opened


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
