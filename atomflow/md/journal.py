"""What a relaxation has computed so far, in a file: energies, forces and stresses, one record an evaluation.

An optimiser is a function of the answers it got. A relaxation that was killed is therefore begun again with its old
answers read back, which costs nothing, and asks the potential from where they end: every bit is what it would have
been.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import struct
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from atomflow.errors import InputError
from atomflow.potentials import Potential
from atomflow.potentials.ase_calculator import BatchCalculator

_HEAD = struct.Struct("<4sII")  # mark, bytes of the body, their crc32
_MARK = b"afrj"
_KEY = 32


class Journal:
    """The records of one relaxation, and the file they go to; one process at a time.

    Raises:
        InputError: another process is writing the file.
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        """``about``: what the answers depend on; a file of anything else is begun anew."""
        self.path, self._next = path, 0
        self._handle = open(path, "a+b", buffering=0)  # noqa: SIM115  (kept open until the end)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._handle.close()
            raise InputError(f"{path}: another process is relaxing this structure; wait for it or stop it") from None
        first = json.dumps(about, sort_keys=True).encode()
        bodies, whole = self._read()
        if not bodies or bodies[0] != first:
            bodies, whole = [first], [0]
            self._cut(0)
            self._append(first)
        self._bodies, self._ends = bodies[1:], whole

    def _read(self) -> tuple[list[bytes], list[int]]:
        """Every whole record, and where each begins; what a kill left unfinished is cut off."""
        self._handle.seek(0)
        data, at = self._handle.read(), 0
        bodies, starts = [], []
        while at + _HEAD.size <= len(data):
            mark, size, check = _HEAD.unpack_from(data, at)
            body = data[at + _HEAD.size : at + _HEAD.size + size]
            if mark != _MARK or len(body) < size or zlib.crc32(body) != check:
                break
            starts.append(at)
            bodies.append(body)
            at += _HEAD.size + size
        self._cut(at)
        return bodies, starts

    def _cut(self, size: int) -> None:
        self._handle.truncate(size)

    def _append(self, body: bytes) -> None:
        """Records are a courtesy: where the disk is full the relaxation goes on without."""
        try:
            self._handle.write(_HEAD.pack(_MARK, len(body), zlib.crc32(body)) + body)
        except OSError:
            return

    @property
    def left(self) -> int:
        """How many old answers have not been read back yet."""
        return len(self._bodies) - self._next

    def answer(self, key: bytes) -> np.ndarray | None:
        """The next old answer, if it is to the question ``key``; if it is not, all that are left are dropped."""
        if not self.left:
            return None
        body = self._bodies[self._next]
        if body[:_KEY] != key:
            self._cut(self._ends[1 + self._next])
            self._bodies = self._bodies[: self._next]
            return None
        self._next += 1
        return np.frombuffer(body[_KEY:], dtype=np.float64)

    def keep(self, key: bytes, values: np.ndarray) -> None:
        """Put down a new answer."""
        self._append(key + np.ascontiguousarray(values, dtype=np.float64).tobytes())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close; the file stays unless all went well."""
        if error is None:
            os.unlink(self.path)
        self._handle.close()


class JournalCalculator(BatchCalculator):
    """The potential, asked only what the journal does not know yet."""

    def __init__(self, potential: Potential, journal: Journal) -> None:
        super().__init__(potential)
        self.journal = journal

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = ()) -> None:
        stress = "stress" in properties
        key = hashlib.sha256(atoms.positions.tobytes() + atoms.cell.array.tobytes() + bytes([stress])).digest()
        old = self.journal.answer(key)
        if old is None:
            super().calculate(atoms, properties, system_changes)
            parts = [[self.results["energy"]], self.results["forces"].ravel(), self.results["stress"] if stress else []]
            return self.journal.keep(key, np.concatenate(parts))
        self.atoms = atoms.copy()
        n = 3 * len(atoms)
        self.results = {"energy": float(old[0]), "free_energy": float(old[0]), "forces": old[1 : 1 + n].reshape(-1, 3)}
        if stress:
            self.results["stress"] = old[1 + n :].copy()
