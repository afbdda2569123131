"""The card of a student: what it was trained on and how far it is from its teacher on systems it never saw."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from atomflow.distill import errors_table
from atomflow.distill.errors_table import Pair
from atomflow.distill.frames import Frame, read_frames
from atomflow.errors import InputError


def card_data(
    frames: Sequence[Frame], potential: Any, about: dict[str, Any], progress: Callable[[int], None] = lambda n: None
) -> tuple[dict[str, Any], list[Pair]]:
    """Everything the card shows, JSON-able, and the evaluated pairs for its figures.

    Args:
        frames: labelled frames; those of the test split are used, :class:`InputError` if there are none.
        potential: the student, as ``potentials.load`` gives it.
        about: training facts to show (configuration, seeds, teacher, checks done).
    """
    held_out = [frame for frame in frames if frame.split == "test"]
    if not held_out:
        raise InputError("the labelled set holds no test frames; a card without held-out systems would say nothing")
    pairs = errors_table.evaluate(held_out, potential.calculator(), progress)
    data = {
        **without_frames(potential, about),
        "by_family": [row.to_json() for row in errors_table.by_family(pairs)],
        "by_temperature": [row.to_json() for row in errors_table.by_temperature(pairs)],
        "by_element": errors_table.by_element(pairs),
        "worst_systems": [row.to_json() for row in errors_table.by_system(pairs)],
    }
    return data, pairs


def labelled_frames(model_folder: str | Path) -> tuple[list[Frame], dict[str, Any]]:
    """The labelled frames a model folder was trained from, and its training facts."""
    folder = Path(model_folder)
    try:
        config = json.loads((folder / "student.json").read_text())
        facts = json.loads((folder / "set.json").read_text()) if (folder / "set.json").exists() else {}
    except (OSError, json.JSONDecodeError):
        raise InputError(f"{folder} is not a folder that atomflow potential train wrote (no student.json)") from None
    frames = [frame for path in config["labelled"] for frame in read_frames(path)]
    checks = folder / "checks.json"
    about = {"student": config, "set": facts}
    if checks.exists():
        about["checks"] = json.loads(checks.read_text())
    return frames, about


def without_frames(potential: Any, about: dict[str, Any]) -> dict[str, Any]:
    """A card's beginning where no labelled frames are at hand: who it is about, and no table of errors."""
    return {"format": "atomflow-card", "potential": potential.identity.model_dump(), "about": about}


def shipped_frames(name: str, files: Sequence[str | Path]) -> tuple[list[Frame], dict[str, Any]]:
    """Labelled frames for a model that is not in a training folder, from ``files``, and what its shipped card says of
    its training. Without files, the set its card names is looked for beside the package (a source checkout has it)."""
    package = Path(__file__).parents[1]
    facts = package / "potentials" / "data" / f"{name}.json"
    about = json.loads(facts.read_text())["about"] if facts.is_file() else {}
    named = about.get("labelled_set")
    sets = [Path(file) for file in files]
    if not sets and named and (package.parent / named).is_file():
        sets = [package.parent / named]
    return [frame for path in sets for frame in read_frames(path)], about
