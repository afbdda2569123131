"""One round of active learning: fresh frames, doubt, the teacher's labels for the doubtful, a committee trained on."""

from __future__ import annotations

import json
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from atomflow.distill import active_exam, active_students, errors_table, sample
from atomflow.distill.active_config import ActiveConfig
from atomflow.distill.active_stages import Say, ask_teacher, drawn, seconds, some_of, timed, write_chosen, write_json
from atomflow.distill.distort import contact_ratio
from atomflow.distill.frames import Frame, read_frames

#: what of ``seconds.json`` is not the loop's own cost
CONTROL = "control"


class Round:
    """One round in its folder.

    Args:
        model: folder of the committee to begin with.
        other: that of the control, where there is one.
        exam: the frames that judge, if any.
    """

    def __init__(
        self, config: ActiveConfig, folder: Path, number: int, model: Path, other: Path, exam: list[Frame], say: Say
    ) -> None:
        self.config, self.number, self.model, self.other, self.exam = config, number, model, other, exam
        self.all, self.folder = folder, folder / f"round-{number:02d}"
        self.say = lambda text: say(f"round {number}: {text}")

    def result(self) -> dict[str, Any]:
        """Do what is not done yet; what ``round.json`` holds."""
        path = self.folder / "round.json"
        if path.exists():
            return dict(json.loads(path.read_text()))
        self.folder.mkdir(parents=True, exist_ok=True)
        pool = self._pool()
        spreads = self._doubt(pool)
        facts = self._found(pool, spreads)
        chosen = self._chosen(pool, spreads)
        facts["chosen"] = len(chosen)
        if not chosen or facts["doubtful_fraction"] <= self.config.stop.doubtful_fraction:
            facts |= {"model": str(self.model), "other": str(self.other), **self._judged(self.model, [])}
        else:
            facts |= self._learnt(pool, spreads)
        spent = seconds(self.folder)
        facts["hours"] = sum(value for stage, value in spent.items() if stage != CONTROL) / 3600
        facts["seconds"] = spent
        write_json(path, facts)
        return dict(json.loads(path.read_text()))

    def _learnt(self, pool: list[Frame], spreads: np.ndarray) -> dict[str, Any]:
        """Ask the teacher, train, and say what came of it."""
        with timed(self.folder, "label"):
            labelled = ask_teacher(self.config.teacher, self.folder / "chosen", self.folder / "labelled", self.say)
        before = self._error(self.model, labelled)
        with timed(self.folder, "train"):
            model = self._trained("model", "labelled", self.model)
        facts = {"model": str(model), "other": str(self.other), "error_on_chosen_before_eV_per_A": before,
                 **self._judged(model, labelled)}
        return {**facts, **self._beside(pool, spreads)} if self.config.control else facts

    # --- stages -----------------------------------------------------------------------------------------------

    def _pool(self) -> list[Frame]:
        with timed(self.folder, "sample"):
            return drawn(self.config, f"{self.config.name}-{self.number}", self.config.seed + 1000 * self.number,
                         self.config.sources_for(str(self.model)), self.folder / "pool", self.say)

    def _doubt(self, pool: list[Frame]) -> np.ndarray:
        """(F,) largest force spread of every frame."""
        path = self.folder / "doubt.json"
        if not path.exists():
            from atomflow.potentials.committee import committee_forces, members_or_refuse, spread_of

            student = loaded(self.model)
            others = members_or_refuse(student)
            spreads, begun = [], time.monotonic()
            with timed(self.folder, "doubt"):
                for number, frame in enumerate(pool, start=1):
                    forces = committee_forces(student, [frame.numbers], [frame.positions_A], [frame.lattice_A], others)
                    spreads.append(float(spread_of(forces).max()))
                    if number % 50 == 0:
                        left = (time.monotonic() - begun) / number * (len(pool) - number) / 60
                        self.say(f"doubt of {number}/{len(pool)} frames, {left:.1f} min left")
            # a frame on which the models say nothing finite is beyond every limit
            write_json(path, {"force_spread_max_eV_per_A": [s if np.isfinite(s) else 1e9 for s in spreads]})
        return np.array(json.loads(path.read_text())["force_spread_max_eV_per_A"])

    def _found(self, pool: list[Frame], spreads: np.ndarray) -> dict[str, Any]:
        doubtful = int((spreads > self.config.choose.doubt_eV_per_A).sum())
        self.say(f"{doubtful} of {len(pool)} fresh frames are doubtful (median spread {np.median(spreads):.2f} eV/Å)")
        return {"round": self.number, "fresh_frames": len(pool), "doubtful": doubtful,
                "doubtful_fraction": doubtful / len(pool), "median_spread_eV_per_A": float(np.median(spreads)),
                "largest_spread_eV_per_A": float(spreads.max())}

    def _chosen(self, pool: list[Frame], spreads: np.ndarray) -> list[Frame]:
        home = self.folder / "chosen"
        if not (home / "pool.npz").exists():
            pick = drawn_at_random if self.config.choose.by == "random" else choose
            frames = pick(*self._eligible(pool, spreads), self.config, self.number)
            if not frames:
                return []
            write_chosen(frames, home, {"name": self.config.name, "round": self.number})
        return read_frames(home / "pool.npz")

    def _eligible(self, pool: list[Frame], spreads: np.ndarray) -> tuple[list[Frame], np.ndarray]:
        """With an exam: no frame that will not be trained on is sent to the teacher, and no system of the exam."""
        if not self.exam:
            return pool, spreads
        judging = {frame.system for frame in self.exam}
        kept = [k for k, frame in enumerate(pool) if frame.split == "train" and frame.system not in judging]
        return [pool[k] for k in kept], spreads[kept]

    def _trained(self, home: str, labels: str, before: Path, alone: bool = False) -> Path:
        """Trained on everything that is labelled by now, going on from the committee of the round before.

        Args:
            alone: the student without the members that doubt.
        """
        own = [str(self.all / f"round-{k:02d}" / labels / "labelled.npz") for k in range(1, self.number + 1)]
        config = self.config
        old = some_of(config.labelled, config.old_frames, [config.seed, self.number], self.folder / "old.npz")
        learns = [*old, *own]
        members = 1 if alone else config.student.committee
        students = active_students.next_committee(config, self.number, learns, before, members)
        judges = [*config.labelled, *own, *active_exam.exam_sets(config, self.all)]
        return active_students.train_committee(students, self.folder / home, judges, self.say)

    # --- what came of it --------------------------------------------------------------------------------------

    def _judged(self, model: Path, labelled: list[Frame]) -> dict[str, Any]:
        """Errors on what the student knew before, on the exam, and on this round's own frames."""
        self.say("judging the student")
        with timed(self.folder, "judge"):
            old = active_exam.judged(model, active_exam.old_held_out(self.config))
            return {"held_out_rmse_eV_per_A": old and old["force_rmse_eV_per_A"],
                    "exam": active_exam.judged(model, self.exam),
                    "error_on_chosen_after_eV_per_A": self._error(model, labelled)}

    def _beside(self, pool: list[Frame], spreads: np.ndarray) -> dict[str, Any]:
        """The control: as many frames of the same pool, drawn at random, and a student that learns from those."""
        with timed(self.folder, CONTROL):
            frames = drawn_at_random(*self._eligible(pool, spreads), self.config, self.number)
            write_chosen(frames, self.folder / "random", {"name": self.config.name, "round": self.number})
            ask_teacher(self.config.teacher, self.folder / "random", self.folder / "random-labelled",
                        lambda text: self.say(f"control: {text}"))
            other = self._trained("random-model", "random-labelled", self.other, alone=True)
            judged = active_exam.judged(other, self.exam)
        return {"other": str(other), "control_frames": len(frames), "control_exam": judged}

    def _error(self, model: Path, frames: list[Frame]) -> dict[str, Any] | None:
        if not frames:
            return None
        pairs = errors_table.evaluate(frames, loaded(model).calculator())
        return errors_table.error_row("frames", pairs).force_rmse_eV_per_A.to_json()


