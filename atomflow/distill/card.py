"""The card of a student: what it was trained on and how far it is from its teacher on systems it never saw."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from atomflow.distill import errors_table
from atomflow.distill.card_page import parity_png
from atomflow.distill.frames import Frame, labels_of, read_frames
from atomflow.errors import InputError
from atomflow.plain import to_jsonable


def card_data(
    frames: Sequence[Frame], potential: Any, about: dict[str, Any], progress: Callable[[int], None] = lambda n: None
) -> dict[str, Any]:
    """Who the card is about and the errors on held-out systems, JSON-able, with their figure (``figure_png``, base64).

    Args:
        frames: labelled frames; those of the test split are used, :class:`InputError` if there are none.
        potential: the student, as ``potentials.load`` gives it.
        about: training facts to show (configuration, seeds, teacher).
    """
    held_out = [frame for frame in frames if frame.split == "test"]
    if not held_out:
        raise InputError("the labelled set holds no test frames; a card without held-out systems would say nothing")
    pairs = errors_table.evaluate(held_out, potential.calculator(), progress)
    return {
        **without_frames(potential, about),
        "by_family": [row.to_json() for row in errors_table.by_family(pairs)],
        "by_temperature": [row.to_json() for row in errors_table.by_temperature(pairs)],
        "nzsp_dynamics_300_to_1500K": _nzsp_dynamics(pairs),
        "by_element": errors_table.by_element(pairs),
        "worst_systems": [row.to_json() for row in errors_table.by_system(pairs)],
        "figure_png": parity_png(pairs),
    }


def labelled_frames(model_folder: str | Path) -> tuple[list[Frame], dict[str, Any]]:
    """The labelled frames a model folder was trained from, and its training facts."""
    folder = Path(model_folder)
    try:
        config = json.loads((folder / "student.json").read_text())
        facts = json.loads((folder / "set.json").read_text()) if (folder / "set.json").exists() else {}
    except (OSError, json.JSONDecodeError):
        raise InputError(f"{folder} is not a folder that atomflow potential train wrote (no student.json)") from None
    frames = [frame for path in config["labelled"] for frame in read_frames(path)]
    return frames, {"student": config, "set": facts}


def _nzsp_dynamics(pairs: Sequence[errors_table.Pair]) -> dict[str, Any] | None:
    """Errors over dynamics of NZSP between 300 and 1500 K, all together; None where no frame is of that kind."""
    chosen = [pair for pair in pairs if pair.frame.family == "nzsp" and 300 <= (pair.frame.temperature_K or 0) <= 1500]
    return errors_table.error_row("nzsp, dynamics, 300-1500 K", chosen).to_json() if chosen else None


def kept_card_data(
    frames: Sequence[Frame], potential: Any, about: dict[str, Any], folder: Path,
    progress: Callable[[int], None] = lambda n: None,
) -> dict[str, Any]:
    """:func:`card_data`, computed once for a model and a set of frames and kept in ``folder``."""
    digest = hashlib.sha256()
    for frame in frames:
        if frame.split == "test":
            digest.update(frame.positions_A.tobytes() + labels_of(frame).forces_eV_per_A.tobytes())
    path = folder / f"errors-{potential.identity.sha256[:12]}-{digest.hexdigest()[:8]}.json"
    if not path.exists():
        data = card_data(frames, potential, about, progress)
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(to_jsonable(data)))
        os.replace(partial, path)
    return {**json.loads(path.read_text()), "about": about}


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


def shipped_dft_points() -> Path | None:
    """The folder of density functional points beside the package, where there is one (a source checkout has it)."""
    folder = Path(__file__).parents[2] / "workflows" / "potential" / "dft" / "points"
    return folder if (folder / "points.json").is_file() else None
