"""Reading a run: finished or running, by slices, never the whole trajectory at once."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from atomflow.cell import Cell
from atomflow.errors import InputError, path_of
from atomflow.runs import h5md, lock
from atomflow.runs.chain import result_run
from atomflow.runs.files import CELL, LOCK, SEGMENTS, TRAJECTORY, open_hdf5
from atomflow.runs.manifest import read_manifest
from atomflow.runs.segments import read_headers
from atomflow.runs.trajectory import atom_indices, frame_slice

_BLOCK_BYTES = 32 << 20


def open_run(path: str | Path) -> Run:
    """The run in folder ``path``, read-only: as it stands now, also while another process writes it.

    The folder of a quench stands for its last run.

    Raises:
        InputError: no run there, or its files are damaged, or a quench that is not finished.
    """
    return Run(result_run(path_of(path, "a run folder")))


class Run:
    """A run folder as a :class:`~atomflow.runs.trajectory.Trajectory`, with its manifest and thermo.

    Attributes:
        manifest: run.json as it was when the run was opened.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest: dict[str, Any] = read_manifest(folder)
        self._merged = self.manifest["state"] == "done" or not (folder / SEGMENTS).is_dir()
        try:
            self._headers = [] if self._merged else read_headers(folder)
        except InputError:
            self.manifest = read_manifest(folder)  # finished between the two reads: the segments are being removed
            if self.manifest["state"] != "done":
                raise
            self._merged, self._headers = True, []
        self._open: dict[Path, h5py.File] = {}

    def __repr__(self) -> str:
        kelvin = "" if self.temperature_K is None else f" at {self.temperature_K:.4g} K"
        return (f"<Run {self.source}: {self.state}, {self.n_frames} frames of {self.n_atoms} atoms every "
                f"{self.frame_interval_fs:g} fs{kelvin}; {(self.potential or {}).get('name', 'unknown potential')}>")

    # --- what it is -------------------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """As in run.json, but ``killed`` for a run whose process ended without a word."""
        state: str = self.manifest["state"]
        alive = state not in ("running", "prepared") or lock.holder(self.folder / LOCK) is not None
        return state if alive else "killed"

    @property
    def source(self) -> str:
        return str(self.folder)

    @property
    def config(self) -> dict[str, Any]:
        return self.manifest["config"]

    @property
    def potential(self) -> dict[str, Any] | None:
        return self.manifest.get("potential")

    @property
    def cell_summary(self) -> dict[str, Any]:
        return self.manifest["cell"]

    @property
    def warnings(self) -> list[str]:
        return list(self.manifest["warnings"])

    @cached_property
    def _initial(self) -> Cell:
        path = self.folder / CELL
        try:
            with open_hdf5(path) as handle:
                return h5md.read_cell(handle)
        except FileNotFoundError:
            raise InputError(f"{path} is missing: the run folder was changed by hand") from None

    def initial_cell(self) -> Cell:
        """The cell the run was created with."""
        return self._initial

    def cell(self) -> Cell:
        """The last frame as a cell (positions unwrapped, as they are in its own box); the first cell if no frame."""
        if self.n_frames == 0:
            return self._initial
        start = self._initial
        last = self.n_frames - 1
        provenance = {"run": self.folder.name, "frame": last, "from": start.provenance}
        return Cell(start.numbers, self.raw_positions_A(last, last + 1)[0], self.lattices_A(last, last + 1)[0],
                    start.regions, start.sites, provenance)

    @property
    def symbols(self) -> np.ndarray:
        return self._initial.symbols

    @property
    def regions(self) -> np.ndarray:
        return self._initial.regions

    @property
    def sites(self) -> np.ndarray:
        return self._initial.sites

    @property
    def n_atoms(self) -> int:
        return len(self._initial)

    @cached_property
    def temperature_K(self) -> float | None:
        """The thermostat's, where it held one value; else the mean over production; None if neither is known."""
        config = self.config
        start, end = config.get("temperature_K"), config.get("temperature_end_K")
        if start is not None and config.get("ensemble", "nvt") != "nve" and end in (None, start):
            return float(start)
        thermo = self.thermo()
        if "temperature_K" not in thermo:
            return None
        production = thermo["temperature_K"][thermo["time_fs"] >= 0]
        return float(np.mean(production)) if len(production) else None

    # --- time -------------------------------------------------------------------------------------------------

    @cached_property
    def _starts(self) -> np.ndarray:
        """First frame of each file, and the number of frames as last entry."""
        return np.concatenate([[0], np.cumsum([header.n_frames for header in self._headers])]).astype(int)

    @cached_property
    def times_fs(self) -> np.ndarray:
        return self._small("frames/time_fs", "particles/all/box/edges/time", np.zeros(0))

    @property
    def n_frames(self) -> int:
        return len(self.times_fs) if self._merged else int(self._starts[-1])

    @cached_property
    def frame_interval_fs(self) -> float:
        if self.n_frames >= 2:
            return float((self.times_fs[-1] - self.times_fs[0]) / (self.n_frames - 1))
        return float(self.config.get("frame_interval_fs", 0.0))

    def thermo(self) -> dict[str, np.ndarray]:
        """Columns ``step``, ``time_fs`` (negative before production) and each quantity, e.g. ``temperature_K``."""
        if not self._merged:
            return h5md.thermo_table(self._headers)
        group = self._file(self.folder / TRAJECTORY)["observables"]
        table = {name: series["value"][()] for name, series in group.items()}
        first = next(iter(group.values()), None)
        return table if first is None else {"step": first["step"][()], "time_fs": first["time"][()], **table}

    # --- frames -----------------------------------------------------------------------------------------------

    @cached_property
    def _lattices(self) -> np.ndarray:
        return self._small("frames/lattice_A", "particles/all/box/edges/value", np.zeros((0, 3, 3)))

    def lattices_A(self, start: int, stop: int) -> np.ndarray:
        """(stop - start, 3, 3) lattice rows in Å."""
        start, stop = frame_slice(start, stop, self.n_frames)
        return self._lattices[start:stop].copy()

    @cached_property
    def variable_cell(self) -> bool:
        return self.n_frames > 0 and bool(np.ptp(self._lattices, axis=0).max() > 1e-10)

    @cached_property
    def mean_lattice_A(self) -> np.ndarray:
        if self.n_frames == 0:
            return self._initial.lattice_A
        return self._lattices.mean(axis=0) if self.variable_cell else self._lattices[0]

    def positions_A(self, start: int, stop: int, atoms: Any = None) -> np.ndarray:
        """(stop - start, n, 3) float64 unwrapped positions in Å; in a variable cell those in the mean cell."""
        raw = self.raw_positions_A(start, stop, atoms)
        if not self.variable_cell:
            return raw
        change = np.linalg.solve(self._lattices[start:stop], np.broadcast_to(self.mean_lattice_A, (stop - start, 3, 3)))
        return raw @ change

    def raw_positions_A(self, start: int, stop: int, atoms: Any = None) -> np.ndarray:
        """As :meth:`positions_A`, but each frame in its own box, as it was simulated."""
        start, stop = frame_slice(start, stop, self.n_frames)
        wanted = atom_indices(atoms, self.n_atoms)
        result = np.empty((stop - start, len(wanted), 3))
        if len(wanted) == 0 or stop == start:
            return result
        low, high = int(wanted.min()), int(wanted.max()) + 1
        block = max(1, _BLOCK_BYTES // ((high - low) * 24))
        position = start
        while position < stop:
            data, first, end = self._dataset(position)
            upto = min(stop, end, position + block)
            part = self._read(data, slice(position - first, upto - first), low, high)
            result[position - start : upto - start] = part[:, wanted - low]
            position = upto
        return result

    # --- files ------------------------------------------------------------------------------------------------

    def _dataset(self, frame: int) -> tuple[h5py.Dataset, int, int]:
        """The dataset that holds ``frame``, its first frame and the one after its last."""
        if self._merged:
            return self._file(self.folder / TRAJECTORY)["particles/all/position/value"], 0, self.n_frames
        index = int(np.searchsorted(self._starts, frame, side="right")) - 1
        data = self._file(self._headers[index].path)["frames/positions_A"]
        return data, int(self._starts[index]), int(self._starts[index + 1])

    def _read(self, data: h5py.Dataset, frames: slice, low: int, high: int) -> np.ndarray:
        try:
            return data[frames, low:high]
        except OSError as error:
            raise InputError(f"{data.file.filename} is damaged: {str(error).splitlines()[0]}") from None

    def _small(self, segment_name: str, merged_name: str, empty: np.ndarray) -> np.ndarray:
        """A per-frame quantity small enough to hold whole."""
        if self._merged:
            handle = self._file(self.folder / TRAJECTORY)
            return handle[merged_name][()] if merged_name in handle else empty
        parts = [self._file(header.path)[segment_name][()] for header in self._headers if header.n_frames]
        return np.concatenate(parts) if parts else empty

    def _file(self, path: Path) -> h5py.File:
        """``path``, open; a few are kept open. Open files stay readable when the run finishes and removes them."""
        if path not in self._open:
            while len(self._open) >= 16:
                self._open.pop(next(iter(self._open))).close()
            try:
                self._open[path] = open_hdf5(path)
            except FileNotFoundError:
                raise InputError(f"{path} is gone: the run has just finished (open it again), or it was removed (run "
                                 "it again; campaign run does so by itself)") from None
        return self._open[path]

    def close(self) -> None:
        """Close the files; reading opens them again."""
        for handle in self._open.values():
            handle.close()
        self._open.clear()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
