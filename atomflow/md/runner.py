"""Molecular dynamics from a cell to a finished run folder, and on again after a stop."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from atomflow import potentials, runs
from atomflow.cell import Cell, check_cell_given
from atomflow.config import check_config_given
from atomflow.errors import InputError, path_of, said
from atomflow.md.config import MDConfig
from atomflow.md.doubt import check_committee
from atomflow.md.progress import Progress
from atomflow.md.protocols import check_alike, random_keys
from atomflow.md.session import Member, Session
from atomflow.md.state import from_cells, load_arrays, thermal_velocities
from atomflow.potentials import Potential
from atomflow.potentials.base import CommitteeMember, check_potential_given
from atomflow.potentials.committee import with_committee

Report = Callable[[Progress], None]


@dataclass(frozen=True)
class MDJob:
    """One system of a batch: what to run and where to write it."""

    cell: Cell
    config: MDConfig
    folder: str | Path
    labels: dict[str, Any] = field(default_factory=dict)


def run(
    cell: Cell,
    potential: Potential,
    config: MDConfig,
    folder: str | Path,
    labels: dict[str, Any] | None = None,
    progress: Report | None = None,
    started: Callable[[], None] | None = None,
) -> runs.RunResult:
    """Run ``config`` on ``cell`` into the new run folder ``folder``.

    Args:
        started: called once, when the input has been accepted and the first step comes next.

    Returns:
        The manifest (run.json) of the finished run: a dict with ``folder``, ``summary`` and ``open()``, which prints
        itself in a few lines.

    Raises:
        InputError: wrong input, or the folder holds a run already.
        RunStopped: SIGTERM, SIGINT or SIGUSR1 came; :func:`resume` goes on from this very step.
        RunFailed: the simulation went wrong; the line names step, atom and last good checkpoint.
    """
    return run_batch([MDJob(cell, config, folder, labels or {})], potential, progress, started)[0]


def run_batch(
    jobs: Sequence[MDJob], potential: Potential, progress: Report | None = None,
    started: Callable[[], None] | None = None,
) -> list[runs.RunResult]:
    """Run several systems as one flat batch, each into its own folder; worth it on a GPU, not on a CPU.

    They may differ in cell, temperature, pressure, seed and length. A system that fails ends alone; the error comes
    when the others are done.

    Returns:
        One manifest a job, in order.
    """
    jobs = [jobs] if isinstance(jobs, MDJob) else list(jobs)
    if not jobs:
        raise InputError("a batch needs at least one job")
    check_potential_given(potential)
    for job in jobs:
        check_job(job)
        potential.check_elements(job.cell.numbers)
    check_alike([job.config for job in jobs])
    state = from_cells([job.cell for job in jobs], potential.device, jobs[0].config.held_regions)
    configs = [job.config for job in jobs]
    state.velocities_A_per_fs = thermal_velocities(
        state, [config.temperature_K for config in configs], random_keys(state, configs))
    with contextlib.ExitStack() as stack:
        members = [
            Member(job.config, stack.enter_context(create(job, potential)), len(job.cell), job.cell.volume_A3)
            for job in jobs
        ]
        session = Session(state, members, potential, progress)
        if started is not None:
            started()
        session.run(fresh=True)
    return [_result(job.folder) for job in jobs]


def _result(folder: str | Path) -> runs.RunResult:
    return runs.RunResult(runs.open_run(folder).manifest, folder)


def check_job(job: object) -> None:
    """Raise :class:`InputError` where a job is none, or holds what is no cell, configuration or folder."""
    if not isinstance(job, MDJob):
        raise InputError(f"a job is an MDJob(cell, config, folder), not {said(job)}")
    check_cell_given(job.cell)
    check_config_given(job.config, MDConfig)
    path_of(job.folder, "the run folder")
    if not isinstance(job.labels, dict):
        raise InputError(f"labels are a dict like {{'structure': 'grain'}}, not {said(job.labels)}")


def resume(
    folder: str | Path,
    potential: Potential | None = None,
    progress: Report | None = None,
    device: str = "auto",
    trust_model: bool = False,
) -> runs.RunResult:
    """Go on with the run in ``folder`` from its last good checkpoint; a run that is done is left as it is.

    On the CPU the finished trajectory is bitwise the one that would have come without the interruption.

    Args:
        potential: as the run was started with; loaded from what the manifest says when not given.

    Raises:
        InputError: no run there, a live process has it, or the potential is not the one the run was started with.
    """
    manifest = runs.open_run(folder).manifest
    if potential is not None:
        check_potential_given(potential)
    if manifest["state"] == "done":
        return runs.RunResult(manifest, folder)
    config = MDConfig.from_dump(manifest["config"], f"{folder}/run.json")
    if potential is None:
        potential = load_recorded(manifest["potential"], device, trust_model)
    check_same(potential, manifest["potential"], folder)
    potential = _with_recorded_committee(potential, manifest["potential"])
    writer, checkpoint = runs.RunWriter.resume(folder)
    with writer:
        cell = runs.open_run(folder).initial_cell()
        member = Member(config, writer, len(cell), cell.volume_A3)
        session_of([cell], [member], [checkpoint], potential, progress).run(fresh=checkpoint is None)
    return _result(folder)


def session_of(
    cells: Sequence[Cell], members: Sequence[Member], checkpoints: Sequence[dict[str, Any] | None],
    potential: Potential, progress: Report | None = None,
) -> Session:
    """A batch where its members stand: all before their first step (no checkpoint), or all at the same step."""
    configs = [member.config for member in members]
    state = from_cells(cells, potential.device, configs[0].held_regions)
    saved = [checkpoint for checkpoint in checkpoints if checkpoint is not None]
    if saved:
        load_arrays(state, saved, int(saved[0]["step"]))
        for member, checkpoint in zip(members, saved, strict=True):
            member.checkpoint_step, member.start_eV = state.step, checkpoint.get("start_eV")
    else:
        state.velocities_A_per_fs = thermal_velocities(
            state, [config.temperature_K for config in configs], random_keys(state, configs))
    session = Session(state, members, potential, progress)
    if saved and session.forces.neighbours is not None and "neighbour_positions_A" in saved[0]:
        names = ("neighbour_positions_A", "neighbour_lattice_A")
        session.forces.neighbours.restore([{name: np.asarray(item[name]) for name in names} for item in saved])
    return session


def create(job: MDJob, potential: Potential) -> runs.RunWriter:
    """A new run folder for ``job``, with what is known of the machine."""
    check_committee(potential, job.config)
    device = potential.device
    hardware = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "torch_threads": torch.get_num_threads(),
    }
    writer = runs.RunWriter.create(
        job.folder,
        config=job.config.dump(),
        cell=job.cell,
        potential=potential.identity.model_dump(mode="json"),
        labels=job.labels,
        steps_total=job.config.total_steps,
        hardware_found=hardware,
    )
    caution = potential.identity.caution(job.cell.numbers)
    if caution:
        writer.warn(caution)
    return writer


def load_recorded(identity: dict[str, Any], device: str, trust_model: bool) -> Potential:
    """The potential a manifest names: the very file it came from where that is still there, else the registry's."""
    source_file = Path(identity["source"].partition("#")[0])
    name = identity["source"] if source_file.is_file() else identity["name"]
    loaded = potentials.load(name, device=device, dtype=identity["dtype"], trust_model=trust_model)
    return _with_recorded_committee(loaded, identity)


def _with_recorded_committee(potential: Potential, identity: dict[str, Any]) -> Potential:
    """The potential with the committee that the run was started with, so that a resumed run looks as it would have."""
    members = [CommitteeMember.model_validate(member) for member in identity.get("committee", ())]
    named: Potential = with_committee(potential, members, identity.get("doubt_warn_eV_per_A"))
    return named


def check_same(potential: Potential, recorded: dict[str, Any], folder: str | Path) -> None:
    """Refuse a potential that is not the one on record for the run in ``folder``."""
    identity = potential.identity
    if identity.sha256 != recorded["sha256"]:
        raise InputError(f"{folder} was started with the potential {recorded['name']} (sha256 "
                         f"{recorded['sha256'][:12]}…), not with {identity.name} ({identity.sha256[:12]}…); "
                         f"give back the same file, or start a new run")
    if identity.dtype != recorded["dtype"]:
        raise InputError(f"{folder} was started in {recorded['dtype']}, not in {identity.dtype}; use the same")
