"""Rounds of active learning: the student's own dynamics finds what it does not know, the teacher labels it, it learns.

A round is a folder of stages, each there whole or not at all, so that the loop may be killed at any instant:

    round-01/pool/pool.npz            fresh frames, mostly from dynamics with the student of the round before
    round-01/doubt.json               force spread of every frame
    round-01/chosen/pool.npz          the doubtful ones that are worth the teacher's time
    round-01/labelled/labelled.npz    with the teacher's answers
    round-01/model/                   the committee, trained on with all labels so far
    round-01/round.json               what the round found and what it cost
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from atomflow.distill import errors_table, label, sample
from atomflow.distill import train as training
from atomflow.distill.active_config import ActiveConfig
from atomflow.distill.config import SampleConfig, StudentConfig
from atomflow.distill.distort import contact_ratio
from atomflow.distill.frames import Frame, read_frames, write_frames
from atomflow.distill.signals import signals_stop
from atomflow.errors import InputError

Say = Callable[[str], None]


def run(config: ActiveConfig, folder: str | Path, say: Say = lambda text: None) -> dict[str, Any]:
    """Rounds until a criterion of ``config.stop`` holds; call again to go on after a stop or a kill.

    Returns:
        What ``folder/active.json`` holds: the rounds, why they ended, and the folder of the last student.

    Raises:
        InputError: a set, a teacher or a potential that cannot be had; a folder begun with another configuration.
        RunStopped: a signal came; the same call goes on.
        RunFailed: the teacher or a training failed.
    """
    folder = Path(folder)
    _claim(folder, config)
    with signals_stop("the same command goes on with the loop"):
        return _rounds(config, folder, say)


def _rounds(config: ActiveConfig, folder: Path, say: Say) -> dict[str, Any]:
    rounds: list[dict[str, Any]] = []
    model = _first_model(config, folder, say)
    while True:
        number = len(rounds) + 1
        rounds.append(Round(config, folder, number, model, say).result())
        model = Path(rounds[-1]["model"])
        reason = ending(config, rounds)
        _write_json(folder / "active.json", {"format": "atomflow-active", "config": config.model_dump(mode="json"),
                                             "rounds": rounds, "ended": reason, "model": str(model)})
        if reason is not None:
            say(f"the loop is over: {reason}")
            return dict(json.loads((folder / "active.json").read_text()))


def ending(config: ActiveConfig, rounds: list[dict[str, Any]]) -> str | None:
    """Why the loop is over, or None: the first criterion that holds."""
    last, stop = rounds[-1], config.stop
    hours = sum(each["hours"] for each in rounds)
    if last["doubtful_fraction"] <= stop.doubtful_fraction:
        return (f"{100 * last['doubtful_fraction']:.1f} % of the fresh frames of round {last['round']} are doubtful "
                f"(at most {100 * stop.doubtful_fraction:g} % were asked for)")
    if last["chosen"] == 0:
        return f"no doubtful frame of round {last['round']} is fit to be labelled"
    rmse = last["held_out_rmse_eV_per_A"]["value"]
    if stop.force_rmse_eV_per_A is not None and rmse <= stop.force_rmse_eV_per_A:
        return f"the held-out force RMSE is {rmse:.3f} eV/Å (at most {stop.force_rmse_eV_per_A:g} was asked for)"
    if len(rounds) >= stop.rounds:
        return f"{len(rounds)} rounds were done"
    if stop.hours is not None and hours >= stop.hours:
        return f"the rounds took {hours:.2f} h (budget {stop.hours:g} h)"
    return None


class Round:
    """One round in its folder.

    Args:
        model: folder of the student to begin with.
    """

    def __init__(self, config: ActiveConfig, folder: Path, number: int, model: Path, say: Say) -> None:
        self.config, self.number, self.model, self.all = config, number, model, folder
        self.folder = folder / f"round-{number:02d}"
        self.say = lambda text: say(f"round {number}: {text}")

    def result(self) -> dict[str, Any]:
        """Do what is not done yet; what ``round.json`` holds."""
        path = self.folder / "round.json"
        if path.exists():
            return dict(json.loads(path.read_text()))
        self.folder.mkdir(parents=True, exist_ok=True)
        pool = self._pool()
        spreads = self._doubt(pool)
        doubtful = int((spreads > self.config.choose.doubt_eV_per_A).sum())
        facts: dict[str, Any] = {"round": self.number, "fresh_frames": len(pool), "doubtful": doubtful,
                 "doubtful_fraction": doubtful / len(pool), "median_spread_eV_per_A": float(np.median(spreads)),
                 "largest_spread_eV_per_A": float(spreads.max())}
        self.say(f"{doubtful} of {len(pool)} fresh frames are doubtful")
        chosen = self._chosen(pool, spreads)
        facts["chosen"] = len(chosen)
        if not chosen or facts["doubtful_fraction"] <= self.config.stop.doubtful_fraction:
            facts |= {"model": str(self.model), **self._judged(self.model, [])}
        else:
            labelled = self._labels()
            before = self._errors(self.model, labelled)
            model = self._trained()
            facts |= {"model": str(model), "error_on_chosen_before_eV_per_A": before, **self._judged(model, labelled)}
        facts["hours"] = self._seconds() / 3600
        _write_json(path, facts)
        return dict(json.loads(path.read_text()))

    # --- stages -----------------------------------------------------------------------------------------------

    def _pool(self) -> list[Frame]:
        path = self.folder / "pool" / "pool.npz"
        if not path.exists():
            config = self.config
            wanted = SampleConfig(
                name=f"{config.name}-{self.number}", seed=config.seed + 1000 * self.number,
                held_out_fraction=config.held_out_fraction, held_out_silicon=config.held_out_silicon,
                sources=config.sources_for(str(self.model)), keep=None,
            )
            with self._timed("sample"):
                sample.write_pool(sample.sample(wanted, self.say), path.parent, wanted)
        return read_frames(path)

    def _doubt(self, pool: list[Frame]) -> np.ndarray:
        """(F,) largest force spread of every frame."""
        path = self.folder / "doubt.json"
        if not path.exists():
            from atomflow.potentials.committee import committee_forces, members_or_refuse, spread_of

            student = _loaded(self.model)
            others = members_or_refuse(student)
            with self._timed("doubt"):
                spreads = [float(spread_of(committee_forces(
                    student, [frame.numbers], [frame.positions_A], [frame.lattice_A], others)).max()) for frame in pool]
            # a frame on which the models say nothing finite is beyond every limit
            _write_json(path, {"force_spread_max_eV_per_A": [s if np.isfinite(s) else 1e9 for s in spreads]})
        return np.array(json.loads(path.read_text())["force_spread_max_eV_per_A"])

    def _chosen(self, pool: list[Frame], spreads: np.ndarray) -> list[Frame]:
        path = self.folder / "chosen" / "pool.npz"
        if not path.exists():
            frames = choose(pool, spreads, self.config)
            if not frames:
                return []
            path.parent.mkdir(exist_ok=True)
            write_frames(frames, path, {"active": {"name": self.config.name, "round": self.number}})
        return read_frames(path)

    def _labels(self) -> list[Frame]:
        path, teacher = self.folder / "labelled" / "labelled.npz", self.config.teacher
        if not path.exists():
            python = sys.executable if teacher.python == "here" else teacher.python

            def show(state: label.LabelProgress) -> None:
                if state.done % 10 == 0 or state.done == state.total:
                    self.say(f"{state.done}/{state.total} frames labelled, {state.seconds_left / 60:.1f} min left")

            with self._timed("label"):
                label.label(self.folder / "chosen", path.parent, teacher.name, python, show)
        return read_frames(path)

    def _trained(self) -> Path:
        home = self.folder / "model"
        with self._timed("train"):
            train_student(self._student(), home, self.say)
        return home

    def _student(self) -> StudentConfig:
        """Trained on everything that is labelled by now, going on from the student of the round before."""
        own = (str(self.all / f"round-{k:02d}" / "labelled" / "labelled.npz") for k in range(1, self.number + 1))
        return self.config.student_of(self.number, (*self.config.labelled, *own), str(self.model))

    # --- what came of it --------------------------------------------------------------------------------------

    def _judged(self, model: Path, labelled: list[Frame]) -> dict[str, Any]:
        """Errors of a student on the frames that were held out at the start, and on this round's own."""
        held_out = [frame for path in self.config.labelled for frame in read_frames(path) if frame.split == "test"]
        return {"held_out_rmse_eV_per_A": self._errors(model, held_out),
                "error_on_chosen_after_eV_per_A": self._errors(model, labelled)}

    def _errors(self, model: Path, frames: list[Frame]) -> dict[str, Any] | None:
        if not frames:
            return None
        pairs = errors_table.evaluate(frames, _loaded(model).calculator())
        return errors_table.error_row("frames", pairs).force_rmse_eV_per_A.to_json()

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        """Add what a stage takes to ``seconds.json``, whether it ends or is stopped."""
        begun, path = time.monotonic(), self.folder / "seconds.json"
        try:
            yield
        finally:
            spent = json.loads(path.read_text()) if path.exists() else {}
            _write_json(path, {**spent, stage: spent.get(stage, 0.0) + time.monotonic() - begun})

    def _seconds(self) -> float:
        return float(sum(json.loads((self.folder / "seconds.json").read_text()).values()))


