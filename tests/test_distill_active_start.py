"""Where a loop begins (a shipped student and its committee), what judges it, and what a kill or bad input costs."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("mace")

from mace_toys import built_once, disturbed, tiny_files
from test_distill_active import packed, toy, trained_at_once

from atomflow.cli.main import run as command
from atomflow.config import parse
from atomflow.distill import active, active_exam, active_students, label
from atomflow.distill.active_config import ActiveConfig
from atomflow.distill.frames import Labels, read_frames, write_frames
from atomflow.errors import InputError, RunFailed, RunStopped
from atomflow.potentials import load
from atomflow.potentials.committee import write_committee

SEVEN = ["B", "O", "Na", "Si", "P", "Zn", "Zr"]
ZBO = "atomflow-nzsp-zbo"
ALL_DOUBTFUL = {"doubt_eV_per_A": 1e-9, "frames": 3, "closest_contact": 0.3}


@pytest.fixture(autouse=True, scope="module")
def _models_built_once():
    with built_once():
        yield


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A folder with the portable files of a committee of two, as ``atomflow potential train`` leaves them."""
    home = tmp_path_factory.mktemp("tiny")
    names = [file.name for file in tiny_files(home, 2)]
    write_committee(home, names[0], names[1:])
    return home


@pytest.fixture
def quick(monkeypatch, tiny):
    """Training that takes no time: every member is the tiny model, a little disturbed."""

    def export(home, student):
        with np.load(tiny / "tiny-0.mace.npz", allow_pickle=False) as archive:
            return disturbed(dict(archive), home / f"{student.name}.mace.npz", student.seed, 0.3)

    return trained_at_once(monkeypatch, export)


def shaped(**changes):
    """A student whose shape is left to where it starts."""
    return {"name": "toy", "epochs": 1, "committee": 2, "trained_for": "tests", **changes}


def exam(systems=3):
    return {"sources": [{"kind": "packings", "systems": systems, "family": "toy", "units": {"Na2O": [2, 3]},
                         "density_g_per_cm3": [2.0, 2.2]}]}


def test_a_committee_is_gone_on_with_and_judged_by_an_exam_beside_a_random_choice(quick, tiny, tmp_path):
    config = parse(ActiveConfig, toy(tmp_path, start_from=str(tiny), student=shaped(), exam=exam(), control=True,
                                     choose=ALL_DOUBTFUL, old_frames=4, stop={"rounds": 2}))
    data = active.run(config, tmp_path / "loop")
    first = tmp_path / "loop/first"
    assert load(first).identity.sha256 == load(tiny).identity.sha256
    assert [student.grow_from for student in quick[:2]] == [str(first / f"tiny-{k}.mace.npz") for k in range(2)]
    assert {(student.channels, student.max_ell, student.average_neighbours) for student in quick} == {(8, 1, 20.0)}
    assert set(quick[0].elements) == set(SEVEN)
    assert len(read_frames(tmp_path / "loop/round-02/old.npz")) == 4
    judges = read_frames(tmp_path / "loop/exam/labelled/labelled.npz")
    assert {frame.split for frame in judges} == {"test"}
    shown = {frame.system for student in quick for path in student.labelled for frame in read_frames(path)}
    assert not shown & {frame.system for frame in judges}
    one, two = data["rounds"]
    assert one["control_frames"] == one["chosen"] == 3
    learns = [[Path(path).parent.name for path in student.labelled] for student in quick]
    assert learns[:3] == [["round-01", "labelled"]] * 2 + [["round-01", "random-labelled"]]
    assert learns[3:] == [["round-02", "labelled", "labelled"]] * 2 + [["round-02"] + ["random-labelled"] * 2]
    assert quick[5].grow_from == str(tmp_path / "loop/round-01/random-model/toy.mace.npz")
    assert set(two["exam"]["systems"]) == {frame.system for frame in judges}
    assert len(two["exam"]["members_eV_per_A"]) == 2
    rows, head = active.table(data)
    assert head[-3:] == ["ratio to start", "control's ratio", "hours"]
    assert len(rows) == 3
    card = json.loads((tmp_path / "loop/round-02/model/student.json").read_text())
    assert str(tmp_path / "loop/exam/labelled/labelled.npz") in card["labelled"]
    assert active.outlook(config, [one]).startswith("round 1 took")


