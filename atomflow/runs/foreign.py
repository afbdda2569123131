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
from atomflow.runs.formats import CutShort
from atomflow.runs.frames import Frame, from_atoms
from atomflow.runs.reading import iterate
from atomflow.runs.trajectory import atom_indices, frame_slice
from atomflow.runs.unwrap import Unwrapper


class ForeignTrajectory:
    """A :class:`~atomflow.runs.trajectory.Trajectory` from any file ASE reads, or from a list of ASE atoms."""

    def __init__(self, source: str, first: Frame) -> None:
        self.source = source
        self.potential: dict[str, Any] | None = first.facts.get("potential")
        self.config: dict[str, Any] = first.facts.get("config") or {}
        self.warnings: list[str] = []
        self.frame_interval_fs = 0.0
        self.temperature_K: float | None = None
        self._measured: list[tuple[float, ...]] = []
        self._first = first
        self._lattices: list[np.ndarray] = []
        self._store = tempfile.TemporaryFile(prefix="atomflow-")  # noqa: SIM115  (lives as long as this object)
        self._counts = tempfile.TemporaryFile(prefix="atomflow-")  # noqa: SIM115
        self._unwrap = False

    def __repr__(self) -> str:
        kelvin = "" if self.temperature_K is None else f" at {self.temperature_K:.4g} K"
        return (f"<Trajectory {self.source}: {self.n_frames} frames of {self.n_atoms} atoms every "
                f"{self.frame_interval_fs:g} fs{kelvin}>")

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
    ) -> ForeignTrajectory:
        """Read every frame once; see :func:`atomflow.runs.open_trajectory` for the arguments and errors.

        ``source`` may also be frames already read; ``name`` then says whose they are.
        """
        if wrapped not in (True, False, "auto"):
            raise InputError(f"wrapped must be true, false or auto, not {wrapped!r}")
        if isinstance(source, (str, Path)):
            name, frames = str(source), iterate(Path(source), format, elements)
        else:
            frames = (item if isinstance(item, Frame) else from_atoms(item) for item in source)
        reading = _Reading(name, wrapped)
        for frame in _guarded(frames, name):
            reading.add(frame)
        trajectory = reading.finish(frame_interval_fs, temperature_K)
        if name.endswith(("xyz", ".dump", ".lammpstrj")) and not _ends_with_newline(Path(name)):
            trajectory.warnings.append("the file does not end with a line break: its last number may be cut short")
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
        """``time_fs`` and ``temperature_K`` of what was measured, where atomflow wrote the file; else nothing."""
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
        _check(frame, self.trajectory._first, index, self.name)
        counts = self.unwrapper.add(frame.fractional)
        if self.from_file and frame.images is not None:
            counts = frame.images
        self._keep(self.trajectory, frame.fractional, counts)
        self.trajectory._lattices.append(frame.lattice_A)
        self.trajectory._measured.append(frame.measured_K)
        self.times.append(frame.time_fs)
        self.steps.append(frame.step)
        self.temperatures.append(frame.temperature_K)

    def _keep(self, trajectory: ForeignTrajectory, fractional: np.ndarray, counts: np.ndarray) -> None:
        try:
            np.ascontiguousarray(fractional, np.float64).tofile(trajectory._store)
            np.ascontiguousarray(counts, np.int32).tofile(trajectory._counts)
        except OSError as error:
            raise RunFailed(f"no room in {tempfile.gettempdir()} for the frames of {self.name} ({error}); set TMPDIR "
                            f"to a larger disk") from None

    def finish(self, frame_interval_fs: float | None, temperature_K: float | None) -> ForeignTrajectory:
        trajectory = self.trajectory
        if trajectory is None:
            raise InputError(f"{self.name} holds no frames")
        trajectory._store.flush()
        trajectory._counts.flush()
        self._decide_unwrapping(trajectory)
        trajectory.frame_interval_fs = self._interval(frame_interval_fs)
        trajectory.temperature_K = self._temperature(trajectory, temperature_K)
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

    def _interval(self, given: float | None) -> float:
        steps = np.diff([step for step in self.steps if step is not None])
        if len(steps) and np.ptp(steps):
            raise InputError(f"{self.name}: the frames are not at equal intervals (steps apart by {steps.min()} to "
                             f"{steps.max()}); a frame is missing or doubled")
        times = np.diff([time for time in self.times if time is not None])
        if len(times) and np.ptp(times) > 1e-3 * abs(times.mean()):
            raise InputError(f"{self.name}: the frames are not at equal intervals ({times.min():g} to "
                             f"{times.max():g} fs apart); a frame is missing or doubled")
        if given is not None:
            return float(given)
        if len(times) and times.mean() > 0:
            return float(times.mean())
        if len(self.times) == 1:
            raise InputError(f"{self.name} holds one frame: a structure, not a trajectory")
        raise InputError(f"{self.name} does not say how far apart its frames are; give --frame-interval-fs "
                         "(frame_interval_fs=...)")

    def _temperature(self, trajectory: ForeignTrajectory, given: float | None) -> float:
        if given is not None:
            trajectory._measured, trajectory.config = [], {}
            return float(given)
        known = [value for value in self.temperatures if value is not None]
        if known:
            return float(np.mean(known))
        raise InputError(f"{self.name} does not say its temperature; give --temperature (in kelvin)")


def _guarded(frames: Iterator[Frame], name: str) -> Iterator[Frame]:
    """The same frames; whatever goes wrong while reading one becomes a line that says how many are good."""
    good = 0
    while True:
        try:
            frame = next(frames)
        except StopIteration:
            return
        except InputError as error:
            raise InputError(str(error) if name in str(error) else f"{name}, frame {good}: {error}") from None
        except CutShort as error:
            raise InputError(f"{name}: frame {good} is cut short ({error}); {_good(good)}") from None
        except Exception as error:
            text = str(error).strip().splitlines()
            reason = text[0] if text else type(error).__name__
            raise InputError(f"{name}: frame {good} cannot be read ({reason}); {_good(good)}") from None
        yield frame
        good += 1


def _ends_with_newline(path: Path) -> bool:
    with open(path, "rb") as handle:
        handle.seek(-1, 2)
        return handle.read(1) == b"\n"


def _good(count: int) -> str:
    if count == 0:
        return "no frame is good"
    return "the frame before it is good" if count == 1 else f"the {count} frames before it are good"


def _check(frame: Frame, first: Frame, index: int, name: str) -> None:
    if len(frame.numbers) != len(first.numbers):
        raise InputError(f"{name}: frame {index} has {len(frame.numbers)} atoms, the frames before have "
                         f"{len(first.numbers)}; {_good(index)}")
    if not np.isfinite(frame.fractional).all() or not np.isfinite(frame.lattice_A).all():
        bad = np.flatnonzero(~np.isfinite(frame.fractional).all(axis=1))
        where = f"the position of atom {bad[0]}" if len(bad) else "the lattice"
        raise InputError(f"{name}: in frame {index} {where} is not a number; {_good(index)}")
    changed = np.flatnonzero(frame.numbers != first.numbers)
    if len(changed):
        raise InputError(f"{name}: atom {changed[0]} of frame {index} is another element than before; atoms must stay "
                         f"in one order in all frames (LAMMPS: dump_modify sort id)")
