"""What can go wrong in a campaign, one by one: what is said, what is kept, and that the numbers stay the same."""

import errno
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from atomflow import campaign, runs
from atomflow.campaign import worker
from atomflow.cli.main import run as command
from atomflow.errors import InputError, RunFailed

TOY = Path(__file__).parent.parent / "workflows" / "bulk" / "toy.extxyz"
SHORT = {"time_ps": 0.4, "timestep_fs": 5.0, "frame_interval_fs": 20.0, "checkpoint_interval_ps": 0.1}


def written(path, **changes):
    data = {
        "name": "toy", "structures": {"argon": {"file": str(TOY)}},
        "potential": {"name": "lennard-jones-argon", "dtype": "float64", "device": "cpu"},
        "md": SHORT, "temperatures_K": [200], "resources": {"processes": 2}}
    path.write_text(yaml.safe_dump({**data, **changes}))
    return path


def prepare(path, folder):
    """The campaign on record, nothing run; the names of its tasks."""
    from atomflow.campaign.driver import prepared

    with prepared(campaign.load(path), folder) as ready:
        return [task.id for task in ready.tasks]


def trajectory(folder, task):
    return (folder / "runs" / task / "trajectory.h5").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An undisturbed campaign of one task, run in this process."""
    place = tmp_path_factory.mktemp("whole")
    path = written(place / "toy.yaml")
    (task,) = prepare(path, place / "whole")
    assert worker.main([str(place / "whole"), task]) == 0
    return path, task, trajectory(place / "whole", task)


class StopAfter:
    """Makes the worker stop itself (SIGTERM) at its n-th sign of life of production."""

    def __init__(self, monkeypatch, moments, number=signal.SIGTERM):
        self.left, self.number = moments, number
        monkeypatch.setattr(worker._Reporter, "moment", self)

    def __call__(self, progress):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_a_task_with_a_checkpoint_and_75(whole, tmp_path, monkeypatch, number):
    path, task, expected = whole
    folder = tmp_path / "out"
    prepare(path, folder)
    with monkeypatch.context() as patch:
        StopAfter(patch, 7, number)
        assert worker.main([str(folder), task]) == 75
    assert campaign.status(folder).counts == {"stopped": 1}
    assert worker.main([str(folder), task]) == 0
    assert trajectory(folder, task) == expected


def test_a_damaged_checkpoint_is_told_and_the_one_before_is_used(whole, tmp_path, monkeypatch):
    path, task, expected = whole
    folder = tmp_path / "out"
    prepare(path, folder)
    with monkeypatch.context() as patch:
        StopAfter(patch, 13)
        worker.main([str(folder), task])
    newest = max((folder / "runs" / task).glob("checkpoint.*.h5"), key=lambda file: file.stat().st_mtime_ns)
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 0xFF
    newest.write_bytes(content)
    assert worker.main([str(folder), task]) == 0
    assert trajectory(folder, task) == expected
    assert f"the checkpoint {newest.name} is damaged" in campaign.status(folder).tasks[0].warning


@pytest.mark.parametrize("harm", ["gone", "cut"])
def test_a_run_that_lost_its_trajectory_is_done_again(whole, tmp_path, harm, capsys):
    """Purged by a scratch cleaner, or copied by halves: no command may go on calling it done."""
    path, task, expected = whole
    folder = tmp_path / "out"
    prepare(path, folder)
    assert worker.main([str(folder), task]) == 0
    place = folder / "runs" / task / "trajectory.h5"
    place.write_bytes(expected[:5000])
    if harm == "gone":
        place.unlink()
    state = campaign.status(folder)
    assert state.counts == {"failed": 1}
    words = "is gone" if harm == "gone" else f"has 5000 of {len(expected)} bytes"
    assert f"it was done, and trajectory.h5 {words}; campaign run does it again" in state.tasks[0].warning
    assert command(["md", "--resume", str(place.parent)]) == 2
    assert "no resume brings it back" in capsys.readouterr().err
    assert campaign.retry(folder, failed_only=True) == [task]
    assert trajectory(folder, task) == expected
    assert (folder / "lost" / task / "run.json").exists()
    assert campaign.status(folder).counts == {"done": 1}


def test_a_relaxation_that_is_stopped_goes_on_to_the_same_cell(tmp_path, monkeypatch):
    path = written(tmp_path / "toy.yaml", relax="positions", relax_fmax_eV_per_A=1e-4)
    steps = []

    def watch(self, data, paths=None):
        steps.append(data.get("step"))
        if steps[-1] == 4 and steps.count(4) == 2:  # the second folder's, the first time
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(worker._Reporter, "step", watch)
    cells = {}
    for name, codes in (("whole", [0]), ("out", [75, 0])):
        prepare(path, tmp_path / name)
        assert [worker.main([str(tmp_path / name), "relax-argon"]) for _ in codes] == codes
        cells[name] = (tmp_path / name / "cells" / "argon.extxyz").read_bytes()
    assert cells["out"] == cells["whole"]
    assert sorted(place.name for place in (tmp_path / "out" / "cells").iterdir()) == ["argon.extxyz", "argon.json"]


def test_a_full_disk_keeps_what_was_written_and_retry_ends_it(whole, tmp_path, capsys):
    path, task, expected = whole
    folder = tmp_path / "out"
    prepare(path, folder)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9000, before[1]))
    try:
        code = worker.main([str(folder), task])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert code == 1
    assert "no room left on the disk" in capsys.readouterr().err
    assert worker.main([str(folder), task]) == 0
    assert trajectory(folder, task) == expected


def test_a_full_disk_stops_the_driver_with_one_line_and_harms_nothing(whole, monkeypatch, capsys):
    from atomflow.campaign import folder as places

    path, task, expected = whole
    folder, record = path.parent / "whole", (path.parent / "whole" / "campaign.json").read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(places, "write_whole", full)
        assert command(["campaign", "run", str(path), "-o", str(folder)]) == 1
    said = capsys.readouterr().err.strip()
    assert "no room left on the disk while writing" in said
    assert "campaign.json" in said
    assert len(said.splitlines()) == 1
    assert (folder / "campaign.json").read_bytes() == record
    assert trajectory(folder, task) == expected


def test_numbers_that_are_not_finite_say_what_where_and_what_to_do(tmp_path, capsys, monkeypatch):
    from atomflow.potentials import pair

    path, folder = written(tmp_path / "toy.yaml"), tmp_path / "out"
    (task,) = prepare(path, folder)
    model = type(pair.LennardJones().batch_model([18], [0], 1))
    calls = {"n": 0}
    honest = model.__call__

    def broken(self, *arguments, **keywords):
        found = honest(self, *arguments, **keywords)
        calls["n"] += 1
        if calls["n"] > 45:
            found.forces_eV_per_A[3, 0] = float("nan")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(model, "__call__", broken)
        assert worker.main([str(folder), task]) == 1
    (row,) = campaign.status(folder).tasks
    assert row.state == "failed"
    for words in (task, "stopped at step 4", "atom 3", "is not a finite number", "the last good checkpoint is step 40",
                  "try a shorter timestep_fs"):
        assert words in row.warning
    assert runs.open_run(folder / "runs" / task).n_frames >= 11


def test_a_missing_model_file_is_named_and_costs_nothing(whole, tmp_path, monkeypatch, capsys):
    path, task, expected = whole
    folder = tmp_path / "out"
    prepare(path, folder)
    with monkeypatch.context() as patch:
        StopAfter(patch, 7)
        worker.main([str(folder), task])
    record = folder / "campaign.json"
    good = record.read_text()
    record.write_text(good.replace('"name": "lennard-jones-argon"', '"name": "gone/student.model"', 1))
    capsys.readouterr()
    assert worker.main([str(folder), task]) == 2
    assert "gone/student.model" in capsys.readouterr().err
    record.write_text(good)
    assert worker.main([str(folder), task]) == 0
    assert trajectory(folder, task) == expected


@pytest.mark.parametrize("jump_s", [-86400.0 * 365, 86400.0 * 365])
def test_a_clock_that_jumps_changes_nothing(whole, tmp_path, monkeypatch, jump_s):
    path, task, expected = whole
    folder = tmp_path / "out"
    prepare(path, folder)
    honest, started = time.time, time.time()
    monkeypatch.setattr(time, "time", lambda: honest() + (jump_s if honest() > started + 0.1 else 0.0))
    assert worker.main([str(folder), task]) == 0
    assert trajectory(folder, task) == expected
    row = campaign.status(folder).tasks[0]
    assert row.state == "done"
    assert row.ns_per_day > 0


def test_two_workers_on_one_task_the_second_is_refused(whole, tmp_path, capsys):
    path, task, _ = whole
    folder = tmp_path / "out"
    prepare(path, folder)
    from atomflow.runs.lock import FolderLock

    (folder / "runs" / task).mkdir()
    lock = FolderLock(folder / "runs" / task / "lock")
    try:
        assert worker.main([str(folder), task]) == 2
    finally:
        lock.release()
    assert f"another process is writing this run folder (process {os.getpid()}" in capsys.readouterr().err


def test_cancel_and_retry_on_a_folder_where_nothing_is_to_do(whole, capsys):
    path, _, _ = whole
    folder = path.parent / "whole"
    assert command(["campaign", "cancel", str(folder)]) == 0
    assert command(["campaign", "retry", str(folder), "--failed"]) == 0
    shown = capsys.readouterr().out
    assert "nothing was running" in shown
    assert "0 tasks tried again" in shown
    for verb in ("cancel", "retry", "status"):
        assert command(["campaign", verb, str(path.parent)]) == 2
        assert "is not a campaign folder" in capsys.readouterr().err


def test_cancel_does_not_signal_a_process_of_another_machine(whole, monkeypatch):
    from atomflow.campaign import control

    path, _, _ = whole
    monkeypatch.setattr(control, "holder", lambda _: {"pid": os.getpid(), "host": "elsewhere"})
    with pytest.raises(InputError, match="on elsewhere; cancel it there"):
        campaign.cancel(path.parent / "whole")


# --- several processes ------------------------------------------------------------------------------------------


def drive(path, folder):
    arguments = [sys.executable, "-m", "atomflow.cli.main", "campaign", "run", str(path), "-o", str(folder)]
    return subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@pytest.mark.slow
def test_cancel_ends_a_driver_and_retry_needs_no_file(tmp_path, capsys):
    path = written(tmp_path / "toy.yaml", md={**SHORT, "time_ps": 30.0}, temperatures_K=[100, 200])
    folder = tmp_path / "out"
    driver = drive(path, folder)
    wait_for(lambda: len(list(folder.glob("runs/*/run.json"))) == 2)
    assert command(["campaign", "cancel", str(folder)]) == 0
    assert f"process {driver.pid} has stopped" in capsys.readouterr().out
    assert driver.wait(30) == 75
    assert campaign.status(folder).counts == {"stopped": 2}
    path.unlink()
    assert campaign.retry(folder, failed_only=True) == []
    assert len(campaign.retry(folder)) == 2
    assert campaign.status(folder).counts == {"done": 2}


@pytest.mark.slow
def test_retry_of_what_failed_leaves_the_rest_alone(tmp_path):
    path = written(tmp_path / "toy.yaml", temperatures_K=[100, 20000], md={**SHORT, "max_force_eV_per_A": 1.0})
    folder = tmp_path / "out"
    with pytest.raises(RunFailed):
        campaign.run(campaign.load(path), folder)
    kept = {file: file.stat().st_mtime_ns for file in folder.glob("runs/argon-100K*/*.h5")}
    with pytest.raises(RunFailed, match="1 of the campaign's tasks failed: argon-20000K"):
        campaign.retry(folder, failed_only=True)
    assert {file: file.stat().st_mtime_ns for file in folder.glob("runs/argon-100K*/*.h5")} == kept