def test_a_single_student_is_given_small_members_trained_on_the_old_set(quick, tiny, tmp_path):
    student = shaped(further={"channels": 4, "max_ell": 0, "epochs": 2, "first_epochs": 7,
                              "first_frames": 5}, committee=3)
    config = parse(ActiveConfig, toy(tmp_path, start_from=str(tiny / "tiny-0.mace.npz"), student=student))
    home = active_students.first_committee(config, tmp_path / "loop", lambda text: None)
    assert [(member.name, member.channels, member.max_ell, member.correlation, member.epochs, member.labelled)
            for member in quick] == [(f"toy-{k}", 4, 0, 2, 7, (str(home / "old.npz"),)) for k in (2, 3)]
    assert len(read_frames(home / "old.npz")) == 5
    assert len(load(home).identity.committee) == 2
    for k in (2, 3):  # as mace_run_train would have left them
        (home / f"member-{k}" / "checkpoints").mkdir()
        (home / f"member-{k}" / "student.json").write_text(json.dumps(quick[k - 2].model_dump(mode="json")))
    leader, second, _ = active_students.next_committee(config, 1, ("new.npz",), home, 3)
    assert (leader.grow_from, leader.start_from) == (str(home / "tiny-0.mace.npz"), None)
    assert (second.start_from, second.grow_from) == (str(home / "member-2"), None)
    assert (leader.channels, leader.epochs, second.channels, second.epochs) == (8, 1, 4, 2)


def test_a_shipped_student_brings_its_committee_along(tmp_path):
    config = parse(ActiveConfig, toy(tmp_path, start_from=ZBO, student=shaped(committee=3), labelled=[], exam=exam()))
    active_students.check_start(config)
    home = active_students.first_committee(config, tmp_path / "loop", lambda text: None)
    shipped = load(ZBO).identity
    found = load(home).identity
    assert found.sha256 == shipped.sha256
    assert [member.sha256 for member in found.committee] == [member.sha256 for member in shipped.committee]


@pytest.mark.parametrize(("changes", "words"), [
    ({"start_from": "nowhere.mace.npz"}, "start_from: nowhere.mace.npz is neither a .mace.npz file nor one of"),
    ({"start_from": "chgnet"}, "start_from: chgnet is neither"),
    ({"start_from": "."}, r"start_from: \. is not the folder of a trained student \(no committee.json, and"),
    ({"start_from": "TINY", "student": shaped(committee=4)}, "a committee of 2; student.committee asks for 4"),
    ({"start_from": "TINY", "student": shaped(channels=4)}, "a student grows and never shrinks; channels is 8"),
    ({"start_from": "TINY", "student": shaped(elements=["Na", "Ca"])}, "knows other elements"),
    ({"labelled": ["missing.npz"]}, "cannot read missing.npz"),
    ({"labelled": ["BARE"]}, "a frame has no labels"),
    ({"labelled": ["ALL"]}, "no frame is held out for the test, and there is no exam"),
    ({"exam": {"labelled": ["BARE"]}}, "a frame has no labels"),
    ({"teacher": {"name": "7net-l3i5", "python": "/nowhere/python"}}, "no Python interpreter at /nowhere/python"),
    ({"teacher": {"name": "7net-9", "python": "here"}}, "cannot open the teacher 7net-9: unknown teacher '7net-9'"),
])
def test_what_would_fail_after_an_hour_is_refused_at_once(tiny, tmp_path, monkeypatch, changes, words):
    monkeypatch.chdir(tmp_path)
    write_frames([packed()], tmp_path / "BARE")
    write_frames([packed().labelled(Labels(-1.0, np.zeros((8, 3)), np.zeros((3, 3))))], tmp_path / "ALL")
    wanted = toy(tmp_path, **changes)
    wanted["start_from"] = str(tiny) if wanted.get("start_from") == "TINY" else wanted.get("start_from")
    with pytest.raises(InputError, match=words) as refused:
        active.run(parse(ActiveConfig, wanted), tmp_path / "loop")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "loop/config.json").exists()


