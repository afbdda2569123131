"""A configuration for distillation, its labels, and the compact file that holds many of them."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from atomflow.errors import InputError

if TYPE_CHECKING:
    import ase

Split = Literal["train", "test"]

FORMAT = "atomflow-frames"
FORMAT_VERSION = 1


@dataclass(frozen=True, eq=False)
class Labels:
    """What a teacher says of one frame.

    Attributes:
        energy_eV: total energy, on the teacher's own reference.
        forces_eV_per_A: (N, 3).
        stress_eV_per_A3: (3, 3), dE/d(strain)/V, tension positive, as in ASE.
    """

    energy_eV: float
    forces_eV_per_A: np.ndarray
    stress_eV_per_A3: np.ndarray


@dataclass(frozen=True, eq=False)
class Frame:
    """One configuration and where it came from.

    Attributes:
        numbers: (N,) atomic numbers.
        positions_A: (N, 3) Cartesian, Å.
        lattice_A: (3, 3) rows, Å, periodic in all three directions.
        system: name of the system (one decoration, one crystal, one packing); the test split is made by system.
        family: ``nzsp``, ``zbo``, ``oxide``, ``packing``, ``metal``, ... for tables of errors.
        how: ``packing``, ``built``, ``rattle``, ``md`` (``md-doubtful`` where it was given up), ``relax`` or ``hop``.
        split: ``train`` or ``test``; all frames of a system share it.
        temperature_K: of the molecular dynamics it was taken from, else ``None``.
        labels: the teacher's, once labelled.
    """

    numbers: np.ndarray
    positions_A: np.ndarray
    lattice_A: np.ndarray
    system: str
    family: str
    how: str
    split: Split
    temperature_K: float | None = None
    labels: Labels | None = None

    @property
    def n_atoms(self) -> int:
        return len(self.numbers)

    @property
    def volume_A3(self) -> float:
        return float(abs(np.linalg.det(self.lattice_A)))

    def facts(self) -> dict[str, Any]:
        """The JSON-able description that travels with the arrays."""
        return {"system": self.system, "family": self.family, "how": self.how, "split": self.split,
                "temperature_K": self.temperature_K}

    def to_ase(self) -> ase.Atoms:
        """ASE atoms; the labels, if any, under mace-torch's ``REF_`` names, never as a calculator."""
        import ase

        atoms = ase.Atoms(self.numbers, positions=self.positions_A, cell=self.lattice_A, pbc=True)
        atoms.info.update({key: value for key, value in self.facts().items() if value is not None})
        if self.labels is not None:
            atoms.info["REF_energy"] = self.labels.energy_eV
            atoms.info["REF_stress"] = self.labels.stress_eV_per_A3.reshape(-1)
            atoms.arrays["REF_forces"] = self.labels.forces_eV_per_A
        return atoms

    def labelled(self, labels: Labels) -> Frame:
        return replace(self, labels=labels)


def labels_of(frame: Frame) -> Labels:
    if frame.labels is None:
        raise InputError("a frame has no labels; run atomflow potential label first")
    return frame.labels


def split_of(system: str, test_fraction: float) -> Split:
    """The split of a system, decided by its name alone: the same in every run, for every frame of it."""
    digest = hashlib.sha256(system.encode()).digest()
    return "test" if int.from_bytes(digest[:8], "big") / 2**64 < test_fraction else "train"


def check_no_leakage(frames: Iterable[Frame]) -> None:
    """Raise :class:`InputError` if a system has frames in both splits."""
    seen: dict[str, str] = {}
    for frame in frames:
        if seen.setdefault(frame.system, frame.split) != frame.split:
            raise InputError(f"the system {frame.system} has frames in both the training and the test split")


def write_frames(frames: Sequence[Frame], path: str | Path, about: dict[str, Any] | None = None) -> Path:
    """Write frames as one compressed ``.npz`` without pickles; whole or not at all.

    Positions and labels are stored in float32 (1e-6 Å, 1e-6 eV/Å), energies and lattices in float64. All frames have
    labels or none has.
    """
    path = Path(path)
    if not frames:
        raise InputError("there are no frames to write")
    with_labels = frames[0].labels is not None
    if any((frame.labels is not None) != with_labels for frame in frames):
        raise InputError("some frames are labelled and some are not")
    arrays: dict[str, Any] = {
        "n_atoms": np.array([frame.n_atoms for frame in frames], np.int32),
        "numbers": np.concatenate([frame.numbers for frame in frames]).astype(np.uint8),
        "positions_A": np.concatenate([frame.positions_A for frame in frames]).astype(np.float32),
        "lattices_A": np.stack([frame.lattice_A for frame in frames]).astype(np.float64),
    }
    if with_labels:
        labels = [frame.labels for frame in frames if frame.labels is not None]
        arrays["energy_eV"] = np.array([label.energy_eV for label in labels], np.float64)
        arrays["forces_eV_per_A"] = np.concatenate([label.forces_eV_per_A for label in labels]).astype(np.float32)
        arrays["stress_eV_per_A3"] = np.stack([label.stress_eV_per_A3 for label in labels]).astype(np.float32)
    header = {"format": FORMAT, "format_version": FORMAT_VERSION, "about": about or {},
              "facts": [frame.facts() for frame in frames]}
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    partial = path.with_name(f".{path.name}.partial.npz")
    try:
        with partial.open("wb") as file:
            np.savez_compressed(file, **arrays)
        os.replace(partial, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        partial.unlink(missing_ok=True)
    return path


def read_frames(path: str | Path) -> list[Frame]:
    """Frames from a file written by :func:`write_frames`."""
    return _read(path)[0]


def read_about(path: str | Path) -> dict[str, Any]:
    """What the file says of itself: teacher, configuration, versions."""
    return _read(path)[1]


def _read(path: str | Path) -> tuple[list[Frame], dict[str, Any]]:
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as data:
            arrays = {key: data[key] for key in data.files}
        header = json.loads(arrays["header"].tobytes())
        if header["format"] != FORMAT or header["format_version"] != FORMAT_VERSION:
            raise InputError(f"{path} has format {header['format']} {header['format_version']}, not "
                             f"{FORMAT} {FORMAT_VERSION}")
        return _frames(arrays, header["facts"]), header["about"]
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except (KeyError, ValueError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is not a file of frames written by atomflow ({type(error).__name__})") from None


def _frames(arrays: dict[str, np.ndarray], facts: list[dict[str, Any]]) -> list[Frame]:
    ends = np.cumsum(arrays["n_atoms"])
    frames = []
    for index, (end, count) in enumerate(zip(ends, arrays["n_atoms"], strict=True)):
        atoms = slice(end - count, end)
        labels = None
        if "energy_eV" in arrays:
            labels = Labels(float(arrays["energy_eV"][index]), arrays["forces_eV_per_A"][atoms].astype(np.float64),
                            arrays["stress_eV_per_A3"][index].astype(np.float64))
        frames.append(Frame(arrays["numbers"][atoms].astype(np.int64), arrays["positions_A"][atoms].astype(np.float64),
                            arrays["lattices_A"][index], **facts[index], labels=labels))
    return frames
