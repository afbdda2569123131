"""A folder of runs: groups of seeds, what is left out and why, and an Arrhenius line for each structure."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from atomflow.errors import AtomflowError, InputError, path_of
from atomflow.runs.chain import CHAIN, replicas_in, result_run
from atomflow.runs.means import mean_temperature_K
from atomflow.transport.analyze import analyze
from atomflow.transport.arrhenius import ROOM_TEMPERATURE_K, Limit, Point, distance_in_words, fit
from atomflow.transport.campaign_result import Arrhenius, CampaignResult, Group
from atomflow.transport.diffusion import HOP_LENGTH_A
from atomflow.transport.displacement import MIN_FRAMES
from atomflow.transport.kink import Kink, find_kink
from atomflow.transport.pooling import temperature_ramp, temperature_scatter
from atomflow.transport.replicas import replicas_of
from atomflow.transport.result import TransportResult

#: A run whose mean temperature is farther off than this, and than chance takes it, is another temperature's run.
MAX_TEMPERATURE_ERROR = 0.05
#: ... in units of the scatter that a run so short and a cell so small must show.
MAX_TEMPERATURE_SIGMA = 3.0
#: Settings in which runs of one Arrhenius line may differ: a colder run may be longer, with rarer frames.
_NOT_PHYSICS = ("seed", "temperature_K", "time_ps", "equilibration_ps", "frame_interval_fs", "thermo_interval_fs",
                "checkpoint_interval_ps", "doubt_interval_fs", "doubt_warn_eV_per_A", "doubt_stop_eV_per_A")
#: meV/atom/ps of the conserved energy; above it the run is not at equilibrium with its own Hamiltonian.
MAX_ENERGY_DRIFT = 10.0
#: (structure, temperature, what else the physics depends on, frame interval): runs of one key are pooled.
RunKey = tuple[str, float, str, float]
#: Monoclinic to rhombohedral Na3Zr2Si2PO12.
TRANSITION_K = (433.0, 440.0)


def analyze_campaign(
    folder: str | Path,
    species: str = "Na",
    discard_ps: float = 0.0,
    memory_MB: float = 500.0,
    level: float = 0.95,
    hop_length_A: float = HOP_LENGTH_A,
    framework: str | Sequence[str] = "auto",
    charge_e: float = 1.0,
    progress: Callable[[str], None] | None = None,
) -> CampaignResult:
    """Analyze every run folder below ``folder``; pool what differs in nothing but the seed.

    Runs that failed, are too short, sat farther off their temperature than chance takes so short a run, or drifted in
    energy are left out by name.

    Raises:
        InputError: there is no run in the folder, or no such species in any.
    """
    folder = path_of(folder, "the folder of a campaign")
    pools, excluded, found = pooled_runs(folder, discard_ps)
    held = {str(symbol) for pool in pools.values() for run in pool for symbol in set(run.symbols)}
    if held and species not in held:
        raise InputError(f"{folder}: there is no {species} in any run, only "
                         f"{', '.join(sorted(held))}")
    warnings = []
    groups = []
    for (structure, temperature, identity, _), pool in sorted(pools.items()):
        if progress:
            progress(f"{structure} at {temperature:g} K: {len(pool)} run(s)")
        try:
            result = analyze(pool, species, discard_ps, framework, memory_MB, level, hop_length_A, charge_e)
            groups.append((identity, Group(structure, result)))
        except AtomflowError as error:
            excluded += [{"run": Path(str(run.source)).name, "reason": str(error)} for run in pool]
    lines = _lines(groups, level)
    if excluded:
        warnings.append(f"{len(excluded)} of {found} runs were left out; the reasons are listed")
    replicas, replica_lines = replicas_of(folder, [(key, one.structure, one.result) for key, one in groups], level)
    warnings += [text for group in replicas for text in group.warnings]
    return CampaignResult(campaign_name(folder), [group for _, group in groups], lines, excluded, warnings, replicas,
                          replica_lines)


def pooled_runs(folder: Path, discard_ps: float = 0.0) -> tuple[dict[RunKey, list[Any]], list[dict[str, str]], int]:
    """The runs below a folder that can be used, pooled by what they differ in but the seed; those left out with the
    reason; and how many there are.

    Raises:
        InputError: there is no run in the folder.
    """
    found = find_runs(folder)
    if not found:
        raise InputError(f"{folder} holds no run: neither run.json nor folders with one")
    pools: dict[RunKey, list[Any]] = defaultdict(list)
    good, formulas = [], defaultdict(set)
    excluded = []
    for path in found:
        trajectory, reason = usable(path, discard_ps)
        if reason:
            excluded.append({"run": path.name, "reason": reason})
        else:
            structure, formula = _names(trajectory)
            formulas[structure].add(formula)
            good.append(trajectory)
    for trajectory in good:
        structure, formula = _names(trajectory)
        name = structure if len(formulas[structure]) == 1 else f"{structure} ({formula})"
        pools[_key(trajectory, name)].append(trajectory)
    return pools, excluded, len(found)


def find_runs(folder: Path) -> list[Path]:
    """Run folders: the folder itself, those in it, those in its ``runs``, or what stands for a quench."""
    if (folder / "run.json").is_file():
        return [folder]
    if (folder / CHAIN).is_file():
        return [result_run(replica) for replica in replicas_in(folder)]
    for place in (folder / "runs", folder):
        if place.is_dir():
            found = sorted(path.parent for path in place.glob("*/run.json"))
            if found:
                return found
    return []


def fit_arrhenius(structure: str, results: Sequence[TransportResult], potential: str | None = None,
                  level: float = 0.95) -> Arrhenius:
    """The Arrhenius lines (ln D and ln σT) of one structure from its results at several temperatures.

    Args:
        structure: its name. results: of :func:`~atomflow.transport.analyze`, one a temperature, seeds pooled; an upper
            limit enters as one.
    """
    points, sigma_points, limits, warnings = [], [], [], []
    for result in sorted(results, key=lambda item: item.temperature_K or 0.0):
        temperature = result.actual_temperature_K
        if temperature is None:
            warnings.append("a run without temperature is not in the line")
            continue
        if result.ln_tracer:
            points.append(Point(temperature, *result.ln_tracer))
        else:
            limits.append(Limit(temperature, result.hops, result.hop_exposure_s_per_cm2))
        if result.ln_charge:
            sigma_points.append(Point(temperature, *result.ln_charge))  # σT is D_charge times a constant of the cell
    line, sigma_line = fit(points, limits, level), fit(sigma_points, (), level)
    warnings += line.warnings + [f"σT: {text}" for text in sigma_line.warnings]
    if limits:
        warnings.append(f"{len(limits)} temperature(s) are upper limits; they enter the line as such, not as numbers")
    kink = find_kink(points)
    used = [point.temperature_K for point in points]
    warnings += about_branches(used, kink)
    distance = distance_in_words(used) if used else "no temperature could be used"
    return Arrhenius(structure, potential, line, sigma_line, [*used, *(limit.temperature_K for limit in limits)], used,
                     [limit.temperature_K for limit in limits], kink, line.at(ROOM_TEMPERATURE_K), distance, warnings)


def about_branches(used: list[float], kink: Kink | None) -> list[str]:
    notes = []
    if kink and kink.significant:
        notes.append(f"the line bends at about {kink.temperature_K:.0f} K (p = {kink.p_value:.2g}): "
                     f"{kink.energy_below_eV:.2f} eV below, {kink.energy_above_eV:.2f} eV above; fit them apart")
    if not used:
        return notes
    low, high = TRANSITION_K
    if min(used) < high and max(used) > low:
        notes.append(f"the temperatures span the monoclinic to rhombohedral transition of NZSP ({low:g}-{high:g} K): "
                     "one line through both phases is not one activation energy")
    elif min(used) >= high:
        notes.append(f"all temperatures lie above the monoclinic to rhombohedral transition of NZSP "
                     f"({low:g}-{high:g} K): the line need not hold at room temperature")
    return notes


def _lines(groups: list[tuple[str, Group]], level: float) -> list[Arrhenius]:
    sets: dict[tuple[str, str], list[Group]] = defaultdict(list)
    for identity, group in groups:
        sets[(group.structure, identity)].append(group)
    lines = []
    for (structure, _), members in sets.items():
        potential = (members[0].result.potential or {}).get("name")
        lines.append(fit_arrhenius(structure, [group.result for group in members], potential, level))
    return lines


def usable(path: Path, discard_ps: float = 0.0) -> tuple[Any, str]:
    """The opened run and an empty string, or why it is left out."""
    from atomflow import runs

    try:
        run = runs.open_run(path)
        manifest = run.manifest
        if manifest.get("state") == "failed":
            return run, f"failed: {manifest.get('reason') or 'no reason recorded'}"
        left = run.n_frames - int(np.ceil(discard_ps * 1000.0 / run.frame_interval_fs))
    except (AtomflowError, OSError, KeyError, ValueError) as error:
        return None, f"cannot be read: {' '.join(str(error).split())}"
    if left < MIN_FRAMES:
        state = manifest.get("state")
        return run, f"{max(left, 0)} frames so far ({state}); at least {MIN_FRAMES} are needed"
    return run, _out_of_bounds(run, manifest, discard_ps)


def _out_of_bounds(run: Any, manifest: dict[str, Any], discard_ps: float) -> str:
    if ramp := temperature_ramp(run):
        return f"{ramp}: it is of no one temperature"
    target, (mean, _) = run.temperature_K, mean_temperature_K(run, discard_ps)
    nve = (manifest.get("config") or {}).get("ensemble") == "nve"
    bound = max(MAX_TEMPERATURE_ERROR, MAX_TEMPERATURE_SIGMA * temperature_scatter(run))
    if target and mean and not nve and abs(mean / target - 1) > bound:
        return (f"mean temperature {mean:.0f} K is {100 * (mean / target - 1):+.1f} % off the target of {target:g} K "
                f"(bound {100 * bound:.1f} %)")
    drift = (manifest.get("summary") or {}).get("energy_drift_meV_per_atom_per_ps")
    if drift is not None and abs(drift) > MAX_ENERGY_DRIFT:
        return f"the conserved energy drifts by {drift:.3g} meV/atom/ps (bound {MAX_ENERGY_DRIFT:g})"
    return ""


def _names(run: Any) -> tuple[str, str]:
    """The structure that a run says it is of, and what its cell is made of."""
    formula = str((run.manifest.get("cell") or {}).get("formula") or "structure")
    return str((run.manifest.get("labels") or {}).get("structure") or formula), formula


def _key(run: Any, structure: str) -> RunKey:
    manifest = run.manifest
    config = {k: v for k, v in (manifest.get("config") or {}).items() if k not in _NOT_PHYSICS}
    rest = {"potential": (manifest.get("potential") or {}).get("sha256"), "config": config}
    target = (manifest.get("config") or {}).get("temperature_K")
    identity = json.dumps(rest, sort_keys=True)
    return structure, float(target or run.temperature_K or 0.0), identity, float(run.frame_interval_fs)


def campaign_name(folder: Path) -> str:
    try:
        data = json.loads((folder / "campaign.json").read_text())
        return str(data.get("name") or (data.get("config") or {}).get("name") or folder.resolve().name)
    except (OSError, ValueError, AttributeError):
        return folder.resolve().name