@pytest.mark.parametrize(("changes", "words"), [
    ({"labelled": []}, "a first set is needed, or a student to start_from"),
    ({"exam": {}}, "give either sources"),
    ({"control": True, "choose": {"by": "random", "doubt_eV_per_A": 1}}, "nothing to compare it with"),
    ({"student": shaped(grow_from="atomflow-nzsp-0")}, "stand at the top level"),
])
def test_configurations_that_contradict_themselves(tmp_path, changes, words):
    with pytest.raises(InputError, match=words):
        parse(ActiveConfig, toy(tmp_path, **changes))


def test_two_loops_in_one_folder_are_refused_and_the_teacher_may_move(quick, tiny, tmp_path, monkeypatch):
    folder = tmp_path / "loop"
    config = parse(ActiveConfig, toy(tmp_path, start_from=str(tiny), student=shaped(), choose=ALL_DOUBTFUL))

    def second(*arguments):
        with pytest.raises(InputError, match="another process is writing this folder of a loop"):
            active.run(config, folder)
        raise RunStopped("and stops")

    monkeypatch.setattr(active, "_rounds", second)
    with pytest.raises(RunStopped):
        active.run(config, folder)
    monkeypatch.undo()
    moved = config.model_copy(update={"teacher": config.teacher.model_copy(update={"python": "/elsewhere"})})
    with pytest.raises(InputError, match="no Python interpreter at /elsewhere"):
        active.run(moved, folder)  # the same loop: it went on to where the teacher is needed


# --- kills -------------------------------------------------------------------------------------------------------


def pool_of(tmp_path, frames=6):
    path = tmp_path / "pool"
    path.mkdir()
    write_frames([packed(seed=k) for k in range(frames)], path / "pool.npz")
    return path


def test_a_stop_while_labelling_ends_the_worker_and_keeps_every_label(tmp_path, monkeypatch):
    pool, folder = pool_of(tmp_path), tmp_path / "labelled"

    def stopped(state):
        if state.done == 3:
            raise RunStopped("a signal came")

    started = []
    real = subprocess.Popen
    monkeypatch.setattr(label.subprocess, "Popen", lambda *a, **k: started.append(real(*a, **k)) or started[-1])
    with pytest.raises(RunStopped):
        label.label(pool, folder, "lennard-jones", sys.executable, stopped, part_size=1)
    assert started[0].poll() is not None
    kept = {path: path.stat().st_mtime_ns for path in (folder / "parts").glob("*.npz")}
    assert len(kept) >= 2
    seen = []
    label.label(pool, folder, "lennard-jones", sys.executable, seen.append, part_size=4)  # begun with 1: stays
    assert [state.done for state in seen] == list(range(len(kept) + 1, 7))
    assert seen[-1].seconds_left == 0
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
    assert len(read_frames(folder / "labelled.npz")) == 6


def test_a_folder_begun_before_parts_had_a_size_goes_on(tmp_path):
    pool, folder = pool_of(tmp_path), tmp_path / "labelled"
    label.label(pool, folder, "lennard-jones", sys.executable)
    claim = json.loads((folder / "label.json").read_text())
    assert claim.pop("part_size") == label.PART_SIZE
    (folder / "label.json").write_text(json.dumps(claim))
    label.label(pool, folder, "lennard-jones", sys.executable, part_size=1)
    assert [path.name for path in (folder / "parts").glob("*.npz")] == ["000000.npz"]


def test_a_stop_while_training_says_that_the_loop_goes_on(tiny, tmp_path, monkeypatch):
    def stopped(*arguments):
        raise RunStopped("training stopped; atomflow potential train with the same folder goes on")

    monkeypatch.setattr(active_students.training, "train", stopped)
    config = parse(ActiveConfig, toy(tmp_path, start_from=str(tiny), student=shaped(), choose=ALL_DOUBTFUL))
    with pytest.raises(RunStopped, match="the same command goes on with the loop"):
        active.run(config, tmp_path / "loop")