@lru_cache(maxsize=2)
def loaded(model: Path) -> Any:
    """The student of a folder that is whole; it will not change any more."""
    from atomflow import potentials

    return potentials.load(model)


def choose(pool: list[Frame], spreads: np.ndarray, config: ActiveConfig, number: int = 0) -> list[Frame]:
    """The doubtful frames worth labelling: whole, the most doubtful first, then the farthest from one another."""
    wanted = config.choose
    fit = [k for k in np.argsort(-spreads, kind="stable")
           if spreads[k] > wanted.doubt_eV_per_A and _whole(pool[k], spreads[k], config)]
    candidates = [pool[k] for k in fit[: wanted.candidates or 3 * wanted.frames]]
    return sample.select_diverse(candidates, wanted.frames)


def drawn_at_random(pool: list[Frame], spreads: np.ndarray, config: ActiveConfig, number: int) -> list[Frame]:
    """As many whole frames of round ``number``, whatever their doubt."""
    fit = [k for k in range(len(pool)) if _whole(pool[k], spreads[k], config)]
    rng = np.random.default_rng([config.seed, number, 1])
    return [pool[fit[k]] for k in np.sort(rng.choice(len(fit), min(config.choose.frames, len(fit)), replace=False))]


def _whole(frame: Frame, spread: float, config: ActiveConfig) -> bool:
    """Whether a frame has not fallen apart."""
    from ase.data import chemical_symbols

    symbols = np.array([chemical_symbols[z] for z in frame.numbers])
    contact = contact_ratio(symbols, frame.positions_A, frame.lattice_A)
    return bool(spread <= config.choose.largest_doubt_eV_per_A and contact > config.choose.closest_contact)
