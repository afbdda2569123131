"""Campaigns on a real single-node SLURM that the tests start themselves: walltime, requeue, a node that is lost."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
import slurm_here
from test_campaign import alive
from test_campaign_slurm import LIQUID, WORKFLOWS, smoke

from atomflow import campaign, runs
from atomflow.campaign import folder as places
from atomflow.campaign import queue
from atomflow.cli.main import run as command
from atomflow.errors import InputError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    why = slurm_here.missing()
    if why:
        pytest.skip(f"no SLURM: {why}")
    with slurm_here.running(tmp_path_factory.mktemp("slurm")) as found:
        yield found


def wait_for(condition, seconds=600):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, subprocess.run(["squeue"], capture_output=True, text=True).stdout
        time.sleep(0.3)


def hurry():
    """SLURM lets a job that comes back wait for two minutes; not here."""
    for element in subprocess.run(["squeue", "-h", "--array", "-t", "PD", "-o", "%i"], capture_output=True,
                                  text=True).stdout.split():
        subprocess.run(["scontrol", "update", f"jobid={element}", "starttime=now"], capture_output=True)


def finished(folder, seconds=900):
    """Wait until nothing of the campaign is in the queue, and see that all of it is done."""

    def over():
        hurry()
        try:
            return not queue.in_queue(folder)
        except InputError:  # a busy machine: squeue did not answer
            return False

    wait_for(over, seconds)
    state = campaign.status(folder)
    assert state.counts == {"done": len(state.tasks)}, state.text()
    return state


def same(folder, other):
    """Every trajectory of two campaigns, byte for byte."""
    names = sorted(path.name for path in (folder / "runs").iterdir())
    assert names == sorted(path.name for path in (other / "runs").iterdir())
    return all((folder / "runs" / name / "trajectory.h5").read_bytes()
               == (other / "runs" / name / "trajectory.h5").read_bytes() for name in names)


def states(folder):
    return sorted(runs.open_run(place).manifest["state"] for place in (folder / "runs").iterdir())


def in_production(folder, count=2):
    """Process ids of the workers, once so many of them have made a hundred steps of production."""
    live = [places.read_json(place) for place in folder.glob("progress/*.json")]
    pids = [item["pid"] for item in live if item.get("stage") == "production" and alive(item["pid"])]
    return pids if len(pids) == count else []


def said(folder):
    return "".join(place.read_text() for place in folder.glob("logs/slurm-*.log"))


def test_the_smoke_campaign_on_slurm_gives_the_very_bytes_of_a_local_run(slurm, tmp_path):
    path = smoke(tmp_path / "smoke.yaml")
    assert command(["campaign", "run", str(path), "-o", str(tmp_path / "queue"), "--on", "slurm"]) == 0
    assert campaign.status(tmp_path / "queue").active
    assert command(["campaign", "run", str(path), "-o", str(tmp_path / "local")]) == 0
    finished(tmp_path / "queue")
    assert same(tmp_path / "queue", tmp_path / "local")
    assert campaign.submit(campaign.load(path), tmp_path / "queue") == []


def test_the_quickstart_as_it_is_on_slurm(slurm, tmp_path):
    """The very file of the README, unchanged: minutes on two quiet cores."""
    started = time.monotonic()
    folder = tmp_path / "quickstart"
    assert command(["campaign", "run", str(WORKFLOWS / "quickstart.yaml"), "-o", str(folder), "--on", "slurm"]) == 0
    assert time.monotonic() - started < 120
    state = finished(folder, seconds=5400)
    print(f"quickstart on SLURM: {time.monotonic() - started:.0f} s; {state.estimates[0].line()}")
    assert state.estimates[0].runs == 4


LONG = {"equilibration_ps": 0.5, "time_ps": 20.0, "timestep_fs": 5.0, "checkpoint_interval_ps": 2.0}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Two longer runs without any trouble."""
    folder = tmp_path_factory.mktemp("long")
    path = smoke(folder / "smoke.yaml", md=LONG, temperatures_K=[150], relax="none")
    campaign.run(campaign.load(path), folder / "out")
    return folder / "out"


def long_one(place, **slurm_settings):
    """The same, handed in: one job of two runs. Returns its folder and the element."""
    settings = {"time": "00:20:00", "memory": "400M", "tasks_per_job": 2, **slurm_settings}
    path = smoke(place / "smoke.yaml", md=LONG, temperatures_K=[150], relax="none", resources={"slurm": settings})
    (job,) = campaign.submit(campaign.load(path), place / "out")
    wait_for(lambda: in_production(place / "out"))
    return place / "out", f"{job}_0"


def told_to_stop(pid):
    """Whether SIGTERM waits for the process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    masks = [int(line.split()[1], 16) for line in lines if line.startswith(("SigPnd", "ShdPnd"))]
    return any(mask >> (signal.SIGTERM - 1) & 1 for mask in masks)


def test_the_walltime_itself_sends_the_job_back_and_it_resumes(slurm, tmp_path, undisturbed):
    """Runs held until SLURM's own warning has come, as if they were longer than the job."""
    folder, element = long_one(tmp_path, time="00:02:00", warn_s=30)
    pids = in_production(folder)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    started = time.monotonic()
    wait_for(lambda: all(told_to_stop(pid) for pid in pids), 180)
    print(f"the warning came {time.monotonic() - started:.0f} s after the runs were held")
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    wait_for(lambda: campaign.status(folder).counts == {"queued": 2})
    assert states(folder) == ["stopped", "stopped"]
    assert "2 tasks stopped by SIGUSR1, with checkpoints; back to the queue" in said(folder)
    shown = subprocess.run(["scontrol", "show", "job", element], capture_output=True, text=True).stdout
    assert "Restarts=1" in shown
    finished(folder)
    assert same(folder, undisturbed)


