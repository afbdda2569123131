"""A quench folder: its ``quench.json``, its lock, and whether it is the one that was asked for.

    GLASS_RUN/  quench.json   cell.extxyz (the start)   stages/01-melt/ ... (run folders)   final.extxyz   lock

With several replicas: ``replica-1/``, ``replica-2/``, ..., each such a folder, and a ``quench.json`` over them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atomflow.cell import FINAL_CELL, Cell, read_cell, write_cell
from atomflow.errors import InputError
from atomflow.plain import to_jsonable
from atomflow.quench.config import QuenchConfig
from atomflow.quench.stages import Stage
from atomflow.runs.chain import CHAIN, read_chain
from atomflow.runs.files import full_disk, write_whole
from atomflow.runs.lock import FolderLock
from atomflow.runs.manifest import now

FORMAT, FORMAT_VERSION = "atomflow-quench", 1
START, FINAL, STAGES = "cell.extxyz", FINAL_CELL, "stages"


class Folder:
    """A quench folder that this process writes; a context manager that lets go of it."""

    def __init__(self, path: Path, manifest: dict[str, Any], lock: FolderLock) -> None:
        self.path, self.manifest, self._lock = path, manifest, lock

    @classmethod
    def open(
        cls, path: Path, config: QuenchConfig, cell: Cell, potential: dict[str, Any], labels: dict[str, Any],
        stages: Sequence[Stage], replicas: Sequence[str] = (),
    ) -> Folder:  # fmt: skip
        """Make the folder, or take it up where it holds the same quench.

        Raises:
            InputError: it holds something else (the line says what), or another process writes it.
        """
        wanted = {"config": config.dump(), "cell_sha256": cell.sha256, "potential": potential,
                  "replicas": list(replicas)}  # fmt: skip
        if read_chain(path) is None and path.is_dir() and any(path.iterdir()) and not _half_made(path):
            raise InputError(f"{path} holds other files; give a new folder")
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = FolderLock(path / "lock", "quench")
        except OSError as error:
            raise InputError(f"cannot make the folder {path}: {error.strerror or error}") from None
        try:
            manifest = read_chain(path)
            if manifest is None:
                write_cell(cell, path / START)
                manifest = {
                    "format": FORMAT, "format_version": FORMAT_VERSION, "state": "running", "reason": None,
                    "created": now(), "ended": None, "labels": labels, **wanted, "cell": cell.summary(),
                    "stages": [stage.to_json() for stage in stages], "result": None, "warnings": [], "summary": {},
                }  # fmt: skip
            else:
                _require_same(path, manifest, wanted)
            folder = cls(path, manifest, lock)
            if manifest["state"] != "done":
                folder.note("running")
        except BaseException:
            lock.release()
            raise
        return folder

    @property
    def start(self) -> Cell:
        return read_cell(self.path / START)

    def stage(self, name: str) -> Path:
        return self.path / STAGES / name

    def note(self, state: str, reason: str | None = None, **more: Any) -> None:
        """Write the state (and what else is given) into ``quench.json``."""
        self.manifest = to_jsonable({**self.manifest, "state": state, "reason": reason, **more})
        try:
            write_whole(self.path / CHAIN, json.dumps(self.manifest, indent=2).encode())
        except OSError as error:
            raise full_disk(error, self.path / CHAIN, "all finished stages are kept") from None

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: Any) -> None:
        self._lock.release()


def require_chain(path: Path) -> dict[str, Any]:
    """The manifest of the quench in ``path``; an :class:`InputError` when there is none."""
    manifest = read_chain(path)
    if manifest is None or manifest.get("format") != FORMAT:
        raise InputError(f"{path} is not a quench folder (it holds no {CHAIN})")
    return manifest


def _half_made(path: Path) -> bool:
    """Whether a process was killed while it made this folder: nothing in it but the lock and the first cell."""
    return {file.name for file in path.iterdir()} <= {"lock", START, f".{START}.partial.extxyz", f"{CHAIN}.partial"}


def _require_same(path: Path, manifest: dict[str, Any], wanted: dict[str, Any]) -> None:
    for key, value in manifest["config"].items():
        if value != wanted["config"].get(key):
            raise InputError(f"{path} holds a quench with {key} = {value}, not {wanted['config'].get(key)}; give "
                             "another folder, or the same settings to go on with this one")  # fmt: skip
    if manifest["cell_sha256"] != wanted["cell_sha256"]:
        raise InputError(f"{path} holds the quench of another cell; give another folder")
    if len(manifest["replicas"]) != len(wanted["replicas"]):
        raise InputError(f"{path} was begun with {len(manifest['replicas']) or 1} replicas, not "
                         f"{len(wanted['replicas']) or 1}; give another folder")
    for key in ("sha256", "dtype"):
        if manifest["potential"][key] != wanted["potential"][key]:
            raise InputError(f"{path} was begun with the potential {manifest['potential']['name']} "
                             f"({key} {manifest['potential'][key][:12]}), not with {wanted['potential']['name']} "
                             f"({wanted['potential'][key][:12]}); give back the same, or another folder")
