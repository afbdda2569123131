"""Bands that are stopped go on from their last images; a teacher's band serves every student that hops the same way."""

import json
import os
import signal
import subprocess
import sys
import time
import types

import numpy as np
import pytest
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.lj import LennardJones

from atomflow.cell import Cell
from atomflow.distill import bands, operations, sides
from atomflow.distill.bands import time_left
from atomflow.distill.card_checks import hops
from atomflow.distill.card_checks.kept import Kept, TeacherSilent
from atomflow.distill.card_checks.section import Context
from atomflow.distill.card_checks.settings import CardSettings
from atomflow.distill.sides import Elsewhere, task

#: Height of the bent valley's saddle, eV.
BARRIER_EV = 0.35


class Bent(Calculator):
    """One atom in two wells at x = ±1.5 Å, joined by a valley bent to y = 1 Å over x = 0, where the saddle stands.

    E = 0.35 (1 − (x/1.5)²)² + 4 (y − 1 + (x/1.5)²)² + 4 z², positions from the middle of the cell.
    """

    implemented_properties = ("energy", "forces", "stress")
    stops_after: int | None = None
    calls = 0

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        if self.stops_after is not None and self.calls >= self.stops_after:
            raise KeyboardInterrupt
        self.calls += 1
        x, y, z = (self.atoms.positions[0] - 6.0).tolist()
        ratio = (x / 1.5) ** 2
        off = y - 1 + ratio
        slope_x = -4 * BARRIER_EV * (1 - ratio) * x / 1.5**2 + 16 * off * x / 1.5**2
        self.results = {"energy": BARRIER_EV * (1 - ratio) ** 2 + 4 * off**2 + 4 * z**2,
                        "forces": -np.array([[slope_x, 8 * off, 8 * z]]), "stress": np.zeros(6)}


def at(x: float, y: float) -> Cell:
    return Cell(np.array([11]), np.array([[6.0 + x, 6.0 + y, 6.1]]), np.eye(3) * 12)


def asked(**more):
    return task("band", [at(-1.3, 0.2), at(1.6, -0.1)], **{"images": 5, "fmax_eV_per_A": 0.02, "steps": 150, **more})


def test_the_saddle_stands_where_the_formula_has_it():
    found = operations.perform(asked(), Bent())
    assert found["converged"]
    assert found["climbed"]
    assert found["forward_eV"] == pytest.approx(BARRIER_EV, abs=0.001)
    assert found["backward_eV"] == pytest.approx(BARRIER_EV, abs=0.001)
    top = found["cells"][int(np.argmax(found["energies_eV"]))]["positions_A"][0]
    np.testing.assert_allclose(top, [6.0, 7.0, 6.0], atol=0.03)
    assert found["largest_force_eV_per_A"] < 0.02


def test_a_band_stopped_again_and_again_comes_to_the_same_barrier_and_counts_all_it_cost(tmp_path, monkeypatch):
    monkeypatch.setattr(bands, "TELL_EVERY_S", 0.0)
    whole = operations.perform(asked(), Bent())
    images, stages, spent, said = tmp_path / "one.band.json", [], 0, []
    for stops_after in (7, 40, 60, 90, None):
        calculator = Bent()
        calculator.stops_after = stops_after
        try:
            found = operations.perform(asked(), calculator, images, said.append)
        except KeyboardInterrupt:
            kept = json.loads(images.read_text())
            stages.append(kept["stage"])
            spent += calculator.calls
            assert kept["evaluations"] <= spent  # what came after the last writing is done again, not counted
    assert stages == sorted(stages)
    assert len(set(stages)) > 1
    assert stops_after is None
    assert found["converged"]
    assert found["forward_eV"] == pytest.approx(whole["forward_eV"], abs=5e-4)
    assert found["evaluations"] > kept["evaluations"] > 0
    assert sum("goes on with" in text for text in said) == 4
    assert any("largest force" in text and "to come below 0.040" in text for text in said)


def test_from_a_converged_band_it_is_there_almost_at_once():
    first = operations.perform(asked(), Bent())
    again = operations.perform(asked() | {"start": first["cells"]}, Bent())
    assert again["forward_eV"] == pytest.approx(first["forward_eV"], abs=1e-4)
    assert again["evaluations"] < first["evaluations"] / 5
    with pytest.raises(ValueError, match="the band has 3 images between its ends, its start has 5"):
        operations.perform(asked(images=3) | {"start": first["cells"]}, Bent())


def test_a_band_that_was_not_given_time_does_not_climb_and_says_so():
    found = operations.perform(asked(steps=2), Bent())
    assert not found["converged"]
    assert not found["climbed"]
    assert found["steps"] == 4
    assert found["largest_force_eV_per_A"] > 0.02


