"""From a sampling configuration to a pool of frames, each drawn from a stream keyed by (seed, source, system)."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from atomflow.distill.config import SampleConfig
from atomflow.distill.frames import Frame, check_no_leakage, write_frames
from atomflow.distill.sources import kinds
from atomflow.distill.sources.stream import Stream
from atomflow.errors import InputError

Progress = Callable[[str], None]
#: at most so often it is said how far sampling is
TELL_EVERY_S = 20.0


def sample(config: SampleConfig, progress: Progress = lambda text: None) -> list[Frame]:
    """All frames of a configuration.

    Raises:
        InputError: a composition, crystal or potential that cannot be had.
    """
    frames: list[Frame] = []
    for index in range(len(config.sources)):
        frames += _frames_of(config, index, progress)
    check_no_leakage(frames)
    return frames if config.keep is None else select_diverse(frames, config.keep)


def write_pool(frames: list[Frame], folder: str | Path, config: SampleConfig) -> Path:
    """``folder/pool.npz``; :class:`InputError` if one lies there already."""
    folder = Path(folder)
    if (folder / "pool.npz").exists():
        raise InputError(f"{folder} already holds a pool; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    return write_frames(frames, folder / "pool.npz", {"sample": config.model_dump(mode="json")})


def _frames_of(config: SampleConfig, index: int, progress: Progress) -> list[Frame]:
    source, empty = config.sources[index], 0
    frames: list[Frame] = []
    stream = Stream(config.name, config.seed, index, config.held_out_fraction, config.held_out_silicon)
    jobs = kinds.jobs(source, stream)
    which = f"source {index + 1} of {len(config.sources)} ({source.kind})"
    begun = told = time.monotonic()
    for done, job in enumerate(jobs):
        before = len(frames)
        for frame in job():
            frames.append(frame)
            if time.monotonic() - told > TELL_EVERY_S:
                told = time.monotonic()
                progress(f"{which}: {_how_far(done, len(jobs), len(frames), told - begun)}")
        empty += len(frames) == before
    gave_none = f"; {empty} of {len(jobs)} systems gave none" if empty else ""
    progress(f"{which}: {len(frames)} frames{gave_none}")
    return frames


def _how_far(done: int, systems: int, frames: int, spent_s: float) -> str:
    """Systems and frames of one source so far, and the time it still takes if the rest is like what was done."""
    so_far = f"{done} of {systems} systems, {frames} frames"
    if not done:
        return f"{so_far}; it can be said after the first system how long it takes"
    return f"{so_far}, {spent_s / done * (systems - done) / 60:.1f} min left of this source if all are alike"


def descriptor(frame: Frame, bins: int = 12, reach_A: float = 5.0) -> np.ndarray:
    """A cheap fingerprint: histograms of Na–O, O–O, cation–O and cation–cation distances per atom, and the density."""
    from ase.neighborlist import primitive_neighbor_list

    i, j, distances = primitive_neighbor_list(
        "ijd", (True, True, True), frame.lattice_A, frame.positions_A, reach_A, numbers=np.ones(frame.n_atoms, int)
    )
    oxygen, sodium = frame.numbers == 8, frame.numbers == 11
    group = np.array([0 if oxygen[k] else 1 if sodium[k] else 2 for k in range(frame.n_atoms)])
    parts = [np.histogram(distances[(group[i] == a) & (group[j] == b)], bins, (1.0, reach_A))[0] / frame.n_atoms
             for a in range(3) for b in range(a, 3)]
    return np.concatenate([*parts, [frame.n_atoms / frame.volume_A3 * 10]])


def select_diverse(frames: list[Frame], keep: int) -> list[Frame]:
    """The ``keep`` frames farthest from one another by :func:`descriptor` (greedy), in original order."""
    if keep >= len(frames):
        return frames
    points = np.stack([descriptor(frame) for frame in frames])
    points = (points - points.mean(0)) / (points.std(0) + 1e-9)
    chosen = [0]
    nearest = np.linalg.norm(points - points[0], axis=1)
    while len(chosen) < keep:
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return [frames[k] for k in sorted(chosen)]
