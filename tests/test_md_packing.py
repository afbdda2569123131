"""Many runs in one process: the same runs as alone, at any step and after any stop; and how many at a time."""

import os
import signal

import numpy as np
import pytest
import torch
from md_toys import Toy, argon, lennard_jones, monoclinic_argon
from test_md_runs import everything

from atomflow import md, runs
from atomflow.errors import InputError, RunFailed, RunStopped
from atomflow.md import throughput
from atomflow.md.config import MDConfig


def config(**changes):
    return MDConfig(**{"temperature_K": 60.0, "time_ps": 0.12, "equilibration_ps": 0.04, "timestep_fs": 2.0,
                       "checkpoint_interval_ps": 0.02, "thermostat_time_fs": 50.0, "skin_A": 0.5, **changes})


def jobs(folder, count=5):
    """Runs that differ in all that they may: cell, temperature, seed, length."""
    cells = [argon(1, 5.5, rattle=0.1), monoclinic_argon()]
    return [md.MDJob(cells[k % 2], config(temperature_K=40.0 + 10 * k, seed=k, time_ps=0.12 - 0.02 * (k % 3)),
                     folder / f"{k}") for k in range(count)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The same runs, each by itself."""
    folder = tmp_path_factory.mktemp("alone")
    for job in jobs(folder):
        md.run(job.cell, lennard_jones(cutoff_A=6.0), job.config, job.folder)
    return folder


def assert_same(folder, alone, **tolerance):
    for job in jobs(folder):
        found, expected = everything(job.folder), everything(alone / job.folder.name)
        for name in expected:
            np.testing.assert_allclose(found[name], expected[name], err_msg=name,
                                       **{"rtol": 1e-9, "atol": 1e-9, **tolerance})


@pytest.mark.parametrize("size", [1, 2, 5])
def test_packed_runs_are_the_runs_alone(tmp_path, alone, size):
    manifests = md.run_packed(jobs(tmp_path), lennard_jones(cutoff_A=6.0), size)
    assert [manifest["state"] for manifest in manifests] == ["done"] * 5
    assert [m["progress"]["step"] for m in manifests] == [job.config.total_steps for job in jobs(tmp_path)]
    assert max(manifest["summary"]["systems_in_batch"] for manifest in manifests) == size
    assert_same(tmp_path, alone, **({"rtol": 0, "atol": 0} if size == 1 else {}))


def test_runs_at_different_steps_catch_up_and_nothing_is_done_twice(tmp_path, alone):
    potential, todo = lennard_jones(cutoff_A=6.0), jobs(tmp_path)
    for job, moments in ((todo[1], 2), (todo[2], 4)):  # two are stopped alone, at different steps

        def stop(_, left=iter(range(moments, -1, -1))):
            if next(left) == 0:
                os.kill(os.getpid(), signal.SIGUSR1)

        with pytest.raises(RunStopped):
            md.run(job.cell, potential, job.config, job.folder, progress=stop)
    md.run(todo[3].cell, potential, todo[3].config, todo[3].folder)  # one is done, two are not begun
    steps = {job.folder.name: runs.open_run(job.folder).manifest["progress"]["step"] for job in todo[1:3]}
    assert len(set(steps.values())) == 2
    seen = []
    md.run_packed(todo, potential, 5, progress=lambda folders, moment: seen.append((len(folders), moment.step)))
    assert_same(tmp_path, alone)
    first, second = sorted(steps.values())
    assert {size for size, step in seen if step <= first} == {2}
    assert {size for size, step in seen if first < step <= second} == {3}
    assert {size for size, step in seen if second < step <= 60} == {4}
    for job in todo:
        times = runs.open_run(job.folder).times_fs
        np.testing.assert_array_equal(times, np.arange(job.config.production_steps // 10 + 1) * 20.0)


def test_a_signal_stops_all_and_the_same_call_goes_on(tmp_path, alone):
    potential, todo = lennard_jones(cutoff_A=6.0), jobs(tmp_path)

    def stop(folders, moment):
        if moment.step == 30:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(RunStopped, match="stopped by SIGTERM at step 3"):
        md.run_packed(todo, potential, 3, stop)
    states = [runs.open_run(job.folder).manifest["state"] for job in todo[:3]]
    assert states == ["stopped"] * 3
    assert not todo[4].folder.exists()
    md.run_packed(todo, potential, 3)
    assert_same(tmp_path, alone)


def small_memory(systems, potential=None):
    """Free atoms (or a potential) on a device that has room for so many systems."""
    calls = []

    def function(x, h, owner, n):
        calls.append(n)
        if n > systems and len(calls) > 30:  # not at once: some steps are behind them
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return torch.zeros(n, dtype=x.dtype), torch.zeros_like(x)

    return Toy(function), calls


def test_out_of_memory_halves_the_batch_keeps_the_work_and_says_so(tmp_path):
    potential, calls = small_memory(2)
    todo, said = jobs(tmp_path), []
    manifests = md.run_packed(todo, potential, 5, say=said.append)
    assert [manifest["state"] for manifest in manifests] == ["done"] * 5
    assert max(calls[31:]) == 2
    assert len(said) == 1
    assert "5 runs at a time did not fit into the GPU's memory (out of GPU memory at step 29 with 5 systems" in said[0]
    assert "go on 2 at a time from their checkpoints" in said[0]
    assert all(said[0] in manifest["warnings"] for manifest in manifests)
    lost = 11  # steps since the last checkpoint
    whole = sum(job.config.total_steps + 1 for job in todo[:2])
    assert calls.count(2) <= whole + 2 * lost
    for job in todo:
        times = runs.open_run(job.folder).times_fs
        np.testing.assert_array_equal(times, np.arange(job.config.production_steps // 10 + 1) * 20.0)


def test_what_does_not_fit_even_alone_fails_with_the_reason(tmp_path):
    potential, _ = small_memory(0)
    with pytest.raises(RunFailed, match=r"it does not fit even alone: .* on a GPU with more memory"):
        md.run_packed(jobs(tmp_path, 2), potential, 2, say=lambda _: None)
    assert {runs.open_run(job.folder).manifest["state"] for job in jobs(tmp_path, 2)} == {"failed"}


def test_a_run_that_fails_or_cannot_be_written_leaves_the_others_alone(tmp_path):
    todo = jobs(tmp_path)
    todo[1].folder.mkdir()
    lock = runs.lock.FolderLock(todo[1].folder / "lock")

    def function(x, h, owner, n):
        forces = torch.zeros_like(x)
        if n == 4:
            forces[0] = float("nan")
        return torch.zeros(n, dtype=x.dtype), forces

    try:
        with pytest.raises(RunFailed, match=r"another process is writing.*/0: stopped at step 0 .*not a finite number"):
            md.run_packed(todo, Toy(function), 5)
    finally:
        lock.release()
    states = [runs.open_run(job.folder).manifest["state"] for job in (todo[0], *todo[2:])]
    assert states == ["failed", "done", "done", "done"]


def test_settings_that_cannot_share_a_batch_go_one_after_the_other(tmp_path):
    other = config(timestep_fs=1.0)
    todo = [*jobs(tmp_path, 3), md.MDJob(argon(1), other, tmp_path / "other")]
    sizes = []
    md.run_packed(todo, lennard_jones(cutoff_A=6.0), 8, lambda folders, _: sizes.append(len(folders)))
    assert sizes[-1] == 1
    assert runs.open_run(tmp_path / "other").manifest["state"] == "done"
    with pytest.raises(InputError, match="one at a time at least, not 0"):
        md.run_packed(todo, lennard_jones(), 0)


# --- how many at a time -----------------------------------------------------------------------------------------


class Clock:
    """A device whose step takes so long altogether, and so much longer for each system, by a clock of its own."""

    def __init__(self, fixed_s, each_s, room=10**6):
        self.fixed_s, self.each_s, self.room, self.now = fixed_s, each_s, room, 0.0

    def perf_counter(self):
        return self.now

    monotonic = perf_counter

    def potential(self):
        def function(x, h, owner, n):
            if n > self.room:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
            self.now += self.fixed_s + self.each_s * n
            return torch.zeros(n, dtype=x.dtype), torch.zeros_like(x)

        return Toy(function)


@pytest.mark.parametrize(("clock", "most", "size", "why"), [
    (Clock(0.1, 0.1), 64, 8, "gain"),  # throughput n/(1 + n): 2 → 4 gives 20 %, 4 → 8 11 %, 8 → 16 6 %
    (Clock(0.1, 0.0), 6, 4, "enough"),
    (Clock(0.1, 0.0, room=5), 64, 4, "memory"),
    (Clock(7.0, 0.0), 64, 2, "time"),
])
def test_the_knee_of_a_known_device_is_found(monkeypatch, clock, most, size, why):
    monkeypatch.setattr(throughput, "time", clock)
    found = md.knee(argon(1), clock.potential(), config(), most)
    assert (found.size, found.why) == (size, why)
    assert found.text().startswith(f"{size} runs at a time (")
    assert found.throughput == pytest.approx({n: n / (clock.fixed_s + clock.each_s * n) for n in found.throughput})


def test_a_cell_that_does_not_fit_at_all_is_one_line():
    with pytest.raises(RunFailed, match="4 atoms do not fit into the memory"):
        md.knee(argon(1), Clock(0.0, 0.0, room=0).potential(), config(), 4)
