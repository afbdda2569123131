"""Campaigns on a toy potential: planning, running, stopping, killing, resuming, refusing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from atomflow import campaign, runs
from atomflow.campaign.tasks import expand
from atomflow.cli.main import run as command
from atomflow.errors import InputError, RunFailed
from atomflow.runs.lock import FolderLock

WORKFLOWS = Path(__file__).parent.parent / "workflows" / "bulk"
IDENTITY = {"sha256": "0" * 64, "dtype": "float64"}


def toy(**changes):
    """A campaign file's content: one toy structure, two short runs."""
    data = {
        "name": "toy",
        "structures": {"argon": {"file": str(WORKFLOWS / "toy.extxyz")}},
        "potential": {"name": "lennard-jones-argon", "dtype": "float64", "device": "cpu"},
        "md": {"time_ps": 0.2, "timestep_fs": 5.0, "frame_interval_fs": 20.0, "checkpoint_interval_ps": 0.1},
        "temperatures_K": [100, 200],
        "resources": {"processes": 2},
    }
    return {**data, **changes}


MD = toy()["md"]


def written(path, **changes):
    path.write_text(yaml.safe_dump(toy(**changes)))
    return path


def tasks_of(path):
    config = campaign.load(path)
    return expand(config, {name: config.build(name) for name in config.structures}, IDENTITY)


# --- the file ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(WORKFLOWS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_workflow_is_a_valid_campaign(path):
    assert campaign.load(path).name == path.stem


@pytest.mark.parametrize("name", ["smoke", "quickstart", pytest.param("bulk", marks=pytest.mark.slow)])
def test_the_structures_of_the_workflows_can_be_built(name):
    config = campaign.load(WORKFLOWS / f"{name}.yaml")
    assert all(len(config.build(structure)) >= 32 for structure in config.structures)



def test_a_missing_structure_file_is_named_with_its_structure(tmp_path):
    config = campaign.load(written(tmp_path / "a.yaml", structures={"a": {"file": "missing.cif"}}))
    with pytest.raises(InputError, match=r"structures\.a: there is no file .*missing\.cif"):
        campaign.run(config, tmp_path / "out")


# --- tasks ------------------------------------------------------------------------------------------------------


def test_tasks_are_named_after_what_decides_their_outcome(tmp_path):
    keys = {
        name: {task.key for task in tasks_of(written(tmp_path / "a.yaml", **changes))}
        for name, changes in {
            "same": {},
            "resources": {"resources": {"processes": 7}},
            "name": {"name": "other"},
            "more": {"seeds": 2},
            "md": {"md": {**MD, "thermostat_time_fs": 100.0}},
            "relax": {"relax": "positions"},
            "one": {"md_at": {100: {"time_ps": 0.3}}},
        }.items()
    }
    assert keys["same"] == keys["resources"] == keys["name"]
    assert keys["same"] < keys["more"]
    assert not keys["same"] & keys["md"]
    assert not keys["same"] & keys["relax"]
    assert len(keys["same"] & keys["one"]) == 1


# --- running ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished campaign: its file and its folder."""
    place = tmp_path_factory.mktemp("campaign")
    path = written(place / "toy.yaml")
    assert command(["campaign", "run", str(path), "-o", str(place / "out")]) == 0
    return path, place / "out"


def test_a_campaign_runs_every_task(finished, capsys):
    _, folder = finished
    assert command(["campaign", "status", str(folder), "--json"]) == 0
    state = json.loads(capsys.readouterr().out)
    assert state["counts"] == {"done": 2}
    assert {task["id"] for task in state["tasks"]} == {path.name for path in (folder / "runs").iterdir()}
    for task in state["tasks"]:
        run = runs.open_run(folder / "runs" / task["id"])
        assert run.manifest["labels"] == {"structure": "argon", "task": task["id"], "campaign": "toy"}
        assert run.temperature_K == task["temperature_K"]
        assert run.n_frames == 11
        assert task["progress"] == 1.0


def test_what_is_done_is_not_done_again(finished, monkeypatch):
    path, folder = finished
    before = {file: file.stat().st_mtime_ns for file in folder.glob("runs/*/trajectory.h5")}
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a worker was started"))
    assert campaign.run(campaign.load(path), folder).counts == {"done": 2}
    assert {file: file.stat().st_mtime_ns for file in folder.glob("runs/*/trajectory.h5")} == before


def test_changed_inputs_are_refused_with_the_difference(finished, tmp_path, capsys):
    _, folder = finished
    kept = (folder / "campaign.json").read_bytes()
    for changes, shown in (
        ({"md": {**MD, "time_ps": 5.0}}, "md.time_ps: 0.2 → 5.0"),
        ({"temperatures_K": [100, 300]}, "temperatures_K: [100.0, 200.0] → [100.0, 300.0]"),
        ({"potential": {**toy()["potential"], "dtype": "float32"}}, 'potential.dtype: "float64" → "float32"'),
    ):
        path = written(tmp_path / "changed.yaml", **changes)
        assert command(["campaign", "run", str(path), "-o", str(folder)]) == 2
        assert shown in capsys.readouterr().err
    assert (folder / "campaign.json").read_bytes() == kept


def test_a_second_driver_is_refused(finished):
    path, folder = finished
    lock = FolderLock(folder / "lock", "campaign")
    try:
        assert campaign.status(folder).driver["pid"] == os.getpid()
        with pytest.raises(InputError, match=f"another process is writing this campaign .process {os.getpid()} on"):
            campaign.run(campaign.load(path), folder)
    finally:
        lock.release()