def test_a_training_left_behind_by_a_killed_loop_is_ended(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sleeps = "import time; time.sleep(60)"
    own, other = (subprocess.Popen([sys.executable, "-c", sleeps, f"--work_dir={name}"]) for name in ("mine", "yours"))
    try:
        until = time.monotonic() + 10
        while own.pid not in active_students._trainings_in(tmp_path / "mine") and time.monotonic() < until:
            time.sleep(0.05)
        said = []
        active_students.end_left_over(tmp_path / "mine", said.append, patience_s=0.5)
        assert own.wait(10) == -signal.SIGTERM
        assert other.poll() is None
        assert str(own.pid) in said[0]
    finally:
        for process in (own, other):
            process.kill()
            process.wait()


def test_a_queues_warning_stops_the_loop(quick, tiny, tmp_path, monkeypatch, capsys):
    def warned(*arguments):
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(1)

    monkeypatch.setattr(active, "_rounds", warned)
    (tmp_path / "active.yaml").write_text(json.dumps(toy(tmp_path, start_from=str(tiny), student=shaped())))
    assert command(["potential", "active", str(tmp_path / "active.yaml"), "-o", str(tmp_path / "loop")]) == 75
    assert "stopped by SIGUSR1; the same command goes on" in capsys.readouterr().err


def test_the_interpreter_may_be_given_by_option(tiny, tmp_path, capsys):
    (tmp_path / "active.yaml").write_text(json.dumps(toy(tmp_path, start_from=str(tiny), student=shaped())))
    arguments = ["potential", "active", str(tmp_path / "active.yaml"), "-o", str(tmp_path / "loop")]
    assert command([*arguments, "--python", "/nowhere"]) == 2
    assert "no Python interpreter at /nowhere" in capsys.readouterr().err


# --- judging -----------------------------------------------------------------------------------------------------


def test_errors_by_system_give_the_rmse_and_a_ratio_that_knows_what_is_shared():
    rng = np.random.default_rng(3)
    hard = rng.lognormal(0, 1.5, 40)
    before = {f"s{k}": (float(30 * value), 30) for k, value in enumerate(hard)}
    after = {name: (0.25 * square, count) for name, (square, count) in before.items()}
    whole = active_exam.rmse(before)
    assert whole.value == pytest.approx(np.sqrt(hard.mean()))
    assert whole.low < whole.value < whole.high
    half = active_exam.ratio(after, before)
    assert (half.value, half.low, half.high) == pytest.approx((0.5, 0.5, 0.5))  # every system halved: no doubt
    with pytest.raises(InputError, match="the same systems"):
        active_exam.ratio({"s0": after["s0"]}, before)


def test_a_judged_student_is_as_far_off_as_its_forces_say(tiny):
    frames = [packed(seed=k, system=f"s{k}") for k in range(2)]
    named = [frame.labelled(Labels(0.0, np.full((8, 3), 0.5), np.zeros((3, 3)))) for frame in frames]
    calculator = load(tiny).calculator()
    squares = []
    for frame in frames:
        atoms = frame.to_ase()
        atoms.calc = calculator
        squares.append((atoms.get_forces() - 0.5) ** 2)
    found = active_exam.judged(tiny, named)
    assert found["force_rmse_eV_per_A"]["value"] == pytest.approx(np.sqrt(np.mean(squares)), rel=1e-4)
    assert found["members_eV_per_A"][0] == found["force_rmse_eV_per_A"]["value"]
    assert active_exam.judged(tiny, []) is None


def test_a_failing_teacher_is_one_line(tmp_path):
    pool = pool_of(tmp_path, 2)
    with pytest.raises(RunFailed, match="the teacher 7net-9 failed: unknown teacher"):
        label.label(pool, tmp_path / "labelled", "7net-9", sys.executable)