def test_a_job_that_is_requeued_checkpoints_and_resumes(slurm, tmp_path, undisturbed):
    """As preemption does it: SLURM ends the job with TERM and puts it back."""
    folder, element = long_one(tmp_path)
    subprocess.run(["scontrol", "requeue", element], check=True)
    wait_for(lambda: campaign.status(folder).counts == {"queued": 2})
    assert states(folder) == ["stopped", "stopped"]
    assert "2 tasks stopped by SIGTERM, with checkpoints" in said(folder)
    finished(folder)
    assert same(folder, undisturbed)


def test_slurmd_comes_back_to_its_jobs_and_a_lost_node_costs_the_work_since_the_checkpoint(
    slurm, tmp_path, undisturbed
):
    folder, _ = long_one(tmp_path)
    pids = in_production(folder)
    slurm.kill_slurmd()
    slurm.start_node()
    time.sleep(2)
    assert all(alive(pid) for pid in pids)  # it was only the daemon
    slurm.lose_node()
    wait_for(lambda: not any(alive(pid) for pid in pids))
    assert states(folder) == ["running", "running"]  # nobody could write that they are not
    wait_for(lambda: campaign.status(folder).counts == {"queued": 2})  # SLURM has noticed
    slurm.start_node()
    finished(folder)
    assert same(folder, undisturbed)


def test_cancel_keeps_checkpoints_and_the_rest_runs_elsewhere(slurm, tmp_path, undisturbed):
    folder, element = long_one(tmp_path)
    assert campaign.cancel(folder) == f"SLURM was asked to end job {element.partition('_')[0]}"
    wait_for(lambda: not queue.in_queue(folder))
    assert campaign.status(folder).counts == {"stopped": 2}
    campaign.run(campaign.load(tmp_path / "smoke.yaml"), folder)
    assert same(folder, undisturbed)


def test_random_kills_on_slurm_lose_and_double_nothing(slurm, tmp_path):
    """Eight short tasks; workers, jobs and the node are killed at random moments, jobs sent back and cancelled."""
    settings = {"time": "00:20:00", "memory": "400M", "tasks_per_job": 2}
    path = smoke(tmp_path / "smoke.yaml", md={**LONG, "time_ps": 6.0, "checkpoint_interval_ps": 0.5}, seeds=4,
                 temperatures_K=[150, 250], relax="none", resources={"slurm": settings})
    config, folder, chance, done = campaign.load(path), tmp_path / "out", random.Random(3), []

    def at_work():
        hurry()
        if not campaign.submit(config, folder) and not queue.in_queue(folder):
            return ["over"]
        return in_production(folder, 1) or in_production(folder, 2)

    for what in chance.sample(["worker", "worker", "requeue", "requeue", "cancel", "node"], 6):
        wait_for(at_work)
        pids = in_production(folder, 1) or in_production(folder, 2)
        time.sleep(chance.uniform(0, 2))
        if not pids:
            break
        if what == "worker":
            os.kill(chance.choice(pids), signal.SIGKILL)
        elif what == "requeue":
            running = [place.element for place in queue.in_queue(folder).values() if place.state == "running"]
            subprocess.run(["scontrol", "requeue", *running[:1]], check=False)
        elif what == "cancel":
            campaign.cancel(folder)
        else:
            slurm.lose_node()
            time.sleep(1)
            slurm.start_node()
        done.append(what)
        wait_for(lambda: not any(alive(pid) for pid in pids) or what == "worker")  # noqa: B023
    print(done, campaign.status(folder, estimate=False).line())
    assert len(done) >= 4

    def over():
        hurry()
        return not campaign.submit(config, folder) and not queue.in_queue(folder)

    wait_for(over, 1200)
    campaign.run(config, tmp_path / "whole")
    assert same(folder, tmp_path / "whole")
    for place in (folder / "runs").iterdir():
        times = runs.open_run(place).times_fs
        assert len(times) == 301
        assert (times[1:] > times[:-1]).all()


def test_extend_on_slurm_with_real_dynamics(slurm, tmp_path):
    """Every call hands in a round; between them the runs are molecular dynamics of the toy liquid, packed."""
    path = smoke(tmp_path / "smoke.yaml", **LIQUID, resources={
        "packing": 4, "slurm": {"time": "00:20:00", "memory": "400M", "tasks_per_job": 4}})
    folder = tmp_path / "out"
    campaign.submit(campaign.load(path), folder)
    state = finished(folder)
    target, rounds = 0.75 * state.estimates[0].half_width_eV, []
    while True:
        ended = campaign.extend_on_slurm(folder, target)
        if not ended.waiting:
            break
        rounds.append(len(ended.added))
        finished(folder)
    print(f"±{target:.4f} eV after rounds of {rounds} runs: {ended.text()}")
    assert ended.met
    assert rounds
    assert ended.estimates[0].half_width_eV <= target
