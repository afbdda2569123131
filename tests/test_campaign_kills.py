"""Random kills of workers and drivers: what comes out in the end is, byte for byte, the undisturbed campaign.

Driver and workers are processes of their own, with everything but the start of an interpreter: they are forked from
this one, so that kills hit tasks in the middle of their runs and not while Python starts.
"""

import os
import random
import signal
import subprocess
import time

import pytest
from test_campaign import alive
from test_campaign_faults import SHORT, prepare, trajectory, wait_for, written

from atomflow import campaign, runs
from atomflow.campaign import folder as places
from atomflow.campaign import worker
from atomflow.errors import AtomflowError


def fork(function):
    """Process id of a child that ends with what ``function`` returns."""
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, signal.SIG_DFL)
        code = function()
    finally:
        os._exit(code)


class Forked:
    """Plays ``subprocess.Popen`` for workers."""

    outlets = set()  # noqa: RUF012  (of all workers of this driver: none may hold another's open)

    def __init__(self, command, stdin, stdout, stderr, env, start_new_session):
        inlet, outlet = os.pipe()

        def work():
            for other in (*self.outlets, outlet):
                os.close(other)
            for number, handle in enumerate((inlet, stdout.fileno(), stderr.fileno())):
                os.dup2(handle, number)
            worker.stop_with_driver(lambda: os.kill(os.getpid(), signal.SIGTERM))
            return worker.main([str(word) for word in command[3:]])

        self.returncode, self.pid = None, fork(work)
        os.close(inlet)
        self.outlets.add(outlet)
        self.stdin, self._outlet = self, outlet

    def close(self):
        os.close(self._outlet)
        self.outlets.remove(self._outlet)

    def poll(self):
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)

    def terminate(self):
        os.kill(self.pid, signal.SIGTERM)


def drive(config, folder):
    """Process id of a driver of the campaign."""

    def work():
        try:
            campaign.run(config, folder)
        except AtomflowError as error:
            return error.exit_code
        return 0

    return fork(work)


def ended(pid):
    return os.waitpid(pid, os.WNOHANG)[0] == pid


def simulating(folder):
    """(process id, task, step) of the workers that are in the middle of a run."""
    live = [(places.read_json(place), place.stem) for place in folder.glob("progress/*.json")]
    return [(item["pid"], task, item["step"]) for item, task in live
            if item.get("stage") == "production" and 0 < item["step"] < item["steps_total"] and alive(item["pid"])]


def progress_of(folder, task):
    return places.read_json(places.progress_file(folder, task)).get("step", 0)


def disturb(config, folder, kills, chance):
    """Kill workers in the middle of their runs, and drivers, until it is enough. What was killed, and where."""
    hits = []
    while len(hits) < kills:
        driver = drive(config, folder)
        for _ in range(chance.randint(1, 5)):
            wait_for(lambda: ended(driver) or simulating(folder))  # noqa: B023
            found = simulating(folder)
            if not found or len(hits) >= kills:
                break
            pid, task, step = chance.choice(found)
            target = step + chance.randint(0, 120)
            wait_for(lambda: progress_of(folder, task) >= target or not alive(pid))  # noqa: B023
            time.sleep(chance.uniform(0.0, 0.03))
            if not alive(pid):
                continue
            hits.append((task, progress_of(folder, task)))
            os.kill(pid, chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1]))
            wait_for(lambda: not alive(pid))  # noqa: B023
        else:
            os.kill(driver, chance.choice([signal.SIGKILL, signal.SIGTERM]))
            hits.append(("driver", len(simulating(folder))))
        if len(hits) >= kills and alive(driver):
            os.kill(driver, signal.SIGTERM)
        wait_for(lambda: not alive(driver) or ended(driver), 600)  # noqa: B023
        wait_for(lambda: not simulating(folder))
        counts = campaign.status(folder, estimate=False).counts
        assert counts.get("done", 0) < sum(counts.values())  # or there is nothing left to disturb
    return hits


def compare(tmp_path, monkeypatch, kills, **changes):
    """Disturb a campaign and let it end; every trajectory is that of the same campaign left in peace."""
    monkeypatch.setattr(worker, "PROGRESS_EVERY_S", 0.02)
    path = written(tmp_path / "toy.yaml", **changes)
    config, folder, whole = campaign.load(path), tmp_path / "out", tmp_path / "whole"
    tasks = prepare(path, whole)
    for task in tasks:
        assert worker.main([str(whole), task]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", Forked)
        hits = disturb(config, folder, kills, random.Random(7))
        wait_for(lambda: campaign.run(config, folder).counts == {"done": len(tasks)})
    for task in tasks:
        assert trajectory(folder, task) == trajectory(whole, task)
        run = runs.open_run(folder / "runs" / task)
        assert len(run.times_fs) == run.manifest["progress"]["frames"]
        assert (run.times_fs[1:] > run.times_fs[:-1]).all()
    return hits


def test_a_few_random_kills_lose_and_double_nothing(tmp_path, monkeypatch):
    hits = compare(tmp_path, monkeypatch, 6, seeds=4, md={**SHORT, "time_ps": 3.0})
    assert sum(task != "driver" for task, _ in hits) >= 3


@pytest.mark.slow
def test_fifty_random_kills_lose_and_double_nothing(tmp_path, monkeypatch):
    """24 tasks; fifty times a worker in the middle of a run, or the driver, is killed or told to stop."""
    hits = compare(tmp_path, monkeypatch, 50, temperatures_K=[100, 150, 200, 250], seeds=6,
                   md={**SHORT, "time_ps": 3.0})
    steps = [step for task, step in hits if task != "driver"]
    print(f"{len(steps)} workers killed at steps {sorted(steps)} of 600, {50 - len(steps)} drivers")
    assert len(steps) >= 30