def test_resting_images_and_ends_are_not_asked_again():
    """One image of five is pushed off its place: the steps that bring it back ask hardly anything of the others."""
    first = operations.perform(asked(), Bent())
    first["cells"][1]["positions_A"][0][2] += 0.3
    counting = Bent()
    found = operations.perform(asked() | {"start": first["cells"]}, counting)
    assert found["converged"]
    assert found["steps"] > 5
    assert counting.calls == found["evaluations"] < 2 + 5 + 2 * found["steps"]


@pytest.mark.parametrize(("seen", "words"), [
    ([(0, 0.8, 0.0)], "at most 60 steps"),
    ([(0, 0.8, 0.0), (10, 0.4, 100.0)], "200 s more"),  # two halvings more to 0.1
    ([(0, 0.4, 0.0), (10, 0.5, 100.0)], "no longer than 8 min (all its steps)"),
    ([(0, 0.5, 0.0), (10, 0.499, 100.0)], "no longer than 8 min (all its steps)"),  # falling too slowly to get there
])  # fmt: skip
def test_time_left_is_told_from_how_the_force_falls(seen, words):
    told = time_left(seen, 0.1, 60)
    assert told.startswith(words.replace("200 s", "3 min"))


def test_a_teacher_killed_in_its_band_goes_on_from_the_images(tmp_path):
    """A process of its own, killed; the same call finishes it. Bands are kept whoever's path they began from."""
    first, last = (np.array([[x, 0, 0], [2.25, 1.3, 0], [2.25, -1.3, 0.2], [9, 9, 9]]) + 3 for x in (0.0, 4.5))
    ends = [Cell(np.full(4, 18), positions, np.eye(3) * 15) for positions in (first, last)]
    slow = tmp_path / "slow.py"
    slow.write_text("import sys, time\nsys.path.insert(0, sys.argv[1])\nimport ase.calculators.lj as lj\n"
                    "inner = lj.LennardJones.calculate\n"
                    "def calculate(self, *args, **named):\n    time.sleep(0.01)\n    inner(self, *args, **named)\n"
                    "lj.LennardJones.calculate = calculate\nimport teacher_worker\n"
                    "teacher_worker.main(sys.argv[2], 'lennard-jones', sys.argv[3:])\n")
    wanted = task("band", ends, images=3, fmax_eV_per_A=0.002, steps=200)
    side = Elsewhere("lennard-jones", tmp_path / "teacher", sys.executable)
    side.folder.mkdir()
    (side.folder / "one.task.json").write_text(json.dumps(wanted))
    room = os.path.dirname(operations.__file__)
    worker = subprocess.Popen([sys.executable, str(slow), room, str(side.folder), "one"], stdout=subprocess.PIPE)
    images = side.folder / "one.band.json"
    deadline = time.monotonic() + 30
    while not (images.exists() and json.loads(images.read_text())["stage"] >= 2) and time.monotonic() < deadline:
        time.sleep(0.01)
    worker.send_signal(signal.SIGKILL)
    worker.communicate()
    assert not (side.folder / "one.result.json").exists()
    kept = json.loads(images.read_text())
    assert kept["stage"] >= 2

    said: list[str] = []
    own = operations.perform(wanted, LennardJones(sigma=2.0, epsilon=0.05, rc=5.0, smooth=True))
    images.rename(side.folder / f"{sides._stem(wanted, side.name)}.band.json")
    [found] = side.perform([wanted], said.append)
    assert found["converged"]
    assert found["forward_eV"] == pytest.approx(own["forward_eV"], abs=1e-3)
    assert found["evaluations"] > kept["evaluations"]
    assert any(f"goes on with {'the climb' if kept['stage'] == 3 else 'the band'}" in text for text in said)
    assert not list(side.folder.glob("*.band.json"))

    [other] = side.perform([wanted | {"start": found["cells"]}], said.append)
    assert other["evaluations"] < found["evaluations"]
    silent = Kept("lennard-jones", side.folder)
    assert len(silent.kept(wanted)) == 2
    assert silent.kept(task("band", ends, images=3, fmax_eV_per_A=0.001, steps=200)) == []
    with pytest.raises(TeacherSilent):
        silent.perform([wanted | {"start": found["cells"][::-1]}], said.append)


def straight(first: Cell, last: Cell, moved: float = 0.0) -> list[dict]:
    """Three cells from end to end; one Na beside the hop rests ``moved`` Å off, all the way."""
    beside = np.zeros_like(first.positions_A)
    still = (first.symbols == "Na") & (np.linalg.norm(last.positions_A - first.positions_A, axis=1) < 1e-6)
    beside[np.flatnonzero(still)[0], 0] = moved
    return [operations.to_cell(Cell(first.numbers, (1 - part) * first.positions_A + part * last.positions_A + beside,
                                    first.lattice_A).to_ase()) for part in (0.0, 0.5, 1.0)]  # fmt: skip


def found_band(cells: list[dict], forward_eV: float, backward_eV: float, **more) -> dict:
    return {"cells": cells, "converged": True, "evaluations": 90, "steps": 12, "largest_force_eV_per_A": 0.04,
            "forward_eV": forward_eV, "backward_eV": backward_eV, **more}  # fmt: skip


