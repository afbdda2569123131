"""Speed against error: several students of different shape, each trained on the same frames for the same epochs."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from atomflow.config import StrictModel
from atomflow.distill import errors_table
from atomflow.distill import train as training
from atomflow.distill.config import StudentConfig
from atomflow.distill.frames import Frame, read_frames, write_frames
from atomflow.errors import InputError
from atomflow.estimate import Estimate

Say = Callable[[str], None]


class Shape(StrictModel):
    """What makes one student smaller or larger than another."""

    channels: int = Field(64, ge=1)
    message_degree: int = Field(0, ge=0, le=2)
    max_ell: int = Field(2, ge=0, le=4)
    correlation: int = Field(2, ge=1, le=4)
    layers: int = Field(2, ge=1, le=4)
    cutoff_A: float = Field(5.0, gt=1)

    @property
    def label(self) -> str:
        sent = f"ch-L{self.message_degree}" if self.message_degree else "ch"
        return f"{self.channels}{sent}-l{self.max_ell}-c{self.correlation}-n{self.layers}-r{self.cutoff_A:g}"


class ParetoConfig(StrictModel):
    """``atomflow potential pareto``: the shapes, the frames and the budget that all of them share.

    Attributes:
        families, how: kinds of frames to train on and to measure on (``how`` without what follows a dash); empty: all.
        frames: so many of the training split are drawn; the held-out ones of these kinds are all used.
        epochs: the budget: every student sees every frame so many times.
        cell: crystal of structures/ on which a step is timed.
        compare: potentials measured and timed in the same run, whatever they were trained on.
    """

    name: str
    labelled: tuple[str, ...]
    families: tuple[str, ...] = ()
    how: tuple[str, ...] = ()
    frames: int = Field(150, ge=4)
    seed: int = 1
    epochs: int = Field(12, ge=1)
    batch_size: int = Field(4, ge=1)
    learning_rate: float = Field(0.01, gt=0)
    learning_rate_decay: float = Field(0.8, gt=0, le=1)
    cell: str = "NZSP_C2c_ordered_DFTcoords_PDF84-1200cell"
    compare: tuple[str, ...] = ()
    students: tuple[Shape, ...]

    @model_validator(mode="after")
    def _different(self) -> ParetoConfig:
        labels = [shape.label for shape in self.students]
        if len(set(labels)) < max(2, len(labels)):
            raise ValueError("a front needs at least two students, all of different shape")
        return self


def run(config: ParetoConfig, folder: str | Path, say: Say = lambda text: None) -> dict[str, Any]:
    """Train every shape into ``folder/students/LABEL``, measure and time all; call again to go on after a stop.

    A later call may add shapes or leave some out: those that are trained already are not trained again, and all are
    measured and timed together anew.

    Returns:
        What ``folder/pareto.json`` holds: rows of students and of compared potentials.

    Raises:
        InputError: no fitting frames, an unknown cell or potential, a folder begun with another configuration.
        RunStopped: a signal came during a training; the same call goes on.
    """
    folder = Path(folder)
    cell = timing_cell(config.cell)
    compared = [_loaded(name) for name in config.compare]
    _claim(folder, config)
    done = _read_if_there(folder / "pareto.json")
    if done is not None and done["config"] == config.model_dump(mode="json"):
        return done
    held_out = _chosen_set(config, folder)
    files = []
    for number, shape in enumerate(config.students):
        say(f"student {number + 1} of {len(config.students)}: {shape.label}")
        files.append(_trained(config, shape, folder, say))
    models = [*(_loaded(file) for file in files), *compared]
    say(f"measuring and timing {len(models)} potentials")
    rows = _measured(models, held_out, cell)
    data = _data(config, folder, held_out, rows, len(cell))
    _write_json(folder / "pareto.json", data)
    return data


def student_config(config: ParetoConfig, shape: Shape, folder: Path, elements: Sequence[str]) -> StudentConfig:
    """What ``atomflow potential train`` would be given for one shape."""
    return StudentConfig(
        name=shape.label, labelled=(str(folder / "set.npz"),), seed=config.seed, elements=tuple(elements),
        **shape.model_dump(), average_neighbours=neighbours_within(shape.cutoff_A), batch_size=config.batch_size,
        learning_rate=config.learning_rate, learning_rate_decay=config.learning_rate_decay, epochs=config.epochs,
        trained_for=f"a front of speed against error: {config.frames} frames, {config.epochs} epochs; not for use",
    )


def neighbours_within(cutoff_A: float, per_A3: float = 0.076) -> float:
    """About how many neighbours an atom of an oxide has, from the density of NZSP (atoms per Å³)."""
    return round(4 / 3 * np.pi * cutoff_A**3 * per_A3, 1)


def on_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Which points (cost, error) no other point beats or equals in both while being better in one."""
    return [not any(a <= cost and b <= error and (a < cost or b < error) for a, b in points) for cost, error in points]


def timing_cell(name: str) -> Any:
    """The crystal on which a step is timed, as a cell; disordered ones are refused."""
    from atomflow import crystals
    from atomflow.cell import Cell

    structure = crystals.load(name)
    if not structure.is_ordered:
        raise InputError(f"the crystal {name} is disordered; a step is timed on an ordered one")
    numbers = np.array([site.specie.Z for site in structure])
    return Cell(numbers, np.array(structure.cart_coords), np.array(structure.lattice.matrix))


def _loaded(name: Any) -> Any:
    from atomflow import potentials

    return potentials.load(name, device="cpu")


