"""What a long search has done so far: one line a result, so that a killed search goes on where it was."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from atomflow.cell import Cell, read_cell, write_cell
from atomflow.errors import InputError
from atomflow.plain import to_jsonable

FILE = "journal.jsonl"
CELLS = "cells"


class Journal:
    """A folder with ``journal.jsonl`` and ``cells/``. Only whole lines count: a line cut off by a kill is done again.

    Raises:
        InputError: the folder cannot be made, or holds the journal of other work.
    """

    def __init__(self, folder: str | Path, identity: dict[str, Any], what: str = "search") -> None:
        self.folder = Path(folder)
        try:
            (self.folder / CELLS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot make the folder {folder}: {error.strerror or error}") from None
        self.path = self.folder / FILE
        wanted = to_jsonable(identity)
        lines = self._read()
        if lines and lines[0].get("identity") != wanted:
            changed = [key for key in wanted if lines[0].get("identity", {}).get(key) != wanted[key]]
            raise InputError(f"{folder} holds another {what} (other {', '.join(changed) or 'work'}); take a new folder")
        self.done: dict[str, Any] = {line["key"]: line["value"] for line in lines[1:]}
        if not lines:
            self._append({"identity": wanted})

    def _read(self) -> list[dict[str, Any]]:
        """Whole lines of the file; what a kill left behind the last of them is cut off."""
        if not self.path.is_file():
            return []
        raw = self.path.read_bytes()
        whole = raw[: raw.rfind(b"\n") + 1]
        if len(whole) < len(raw):
            with self.path.open("r+b") as file:
                file.truncate(len(whole))
        try:
            lines = [json.loads(line) for line in whole.splitlines()]
        except ValueError:
            raise InputError(f"{self.path} is damaged; remove the folder and search again") from None
        return lines

    def _append(self, record: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(to_jsonable(record), allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def get(self, key: str) -> Any:
        """What was put under the key; None when nothing was."""
        return self.done.get(key)

    def put(self, key: str, value: Any) -> None:
        self._append({"key": key, "value": value})
        self.done[key] = to_jsonable(value)

    def put_cell(self, key: str, cell: Cell) -> None:
        write_cell(cell, self.folder / CELLS / f"{key}.extxyz")

    def cell(self, key: str) -> Cell | None:
        path = self.folder / CELLS / f"{key}.extxyz"
        return read_cell(path) if path.is_file() else None
