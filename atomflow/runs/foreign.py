"""Trajectories of other programs: checked, unwrapped, and kept on disk (never whole in memory) while they are open."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from atomflow.cell import Cell
from atomflow.errors import InputError, RunFailed
from atomflow.runs.checks import check, ends_with_newline, guarded, interval_fs
from atomflow.runs.frames import Frame, from_atoms
from atomflow.runs.means import drift_K, thermostat_fs
from atomflow.runs.reading import iterate
from atomflow.runs.trajectory import atom_indices, frame_slice
from atomflow.runs.unwrap import Unwrapper, flip


class ForeignTrajectory:
    """A :class:`~atomflow.runs.trajectory.Trajectory` from any file ASE reads, or from a list of ASE atoms."""

    def __init__(self, source: str, first: Frame) -> None:
        self.source = source
        self.potential: dict[str, Any] | None = first.facts.get("potential")
        self.config: dict[str, Any] = first.facts.get("config") or {}
        self.warnings: list[str] = []
        self.frame_interval_fs = 0.0
        self.temperature_K: float | None = None
        self._measured: list[tuple[float, ...]] = []  # kelvin, in each frame or in none
        self._first = first
        self._lattices: list[np.ndarray] = []
        self._store = tempfile.TemporaryFile(prefix="atomflow-")  # noqa: SIM115  (lives as long as this object)
        self._counts = tempfile.TemporaryFile(prefix="atomflow-")  # noqa: SIM115
        self._unwrap = False

    def __repr__(self) -> str:
        kelvin = "" if self.temperature_K is None else f" at {self.temperature_K:.4g} K"
        apart = f" every {self.frame_interval_fs:g} fs" if np.isfinite(self.frame_interval_fs) else ""
        return f"<Trajectory {self.source}: {self.n_frames} frames of {self.n_atoms} atoms{apart}{kelvin}>"

    @classmethod
    def read(
        cls,
        source: str | Path | Sequence[Any] | Iterator[Frame],
        frame_interval_fs: float | None,
        temperature_K: float | None,
        format: str | None,
        wrapped: bool | str,
        elements: Sequence[str] | None,
        name: str = "the list of ASE atoms",
        needs_time: bool = True,
    ) -> ForeignTrajectory:
        """Read every frame once; see :func:`atomflow.runs.open_trajectory` for the arguments and errors.

        ``source`` may also be frames already read; ``name`` then says whose they are. Without ``needs_time`` the time
        between frames may stay unknown (NaN) and the temperature too, and one frame is enough.
        """
        if wrapped not in (True, False, "auto"):
            raise InputError(f"wrapped must be true, false or auto, not {wrapped!r}")
        if isinstance(source, (str, Path)):
            name, frames = str(source), iterate(Path(source), format, elements)
        else:
            frames = (item if isinstance(item, Frame) else from_atoms(item) for item in source)
        reading = _Reading(name, wrapped)
        notes: list[str] = []
        for frame in guarded(frames, name, notes):
            reading.add(frame)
        trajectory = reading.finish(frame_interval_fs, temperature_K, needs_time)
        if name.endswith("xyz") and not notes and not ends_with_newline(Path(name)):
            notes.append("the file does not end with a line break: its last number may be cut short")
        trajectory.warnings[:0] = notes
        return trajectory

    # --- what it is -------------------------------------------------------------------------------------------

    @cached_property
    def symbols(self) -> np.ndarray:
        from ase.data import chemical_symbols

        return np.array([chemical_symbols[z] for z in self._first.numbers])

    @cached_property
    def _cell(self) -> Cell:
        first = self._first
        return Cell(first.numbers, first.fractional @ first.lattice_A, first.lattice_A,
                    first.regions, first.sites, {"source": self.source})  # type: ignore[arg-type]

    @property
    def regions(self) -> np.ndarray:
        return self._cell.regions

    @property
    def sites(self) -> np.ndarray:
        return self._cell.sites

    @property
    def cell_summary(self) -> dict[str, Any]:
        return self._cell.summary()

    @property
    def n_frames(self) -> int:
        return len(self._lattices)

    @property
    def n_atoms(self) -> int:
        return len(self._first.numbers)

    @cached_property
    def times_fs(self) -> np.ndarray:
        return np.arange(self.n_frames) * self.frame_interval_fs

    def thermo(self) -> dict[str, np.ndarray]:
        """``time_fs`` and ``temperature_K`` of what was measured, where every frame has it; else nothing."""
        counts = [len(values) for values in self._measured]
        if not counts or not all(counts):
            return {}
        return {"time_fs": np.repeat(self.times_fs, counts), "temperature_K": np.concatenate(self._measured)}

    # --- frames -----------------------------------------------------------------------------------------------

    @cached_property
    def _all_lattices(self) -> np.ndarray:
        return np.array(self._lattices)

    def lattices_A(self, start: int, stop: int) -> np.ndarray:
        """(stop - start, 3, 3) lattice rows in Å."""
        start, stop = frame_slice(start, stop, self.n_frames)
        return self._all_lattices[start:stop].copy()

    @cached_property
    def variable_cell(self) -> bool:
        return bool(np.ptp(self._all_lattices, axis=0).max() > 1e-10)

    @cached_property
    def mean_lattice_A(self) -> np.ndarray:
        return self._all_lattices.mean(axis=0) if self.variable_cell else self._all_lattices[0]

    def positions_A(self, start: int, stop: int, atoms: Any = None) -> np.ndarray:
        """(stop - start, n, 3) float64 unwrapped positions in Å; in a variable cell those in the mean cell."""
        start, stop = frame_slice(start, stop, self.n_frames)
        wanted = atom_indices(atoms, self.n_atoms)
        if start == stop:
            return np.empty((0, len(wanted), 3))
        shape = (self.n_frames, self.n_atoms, 3)
        fractional = np.array(np.memmap(self._store, np.float64, "r", shape=shape)[start:stop, wanted])
        if self._unwrap:
            fractional += np.memmap(self._counts, np.int32, "r", shape=shape)[start:stop, wanted]
        return fractional @ self.mean_lattice_A


class _Reading:
    """One pass over the frames of a file: checks, storage, image counts, and what the file knows of time."""

    def __init__(self, name: str, wrapped: bool | str) -> None:
        self.name = name
        self.wrapped = wrapped
        self.trajectory: ForeignTrajectory | None = None
        self.unwrapper = Unwrapper()
        self.times: list[float | None] = []
        self.steps: list[int | None] = []
        self.temperatures: list[float | None] = []
        self.from_file = False

    def add(self, frame: Frame) -> None:
        if self.trajectory is None:
            self.trajectory = ForeignTrajectory(self.name, frame)
            self.from_file = frame.images is not None
            self.wrapped = False if frame.unwrapped and self.wrapped == "auto" else self.wrapped
        index = len(self.times)
        check(frame, self.trajectory._first, index, self.name)
        lattice, fractional, images = self._without_flip(frame, index)
        counts = self.unwrapper.add(fractional, frame.fractional)
        if self.from_file and images is not None:
            counts = images
        self._keep(self.trajectory, fractional, counts)
        self.trajectory._lattices.append(lattice)
        self.trajectory._measured.append(frame.measured_K)
        self.times.append(frame.time_fs)
        self.steps.append(frame.step)
        self.temperatures.append(frame.temperature_K)

    def _without_flip(self, frame: Frame, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Lattice, fractional coordinates and image counts by the vectors that go on from the frame before."""
        lattices = self.trajectory._lattices if self.trajectory is not None else []
        try:
            combined = flip(frame.lattice_A, lattices[-1]) if lattices else None
        except InputError as error:
            raise InputError(f"{self.name}, frame {index}: {error}") from None
        if combined is None:
            return frame.lattice_A, frame.fractional, frame.images
        back = np.round(np.linalg.inv(combined))
        images = None if frame.images is None else (frame.images @ back).astype(np.int32)
        return combined @ frame.lattice_A, frame.fractional @ back, images

    def _keep(self, trajectory: ForeignTrajectory, fractional: np.ndarray, counts: np.ndarray) -> None:
        try:
            np.ascontiguousarray(fractional, np.float64).tofile(trajectory._store)
            np.ascontiguousarray(counts, np.int32).tofile(trajectory._counts)
        except OSError as error:
            raise RunFailed(f"no room in {tempfile.gettempdir()} for the frames of {self.name} ({error}); set TMPDIR "
                            f"to a larger disk") from None

    def finish(
        self, frame_interval_fs: float | None, temperature_K: float | None, needs_time: bool
    ) -> ForeignTrajectory:
        trajectory = self.trajectory
        if trajectory is None:
            raise InputError(f"{self.name} holds no frames")
        trajectory._store.flush()
        trajectory._counts.flush()
        self._decide_unwrapping(trajectory)
        interval = interval_fs(self.times, self.steps, frame_interval_fs, self.name)
        if interval is None and needs_time:
            raise InputError(f"{self.name} holds one frame: a structure, not a trajectory" if len(self.times) == 1 else
                             f"{self.name} does not say how far apart its frames are; give --frame-interval-fs "
                             "(frame_interval_fs=...)")
        trajectory.frame_interval_fs = float("nan") if interval is None else interval
        trajectory.temperature_K = self._temperature(trajectory, temperature_K)
        if trajectory.temperature_K is None and needs_time:
            raise InputError(f"{self.name} does not say its temperature; give --temperature (in kelvin)")
        return trajectory

    def _decide_unwrapping(self, trajectory: ForeignTrajectory) -> None:
        unwrapper = self.unwrapper
        if self.wrapped == "auto":
            trajectory._unwrap = self.from_file or unwrapper.looks_wrapped
            if unwrapper.jumps and not trajectory._unwrap:
                trajectory.warnings.append("atoms move by more than half the cell between frames but leave the cell: "
                                           "taken as unwrapped already; say wrapped if they are not")
                return
        else:
            trajectory._unwrap = bool(self.wrapped)
        warning = unwrapper.warning()
        if warning and trajectory._unwrap and not self.from_file:
            trajectory.warnings.append(warning)

    def _temperature(self, trajectory: ForeignTrajectory, given: float | None) -> float | None:
        """The one given, else the mean of those in the file; where they vary they were measured, frame by frame."""
        if given is not None:
            trajectory._measured, trajectory.config = [], {}
            return float(given)
        known = np.array([value for value in self.temperatures if value is not None])
        if len(known) == 0:
            return None
        if len(known) == len(self.times) and not any(trajectory._measured) and np.ptp(known) > 1e-6 * known.mean():
            trajectory._measured = [(float(value),) for value in known]
        if drift := drift_K(known, thermostat_fs(trajectory.config), trajectory.frame_interval_fs):
            trajectory.warnings.append(f"the temperature drifts along the file, from {drift[0]:.0f} K (first third) to "
                                       f"{drift[1]:.0f} K (last third): only a part at one temperature has one D, and "
                                       "--discard-ps leaves out the beginning")
        return float(known.mean())