def _chosen_set(config: ParetoConfig, folder: Path) -> list[Frame]:
    """Write ``set.npz`` unless it is there; the held-out frames of it."""
    path = folder / "set.npz"
    if not path.exists():
        fitting = [frame for file in config.labelled for frame in read_frames(file) if _fits(frame, config)]
        train = [frame for frame in fitting if frame.split == "train"]
        test = [frame for frame in fitting if frame.split == "test"]
        if len(train) < config.frames or not test:
            raise InputError(f"{len(train)} labelled frames fit 'families' and 'how' ({config.frames} are asked for), "
                             f"and {len(test)} held-out ones (at least one is needed)")
        drawn = np.sort(np.random.default_rng(config.seed).choice(len(train), config.frames, replace=False))
        write_frames([*(train[k] for k in drawn), *test], path)
    return [frame for frame in read_frames(path) if frame.split == "test"]


def _fits(frame: Frame, config: ParetoConfig) -> bool:
    family = not config.families or frame.family in config.families
    return family and (not config.how or frame.how.partition("-")[0] in config.how)


def _trained(config: ParetoConfig, shape: Shape, folder: Path, say: Say) -> Path:
    """The portable model of one shape, trained now unless it is there."""
    from ase.data import chemical_symbols

    home = folder / "students" / shape.label
    model = home / f"{shape.label}.mace.npz"
    if model.exists():
        return model
    numbers = np.unique(np.concatenate([frame.numbers for frame in read_frames(folder / "set.npz")]))
    student = student_config(config, shape, folder, [chemical_symbols[z] for z in numbers])
    home.mkdir(parents=True, exist_ok=True)
    before = _children_s()
    try:
        training.train(student, home, lambda state: say(
            f"  {shape.label}: epoch {state.epoch}/{state.epochs}, force {state.force_meV_per_A:.0f} meV/Å "
            f"(validation), {state.seconds_left / 60:.1f} min left"))
    finally:
        _write_json(home / "cost.json", {"cpu_s": spent_s(home) + _children_s() - before})
    return training.export(home, student)


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def spent_s(home: Path) -> float:
    """Processor seconds that training into ``home`` has taken, stops and restarts included."""
    return float((_read_if_there(home / "cost.json") or {"cpu_s": 0.0})["cpu_s"])


def _measured(models: Sequence[Any], held_out: list[Frame], cell: Any) -> list[dict[str, Any]]:
    from atomflow.distill.stepping import ms_per_step

    speeds = ms_per_step(models, cell)
    rows = []
    for model, speed in zip(models, speeds, strict=True):
        pairs = errors_table.evaluate(held_out, model.calculator())
        error = errors_table.error_row("held out", pairs)
        rows.append({"name": model.identity.name, "sha256": model.identity.sha256, "parameters": _parameters(model),
                     "force_rmse_eV_per_A": error.force_rmse_eV_per_A.to_json(), "slope": error.slope,
                     "ms_per_step": speed.to_json()})
    return rows


def _parameters(model: Any) -> int | None:
    module = getattr(model, "model", None)
    return None if module is None else sum(parameter.numel() for parameter in module.parameters())


def _data(
    config: ParetoConfig, folder: Path, held_out: list[Frame], rows: list[dict[str, Any]], n_atoms: int
) -> dict[str, Any]:
    count = len(config.students)
    front = on_front([(row["ms_per_step"]["value"], row["force_rmse_eV_per_A"]["value"]) for row in rows[:count]])
    students = [
        {**row, "shape": shape.model_dump(), "on_front": best,
         "cpu_minutes": spent_s(folder / "students" / shape.label) / 60}
        for row, shape, best in zip(rows, config.students, front, strict=False)
    ]
    return {
        "format": "atomflow-pareto", "config": config.model_dump(mode="json"),
        "held_out": {"frames": len(held_out), "systems": len({frame.system for frame in held_out})},
        "timing": {"cell": config.cell, "atoms": n_atoms, "threads": 1},
        "students": students, "compared": rows[count:],
    }


def table(data: dict[str, Any]) -> tuple[list[list[str]], list[str]]:
    """Rows and head of the printed table, fastest student first."""
    head = ["student", "ms/step", "force RMSE eV/Å", "slope", "CPU min", "on the front"]
    rows = []
    for row in sorted(data["students"], key=lambda row: row["ms_per_step"]["value"]) + data["compared"]:
        estimates = [format(Estimate.from_json(row[key]), spec)
                     for key, spec in (("ms_per_step", ".3g"), ("force_rmse_eV_per_A", ".3f"))]
        cost = f"{row['cpu_minutes']:.1f}" if "cpu_minutes" in row else "-"
        front = {True: "yes", False: "no", None: "(compared)"}[row.get("on_front")]
        rows.append([row["name"], *estimates, f"{row['slope']:.3f}", cost, front])
    return rows, head


def _claim(folder: Path, config: ParetoConfig) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    """What all students share must not change; which students there are may."""
    path, wanted = folder / "config.json", config.model_dump(mode="json", exclude={"students"})
    if _read_if_there(path) not in (None, wanted):
        raise InputError(f"{folder} was begun with another configuration; choose another folder")
    _write_json(path, wanted)


def _read_if_there(path: Path) -> dict[str, Any] | None:
    return dict(json.loads(path.read_text())) if path.exists() else None


def _write_json(path: Path, data: Any) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(data, indent=2, allow_nan=False) + "\n")
    os.replace(partial, path)
