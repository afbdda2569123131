"""Writing a run: frames wait in memory, a commit puts them on disk whole, then the checkpoint, then run.json.

The order makes any instant safe to die at. Data past the last checkpoint are dropped on resume and computed again, so
nothing is lost and nothing doubled.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from atomflow.cell import Cell
from atomflow.errors import InputError, RunFailed, RunStopped
from atomflow.runs import checkpoint as checkpoints
from atomflow.runs import h5md
from atomflow.runs.chain import refuse_other_kinds
from atomflow.runs.files import (
    CELL,
    LOCK,
    MANIFEST,
    PARTIAL,
    SEGMENTS,
    TRAJECTORY,
    full_disk,
    hdf5_bytes,
    write_whole,
)
from atomflow.runs.lock import FolderLock
from atomflow.runs.manifest import new_manifest, now, read_manifest, write_manifest
from atomflow.runs.segments import Buffer, drop_segments, read_headers, write_segment

MAX_WARNINGS = 100


class RunWriter:
    """The one writer of a run folder. Make it with :meth:`create` or :meth:`resume`; use it as a context manager."""

    def __init__(self, folder: Path, lock: FolderLock, manifest: dict[str, Any], n_atoms: int) -> None:
        self.folder = folder
        self.manifest = manifest
        self._lock = lock
        self._n_atoms = n_atoms
        self._buffer = Buffer()
        self._segments = 0
        self._frames = 0
        self._serial = 0
        self._finished = False

    # --- making one -------------------------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        path: str | Path,
        config: dict[str, Any],
        cell: Cell,
        potential: dict[str, Any],
        labels: dict[str, Any] | None = None,
        steps_total: int = 0,
        hardware_found: dict[str, Any] | None = None,
    ) -> RunWriter:
        """A new run in folder ``path`` (made if missing), locked for this process.

        Args:
            config: what was asked for, JSON-able; ``frame_interval_fs`` and ``temperature_K`` are read back from it.
            hardware_found: what the engine knows of its device, added to the manifest's ``hardware``.

        Raises:
            InputError: the folder already holds a run, another process has it, or it cannot be made.
        """
        folder = Path(path)
        refuse_other_kinds(folder, "run")
        if (folder / MANIFEST).exists():
            state = read_manifest(folder).get("state")
            raise InputError(f"{folder} already holds a run ({state}); resume it or give another folder")
        try:
            (folder / SEGMENTS).mkdir(parents=True, exist_ok=True)
            lock = FolderLock(folder / LOCK)
        except OSError as error:
            raise InputError(f"cannot make the run folder {folder}: {error.strerror or error}") from None
        try:
            if (folder / MANIFEST).exists() or (folder / TRAJECTORY).exists():
                raise InputError(f"{folder} already holds data; give another folder")
            drop_segments(folder, 0)
            manifest = new_manifest(config, cell, potential, labels or {}, steps_total, hardware_found or {})
            write_whole(folder / CELL, hdf5_bytes(lambda handle: h5md.write_cell(handle, cell)))
            write_manifest(folder, manifest)
        except OSError as error:
            lock.release()
            raise full_disk(error, folder, "the run has not begun", "give the same command again") from None
        except BaseException:
            lock.release()
            raise
        return cls(folder, lock, manifest, len(cell))

    @classmethod
    def resume(cls, path: str | Path) -> tuple[RunWriter, dict[str, Any] | None]:
        """Take up the run in ``path`` at its last good checkpoint.

        Returns:
            The writer, and the checkpoint as it was given to :meth:`commit` (None: nothing was committed yet; start
            over from ``open_run(path).initial_cell()``).

        Raises:
            InputError: no run there, it is done, another process has it, or no checkpoint is whole.
        """
        folder = Path(path)
        read_manifest(folder)
        lock = FolderLock(folder / LOCK)
        try:
            manifest = read_manifest(folder)  # again, now that nobody else writes it
            if manifest["state"] == "done":
                drop_segments(folder, 0, and_folder=True)
                raise InputError(f"{folder} is done; there is nothing to resume")
            writer = cls(folder, lock, manifest, int(manifest["cell"]["n_atoms"]))
            state = writer._restore()
        except BaseException:
            lock.release()
            raise
        return writer, state

    def _restore(self) -> dict[str, Any] | None:
        """Find the newest checkpoint whose segments are all whole; drop everything after it."""
        whole = checkpoints.load_all(self.folder)
        damaged = checkpoints.damaged(self.folder)
        problem = f"the checkpoint {damaged[0]} is damaged" if damaged else ""
        for state, counts in whole:
            try:
                headers = read_headers(self.folder, counts["segments"])
            except InputError as error:
                problem = str(error)
                continue
            if sum(header.n_frames for header in headers) != counts["frames"]:
                problem = f"{self.folder}: the segments do not hold the {counts['frames']} frames of the checkpoint"
                continue
            self._segments, self._frames, self._serial = counts["segments"], counts["frames"], counts["serial"]
            self._after_restore(problem)
            return state
        if problem:
            raise InputError(f"{problem}; no earlier checkpoint is whole: start a new run in another folder")
        self._after_restore("")
        return None

    def _after_restore(self, problem: str) -> None:
        drop_segments(self.folder, self._segments)
        (self.folder / TRAJECTORY).unlink(missing_ok=True)
        (self.folder / (TRAJECTORY + PARTIAL)).unlink(missing_ok=True)
        self.manifest.update(state="running", reason=None, ended=None)
        self.manifest["progress"]["frames"] = self._frames
        if problem:
            self._add_warning(f"resumed from the checkpoint before the last: {problem}")
        self._write_manifest()

    # --- while it runs ----------------------------------------------------------------------------------------

    def frame(
        self,
        step: int,
        time_fs: float,
        positions_A: np.ndarray,
        lattice_A: np.ndarray,
        velocities: np.ndarray | None = None,
    ) -> None:
        """Keep a frame until the next commit: (N, 3) unwrapped positions in Å, (3, 3) lattice rows in Å, and, in all
        frames or in none, (N, 3) velocities in Å/fs."""
        positions = np.array(positions_A, dtype=np.float64)
        lattice = np.array(lattice_A, dtype=np.float64)
        if positions.shape != (self._n_atoms, 3) or lattice.shape != (3, 3):
            raise ValueError(f"a frame needs positions ({self._n_atoms}, 3) and lattice (3, 3), "
                             f"not {positions.shape} and {lattice.shape}")
        kept = None if velocities is None else np.array(velocities, dtype=np.float64)
        self._buffer.frames.append({"step": int(step), "time_fs": float(time_fs), "positions_A": positions,
                                    "lattice_A": lattice, "velocities": kept})

    def thermo(self, step: int, time_fs: float, values: dict[str, float]) -> None:
        """Keep a row of scalars until the next commit; names carry units, times before production are negative."""
        row = {name: float(value) for name, value in values.items()}
        self._buffer.thermo.append({"step": int(step), "time_fs": float(time_fs), **row})

    def commit(self, checkpoint: dict[str, Any], progress: dict[str, Any]) -> None:
        """Put everything so far on disk: segment, then checkpoint, then run.json.

        Args:
            checkpoint: flat dict of arrays, numbers and strings that :meth:`resume` gives back exactly.
            progress: ``step``, ``time_ps``, ``steps_per_s``, ... for run.json.

        Raises:
            RunFailed: the disk is full or refuses; what was committed before is intact.
        """
        try:
            self._write_buffer()
            self._serial += 1
            counts = {"segments": self._segments, "frames": self._frames}
            checkpoints.save(self.folder, checkpoint, self._serial, counts)
            self.manifest["state"] = "running"
            self.manifest["progress"].update(progress, frames=self._frames)
            self._write_manifest()
        except OSError as error:
            raise full_disk(error, self.folder, f"{self._frames} frames are kept") from None

    def _write_buffer(self) -> None:
        if not self._buffer:
            return
        write_segment(self.folder, self._segments, self._buffer)
        self._segments += 1
        self._frames += len(self._buffer.frames)
        self._buffer.clear()

    def warn(self, text: str) -> None:
        """Record a warning in run.json, each text once; it reaches the disk with the next commit or finish."""
        self._add_warning(text)

    def _add_warning(self, text: str) -> None:
        warnings = self.manifest["warnings"]
        if text not in warnings and len(warnings) < MAX_WARNINGS:
            warnings.append(text)

    def _write_manifest(self) -> None:
        write_manifest(self.folder, self.manifest)

    # --- the end ----------------------------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """Whether :meth:`finish` was called: nothing more can be written."""
        return self._finished

    def finish(self, state: str, reason: str | None = None, summary: dict[str, Any] | None = None) -> None:
        """End the run as ``done`` (segments become one trajectory.h5), ``stopped`` or ``failed``; release the lock.

        Raises:
            RunFailed: the disk is full; segments and checkpoints are intact, and a resume finishes the run.
        """
        if state not in ("done", "stopped", "failed"):
            raise ValueError(f"a run cannot finish as '{state}'")
        self._finished = True
        try:
            try:
                self._write_buffer()
                if state == "done":
                    self._merge()
                self._close_manifest(state, reason, summary or {})
            except OSError as error:
                failure = full_disk(error, self.folder, f"all {self._frames} frames are kept")
                self._note_failure(str(failure))
                if state != "failed":
                    raise failure from None
            if state == "done":
                drop_segments(self.folder, 0, and_folder=True)
        finally:
            self._lock.release()

    def _merge(self) -> None:
        headers = read_headers(self.folder, self._segments)
        needed = sum(header.path.stat().st_size for header in headers)
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            failure = RunFailed(f"no room to finish {self.folder}: {needed / 1e6:.1f} MB needed, {free / 1e6:.1f} MB "
                                f"free; all {self._frames} frames are kept; free some space, then resume")
            self._note_failure(str(failure))
            raise failure
        h5md.merge(self.folder, headers)

    def _close_manifest(self, state: str, reason: str | None, summary: dict[str, Any]) -> None:
        self.manifest.update(state=state, reason=" ".join(reason.split()) if reason else reason, ended=now())
        if state == "done":
            self.manifest["trajectory_bytes"] = (self.folder / TRAJECTORY).stat().st_size
        self.manifest["summary"].update(summary)
        self.manifest["progress"]["frames"] = self._frames
        self._write_manifest()

    def _note_failure(self, reason: str) -> None:
        try:
            self._close_manifest("failed", reason, {})
        except OSError:  # not even room for run.json: it keeps its last content, and the lock tells nobody writes
            return

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if self._finished:
            return
        stopped = error is None or isinstance(error, (KeyboardInterrupt, RunStopped))
        reason = None if error is None else " ".join(str(error).split()) or type(error).__name__
        self.finish("stopped" if stopped else "failed", reason)