def choose(pool: list[Frame], spreads: np.ndarray, config: ActiveConfig) -> list[Frame]:
    """The doubtful frames worth labelling: whole, the most doubtful first, then the farthest from one another.

    Frames of systems held out for the test may be among them: they are labelled, and judge, but are never trained on.
    """
    wanted = config.choose
    from ase.data import chemical_symbols

    fit = [k for k in np.argsort(-spreads, kind="stable")
           if wanted.doubt_eV_per_A < spreads[k] <= wanted.largest_doubt_eV_per_A
           and contact_ratio(np.array([chemical_symbols[z] for z in pool[k].numbers]), pool[k].positions_A,
                             pool[k].lattice_A) > wanted.closest_contact]
    candidates = [pool[k] for k in fit[: wanted.candidates or 3 * wanted.frames]]
    return sample.select_diverse(candidates, wanted.frames)


@lru_cache(maxsize=2)
def _loaded(model: Path) -> Any:
    """The student of a folder that is whole; it will not change any more."""
    from atomflow import potentials

    return potentials.load(model)


def train_student(student: StudentConfig, home: Path, say: Say) -> Path:
    """Train a committee into ``home`` unless it is there whole; the folder."""
    from atomflow.potentials.committee import COMMITTEE_FILE

    if (home / COMMITTEE_FILE).exists():
        return home

    def show(state: training.TrainProgress) -> None:
        say(f"member {state.member} of {state.members}, epoch {state.epoch}/{state.epochs}: force "
            f"{state.force_meV_per_A:.0f} meV/Å (validation), {state.seconds_left / 60:.1f} min left")

    training.train(student, home, show)
    training.export(home, student)
    return home


