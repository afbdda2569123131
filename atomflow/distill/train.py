"""Training the student with mace-torch's own ``mace_run_train``: the set divided, the reference fitted, resumable."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from atomflow.config import parse
from atomflow.distill.beginnings import portable_student, read_json, take_over_checkpoint, zero_of_energy_eV
from atomflow.distill.closest import repelling
from atomflow.distill.config import StudentConfig
from atomflow.distill.frames import Frame, check_no_leakage, labels_of, read_about, read_frames
from atomflow.distill.members import member_config
from atomflow.distill.signals import signals_to
from atomflow.errors import InputError, MissingPackageError, RunFailed, RunStopped

_EPOCH = re.compile(r"Epoch (\d+): .*RMSE_E_per_atom= *([\d.]+) meV, RMSE_F= *([\d.]+) meV")


@dataclass(frozen=True)
class TrainProgress:
    """One epoch done: validation errors in meV/atom and meV/Å, and the seconds that are left, members to come included.

    ``member`` counts the members of a committee from 1.
    """

    epoch: int
    epochs: int
    energy_meV_per_atom: float
    force_meV_per_A: float
    seconds_left: float
    member: int = 1
    members: int = 1


@dataclass(frozen=True)
class Division:
    """The labelled set, divided by system; ``dropped`` counts frames whose largest force is beyond the limit."""

    train: list[Frame]
    valid: list[Frame]
    test: list[Frame]
    dropped: int


def divide(frames: Sequence[Frame], config: StudentConfig) -> Division:
    """Training, validation and test frames. No system is in two of them; validation comes out of the training split."""
    check_no_leakage(frames)
    limit = config.largest_force_eV_per_A
    kept = [frame for frame in frames if np.abs(labels_of(frame).forces_eV_per_A).max() <= limit]
    systems = sorted({frame.system for frame in kept if frame.split == "train"})
    if len(systems) < 2:
        raise InputError("the labelled frames hold fewer than two systems to train on")
    rng = np.random.default_rng(config.seed)
    count = max(1, round(config.validation_fraction * len(systems)))
    held = set(rng.choice(systems, count, replace=False))
    inner = [frame for frame in kept if frame.split == "train"]
    return Division(
        train=[frame for frame in inner if frame.system not in held],
        valid=[frame for frame in inner if frame.system in held],
        test=[frame for frame in kept if frame.split == "test"],
        dropped=len(frames) - len(kept),
    )


def train(
    config: StudentConfig,
    folder: str | Path,
    progress: Callable[[TrainProgress], None] = lambda state: None,
) -> Path:
    """Train into ``folder``, or go on where an earlier call stopped; the path of the trained (pickled) model.

    A committee's members are trained one after another, each into ``folder/member-K``; the path is that of the first.

    Raises:
        InputError: no labels, or the folder was begun with another configuration.
        RunStopped: a signal came; call it again.
        RunFailed: mace_run_train ended with an error.
    """
    folder = Path(folder)
    _claim(folder, config)
    if config.committee > 1:
        return _train_members(config, folder, progress)
    if not (folder / "data" / "train.xyz").exists():
        _write_data(config, folder)
    model = folder / "checkpoints" / f"{config.name}_run-{config.seed}.model"
    if not model.exists():
        _run(arguments(config, folder), config, folder, progress)
    if not model.exists():
        raise RunFailed(f"mace_run_train ended without a model; see {folder / 'train.log'}")
    return model


def _train_members(config: StudentConfig, folder: Path, progress: Callable[[TrainProgress], None]) -> Path:
    models = [train(member_config(config, member), folder / f"member-{member}", _as_member(config, member, progress))
              for member in range(1, config.committee + 1)]
    for name in ("set.json", "reference_energies.json"):
        shutil.copyfile(folder / "member-1" / name, folder / name)
    return models[0]


def _as_member(
    config: StudentConfig, member: int, progress: Callable[[TrainProgress], None]
) -> Callable[[TrainProgress], None]:
    """Progress of one member told as that of the whole committee; every member is taken to cost the same."""
    begun = time.monotonic()

    def show(state: TrainProgress) -> None:
        each = time.monotonic() - begun + state.seconds_left
        left = state.seconds_left + (config.committee - member) * each
        progress(replace(state, member=member, members=config.committee, seconds_left=left))

    return show


def arguments(config: StudentConfig, folder: Path) -> list[str]:
    """The command line of mace_run_train for a configuration."""
    reference = json.loads((folder / "reference_energies.json").read_text())
    options = {
        "name": config.name, "seed": config.seed, "work_dir": folder, "model": "ScaleShiftMACE",
        "train_file": folder / "data" / "train.xyz", "valid_file": folder / "data" / "valid.xyz",
        "E0s": "{" + ", ".join(f"{z}: {energy!r}" for z, energy in reference.items()) + "}",
        "atomic_numbers": "[" + ", ".join(sorted(reference, key=int)) + "]",
        "r_max": config.cutoff_A, "num_interactions": config.layers, "hidden_irreps": config.hidden_irreps,
        "max_ell": config.max_ell, "correlation": config.correlation, "num_radial_basis": 8, "num_cutoff_basis": 5,
        "MLP_irreps": "16x0e", "radial_MLP": "[64, 64, 64]", "compute_avg_num_neighbors": False,
        "avg_num_neighbors": config.average_neighbours, "scaling": "rms_forces_scaling", "compute_stress": True,
        "loss": config.loss, "energy_weight": config.energy_weight, "forces_weight": config.forces_weight,
        "stress_weight": config.stress_weight, "batch_size": config.batch_size, "valid_batch_size": 8,
        "max_num_epochs": config.epochs, "lr": config.learning_rate, "scheduler": "ExponentialLR",
        "lr_scheduler_gamma": config.learning_rate_decay, "weight_decay": 1e-8, "ema_decay": config.ema_decay,
        "clip_grad": 10.0, "optimizer": config.optimizer,
        "default_dtype": "float32", "device": _device(), "error_table": "PerAtomRMSE", "plot": False,
        "num_workers": 0, "pin_memory": False,
    }
    more = [f"--grow_from={portable_student(config.grow_from)}"] if config.grow_from else []
    if config.processes > 1:
        more.append(f"--processes={config.processes}")
    return [*(f"--{key}={value}" for key, value in options.items()), "--ema", "--amsgrad", "--restart_latest", *more]


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _claim(folder: Path, config: StudentConfig) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "student.json"
    if path.exists() and parse(StudentConfig, read_json(path), str(path)) != config:
        raise InputError(f"{folder} was begun with another configuration; choose another folder")
    path.write_text(json.dumps(config.model_dump(mode="json"), indent=2) + "\n")


def _write_data(config: StudentConfig, folder: Path) -> None:
    import ase.io

    frames = [frame for path in config.labelled for frame in read_frames(path)]
    division = divide(frames, config)
    if len(division.train) < config.batch_size:
        raise InputError(f"{len(division.train)} frames are left to train on, fewer than batch_size "
                         f"{config.batch_size}: label more, or make batch_size smaller")
    reference = zero_of_energy_eV(config, division.train)
    (folder / "reference_energies.json").write_text(json.dumps(reference, indent=2) + "\n")
    about = {"labelled": [read_about(path) for path in config.labelled], "dropped": division.dropped,
             "train": len(division.train), "valid": len(division.valid), "test": len(division.test)}
    (folder / "set.json").write_text(json.dumps(about, indent=2) + "\n")
    if config.start_from:
        take_over_checkpoint(config, folder)
    data = folder / "data"
    data.mkdir(exist_ok=True)
    for name in ("valid", "test", "train"):  # train last: its presence says that all are there
        part = getattr(division, name)
        ase.io.write(data / f"{name}.partial", [frame.to_ase() for frame in part], format="extxyz")
        os.replace(data / f"{name}.partial", data / f"{name}.xyz")


def _run(
    options: list[str], config: StudentConfig, folder: Path, progress: Callable[[TrainProgress], None]
) -> None:
    if importlib.util.find_spec("mace") is None:  # importing it would switch torch's safe loading off
        raise MissingPackageError("training needs mace-torch: pip install 'atomflow[md]'")
    if config.optimizer == "soap" and importlib.util.find_spec("pytorch_optimizer") is None:
        raise MissingPackageError("SOAP needs pytorch-optimizer: pip install 'atomflow[md]', or set optimizer: adam")
    log = folder / "train.log"
    environment = {**os.environ, "OMP_NUM_THREADS": str(config.threads), "PYTHONUNBUFFERED": "1"}
    begun, first = time.monotonic(), None
    with log.open("a") as file, subprocess.Popen(
        [sys.executable, "-m", "atomflow.distill.quick_training", *options],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
    ) as process, signals_to(process) as stopped:
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            file.flush()
            match = _EPOCH.search(line)
            if match:
                epoch = int(match[1])
                first = epoch if first is None else first
                each = (time.monotonic() - begun) / (epoch - first + 1)
                left = each * (config.epochs - epoch - 1)
                progress(TrainProgress(epoch + 1, config.epochs, float(match[2]), float(match[3]), left))
    if stopped:
        raise RunStopped(f"training stopped; atomflow potential train with the same folder goes on ({folder})")
    if process.returncode:
        last = ([text for text in log.read_text().splitlines() if text.strip()] or ["it said nothing"])[-1]
        raise RunFailed(f"mace_run_train failed: {last.strip()} (log: {log})")


def export(folder: str | Path, config: StudentConfig) -> Path:
    """The trained model of ``folder`` as ``<name>.mace.npz``, without pickles; with its committee, if it has one."""
    import torch

    from atomflow.potentials.committee import write_committee
    from atomflow.potentials.mace.files import save_portable

    folder = Path(folder)
    if config.committee > 1:
        members = [member_config(config, member) for member in range(1, config.committee + 1)]
        for number, member in enumerate(members, start=1):
            exported = export(folder / f"member-{number}", member)
            shutil.copyfile(exported, folder / exported.name)
        names = [f"{member.name}.mace.npz" for member in members]
        write_committee(folder, names[0], names[1:])
        return folder / names[0]
    model = folder / "checkpoints" / f"{config.name}_run-{config.seed}.model"
    if not model.exists():
        raise InputError(f"{folder} holds no trained model; run atomflow potential train first")
    module = torch.load(model, map_location="cpu", weights_only=False)  # written by our own mace_run_train
    if config.repulsion:
        module = repelling(module, folder, config)
    return save_portable(module, folder / f"{config.name}.mace.npz")
