"""The loop: advance, guard, store, checkpoint, stop. One flat batch, one run folder a system."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from atomflow import runs
from atomflow.errors import RunFailed, RunStopped
from atomflow.md.barostats import kinetic_pressure_GPa
from atomflow.md.config import MDConfig
from atomflow.md.doubt import MAX, Doubt, doubt_remark, doubt_summary, first_warning, warn_limit, warned
from atomflow.md.forces import Forces
from atomflow.md.guards import Failure, Guard
from atomflow.md.progress import Progress, Speed
from atomflow.md.protocols import Protocol
from atomflow.md.signals import StopRequest
from atomflow.md.state import State, select, to_arrays
from atomflow.md.summary import MEV_PER_EV, remarks, summarize
from atomflow.units import FS_PER_PS

if TYPE_CHECKING:
    from atomflow.potentials import Potential

#: on a GPU the guard looks once in so many steps, and before anything is stored
GPU_GUARD_EVERY = 10
#: earlier than this the energy error of velocity Verlet, which swings and does not grow, would pass for a drift
DRIFT_AFTER_PS = 0.2


class OutOfMemory(RunFailed):
    """The systems of this batch do not fit into the GPU's memory; fewer at a time may."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says, in one of CUDA's ways, that the device has no memory left."""
    words = str(error).lower()
    return isinstance(error, (OutOfMemory, torch.cuda.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and ("out of memory" in words or "alloc_failed" in words))


@dataclass
class Member:
    """One system of the batch and its run folder.

    ``volume_A3`` is that of the cell the run began with, ``start_eV`` the conserved energy at production time 0.
    """

    config: MDConfig
    writer: runs.RunWriter
    n_atoms: int
    volume_A3: float
    start_eV: float | None = None
    checkpoint_step: int | None = None


class Session:
    """A batch being run by this process.

    Args:
        state: where it stands; a fresh one (step 0) needs no forces yet.
    """

    def __init__(
        self,
        state: State,
        members: Sequence[Member],
        potential: Potential,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.state, self.members, self.potential, self.progress = state, list(members), potential, progress
        self.config = self.members[0].config
        self._failures: list[str] = []
        self._guard_every = 1 if state.device.type == "cpu" else GPU_GUARD_EVERY
        self._bind()
        self._systems = len(self.members)  # at the start: what this process's time is shared by
        self._last_step = max(member.config.total_steps for member in self.members)
        self._speed = Speed(self.config.timestep_fs, self._last_step, state.step)

    def _bind(self) -> None:
        """Model, neighbour list, protocol, guard and committee for the systems that are left."""
        configs = [member.config for member in self.members]
        self.protocol = Protocol(self.state, configs)
        self.guard = Guard(self.state, configs, [member.volume_A3 for member in self.members])
        stress = self.config.ensemble == "npt"
        self.forces = Forces(self.potential, self.state, self.config.skin_A, self.config.timestep_fs, stress=stress)
        self.doubt = Doubt(self.potential, self.config, self.state, self.forces)

    def run(self, fresh: bool, until: int | None = None) -> None:
        """Step to the end of the longest run; each ends, and leaves the batch, when its own time is over.

        Args:
            fresh: compute the forces of the first step and store it, too.
            until: go to this step only, with a checkpoint there; members are left unfinished.

        Raises:
            RunStopped: a signal asked for it; everything up to this step is in the checkpoint.
            OutOfMemory: of the GPU; checkpoints are as they were.
            RunFailed: a system went wrong; the others of the batch were run to their end first.
        """
        try:
            self._loop(fresh, until)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            atoms = sum(member.n_atoms for member in self.members)
            what = f"{len(self.members)} systems of {atoms} atoms altogether; resume them in smaller batches"
            if len(self.members) == 1:
                what = f"{atoms} atoms; resume it on a GPU with more memory, or on the CPU; the checkpoints are kept"
            raise OutOfMemory(f"out of GPU memory at step {self.state.step} with {what}") from None
        if self._failures:
            raise RunFailed("; ".join(self._failures))

    def _loop(self, fresh: bool, until: int | None) -> None:
        config, production = self.config, self.config.equilibration_steps
        end = self._last_step if until is None else until
        with StopRequest() as stop:
            if fresh:
                self._begin()
            if until is None:
                self._retire()  # a run that was killed between its last checkpoint and its end
            self._speed = Speed(config.timestep_fs, self._last_step, self.state.step)
            while self.members and self.state.step < end:
                self.protocol.advance(self.state, self.forces)
                since = self.state.step - production
                storing = not (since % config.thermo_every and since % config.frame_every)
                over = any(member.config.total_steps == self.state.step for member in self.members)
                saving = not since % config.checkpoint_every or over or self.state.step == end
                asked = stop.received is not None
                if storing or saving or asked or not self.state.step % self._guard_every:
                    self._watch()
                if storing:
                    self._store()
                if saving or asked:
                    self._save()
                if over:
                    self._retire()
                if asked and self.members:
                    self._stop(stop.received or "")

    def _begin(self) -> None:
        self.forces(self.state)
        self._watch()
        self._store()

    # --- guards -----------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        failed = self.guard.check(self.state, self.forces.neighbours)
        if failed:
            self._drop(failed)

    def _drop(self, failed: list[Failure]) -> None:
        """End the failed systems' runs and go on with the others, on the very same neighbour lists."""
        for failure in failed:
            member = self.members[failure.system]
            self._failures.append(self._describe(member, failure))
            member.writer.finish("failed", self._failures[-1])
        lost = {failure.system for failure in failed}
        kept = [k for k in range(len(self.members)) if k not in lost]
        if not kept:
            raise RunFailed("; ".join(self._failures))
        self._keep(kept)

    def _keep(self, kept: list[int]) -> None:
        """Go on with these members only."""
        old = self.forces.neighbours
        self.members = [self.members[k] for k in kept]
        self.state = select(self.state, kept)
        self._bind()
        if old is not None and self.forces.neighbours is not None:
            self.forces.neighbours.restore([old.reference(k) for k in kept])

    def _describe(self, member: Member, failure: Failure) -> str:
        time_ps = self._time_fs / FS_PER_PS
        back = "no checkpoint yet"
        if member.checkpoint_step is not None:
            back = f"the last good checkpoint is step {member.checkpoint_step}"
        return (f"{member.writer.folder}: stopped at step {self.state.step} ({time_ps:.3f} ps): {failure.reason}; "
                f"{back}; {failure.advice}")

    # --- storing ----------------------------------------------------------------------------------------------

    @property
    def _time_fs(self) -> float:
        """Production time; negative while equilibrating."""
        return (self.state.step - self.config.equilibration_steps) * self.config.timestep_fs

    def _measure(self) -> dict[str, np.ndarray]:
        """The thermo row of every system, (S,) each; one transfer from the device."""
        state = self.state
        kinetic = state.kinetic_eV()
        columns = {
            "potential_energy_eV": state.energies_eV,
            "kinetic_energy_eV": kinetic,
            "temperature_K": state.temperature_K(),
            "conserved_energy_eV": state.energies_eV + kinetic - state.heat_eV - state.work_eV,
            "volume_A3": state.volume_A3(),
        }
        if self.config.ensemble == "npt":
            columns["pressure_GPa"] = kinetic_pressure_GPa(state)
        rows = torch.stack(list(columns.values())).cpu().numpy()
        return dict(zip(columns, rows, strict=True))

    def _store(self) -> None:
        """Frame and thermo row of this step, where due."""
        config, since = self.config, self.state.step - self.config.equilibration_steps
        if since >= 0 and not since % config.frame_every:
            positions, lattices = self.state.positions_A.cpu().numpy(), self.state.lattices_A.cpu().numpy()
            ends = np.cumsum([member.n_atoms for member in self.members])
            for k, member in enumerate(self.members):
                own = positions[ends[k] - member.n_atoms : ends[k]]
                member.writer.frame(since, self._time_fs, own, lattices[k])
        if since % config.thermo_every:
            return
        rows = self._measure()
        looked = self.doubt.look(self.state) if self.doubt.due(since) else {}
        rows |= looked
        for k, member in enumerate(self.members):
            member.writer.thermo(since, self._time_fs, {name: float(column[k]) for name, column in rows.items()})
            if since == 0:
                member.start_eV = float(rows["conserved_energy_eV"][k])
        if self.progress is not None:
            self.progress(self._moment(rows))
        if looked:
            self._doubt(looked)

    def _doubt(self, looked: dict[str, np.ndarray]) -> None:
        """Warn of, or end, the runs whose committee disagrees too much; what they have is kept in a checkpoint."""
        limit = self.doubt.warn_eV_per_A
        for k in np.flatnonzero(looked[MAX] > limit).tolist() if limit is not None else []:
            writer, row = self.members[k].writer, {name: float(column[k]) for name, column in looked.items()}
            if not warned(writer.manifest["warnings"]):
                cell = runs.open_run(writer.folder).initial_cell()
                writer.warn(first_warning(row, self._time_fs, limit or 0.0, cell, writer.manifest["potential"]))
        failed = self.doubt.failures(looked, self.state)
        if failed:
            self._save()
            self._drop(failed)

    def _moment(self, rows: dict[str, np.ndarray]) -> Progress:
        step, time_ps = self.state.step, self._time_fs / FS_PER_PS
        drifts = [
            MEV_PER_EV * (rows["conserved_energy_eV"][k] - member.start_eV) / member.n_atoms / time_ps
            for k, member in enumerate(self.members)
            if member.start_eV is not None and time_ps >= DRIFT_AFTER_PS
        ]
        return Progress(
            stage="equilibration" if self.protocol.equilibrating(step) else "production",
            step=step,
            steps_total=self._last_step,
            time_ps=time_ps,
            steps_per_s=self._speed.steps_per_s(step),
            ns_per_day=self._speed.ns_per_day(step, len(self.members)),
            seconds_left=self._speed.seconds_left(step),
            temperature_K=float(rows["temperature_K"].mean()),
            target_K=float(np.mean([member.config.target_K(step) for member in self.members])),
            energy_drift_meV_per_atom_per_ps=float(np.mean(drifts)) if drifts else None,
        )

    def _save(self) -> None:
        """Everything stored so far and the checkpoint of this step, on disk."""
        state = self.state
        progress = {
            "step": state.step,
            "time_ps": self._time_fs / FS_PER_PS,
            "steps_per_s": self._speed.steps_per_s(state.step),
        }
        for k, member in enumerate(self.members):
            member.writer.commit(self.checkpoint(k), progress)
            member.checkpoint_step = state.step

    def checkpoint(self, k: int) -> dict[str, Any]:
        """All that the ``k``-th member needs to go on from this very step."""
        found: dict[str, Any] = {"step": self.state.step, **to_arrays(self.state, k)}
        if self.forces.neighbours is not None:
            found |= self.forces.neighbours.reference(k)
        if self.members[k].start_eV is not None:
            found["start_eV"] = self.members[k].start_eV
        return found

    # --- the end ----------------------------------------------------------------------------------------------

    def _stop(self, signal_name: str) -> None:
        for member in self.members:
            member.writer.finish("stopped", f"{signal_name} at step {self.state.step}")
        commands = "; ".join(f"atomflow md --resume {member.writer.folder}" for member in self.members)
        raise RunStopped(f"stopped by {signal_name} at step {self.state.step} of {self._last_step}; "
                         f"go on with: {commands}")

    def _retire(self) -> None:
        """Finish the runs whose time is over; the others go on without them."""
        over = [k for k, member in enumerate(self.members) if member.config.total_steps == self.state.step]
        for k in over:
            self._finish(self.members[k])
        if len(over) == len(self.members):
            self.members = []
        elif over:
            self._keep([k for k in range(len(self.members)) if k not in over])

    def _finish(self, member: Member) -> None:
        speed = {
            "steps_per_s": self._speed.steps_per_s(self.state.step),
            "ns_per_day": self._speed.ns_per_day(self.state.step, 1),
            "systems_in_batch": self._systems,
            "neighbour_list_builds": self.forces.neighbours.builds if self.forces.neighbours else None,
        }
        run = runs.open_run(member.writer.folder)
        thermo, cell = run.thermo(), run.initial_cell()
        summary = summarize(thermo, member.n_atoms, member.config)
        doubt = doubt_summary(thermo, warn_limit(run.potential or {}, member.config), cell)
        for remark in [*remarks(summary, member.config), doubt_remark(doubt, cell)]:
            if remark is not None:
                member.writer.warn(remark)
        member.writer.finish("done", summary={**summary, **(doubt or {}), **speed})
