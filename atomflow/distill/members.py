"""The members of a committee of students: alike in all but seed, name, start and validation split."""

from __future__ import annotations

from pathlib import Path

from atomflow.distill.config import StudentConfig


def member_config(config: StudentConfig, member: int) -> StudentConfig:
    """What member 1, 2, ... of a committee is trained with: its own name, seed and start."""
    name = config.name if member == 1 else f"{config.name}-{member}"
    start = str(member_folder(config.start_from, member)) if config.start_from else None
    return config.model_copy(update={"name": name, "seed": config.seed + member - 1, "start_from": start,
                                     "committee": 1})


def member_folder(folder: str | Path, member: int) -> Path:
    """Where a member was trained: the folder itself where that holds a single student."""
    own = Path(folder) / f"member-{member}"
    first = Path(folder) / "member-1"
    return own if own.exists() else first if first.exists() else Path(folder)