class Planted:
    """A side whose answers are planted: of bands by whether a start is given; it remembers what it was asked."""

    def __init__(self, bands=(), kept=()):
        self.bands, self.known, self.starts = list(bands), list(kept), []
        self.name = "planted"

    def perform(self, tasks, say):
        return [self._answer(wanted) for wanted in tasks]

    def _answer(self, wanted):
        if wanted["operation"] == "single":
            return {"energies_eV": [-5.0, -4.67, -4.85]}
        self.starts.append(wanted.get("start"))
        if not self.bands:
            raise TeacherSilent("1 answers of planted are not among those kept")
        self.known.append(self.bands.pop(0))
        return self.known[-1]

    def kept(self, wanted):
        return self.known


def hop_section(student, teacher):
    settings = CardSettings(hop_seeds=(3,), hop_images=1)
    potential = types.SimpleNamespace()
    context = Context(potential, "toy", student, teacher, "", settings, None, lambda text: None)
    return context, hops.run(context)


def test_a_kept_band_of_the_same_hop_is_taken_and_the_teacher_asked_nothing():
    first, last, _ = hops.hop_ends(3)
    near, far = (found_band(straight(first, last, off), high, 0.2) for off, high in ((0.1, 0.31), (0.9, 0.45)))
    teacher = Planted(kept=[far, near])
    context, found = hop_section(Planted([found_band(straight(first, last), 0.30, 0.22)]), teacher)
    assert teacher.starts == []
    assert found.facts["3"]["errors_eV"] == pytest.approx([-0.01, 0.02])
    assert found.facts["3"]["ends_apart_A"] == pytest.approx(0.1)
    assert "2 barriers: mean |student − teacher| 15 meV, largest 20 meV" in found.lines[0]
    assert found.rows[0][-1] == "90, 90"
    assert hops.work(context).teacher < hops.work(hop_section(Planted([near]), Planted())[0]).teacher


def test_the_teachers_band_begins_from_the_students_where_none_of_this_hop_is_kept():
    first, last, _ = hops.hop_ends(3)
    own = found_band(straight(first, last), 0.30, 0.22)
    other = found_band(straight(first, last, 0.9), 1.0, 1.0)
    teacher = Planted([found_band(straight(first, last, 0.2), 0.34, 0.2)], kept=[other])
    _, found = hop_section(Planted([own]), teacher)
    assert teacher.starts == [own["cells"]]
    assert found.facts["3"]["errors_eV"] == pytest.approx([-0.04, 0.02])


def test_a_student_that_found_another_hop_climbs_the_teachers_from_the_teachers_band():
    first, last, _ = hops.hop_ends(3)
    own, again = found_band(straight(first, last), 0.30, 0.22), found_band(straight(first, last, 0.8), 0.40, 0.25)
    kept = found_band(straight(first, last, 0.9), 0.41, 0.23)
    student = Planted([own, again])
    _, found = hop_section(student, Planted(kept=[kept]))  # the teacher itself is silent
    assert student.starts == [None, kept["cells"]]
    assert found.facts["3"]["errors_eV"] == pytest.approx([-0.01, 0.02])
    assert found.rows[0][1] == "0.300 / 0.220; from the teacher's band 0.400 / 0.250"
    assert not found.unfinished


@pytest.mark.parametrize("again", [found_band([], 0.40, 0.25, converged=False), found_band([], 0.40, 0.25)])
def test_what_is_not_converged_or_leaves_the_hop_is_shown_and_not_counted(again):
    first, last, _ = hops.hop_ends(3)
    own, kept = found_band(straight(first, last), 0.30, 0.22), found_band(straight(first, last, 0.9), 0.41, 0.23)
    again["cells"] = straight(first, last, 0.9 if not again["converged"] else 0.3)
    _, found = hop_section(Planted([own, again]), Planted(kept=[kept]))
    assert "errors_eV" not in found.facts["3"]
    assert found.rows[0][4] == "0.020 (not counted)"
    assert ("(not converged)" in found.rows[0][1]) is not again["converged"]


def test_no_band_and_a_silent_teacher_leave_the_section_to_be_finished():
    first, last, _ = hops.hop_ends(3)
    _, found = hop_section(Planted([found_band(straight(first, last), 0.30, 0.22)]), Planted())
    assert found.unfinished
    assert found.rows[0][2] == "not kept"
    assert "0.05 eV/Å (converged; given up after 120 steps)" in found.lines[-1]


def test_where_the_teacher_has_no_second_site_there_is_no_hop():
    first, last, _ = hops.hop_ends(3)
    _, found = hop_section(Planted([found_band(straight(first, last), 0.30, 0.22)]),
                           Planted([found_band(straight(first, first), 0.0, 0.0)]))
    assert "no hop" in found.facts["3"]["note"]
    assert "errors_eV" not in found.facts["3"]