def test_status_needs_no_torch_and_says_what_is_no_campaign(finished, tmp_path):
    _, folder = finished
    code = ("import sys; from atomflow import campaign; print(campaign.status(sys.argv[1]).text());"
            "sys.exit('torch' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 tasks done" in done.stdout
    with pytest.raises(InputError, match="not a campaign folder"):
        campaign.status(tmp_path)


def test_a_plan_starts_nothing_and_counts_right(tmp_path, capsys):
    path = written(tmp_path / "toy.yaml", seeds=3, md_at={100: {"time_ps": 0.4}})
    assert command(["campaign", "plan", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["tasks"]) == 6
    assert found["steps"] == 3 * 40 + 3 * 80
    lanes = 200  # 80 80 80 40 40 40 steps on two processes, each to the one that is free first
    assert found["hours"] * 3600 == pytest.approx(found["seconds_per_step"]["argon"] * lanes)
    assert found["altogether_hours"] == [found["hours"]] * 2
    assert found["batches"] is None
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_plan_counts_relaxation_and_batches(tmp_path):
    path = written(tmp_path / "toy.yaml", relax="cell", relax_max_steps=50, seeds=2,
                   resources={"processes": 1, "packing": 2})
    found = campaign.plan(campaign.load(path))
    relaxing = found.relax_hours_at_most["argon"]
    assert relaxing * 3600 / 50 > 0.2 * found.seconds_per_step["argon"]  # a step asks for the forces, and more
    least, most = found.altogether_hours
    assert least == found.hours
    assert most == pytest.approx(found.hours + relaxing)
    assert list(found.batches.throughput) == [1, 2]
    gain = found.batches.throughput[found.batches.size] / found.batches.throughput[1]
    assert found.hours * 3600 == pytest.approx(found.steps * found.seconds_per_step["argon"] / gain)
    assert "cell and positions are relaxed to 0.05 eV/Å; with all 50 steps that takes: argon" in found.text()
    assert "the runs of a process go in batches: " in found.text()
    assert "altogether about" in found.text()
    assert sorted(tmp_path.iterdir()) == [path]


# --- kills ------------------------------------------------------------------------------------------------------


def drive(path, folder):
    arguments = [sys.executable, "-m", "atomflow.cli.main", "campaign", "run", str(path), "-o", str(folder)]
    return subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def running(folder):
    """Process ids of the workers that are simulating."""
    states = [json.loads(file.read_text()) for file in folder.glob("progress/*.json")]
    return [state["pid"] for state in states if state.get("stage") == "production"]


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return not Path(f"/proc/{pid}/stat").exists() or Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"


LONG = {"md": {**MD, "time_ps": 20.0, "checkpoint_interval_ps": 1.0}}


@pytest.mark.slow
def test_stopped_and_killed_at_will_the_result_is_the_uninterrupted_one(tmp_path):
    path = written(tmp_path / "toy.yaml", **LONG)
    whole, folder = tmp_path / "whole", tmp_path / "out"
    assert drive(path, whole).wait() == 0

    driver = drive(path, folder)  # 1: the driver is asked to stop
    wait_for(lambda: len(running(folder)) == 2)
    driver.send_signal(signal.SIGTERM)
    assert driver.wait(30) == 75
    assert "go on with: atomflow campaign run" in driver.stderr.read()
    assert campaign.status(folder).counts == {"stopped": 2}

    for progress in folder.glob("progress/*.json"):
        progress.unlink()
    driver = drive(path, folder)  # 2: the driver is killed; its workers stop by themselves
    wait_for(lambda: len(running(folder)) == 2)
    workers = running(folder)
    driver.kill()
    driver.wait()
    wait_for(lambda: not any(alive(pid) for pid in workers))
    assert campaign.status(folder).counts == {"stopped": 2}

    for progress in folder.glob("progress/*.json"):
        progress.unlink()
    driver = drive(path, folder)  # 3: a worker is killed; the other goes on, the driver names the task
    wait_for(lambda: len(running(folder)) == 2)
    os.kill(running(folder)[0], signal.SIGKILL)
    assert driver.wait(60) == 1
    assert "killed by SIGKILL" in driver.stderr.read()
    assert campaign.status(folder).counts == {"done": 1, "killed": 1}

    assert drive(path, folder).wait() == 0  # 4: the rest
    for run in (whole / "runs").iterdir():
        assert (folder / "runs" / run.name / "trajectory.h5").read_bytes() == (run / "trajectory.h5").read_bytes()


@pytest.mark.slow
def test_a_task_that_fails_does_not_stop_the_others(tmp_path):
    path = written(tmp_path / "toy.yaml", temperatures_K=[100, 20000], relax="positions",
                   md={**MD, "max_force_eV_per_A": 1.0}, resources={"processes": 1})
    with pytest.raises(RunFailed, match=r"1 of the campaign's tasks failed: argon-20000K-s1-\w+ \(.*force"):
        campaign.run(campaign.load(path), tmp_path / "out")
    state = campaign.status(tmp_path / "out")
    assert state.counts == {"done": 1, "failed": 1}
    assert "force" in state.tasks[0].warning
    about = json.loads((tmp_path / "out" / "cells" / "argon.json").read_text())
    assert about["result"]["converged"]


@pytest.mark.slow
def test_the_smoke_campaign_can_be_extended(tmp_path):
    assert command(["campaign", "run", str(WORKFLOWS / "smoke.yaml"), "-o", str(tmp_path / "out")]) == 0
    data = yaml.safe_load((WORKFLOWS / "smoke.yaml").read_text())
    data["structures"]["toy"]["file"] = str(WORKFLOWS / "toy.extxyz")
    data["temperatures_K"] = [150, 250, 300]
    (tmp_path / "more.yaml").write_text(yaml.safe_dump(data))
    assert campaign.run(campaign.load(tmp_path / "more.yaml"), tmp_path / "out").counts == {"done": 6}
