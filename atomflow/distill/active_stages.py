"""What the stages of a round share: files written whole, time kept, fresh frames drawn, the teacher asked."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from atomflow.distill import label, sample
from atomflow.distill.active_config import ActiveConfig, Teacher
from atomflow.distill.config import SampleConfig
from atomflow.distill.frames import Frame, read_frames, write_frames
from atomflow.distill.sources.config import Source

Say = Callable[[str], None]


def write_json(path: Path, data: Any) -> None:
    """Whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(data, indent=2, allow_nan=False) + "\n")
    os.replace(partial, path)


@contextmanager
def timed(folder: Path, stage: str) -> Iterator[None]:
    """Add what a stage takes to ``folder/seconds.json``, whether it ends or is stopped."""
    begun = time.monotonic()
    try:
        yield
    finally:
        spent = seconds(folder)
        write_json(folder / "seconds.json", {**spent, stage: spent.get(stage, 0.0) + time.monotonic() - begun})


def seconds(folder: Path) -> dict[str, float]:
    """What the stages in ``folder`` took so far."""
    path = folder / "seconds.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def drawn(
    config: ActiveConfig, name: str, seed: int, sources: Sequence[Source], folder: Path, say: Say,
    judges: bool = False, keep: int | None = None,
) -> list[Frame]:
    """Fresh frames in ``folder/pool.npz``, sampled now unless they are there.

    Args:
        judges: all frames are held out for the test, ``keep`` of them drawn at random.
    """
    path = folder / "pool.npz"
    if not path.exists():
        wanted = SampleConfig(name=name, seed=seed, sources=tuple(sources), keep=None,
                              held_out_fraction=config.held_out_fraction, held_out_silicon=config.held_out_silicon)
        frames = sample.sample(wanted, lambda text: say(f"sampling: {text}"))
        if judges:
            count = min(keep or len(frames), len(frames))
            kept = np.sort(np.random.default_rng(seed).choice(len(frames), count, replace=False))
            frames = [replace(frames[k], split="test") for k in kept]
        sample.write_pool(frames, folder, wanted)
    return read_frames(path)


def write_chosen(frames: Sequence[Frame], folder: Path, about: dict[str, Any]) -> None:
    """``folder/pool.npz`` for the teacher, unless it is there."""
    if not (folder / "pool.npz").exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_frames(frames, folder / "pool.npz", {"active": about})


def some_of(labelled: Sequence[str], count: int | None, seed: Sequence[int], path: Path) -> list[str]:
    """The labelled sets; with ``count``, ``path`` in their place, with so many of their training frames at random."""
    if count is None or not labelled:
        return list(labelled)
    if not path.exists():
        frames = [frame for file in labelled for frame in read_frames(file) if frame.split == "train"]
        kept = np.sort(np.random.default_rng(seed).choice(len(frames), min(count, len(frames)), replace=False))
        write_frames([frames[k] for k in kept], path)
    return [str(path)]


def ask_teacher(teacher: Teacher, pool: Path, folder: Path, say: Say) -> list[Frame]:
    """The frames of ``pool`` with the teacher's labels, in ``folder/labelled.npz``. A stop costs one frame at most."""
    path = folder / "labelled.npz"
    if not path.exists():
        def show(state: label.LabelProgress) -> None:
            if state.done % 10 == 0 or state.done == state.total:
                say(f"{state.done}/{state.total} frames labelled, {state.seconds_left / 60:.1f} min left")

        label.label(pool, folder, teacher.name, interpreter(teacher), show, part_size=1)
    return read_frames(path)


def interpreter(teacher: Teacher) -> str | None:
    """The Python of the teacher's environment; None where one is to be made."""
    return sys.executable if teacher.python == "here" else teacher.python
