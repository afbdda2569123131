"""The campaign's folder: campaign.json, and where everything else lies.

    campaign.json        validated configuration, potential identity, structures, tasks
    cells/<name>.extxyz  the cell that the runs of a structure start from; <name>.json: how it came about
    prepare/<name>/      the quench of a structure that has one (a folder of ``atomflow quench``)
    cells/<name>.relaxing  what an unfinished relaxation has computed
    runs/<task>/         run folders
    progress/<task>.json what the worker is doing, a few seconds old
    logs/<task>.log      what the worker said
    lost/                what is left of runs that were done and then lost their trajectory
    slurm.json           what was given to a queue; slurm/: its scripts and which task is which element
    lock                 one driver at a time
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from atomflow.campaign.config import CampaignConfig
from atomflow.campaign.tasks import Extension, Task
from atomflow.cell import Cell, write_cell
from atomflow.errors import InputError
from atomflow.runs.chain import refuse_other_kinds
from atomflow.runs.files import MANIFEST, full_disk, write_whole
from atomflow.runs.manifest import now, plain, read_manifest, what_is_lost

FORMAT, FORMAT_VERSION = "atomflow-campaign", 1
FILE = "campaign.json"
#: Where the rests of runs lie that were done and have lost their trajectory.
LOST = "lost"
#: keys of the configuration that change no number
_FREE_KEYS = ("resources", "folder")
_AGAIN = "give the same command again"


def read(folder: Path) -> dict[str, Any]:
    """campaign.json of ``folder``.

    Raises:
        InputError: none there, not ours, or from a newer atomflow.
    """
    path = folder / FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{folder} is not a campaign folder (it holds no {FILE})") from None
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {error}") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise InputError(f"{path} does not describe an atomflow campaign")
    if data.get("format_version", 0) > FORMAT_VERSION:
        raise InputError(f"{path} was written by a newer atomflow; update atomflow")
    return data


def record(
    folder: Path, config: CampaignConfig, cells: dict[str, Cell], identity: dict[str, Any], tasks: list[Task]
) -> None:
    """Write campaign.json, or extend the one that is there by new tasks.

    Raises:
        InputError: the folder belongs to a campaign with other inputs; the line shows what differs.
    """
    new = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "name": config.name,
        "created": now(),
        "config": config.model_dump(mode="json"),
        "potential": identity,
        "structures": {name: cell.summary() for name, cell in cells.items()},
        "tasks": [task.to_json() for task in tasks],
    }
    if (folder / FILE).exists():
        old = read(folder)
        _refuse_changes(folder, old, json.loads(json.dumps(plain(new))))
        new["created"], new["extensions"] = old["created"], old.get("extensions", [])
    write_json(folder / FILE, new)


def extensions(folder: Path) -> list[Extension]:
    """The runs that ``extend`` has added to those of the campaign file; none where there is no campaign yet."""
    if not (folder / FILE).exists():
        return []
    return [Extension(**item) for item in read(folder).get("extensions", [])]


def extend(folder: Path, new: list[Extension]) -> None:
    """Put further runs on record; the next :func:`record` makes tasks of them."""
    data = read(folder)
    data["extensions"] = [*data.get("extensions", []), *(asdict(item) for item in new)]
    write_json(folder / FILE, data)


def _refuse_changes(folder: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    """New temperatures, seeds and structures are welcome; a task that would vanish or change is not."""
    if {task["id"]: task["key"] for task in old["tasks"]}.items() <= {t["id"]: t["key"] for t in new["tasks"]}.items():
        return
    differences = list(_differences(old["config"], new["config"]))
    if old["potential"]["sha256"] != new["potential"]["sha256"]:
        differences.append(f"potential: {old['potential']['sha256'][:12]} → {new['potential']['sha256'][:12]}")
    for name, summary in new["structures"].items():
        before = old["structures"].get(name, {}).get("sha256", summary["sha256"])
        if before != summary["sha256"]:
            differences.append(f"structures.{name}: cell {before[:12]} → {summary['sha256'][:12]}")
    shown = "; ".join(differences[:4]) + ("; ..." if len(differences) > 4 else "")
    raise InputError(f"{folder} holds the campaign '{old['name']}' with other inputs ({shown or 'tasks differ'}); "
                     f"give another folder with -o: nothing is overwritten")


def _differences(old: Any, new: Any, name: str = "") -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {**old, **new}:
            if name or key not in _FREE_KEYS:
                yield from _differences(old.get(key), new.get(key), f"{name}.{key}" if name else key)
    elif old != new:
        yield f"{name}: {_shown(old)} → {_shown(new)}"


def _shown(value: Any) -> str:
    text = "not given" if value is None else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


# --- places ---------------------------------------------------------------------------------------------------


def run_folder(folder: Path, task: str) -> Path:
    return folder / "runs" / task


def set_aside_lost(folder: Path, task: str) -> None:
    """Move the rests of a run that was done and lost its trajectory out of the way of the same task."""
    run = run_folder(folder, task)
    if not (run / MANIFEST).exists() or not what_is_lost(run, read_manifest(run)):
        return
    place = folder / LOST / task
    count = 1
    while place.exists():
        count += 1
        place = folder / LOST / f"{task}-{count}"
    place.parent.mkdir(exist_ok=True)
    run.rename(place)


def cell_file(folder: Path, structure: str) -> Path:
    return folder / "cells" / f"{structure}.extxyz"


def progress_file(folder: Path, task: str) -> Path:
    return folder / "progress" / f"{task}.json"


def log_file(folder: Path, task: str) -> Path:
    return folder / "logs" / f"{task}.log"


def quench_folder(folder: Path, structure: str) -> Path:
    return folder / "prepare" / structure


def relax_journal(folder: Path, structure: str) -> Path:
    return folder / "cells" / f"{structure}.relaxing"


def relax_task(structure: str) -> str:
    """The name under which a structure's preparation (quench, relaxation) goes to a worker."""
    return f"relax-{structure}"


def make(folder: Path) -> None:
    """The folder and its sub-folders; :class:`InputError` where it cannot be made or holds a run or a quench."""
    refuse_other_kinds(folder, "campaign")
    try:
        for name in ("cells", "runs", "progress", "logs"):
            (folder / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the campaign folder {folder}: {error.strerror or error}") from None


def start_is_ready(folder: Path, structure: str, key: str) -> bool:
    """Whether the cell that dynamics start from is there, and from the same inputs."""
    about = read_json(cell_file(folder, structure).with_suffix(".json"))
    return about.get("key") == key and cell_file(folder, structure).is_file()


def write_start(folder: Path, structure: str, cell: Cell, key: str, about: dict[str, Any]) -> None:
    """Put down the cell that dynamics of ``structure`` start from, and how it came about."""
    path = cell_file(folder, structure)
    path.with_suffix(".json").unlink(missing_ok=True)  # the pair is valid only when both are of one making
    try:
        write_cell(cell, path)
    except OSError as error:
        raise full_disk(error, path, "no run of it has begun", _AGAIN) from None
    write_json(path.with_suffix(".json"), {"key": key, **about})


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write whole, durably.

    Raises:
        RunFailed: the disk is full; what was there before is intact.
    """
    try:
        write_whole(path, (json.dumps(plain(data), indent=1) + "\n").encode())
    except OSError as error:
        raise full_disk(error, path, "what was there before is intact", _AGAIN) from None


def read_json(path: Path) -> dict[str, Any]:
    """A small JSON file as a dict; empty where there is none or it is not readable."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