def table(data: dict[str, Any]) -> tuple[list[list[str]], list[str]]:
    """Rows and head of the printed table of rounds."""
    from atomflow.estimate import Estimate

    def shown(estimate: dict[str, Any] | None) -> str:
        return "-" if estimate is None else format(Estimate.from_json(estimate), ".3f")

    head = ["round", "fresh", "doubtful", "labelled", "error on these before", "after", "held-out RMSE eV/Å", "hours"]
    rows = [[str(row["round"]), str(row["fresh_frames"]), f"{100 * row['doubtful_fraction']:.1f} %",
             "-" if row["error_on_chosen_after_eV_per_A"] is None else str(row["chosen"]),
             shown(row.get("error_on_chosen_before_eV_per_A")), shown(row["error_on_chosen_after_eV_per_A"]),
             shown(row["held_out_rmse_eV_per_A"]), f"{row['hours']:.2f}"] for row in data["rounds"]]
    return rows, head


def _first_model(config: ActiveConfig, folder: Path, say: Say) -> Path:
    """The folder of the student that the first round begins with."""
    from atomflow.potentials.committee import COMMITTEE_FILE

    if config.start_from is None:
        return train_student(config.student_of(0, config.labelled, None), folder / "first",
                             lambda text: say(f"first student: {text}"))
    if not (Path(config.start_from) / COMMITTEE_FILE).exists():
        raise InputError(f"start_from: {config.start_from} is not the folder of a trained committee "
                         f"(no {COMMITTEE_FILE}); train one with committee: 3")
    return Path(config.start_from)


def _claim(folder: Path, config: ActiveConfig) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    """Everything but when to stop is settled by the first call."""
    path, wanted = folder / "config.json", config.model_dump(mode="json", exclude={"stop"})
    if path.exists() and json.loads(path.read_text()) != wanted:
        raise InputError(f"{folder} was begun with another configuration; choose another folder")
    _write_json(path, wanted)


def _write_json(path: Path, data: Any) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(data, indent=2, allow_nan=False) + "\n")
    os.replace(partial, path)
