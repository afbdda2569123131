"""run.json: what was asked, with what, how far it came. Written whole each time."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from atomflow.cell import Cell
from atomflow.errors import InputError
from atomflow.runs.files import FORMAT, FORMAT_VERSION, MANIFEST, TRAJECTORY, write_whole
from atomflow.version import __version__

STATES = ("prepared", "running", "stopped", "done", "failed")
_PACKAGES = ("numpy", "h5py", "ase", "torch", "mace-torch", "chgnet", "matscipy", "e3nn")


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Versions of what computes, without importing any of it."""
    found = {"atomflow": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """The machine, as far as can be told without torch."""
    return {"host": socket.gethostname(), "machine": platform.machine(), "cpu_cores": os.cpu_count(),
            "threads": os.environ.get("OMP_NUM_THREADS")}


def new_manifest(
    config: dict[str, Any],
    cell: Cell,
    potential: dict[str, Any],
    labels: dict[str, Any],
    steps_total: int,
    hardware_found: dict[str, Any],
) -> dict[str, Any]:
    """run.json of a run that has not begun; ``hardware_found`` is what the engine knows of its device."""
    time = now()
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "state": "prepared",
        "reason": None,
        "created": time,
        "started": time,
        "ended": None,
        "labels": {"structure": cell.formula, "task": None, **labels},
        "config": config,
        "cell": cell.summary(),
        "potential": potential,
        "versions": versions(),
        "hardware": {**hardware(), **hardware_found},
        "progress": {"step": 0, "steps_total": int(steps_total), "frames": 0, "time_ps": 0.0, "steps_per_s": None},
        "warnings": [],
        "summary": {},
    }


def read_manifest(folder: Path) -> dict[str, Any]:
    """run.json of ``folder``.

    Raises:
        InputError: no run there, or a file that is not ours, or one from a newer atomflow.
    """
    path = folder / MANIFEST
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{folder} is not a run folder (it holds no {MANIFEST})") from None
    except NotADirectoryError:
        raise InputError(f"{folder} is a file, not a run folder") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError:
        raise InputError(f"{path} is not valid JSON; it was changed by hand or damaged") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise InputError(f"{path} does not describe an atomflow run")
    if data.get("format_version", 0) > FORMAT_VERSION:
        raise InputError(f"{path} was written by a newer atomflow (format {data['format_version']}); update atomflow")
    return data


def what_is_lost(folder: Path, manifest: dict[str, Any]) -> str | None:
    """What of a run that was done is not there any more (purged, half copied, cut off), in words; None: it is whole."""
    if manifest.get("state") != "done":
        return None
    path = folder / TRAJECTORY
    written = manifest.get("trajectory_bytes")
    try:
        found = path.stat().st_size
    except OSError:
        return f"{TRAJECTORY} is gone"
    return None if found == written or written is None else f"{TRAJECTORY} has {found} of {written} bytes"


def write_manifest(folder: Path, data: dict[str, Any]) -> None:
    """Replace run.json; numbers that are not finite become null."""
    write_whole(folder / MANIFEST, (json.dumps(plain(data), indent=1, allow_nan=False) + "\n").encode())


def plain(value: Any) -> Any:
    """``value`` in JSON's types: numpy numbers and arrays unpacked, NaN and infinity as None."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int, bool)):
        return value
    return str(value)
