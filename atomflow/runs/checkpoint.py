"""Checkpoints: the last two, each complete and with a checksum of its own content.

A checkpoint is a flat dict of arrays and scalars (the engine's state) plus the writer's own counts: how many segments,
frames and thermo rows lie on disk that belong to it.
"""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from atomflow.runs.files import CHECKPOINTS, hdf5_bytes, write_whole

State = dict[str, Any]


def _split(state: State) -> tuple[dict[str, np.ndarray], str]:
    """Arrays, and everything else as JSON text (floats survive exactly, integers of any size too)."""
    arrays = {key: np.ascontiguousarray(value) for key, value in state.items() if isinstance(value, np.ndarray)}
    scalars = {}
    for key, value in state.items():
        if key in arrays:
            continue
        value = value.item() if isinstance(value, np.generic) else value
        if not isinstance(value, (bool, int, float, str)):
            raise TypeError(f"checkpoint value '{key}' is a {type(value).__name__}; use arrays, numbers or strings")
        scalars[key] = value
    return arrays, json.dumps(scalars, sort_keys=True)


def _checksum(arrays: dict[str, np.ndarray], scalars: str) -> str:
    digest = hashlib.sha256(scalars.encode())
    for key in sorted(arrays):
        array = arrays[key]
        digest.update(f"\n{key} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def save(folder: Path, state: State, serial: int, counts: dict[str, int]) -> None:
    """Write ``state`` over the older of the two checkpoints; ``serial`` must grow from one save to the next."""
    arrays, scalars = _split({**state, **{f"writer:{key}": value for key, value in counts.items()},
                              "writer:serial": serial})

    def fill(handle: h5py.File) -> None:
        handle.attrs["sha256"] = _checksum(arrays, scalars)
        handle["scalars"] = np.frombuffer(scalars.encode(), dtype=np.uint8)
        group = handle.create_group("arrays")
        for key, array in arrays.items():
            group.create_dataset(key, data=array)

    write_whole(folder / CHECKPOINTS[serial % 2], hdf5_bytes(fill))


def load_all(folder: Path) -> list[tuple[State, dict[str, int]]]:
    """Every whole checkpoint of the folder as (state, writer's counts), newest first. Damaged ones are left out."""
    found = [loaded for name in CHECKPOINTS if (loaded := _load(folder / name)) is not None]
    return sorted(found, key=lambda item: item[1]["serial"], reverse=True)


def damaged(folder: Path) -> list[str]:
    """Names of the checkpoints that are there but do not match their own checksum."""
    return [name for name in CHECKPOINTS if (folder / name).exists() and _load(folder / name) is None]


def _load(path: Path) -> tuple[State, dict[str, int]] | None:
    try:
        with h5py.File(io.BytesIO(path.read_bytes()), "r") as handle:
            scalars = handle["scalars"][()].tobytes().decode()
            arrays = {key: np.asarray(item[()]) for key, item in handle["arrays"].items()}
            if _checksum(arrays, scalars) != handle.attrs["sha256"]:
                return None
    except FileNotFoundError:
        return None
    except Exception:  # a damaged HDF5 file fails in many ways; all mean "not whole"
        return None
    values = json.loads(scalars)
    counts = {key.removeprefix("writer:"): values.pop(key) for key in list(values) if key.startswith("writer:")}
    return {**arrays, **values}, counts
