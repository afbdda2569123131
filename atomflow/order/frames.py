"""Frames to look at: of a cell, a run folder, a trajectory file, or several replicas of each."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from atomflow.cell import Cell, read_cell
from atomflow.errors import InputError, check_positive, said
from atomflow.plain import named
from atomflow.runs import open_trajectory
from atomflow.runs.chain import replicas_in
from atomflow.runs.files import MANIFEST, TRAJECTORY
from atomflow.runs.foreign import ForeignTrajectory
from atomflow.runs.lammps import folder_of
from atomflow.runs.reading import own_kind
from atomflow.units import FS_PER_PS

#: Structure changes slowly: this many frames of a run, evenly spaced, are looked at unless told otherwise.
FRAMES = 50


@dataclass(frozen=True)
class Source:
    """One replica: a cell (one frame) or a trajectory.

    Attributes:
        name: path, or what the trajectory calls itself.
        symbols, regions: (N,) of the atoms.
        chosen: indices of the frames looked at.
        content: a :class:`Cell` or a trajectory.
    """

    name: str
    symbols: np.ndarray
    regions: np.ndarray
    chosen: tuple[int, ...]
    content: Any

    @property
    def formula(self) -> str:
        """Elements with their counts, in order of first appearance."""
        return "".join(f"{symbol}{n if n > 1 else ''}" for symbol, n in Counter(self.symbols.tolist()).items())

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was doubtful in the file of another program; a run folder tells its own elsewhere."""
        return tuple(self.content.warnings) if isinstance(self.content, ForeignTrajectory) else ()

    @property
    def made_with(self) -> str | None:
        """The potential that moved it, in a few words; None for a cell, which nothing moved."""
        return None if isinstance(self.content, Cell) else named(getattr(self.content, "potential", None))

    def frames(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """``(positions (N, 3), lattice rows (3, 3))`` in Å of each chosen frame, in the box of that moment."""
        if isinstance(self.content, Cell):
            yield np.array(self.content.positions_A), np.array(self.content.lattice_A)
            return
        inverse = np.linalg.inv(np.asarray(self.content.mean_lattice_A))
        for index in self.chosen:
            lattice = np.asarray(self.content.lattices_A(index, index + 1)[0])
            positions = np.asarray(self.content.positions_A(index, index + 1)[0])
            if self.content.variable_cell:
                positions = positions @ inverse @ lattice
            yield positions, lattice


def of_what(sources: Sequence[Source]) -> str:
    """Cells and potentials of all these, in a line: what a number that is read off them is a number of."""
    told = Counter(
        f"{source.formula} ({len(source.symbols)} atoms)" + (f" with {source.made_with}" if source.made_with else "")
        for source in sources
    )
    return "; ".join(f"{n} of {line}" if len(told) > 1 else line for line, n in told.items())


def open_source(what: Any, n_frames: int = FRAMES, discard_ps: float = 0.0) -> Source:
    """Open a cell, a trajectory, or a path to one (run folder, trajectory file, structure file).

    Raises:
        InputError: nothing there, no frame left after ``discard_ps``, or nobody says how far apart the frames are.
    """
    if n_frames < 1:
        raise InputError(f"at least one frame is needed, not {n_frames}")
    if not 0 <= discard_ps < np.inf:
        raise InputError(f"discard_ps must be zero or a positive number, not {discard_ps:g}")
    if isinstance(what, (str, os.PathLike)):
        what = _open(Path(what), None, None, None)
    if not isinstance(what, Cell) and not hasattr(what, "n_frames"):
        raise InputError(f"order is measured of a cell, a trajectory or a path, not of {said(what)}")
    if isinstance(what, Cell):
        name = str(what.provenance.get("source", what.formula))
        return Source(name, what.symbols, np.asarray(what.regions), (0,), what)
    first = 0
    if discard_ps and what.n_frames > 1:
        check_timed(what, f"which are the first {discard_ps:g} ps")
        first = int(np.ceil(discard_ps * FS_PER_PS / float(what.frame_interval_fs) - 1e-9))
    if first >= what.n_frames:
        raise InputError(f"{what.source}: no frame is left after discarding {discard_ps:g} ps")
    chosen = np.unique(np.linspace(first, what.n_frames - 1, n_frames).round().astype(int))
    return Source(str(what.source), np.asarray(what.symbols), np.asarray(what.regions),
                  tuple(int(i) for i in chosen), what)


def open_frames(
    path: str | os.PathLike[str], frame_interval_fs: float | None = None, format: str | None = None,
    elements: Sequence[str] | None = None,
) -> list[Any]:  # fmt: skip
    """What a path holds, as cells and trajectories: the replicas of a quench, or one run, trajectory or structure.

    A trajectory file is read as :func:`atomflow.runs.open_trajectory` reads it, but need not say its temperature, and
    its time between frames only where time is asked for.

    Raises:
        InputError: what is wrong with the file, in one line.
    """
    return [_open(one, frame_interval_fs, format, elements) for one in replicas_in(Path(path))]


def check_timed(trajectory: Any, why: str) -> None:
    """Raise :class:`InputError` where nobody says how far apart the frames are."""
    if not np.isfinite(trajectory.frame_interval_fs):
        raise InputError(f"{trajectory.source} does not say how far apart its frames are, so nobody knows {why}; give "
                         "--frame-interval-fs (order.open_frames(..., frame_interval_fs=...))")


def _open(path: Path, frame_interval_fs: float | None, format: str | None, elements: Sequence[str] | None) -> Any:
    of_run = path.name in (MANIFEST, TRAJECTORY) and (path.parent / MANIFEST).is_file()
    if path.is_dir() or of_run or folder_of(path) is not None:
        return open_trajectory(path, frame_interval_fs)
    if frame_interval_fs is not None:
        check_positive("--frame-interval-fs", frame_interval_fs)
    ours = own_kind(path, format) is not None
    trajectory = ForeignTrajectory.read(path, frame_interval_fs, None, format, False, elements, needs_time=False)
    if trajectory.n_frames > 1 or ours or format is not None:
        return trajectory
    cell = read_cell(path)  # which knows what partly occupied sites are
    return Cell(cell.numbers, cell.positions_A, cell.lattice_A, cell.regions, cell.sites,
                {**cell.provenance, "source": str(path)})
