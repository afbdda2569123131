"""Labels for a pool from a teacher in an environment of its own: resumable part by part, talking through files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from atomflow.distill.frames import Frame, Labels, read_about, read_frames, write_frames
from atomflow.errors import InputError, RunFailed

#: Package that brings a teacher and its weights, by the beginning of the teacher's name.
PACKAGES = {"7net": "sevenn==0.13.0", "chgnet": "chgnet", "mace:": "mace-torch", "lennard-jones": "ase"}
PART_SIZE = 10
_WORKER = Path(__file__).with_name("label_worker.py")


@dataclass(frozen=True)
class LabelProgress:
    """How far labelling has come: frames done and in all, seconds per frame, seconds left."""

    done: int
    total: int
    seconds_per_frame: float
    seconds_left: float


def label(
    pool: str | Path,
    folder: str | Path,
    teacher: str,
    python: str | None = None,
    progress: Callable[[LabelProgress], None] = lambda state: None,
    part_size: int = PART_SIZE,
) -> Path:
    """Label ``pool`` (a ``pool.npz`` or its folder) into ``folder/labelled.npz``; run it again to go on after a stop.

    Args:
        teacher: ``7net-l3i5``, ``chgnet``, ``mace:FILE``, ...
        python: interpreter of the teacher's environment; without it one is made in ``~/.cache/atomflow/teachers``.
        part_size: so many frames are written together: what a kill may cost. A folder keeps what it was begun with.

    Raises:
        InputError: no pool, a folder begun with another pool or teacher, an interpreter that is not there.
        RunFailed: the teacher's process ended with an error (its last line is the message).
    """
    pool, folder = Path(pool), Path(folder)
    pool = pool / "pool.npz" if pool.is_dir() else pool
    frames = read_frames(pool)
    part_size = _claim(folder, pool, teacher, part_size)
    parts = folder / "parts"
    parts.mkdir(exist_ok=True)
    interpreter = _interpreter(teacher, python)
    _work(interpreter, pool, parts, teacher, part_size, [frame.n_atoms for frame in frames], progress)
    labelled, version = _merged(frames, parts, part_size)
    about = {**read_about(pool), "teacher": teacher, "teacher_package": version}
    return write_frames(labelled, folder / "labelled.npz", about)


def check_teacher(teacher: str, python: str | None = None) -> str:
    """The version of the package that a teacher comes from; it is opened for that, which takes some seconds.

    Raises:
        InputError: there is no such teacher in that environment, with the reason.
    """
    interpreter = _interpreter(teacher, python)
    done = subprocess.run([interpreter, str(_WORKER), "--check", teacher], capture_output=True, text=True)
    if done.returncode:
        last = ([line for line in done.stderr.splitlines() if line.strip()] or ["it said nothing"])[-1]
        raise InputError(f"{interpreter} cannot open the teacher {teacher}: {last.strip()}; give the interpreter of an "
                         "environment that has it with --python")
    return done.stdout.strip().splitlines()[-1]


def _interpreter(teacher: str, python: str | None) -> str:
    found = str(Path(python).expanduser()) if python else str(teacher_environment(teacher))
    if not os.access(found, os.X_OK) or Path(found).is_dir():
        raise InputError(f"there is no Python interpreter at {found}")
    return found


def teacher_environment(teacher: str) -> Path:
    """Interpreter of the environment that holds the teacher; made (pip needs the network) when it is not there yet."""
    package = next((package for prefix, package in PACKAGES.items() if teacher.startswith(prefix)), None)
    if package is None:
        raise InputError(f"unknown teacher '{teacher}'; known: 7net-l3i5, 7net-0, chgnet, mace:FILE, lennard-jones")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "atomflow" / "teachers"
    home = cache / package.replace("==", "-")
    python = home / "bin" / "python"
    if (home / "ready").exists():
        return python
    venv.create(home, with_pip=True, clear=True)
    done = subprocess.run([str(python), "-m", "pip", "install", "--quiet", package], capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise RunFailed(f"cannot install {package} for the teacher {teacher}: {last}; or give --python PATH")
    (home / "ready").touch()
    return python


def _claim(folder: Path, pool: Path, teacher: str, part_size: int) -> int:
    """Write or check what this folder labels (two teachers in one set must not happen); frames in a part of it."""
    import hashlib

    folder.mkdir(parents=True, exist_ok=True)
    claim = {"teacher": teacher, "pool_sha256": hashlib.sha256(pool.read_bytes()).hexdigest()}
    path = folder / "label.json"
    if not path.exists():
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps({**claim, "part_size": part_size}, indent=2) + "\n")
        os.replace(partial, path)
        return part_size
    found = json.loads(path.read_text())
    if {key: found.get(key) for key in claim} != claim:
        what = "teacher" if found.get("teacher") != teacher else "pool"
        raise InputError(f"{folder} was begun with another {what}; choose another folder")
    return int(found.get("part_size", PART_SIZE))


def _work(
    interpreter: str, pool: Path, parts: Path, teacher: str, part_size: int, atoms: Sequence[int],
    progress: Callable[[LabelProgress], None],
) -> None:
    log = parts.parent / "label.log"
    with log.open("a") as errors, subprocess.Popen(
        [interpreter, str(_WORKER), str(pool), str(parts), teacher, str(part_size)],
        stdout=subprocess.PIPE, stderr=errors, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        try:
            _follow(process, _there(parts, part_size, len(atoms)), atoms, progress)
        except BaseException:  # a signal, or the caller's own: the worker must not go on alone
            process.terminate()
            raise
    if process.returncode:
        last = ([text for text in log.read_text().splitlines() if text.strip()] or ["it said nothing"])[-1]
        raise RunFailed(f"the teacher {teacher} failed: {last.strip()} (log: {log})")


def _there(parts: Path, part_size: int, total: int) -> set[int]:
    """Numbers of the frames that are labelled already."""
    firsts = (int(path.stem) for path in parts.glob("*.npz"))
    return {index for first in firsts for index in range(first, min(first + part_size, total))}


def _follow(
    process: subprocess.Popen[str], there: set[int], atoms: Sequence[int], progress: Callable[[LabelProgress], None]
) -> None:
    """Tell how far the worker has come; a frame is taken to cost what its atoms do."""
    assert process.stdout is not None
    begun, before, now = time.monotonic(), len(there), 0
    for line in process.stdout:
        if not line.startswith("{"):
            continue
        said = json.loads(line)
        if "ready" in said:  # the model is open: what follows is labelling
            begun = time.monotonic()
            continue
        there.add(said["frame"])
        now += said["atoms"]
        spent = time.monotonic() - begun
        left = sum(count for index, count in enumerate(atoms) if index not in there)
        progress(LabelProgress(len(there), len(atoms), spent / (len(there) - before), spent / now * left))


def _merged(frames: list[Frame], parts: Path, part_size: int) -> tuple[list[Frame], str]:
    """The frames with the labels of all parts, and the version of the teacher's package."""
    labelled: list[Frame] = []
    version = ""
    for first in range(0, len(frames), part_size):
        part = frames[first : first + part_size]
        with np.load(parts / f"{first:06d}.npz", allow_pickle=False) as data:
            energies, forces, stresses = data["energy_eV"], data["forces_eV_per_A"], data["stress_eV_per_A3"]
            version = str(data["version"])
        ends = np.cumsum([frame.n_atoms for frame in part])
        for index, (frame, end) in enumerate(zip(part, ends, strict=True)):
            own = Labels(float(energies[index]), forces[end - frame.n_atoms : end], stresses[index])
            labelled.append(frame.labelled(own))
    return labelled, version


def interpreter_of_this_environment() -> str:
    """This process's own interpreter, for teachers that live beside atomflow (CHGNet, MACE files)."""
    return sys.executable
