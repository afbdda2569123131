"""Rounds of active learning: the student's own dynamics finds what it does not know, the teacher labels it, it learns.

Everything is in a folder of stages, each there whole or not at all, so that the loop may be killed at any instant:

    first/                            the committee that the first round begins with, unless it lies elsewhere
    exam/labelled/labelled.npz        what judges, if the configuration asks for an exam
    round-01/pool/pool.npz            fresh frames, mostly from dynamics with the student of the round before
    round-01/doubt.json               force spread of every frame
    round-01/chosen/pool.npz          the doubtful ones that are worth the teacher's time
    round-01/labelled/                the teacher's answers, kept one by one
    round-01/model/                   the committee, trained on with all labels so far
    round-01/round.json               what the round found and what it cost
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from atomflow.distill import active_exam, active_students, label
from atomflow.distill.active_config import STUDENT, ActiveConfig
from atomflow.distill.active_round import Round
from atomflow.distill.active_stages import Say, interpreter, timed, write_json
from atomflow.distill.frames import labels_of, read_frames
from atomflow.distill.signals import signals_stop
from atomflow.distill.sources.config import GuidedSource
from atomflow.errors import InputError
from atomflow.estimate import Estimate
from atomflow.runs.lock import FolderLock


def run(config: ActiveConfig, folder: str | Path, say: Say = lambda text: None) -> dict[str, Any]:
    """Rounds until a criterion of ``config.stop`` holds; call again to go on after a stop or a kill.

    Returns:
        What ``folder/active.json`` holds: the beginning, the rounds, why they ended, and the last student's folder.

    Raises:
        InputError: a set, a teacher or a potential that cannot be had; a folder begun with another configuration, or in
            which another process is at work.
        RunStopped: a signal came; the same call goes on.
        RunFailed: the teacher or a training failed.
    """
    folder = Path(folder)
    begun = (folder / "config.json").exists()
    if begun:
        _claim(folder, config)
    with signals_stop("the same command goes on with the loop"):
        if not begun:
            check(config, say)
            folder.mkdir(parents=True, exist_ok=True)
            _claim(folder, config)
        lock = FolderLock(folder / "lock", "folder of a loop")
        try:
            return _rounds(config, folder, say)
        finally:
            lock.release()


def _rounds(config: ActiveConfig, folder: Path, say: Say) -> dict[str, Any]:
    start = _start(config, folder, say)
    exam = active_exam.exam_frames(config, folder, Path(start["model"]), say)
    rounds: list[dict[str, Any]] = []
    model = other = Path(start["model"])
    if exam and "exam" not in start:
        start["exam"] = active_exam.judged(model, exam)
        write_json(folder / "start.json", start)
    while True:
        rounds.append(Round(config, folder, len(rounds) + 1, model, other, exam, say).result())
        model, other = Path(rounds[-1]["model"]), Path(rounds[-1]["other"])
        reason = ending(config, rounds)
        data = {"format": "atomflow-active", "config": config.model_dump(mode="json"), "start": start,
                "rounds": rounds, "ended": reason, "model": str(model)}
        write_json(folder / "active.json", data)
        if reason is not None:
            say(f"the loop is over: {reason}")
            return dict(json.loads((folder / "active.json").read_text()))
        say(outlook(config, rounds))


def _start(config: ActiveConfig, folder: Path, say: Say) -> dict[str, Any]:
    """The first committee, and how far it is off on what it knows: what ``start.json`` holds."""
    path = folder / "start.json"
    if not path.exists():
        with timed(folder, "first"):
            model = active_students.first_committee(config, folder, lambda text: say(f"first student: {text}"))
        held_out = active_exam.judged(model, active_exam.old_held_out(config))
        write_json(path, {"model": str(model), "held_out_rmse_eV_per_A": held_out and held_out["force_rmse_eV_per_A"]})
    return dict(json.loads(path.read_text()))


def ending(config: ActiveConfig, rounds: list[dict[str, Any]]) -> str | None:
    """Why the loop is over, or None: the first criterion that holds."""
    last, stop = rounds[-1], config.stop
    hours = sum(each["hours"] for each in rounds)
    if last["doubtful_fraction"] <= stop.doubtful_fraction:
        return (f"{100 * last['doubtful_fraction']:.1f} % of the fresh frames of round {last['round']} are doubtful "
                f"(at most {100 * stop.doubtful_fraction:g} % were asked for)")
    if last["chosen"] == 0:
        return f"no doubtful frame of round {last['round']} is fit to be labelled"
    what = "exam" if last.get("exam") else "held-out"
    rmse = (last["exam"]["force_rmse_eV_per_A"] if last.get("exam") else last["held_out_rmse_eV_per_A"])["value"]
    if stop.force_rmse_eV_per_A is not None and rmse <= stop.force_rmse_eV_per_A:
        return f"the {what} force RMSE is {rmse:.3f} eV/Å (at most {stop.force_rmse_eV_per_A:g} was asked for)"
    if len(rounds) >= stop.rounds:
        return f"{len(rounds)} rounds were done"
    if stop.hours is not None and hours >= stop.hours:
        return f"the rounds took {hours:.2f} h (budget {stop.hours:g} h)"
    return None


def outlook(config: ActiveConfig, rounds: list[dict[str, Any]]) -> str:
    """How long the rest takes at most, if a round costs what the last one did."""
    last = rounds[-1]
    each, left = sum(last["seconds"].values()) / 60, config.stop.rounds - len(rounds)
    return (f"round {last['round']} took {each:.1f} min; at most {left} more: about {left * each:.0f} min, rather more "
            "since every round learns from more frames")


def check(config: ActiveConfig, say: Say) -> None:
    """Refuse at once what would only fail after an hour.

    Raises:
        InputError: a labelled set, a start, a potential or a teacher that cannot be had.
    """
    from atomflow import potentials

    frames = [frame for path in config.labelled for frame in read_frames(path)]
    for frame in frames[:1] + frames[-1:]:
        labels_of(frame)
    if config.exam is None and not any(frame.split == "test" for frame in frames):
        raise InputError("labelled: no frame is held out for the test, and there is no exam: nothing would judge")
    for path in config.exam.labelled if config.exam else ():
        labels_of(read_frames(path)[0])
    if config.start_from is not None:
        active_students.check_start(config)
    sources = (*config.sources, *(config.exam.sources if config.exam else ()))
    for name in sorted({source.potential for source in sources if isinstance(source, GuidedSource)} - {STUDENT}):
        potentials.load(name)
    say(f"the teacher {config.teacher.name} is opened")
    version = label.check_teacher(config.teacher.name, interpreter(config.teacher))
    say(f"the teacher is there: {version}")


def table(data: dict[str, Any]) -> tuple[list[list[str]], list[str]]:
    """Rows and head of the printed table: the beginning, then every round."""
    head = ["round", "fresh", "doubtful", "labelled", "error on these before", "after", "held-out RMSE eV/Å",
            "exam RMSE eV/Å", "ratio to start", "control's ratio", "hours"]
    start = data["start"]
    rows = [["start", *("-" * 5), _shown(start["held_out_rmse_eV_per_A"]), _exam(start), "-", "-", "-"]]
    for row in data["rounds"]:
        learnt = row["error_on_chosen_after_eV_per_A"]
        rows.append([str(row["round"]), str(row["fresh_frames"]), f"{100 * row['doubtful_fraction']:.1f} %",
                     "-" if learnt is None else str(row["chosen"]), _shown(row.get("error_on_chosen_before_eV_per_A")),
                     _shown(learnt), _shown(row["held_out_rmse_eV_per_A"]), _exam(row),
                     _compared(row.get("exam"), start.get("exam")),
                     _compared(row.get("control_exam"), start.get("exam")), f"{row['hours']:.2f}"])
    full = [k for k in range(len(head)) if any(row[k] != "-" for row in rows)]
    return [[row[k] for k in full] for row in rows], [head[k] for k in full]


def _shown(estimate: dict[str, Any] | None) -> str:
    return "-" if estimate is None else format(Estimate.from_json(estimate), ".3f")


def _exam(row: dict[str, Any]) -> str:
    return _shown(row["exam"]["force_rmse_eV_per_A"]) if row.get("exam") else "-"


def _compared(after: dict[str, Any] | None, before: dict[str, Any] | None) -> str:
    return "-" if not after or not before else format(active_exam.ratio(after["systems"], before["systems"]), ".2f")


def _claim(folder: Path, config: ActiveConfig) -> None:
    """Everything but when to stop, and where the teacher lives, is settled by the first call."""
    path = folder / "config.json"
    wanted = config.model_dump(mode="json", exclude={"stop": True, "teacher": {"python"}})
    if path.exists():
        found = json.loads(path.read_text())
        changed = sorted(key for key in {*found, *wanted} if found.get(key) != wanted.get(key))
        if changed:
            raise InputError(f"{folder} was begun with another configuration ({', '.join(changed)}); choose another "
                             "folder")
    if not os.access(folder, os.W_OK):
        raise InputError(f"{folder} cannot be written to")
    write_json(path, wanted)
