"""Runs of atomflow's engine for the card: runs that can be lengthened, and the cells that they begin from."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from atomflow import runs
from atomflow.cell import Cell
from atomflow.distill.card_checks.section import Context
from atomflow.distill.card_checks.settings import LONGEST_PS
from atomflow.distill.sides import answered, task
from atomflow.errors import InputError, RunFailed, RunStopped
from atomflow.md.config import MDConfig
from atomflow.potentials import Potential
from atomflow.units import FS_PER_PS

#: A run that is killed outright loses no more than this.
CHECKPOINT_PS = 0.5


@dataclass(frozen=True)
class LongRun:
    """Dynamics at constant temperature that goes on, bitwise, whenever more of it is wanted.

    Attributes:
        folder: of the run, named by potential, cell and settings: a changed one of these runs anew.
    """

    cell: Cell
    potential: Potential
    config: MDConfig
    folder: Path

    @classmethod
    def of(
        cls, root: Path, name: str, cell: Cell, potential: Potential, temperature_K: float, seed: int,
        equilibration_ps: float,
    ) -> LongRun:  # fmt: skip
        config = MDConfig(
            temperature_K=temperature_K, time_ps=LONGEST_PS, equilibration_ps=equilibration_ps,
            thermostat_time_fs=200.0, checkpoint_interval_ps=CHECKPOINT_PS, seed=seed, doubt_interval_fs=0.0,
        )  # fmt: skip
        where = [np.round(each, 5) + 0.0 for each in (cell.positions_A, cell.lattice_A)]  # no rounding of any machine
        given = hashlib.sha256(
            f"{cell.numbers.tolist()} {[each.tolist() for each in where]} {config.dump()} "
            f"{potential.identity.dtype}".encode()
        )
        run = f"{name}-{potential.identity.sha256[:8]}-{len(cell)}atoms-{temperature_K:g}K-{seed}"
        return cls(cell, potential, config, root / f"{run}-{given.hexdigest()[:6]}")

    @property
    def state(self) -> str:
        """That of the run folder; ``none`` before there is one."""
        return str(self._manifest()["state"]) if self._begun() else "none"

    @property
    def time_ps(self) -> float:
        """Of production, on disk."""
        return max(0.0, float(self._manifest()["progress"].get("time_ps", 0.0))) if self._begun() else 0.0

    @property
    def reason(self) -> str:
        """Why it stands, where it did not end by itself."""
        return str(self._manifest().get("reason") or "") if self._begun() else ""

    def go_on(self, time_ps: float, minutes: float | None, say: Callable[[str], None]) -> None:
        """Make it at least so long, in at most so many minutes of this call (None: however long it takes).

        One that fell apart stays as it is, and so does one that another process has at this moment.

        Raises:
            RunStopped: a signal came; the same call goes on.
        """
        if self.state in ("done", "failed") or self.time_ps >= time_ps or minutes == 0:
            return
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._advance(time_ps, minutes, say)
        except (InputError, RunFailed) as error:
            say(str(error))

    def _advance(self, time_ps: float, minutes: float | None, say: Callable[[str], None]) -> None:
        from atomflow.md.runner import MDJob, create, session_of
        from atomflow.md.session import Member
        from atomflow.md.signals import StopRequest

        config, cell, checkpoint = self.config, self.cell, None
        if self._begun():
            writer, checkpoint = runs.RunWriter.resume(self.folder)
        else:
            writer = create(MDJob(cell, config, self.folder, {"card": "diffusion"}), self.potential)
        end_step = config.equilibration_steps + round(time_ps * FS_PER_PS / config.timestep_fs)
        begun = time.monotonic()
        with writer, StopRequest() as stop:
            cell = runs.open_run(self.folder).initial_cell()
            member = Member(config, writer, len(cell), cell.volume_A3)
            session = session_of([cell], [member], [checkpoint], self.potential)
            fresh, first = checkpoint is None, session.state.step
            while session.state.step < end_step and (minutes is None or time.monotonic() - begun < 60 * minutes):
                session.run(fresh, min(end_step, session.state.step + config.checkpoint_every))
                fresh, step = False, session.state.step
                left_s = (time.monotonic() - begun) / (step - first) * (end_step - step)
                say(f"{self.folder.name}: step {step}/{end_step}, {left_s / 60:.1f} min left")
                if stop.received is not None:
                    raise RunStopped(f"stopped by {stop.received} at step {step}; the same command goes on")

    def _begun(self) -> bool:
        return (self.folder / "run.json").exists()

    def _manifest(self) -> dict[str, Any]:
        manifest: dict[str, Any] = runs.open_run(self.folder).manifest
        return manifest


def nzsp_published(atoms: int) -> Cell:
    """Ordered C2/c NZSP as Xie et al. 2023 relaxed it by DFT (PBE), of 40 or 80 atoms: the same for every potential."""
    from atomflow.build.nzsp import build_nzsp

    return build_nzsp(order="ordered", cell="dft", primitive=atoms == 40)


def nzsp_at_rest(context: Context) -> Cell:
    """The ordered 80-atom cell at rest with the student, lattice too: drift and stability are at this volume."""
    from atomflow.build.nzsp import build_nzsp

    built = build_nzsp(order="ordered", cell="experimental")
    [result] = context.student.perform([task("relax", [built], fmax_eV_per_A=0.05, steps=200)], context.say)
    return answered(result["cells"][0], built)


def zbo_at_rest(context: Context, units: int, seed: int) -> Cell:
    """A packing of (ZnO)2(B2O3)3 units, its worst contacts relaxed away with the student, at the volume of packing."""
    from atomflow import md
    from atomflow.build.glass import build_glass

    return md.relax(build_glass(units=units, seed=seed), context.potential, fmax_eV_per_A=1.0, max_steps=60)[0]
