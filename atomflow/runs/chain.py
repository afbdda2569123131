"""Folders that hold several runs in a row, like a quench: which run, and which replicas, stand for the whole.

Such a folder has a ``quench.json`` with ``state``, ``result`` (the run that is the outcome, relative to the folder)
and ``replicas`` (folders of the same kind; then there is no result of its own).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from atomflow.errors import InputError
from atomflow.runs.files import MANIFEST

CHAIN = "quench.json"

#: What each kind of folder is known by; one folder is of one kind.
KINDS = {"run": MANIFEST, "quench": CHAIN, "campaign": "campaign.json"}


def refuse_other_kinds(folder: Path, kind: str) -> None:
    """Raise :class:`InputError` where a new ``kind`` would be put into a folder of another: it would hide that one."""
    for other, name in KINDS.items():
        if other != kind and (folder / name).exists():
            raise InputError(f"{folder} holds a {other} ({name}); give another folder")


def read_chain(folder: str | Path) -> dict[str, Any] | None:
    """The folder's ``quench.json``; None where there is none.

    Raises:
        InputError: the file is damaged.
    """
    path = Path(folder) / CHAIN
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError):
        data = None
    if not isinstance(data, dict) or "state" not in data:
        raise InputError(f"{path} is damaged")
    return data


def result_run(folder: Path) -> Path:
    """The run folder that stands for ``folder``: itself, unless it is a finished chain of runs.

    Raises:
        InputError: the chain is not finished, or it holds replicas.
    """
    chain = read_chain(folder)
    if chain is None:
        return folder
    if chain.get("replicas"):
        raise InputError(f"{folder} holds {len(chain['replicas'])} replicas; name one, like "
                         f"{folder / chain['replicas'][0]}")
    if chain["state"] != "done":
        raise InputError(f"{folder} is not finished ({chain['state']}); go on with: atomflow quench --resume {folder}")
    return folder / str(chain["result"])


def replicas_in(path: Path) -> list[Path]:
    """The replicas that a folder holds, or the path itself."""
    chain = read_chain(path)
    names = chain.get("replicas") if chain else None
    return [path / name for name in names] if names else [path]
