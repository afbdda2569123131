"""What a student begins with: its zero of energy, and the weights of an earlier or of a smaller one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from atomflow.distill.config import StudentConfig
from atomflow.distill.frames import Frame, labels_of
from atomflow.distill.members import member_folder
from atomflow.errors import InputError


def zero_of_energy_eV(config: StudentConfig, frames: Sequence[Frame]) -> dict[int, float]:
    """Energy of each element, by atomic number: the earlier or smaller student's own, or fitted to ``frames``."""
    if config.start_from:
        read = read_json(member_folder(config.start_from, 1) / "reference_energies.json")
        return {int(z): float(energy) for z, energy in read.items()}
    if config.grow_from:
        return _zero_of_portable(portable_student(config.grow_from), config)
    return reference_energies_eV(frames, config.elements)


def reference_energies_eV(frames: Sequence[Frame], elements: Sequence[str], ridge: float = 1e-4) -> dict[int, float]:
    """Energy of each element that fits the labelled energies per atom best: the student's zero of energy.

    Least squares over compositions (F, n_elements) with a small ridge, since stoichiometric oxides alone leave one
    combination of the elements open.
    """
    from ase.data import atomic_numbers

    numbers = [atomic_numbers[element] for element in elements]
    unknown = sorted({int(z) for frame in frames for z in frame.numbers} - set(numbers))
    if unknown:
        raise InputError(f"the labelled frames hold element number {unknown[0]}, which the student is not to know")
    parts = np.array([[np.mean(frame.numbers == z) for z in numbers] for frame in frames])
    energies = np.array([labels_of(frame).energy_eV / frame.n_atoms for frame in frames])
    solved = np.linalg.solve(parts.T @ parts + ridge * np.eye(len(numbers)), parts.T @ energies)
    return {z: float(energy) for z, energy in zip(numbers, solved, strict=True)}


def portable_student(name: str, key: str = "grow_from") -> Path:
    """The ``.mace.npz`` of a student that comes along with atomflow, by its name, or that file itself.

    Args:
        key: the setting that names it, for the message where there is none.
    """
    from atomflow.potentials import registry

    shipped = {known: entry.shipped for known, entry in registry.entries().items() if entry.shipped}
    path = shipped.get(name) or Path(name).expanduser()
    if not (path.is_file() and path.name.endswith(".mace.npz")):
        raise InputError(f"{key}: {name} is neither a .mace.npz file nor one of {', '.join(sorted(shipped))}")
    return path


def shape_of_portable(path: Path) -> dict[str, Any]:
    """What of a student's configuration the weights in a ``.mace.npz`` file decide.

    Raises:
        InputError: it is no student that can go on from such a file.
    """
    from ase.data import chemical_symbols

    from atomflow.distill.growth import shape_of
    from atomflow.potentials.mace.files import load_portable
    from atomflow.potentials.mace.shorter import fits

    model = load_portable(path)
    if not fits(model):
        raise InputError(f"{path.name}: only students with hidden irreps such as 64x0e or 64x0e+64x1o can go on from a "
                         "portable file")
    shape = shape_of(model)
    return {"elements": tuple(chemical_symbols[int(z)] for z in model.atomic_numbers), "channels": shape.channels,
            "message_degree": shape.message_degree, "max_ell": shape.max_ell, "correlation": shape.correlation,
            "layers": int(model.num_interactions), "cutoff_A": float(model.r_max),
            "average_neighbours": float(model.interactions[0].avg_num_neighbors)}


def _zero_of_portable(path: Path, config: StudentConfig) -> dict[int, float]:
    from ase.data import atomic_numbers

    from atomflow.distill.growth import shape_of
    from atomflow.potentials.mace.files import load_portable

    small = load_portable(path)
    numbers = [int(z) for z in small.atomic_numbers]
    if set(numbers) != {atomic_numbers[element] for element in config.elements}:
        raise InputError(f"grow_from: {path.name} knows other elements than this student is to know")
    before = shape_of(small)
    for key, had in vars(before).items():
        if getattr(config, key) < had:
            raise InputError(f"grow_from: a student grows and never shrinks; {key} is {had} in {path.name}, "
                             f"{getattr(config, key)} here")
    for key, is_there in (("layers", int(small.num_interactions)), ("cutoff_A", float(small.r_max))):
        if getattr(config, key) != is_there:
            raise InputError(f"grow_from: {key} must stay {is_there:g}, as in {path.name}; here it is "
                             f"{getattr(config, key):g}")
    energies = small.atomic_energies_fn.atomic_energies.double().reshape(-1).tolist()
    return dict(zip(numbers, energies, strict=True))


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, json.JSONDecodeError):
        what = "is not a folder that atomflow potential train wrote"
        raise InputError(f"{path.parent} {what} (no {path.name})") from None


def take_over_checkpoint(config: StudentConfig, folder: Path) -> None:
    """The newest checkpoint of the earlier student as this one's epoch 0, at this one's learning rate."""
    import torch

    def epoch(path: Path) -> int:
        return int(path.stem.rpartition("-")[2])

    earlier = member_folder(str(config.start_from), 1)
    before = StudentConfig.model_validate({"optimizer": "adam", **read_json(earlier / "student.json")})
    shape = ("elements", "channels", "message_degree", "max_ell", "correlation", "layers", "cutoff_A",
             "average_neighbours")
    for key in shape:
        if getattr(before, key) != getattr(config, key):
            raise InputError(f"the student in {earlier} has another shape: {key} is {getattr(before, key)} there, "
                             f"{getattr(config, key)} here")
    if before.optimizer != config.optimizer:
        raise InputError(f"the student in {earlier} was trained with {before.optimizer}, whose state is of no use to "
                         f"{config.optimizer}; set optimizer: {before.optimizer}, or begin from its exported model "
                         "with grow_from")
    found = sorted((earlier / "checkpoints").glob(f"{before.name}_run-{before.seed}_epoch-*.pt"), key=epoch)
    if not found:
        raise InputError(f"{earlier} holds no checkpoint to start from")
    checkpoint = torch.load(found[-1], map_location="cpu", weights_only=False)  # written by our own mace_run_train
    for group in checkpoint["optimizer"]["param_groups"]:
        group["lr"] = group["initial_lr"] = config.learning_rate
    schedule = checkpoint["lr_scheduler"]
    rates = [config.learning_rate] * len(schedule["base_lrs"])
    schedule.update(base_lrs=rates, _last_lr=rates, last_epoch=0, gamma=config.learning_rate_decay)
    (folder / "checkpoints").mkdir(exist_ok=True)
    torch.save(checkpoint, folder / "checkpoints" / f"{config.name}_run-{config.seed}_epoch-0.pt")
