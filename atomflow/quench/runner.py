"""A quench from a cell to a finished folder, and on again after a stop: stage by stage, each an ordinary run."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from atomflow import md, runs
from atomflow.cell import Cell, check_cell_given, read_cell, write_cell
from atomflow.config import check_config_given
from atomflow.errors import AtomflowError, InputError, RunFailed, RunStopped, path_of
from atomflow.md.runner import load_recorded
from atomflow.plain import to_jsonable
from atomflow.potentials import Potential
from atomflow.potentials.base import check_potential_given
from atomflow.quench.config import MELT_ABOVE_K, QuenchConfig
from atomflow.quench.folder import FINAL, Folder, require_chain
from atomflow.quench.progress import Report, Watch
from atomflow.quench.result import QuenchResult
from atomflow.quench.stages import Stage, stages
from atomflow.quench.summary import summarize, summarize_replicas, warnings
from atomflow.runs.files import MANIFEST, write_whole
from atomflow.runs.manifest import now

RELAXED, RELAXATION, JOURNAL = "relaxed.extxyz", "relax.json", "journal"


def run(
    cell: Cell,
    potential: Potential,
    config: QuenchConfig,
    folder: str | Path,
    replicas: int = 1,
    labels: dict[str, Any] | None = None,
    progress: Report | None = None,
    started: Callable[[], None] | None = None,
) -> QuenchResult:
    """Melt and quench ``cell`` in ``folder``; where the folder holds this very quench already, go on with it.

    Where the cell has a film (region ``glass``) and other regions, these are held until the anneal, unless
    ``config.hold`` is false. The final cell is ``folder/final.extxyz``; with replicas ``folder/replica-1/...``.

    Args:
        replicas: quenches that differ in their seed, ``config.seed`` and the next.
        started: called once, when the folder has been accepted and there is something to do.

    Returns:
        The manifest (quench.json): a dict that prints itself in a few lines; ``folder``, and ``summary`` with density,
        rate, checks and the acceptance of the glass.

    Raises:
        InputError: wrong input, or the folder holds another quench.
        RunStopped: a signal came; the same call, or :func:`resume`, goes on from this very step.
        RunFailed: a stage went wrong.
    """
    if replicas < 1:
        raise InputError(f"a quench has at least one replica, not {replicas}")
    check_cell_given(cell)
    check_potential_given(potential)
    check_config_given(config, QuenchConfig)
    folder, labels = path_of(folder, "the folder of a quench"), labels or {}
    potential.check_elements(cell.numbers)
    plan = stages(config, cell)
    watch = Watch([stage.steps for stage in plan], replicas, progress)
    if replicas == 1:
        return QuenchResult(_one(cell, potential, config, folder, labels, plan, watch, 0, started), folder)
    names = [f"replica-{k + 1}" for k in range(replicas)]
    identity = potential.identity.model_dump(mode="json")
    with Folder.open(folder, config, cell, identity, labels, plan, names) as whole:
        if whole.manifest["state"] == "done":
            return QuenchResult(whole.manifest, folder)
        if started is not None:
            started()
        try:
            _replicas(whole, potential, config, names, labels, watch)
        except AtomflowError as error:
            raise _ended(whole, error) from None
        ended = [require_chain(folder / name) for name in names]
        summary = summarize_replicas(ended, [folder / name for name in names])
        found = list(dict.fromkeys(text for one in ended for text in one["warnings"]))
        whole.note("done", ended=now(), summary=summary, warnings=found)
        return QuenchResult(whole.manifest, folder)


def resume(
    folder: str | Path,
    potential: Potential | None = None,
    progress: Report | None = None,
    device: str = "auto",
    trust_model: bool = False,
) -> QuenchResult:
    """Go on with the quench in ``folder``; one that is done is left as it is. On the CPU the bits come out the same.

    Args:
        potential: as it was begun with; loaded from what the manifest says when not given.
    """
    folder = Path(folder)
    manifest = require_chain(folder)
    if manifest["state"] == "done":
        return QuenchResult(manifest, folder)
    if potential is None:
        potential = load_recorded(manifest["potential"], device, trust_model)
    start = read_cell(folder / "cell.extxyz")
    config = QuenchConfig.from_dump(manifest["config"], f"{folder}/quench.json")
    return run(start, potential, config, folder, len(manifest["replicas"]) or 1, manifest["labels"], progress)


def _replicas(
    whole: Folder, potential: Potential, config: QuenchConfig, names: Sequence[str], labels: dict[str, Any],
    watch: Watch,
) -> None:  # fmt: skip
    """One after the other; one that fails does not keep the others from their end."""
    start, failures = whole.start, []
    for k, name in enumerate(names):
        seeded = config.model_copy(update={"seed": config.seed + k})
        try:
            _one(start, potential, seeded, whole.path / name, {**labels, "replica": k + 1}, stages(seeded, start),
                 watch, k)  # fmt: skip
        except RunFailed as error:
            failures.append(str(error))
    if failures:
        raise RunFailed("; ".join(failures))


def _one(
    cell: Cell, potential: Potential, config: QuenchConfig, path: Path, labels: dict[str, Any], plan: Sequence[Stage],
    watch: Watch, replica: int, started: Callable[[], None] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """One replica, from wherever it stands."""
    identity = potential.identity.model_dump(mode="json")
    with Folder.open(path, config, cell, identity, labels, plan) as folder:
        if folder.manifest["state"] == "done":
            return folder.manifest
        if started is not None:
            started()
        try:
            origin = cell = folder.start
            for k, stage in enumerate(plan):
                tell = watch.at(replica, k, stage.name)
                cell = _stage(stage, cell, potential, folder.stage(stage.name), labels, tell)
                cell = replace(cell, provenance=origin.provenance)
        except AtomflowError as error:
            raise _ended(folder, error) from None
        final = _final(cell, config, potential)
        write_cell(final, path / FINAL)
        result = next(stage.name for stage in reversed(plan) if stage.md is not None)
        summary = summarize(path, config, plan, final, origin)
        found = _warnings(config, warnings(summary["stages"]))
        folder.note("done", ended=now(), result=f"stages/{result}", summary=summary, warnings=found)
        return folder.manifest


def _stage(
    stage: Stage, cell: Cell, potential: Potential, path: Path, labels: dict[str, Any], tell: Any
) -> Cell:
    """Do, finish or skip one stage; the cell it ends with."""
    if stage.md is None:
        return _relaxation(stage, cell, potential, path, tell)
    if not (path / MANIFEST).exists():
        md.run(cell, potential, stage.md, path, {**labels, "stage": stage.name}, lambda at: tell(at.step, at))
    else:
        md.resume(path, potential, lambda at: tell(at.step, at))
    return runs.open_run(path).cell()


def _relaxation(stage: Stage, cell: Cell, potential: Potential, path: Path, tell: Any) -> Cell:
    if not (path / RELAXED).exists():
        path.mkdir(parents=True, exist_ok=True)
        relaxed, result = md.relax(cell, potential, stage.cell_too, stage.fmax_eV_per_A, stage.steps,
                                   lambda step, energy, fmax: tell(step, None), journal=path / JOURNAL)  # fmt: skip
        write_whole(path / RELAXATION, json.dumps(to_jsonable(result), indent=2).encode())
        write_cell(relaxed, path / RELAXED)
    return read_cell(path / RELAXED)


def _final(cell: Cell, config: QuenchConfig, potential: Potential) -> Cell:
    provenance = {"builder": "quench", "parameters": config.dump(), "potential": potential.identity.name,
                  "potential_sha256": potential.identity.sha256, "from": cell.provenance}  # fmt: skip
    return replace(cell, provenance=provenance)


def _ended(folder: Folder, error: AtomflowError) -> AtomflowError:
    """Note how it ended; the error to raise, which says how to go on with the quench and not with one of its runs."""
    if isinstance(error, RunStopped):
        stopped = str(error).partition(";")[0]
        folder.note("stopped", stopped)
        return RunStopped(f"{stopped}; go on with: atomflow quench --resume {folder.path}")
    if isinstance(error, RunFailed):
        folder.note("failed", str(error))
    return error


def _warnings(config: QuenchConfig, of_stages: list[str]) -> list[str]:
    found = list(of_stages)
    if config.melt_temperature_K < MELT_ABOVE_K:
        found.append(f"the melt was held at {config.melt_temperature_K:g} K only; a zinc borate melt forgets its "
                     f"packing above {MELT_ABOVE_K:g} K")
    return found
