"""How far a potential was from its teacher where it was used: frames of one's own runs, asked again of the teacher.

A card tells of held-out systems that somebody else chose. What a result rests on is the error along its own runs: in
these cells, at this temperature, with the distances at which this potential lets atoms meet.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from atomflow.distill.errors_table import ErrorRow, by_element, error_row, evaluate
from atomflow.distill.frames import Frame, read_about, read_frames, write_frames
from atomflow.distill.label import LabelProgress, label
from atomflow.errors import InputError
from atomflow.plain import Shown, named, table
from atomflow.potentials import Potential
from atomflow.runs import Run, open_run
from atomflow.transport.campaign import find_runs


@dataclass(frozen=True, repr=False)
class Along(Shown):
    """Errors of a potential along runs that were made with it.

    Attributes:
        potential: in a few words. teacher, teacher_package: whom it was held against.
        rows: of each run. together: of all; its interval is over runs (bootstrap), from three on.
        elements: element → force RMSE and teacher's RMS force (eV/Å), and slope.
    """

    potential: str
    teacher: str
    teacher_package: str
    rows: tuple[ErrorRow, ...]
    together: ErrorRow
    elements: dict[str, dict[str, float]]

    def text(self) -> str:
        """For people, as ``atomflow potential along`` prints it."""
        head = ["run", "frames", "force RMSE eV/Å", "RMS force", "slope", "energy spread meV/atom", "stress GPa"]
        lines = [[row.group, str(row.frames), format(row.force_rmse_eV_per_A, ".3f"), f"{row.force_rms_eV_per_A:.2f}",
                  f"{row.slope:.3f}", f"{row.energy_spread_meV_per_atom:.1f}", f"{row.stress_rmse_GPa:.2f}"]
                 for row in (*self.rows, self.together)]
        each = ", ".join(f"{symbol} {row['force_rmse_eV_per_A']:.3f}" for symbol, row in self.elements.items())
        return (f"{self.potential} against {self.teacher} ({self.teacher_package})\n{table(lines, head)}\n"
                f"force RMSE by element, eV/Å: {each}")

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "rows": [row.to_json() for row in self.rows], "together": self.together.to_json()}


def along(
    runs: Sequence[str | Path],
    folder: str | Path,
    potential: Potential,
    teacher: str = "7net-l3i5",
    python: str | None = None,
    n_frames: int = 10,
    discard_ps: float = 0.0,
    progress: Callable[[LabelProgress], None] = lambda state: None,
) -> Along:
    """Label frames of ``runs`` with a teacher and compare; resumable, the labels stay in ``folder``.

    Args:
        runs: run folders, or folders of campaigns and quenches, which stand for their runs.
        potential: the one that the runs were made with.
        n_frames: of each run, evenly spaced, the last one among them.
        python: interpreter of the teacher's environment, as in :func:`atomflow.distill.label.label`.

    Raises:
        InputError: no runs or frames, another potential than that of the runs, or a folder begun with other frames.
    """
    if n_frames < 1:
        raise InputError(f"at least one frame of each run is needed, not {n_frames}")
    paths, folder = _folders(runs), Path(folder)
    alone = len({path.name for path in paths}) == len(paths)
    frames = [frame for path in paths for frame in
              _frames_of(open_run(path), path.name if alone else str(path), potential, n_frames, discard_ps)]
    pool = _pool(folder, frames)
    labelled = label(pool, folder / "labels", teacher, python, progress)
    from atomflow.potentials.ase_calculator import BatchCalculator

    pairs = evaluate(read_frames(labelled), BatchCalculator(potential))
    names = list(dict.fromkeys(pair.frame.system for pair in pairs))
    rows = tuple(error_row(name, [pair for pair in pairs if pair.frame.system == name]) for name in names)
    (elements,) = by_element(pairs).values()
    package = str(read_about(labelled).get("teacher_package") or "version unknown")
    return Along(named(potential.identity.model_dump()), teacher, package, rows, error_row("all", pairs), elements)


def _folders(given: Sequence[str | Path]) -> list[Path]:
    found = []
    for item in map(Path, given):
        runs = find_runs(item) if item.is_dir() else []
        if not runs:
            raise InputError(f"{item} holds no run")
        found += runs
    return list(dict.fromkeys(path.resolve() for path in found))


def _frames_of(run: Run, name: str, potential: Potential, most: int, discard_ps: float) -> list[Frame]:
    """Evenly spaced frames of one run, in the box of their moment."""
    made_with = run.potential or {}
    if made_with.get("sha256") != potential.identity.sha256:
        raise InputError(f"{run.folder} was made with {named(made_with)}, not with "
                         f"{named(potential.identity.model_dump())}: errors along a run are those of its own potential "
                         "(-p)")
    kept = np.flatnonzero(np.asarray(run.times_fs) >= 1000.0 * discard_ps - 1e-6)
    if len(kept) == 0:
        raise InputError(f"{run.folder} has no frame after {discard_ps:g} ps")
    chosen = kept[np.unique(np.linspace(len(kept) - 1, 0, min(most, len(kept))).round().astype(int))]
    numbers, back = run.initial_cell().numbers, np.linalg.inv(run.mean_lattice_A)
    frames = []
    for index in map(int, chosen):
        lattice = run.lattices_A(index, index + 1)[0]
        positions = run.positions_A(index, index + 1)[0] @ back @ lattice
        frames.append(Frame(numbers, positions, lattice, name, "run", "md", "test", run.temperature_K))
    return frames


def _alike(a: Frame, b: Frame) -> bool:
    same = a.system == b.system and a.n_atoms == b.n_atoms
    return same and np.allclose(a.positions_A, b.positions_A, rtol=0, atol=1e-3)


def _pool(folder: Path, frames: Sequence[Frame]) -> Path:
    """``folder/pool.npz``: written, or found with these very frames."""
    path = folder / "pool.npz"
    if path.exists():
        there = read_frames(path)
        if len(there) != len(frames) or not all(map(_alike, there, frames)):
            raise InputError(f"{folder} was begun with other frames; choose another folder")
        return path
    folder.mkdir(parents=True, exist_ok=True)
    runs = {frame.system: sum(other.system == frame.system for other in frames) for frame in frames}
    return write_frames(frames, path, {"along": json.dumps(runs)})
