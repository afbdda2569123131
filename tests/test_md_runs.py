"""A run into its folder: what is stored, stops, kills, resumes, failures, batches."""

import multiprocessing
import os
import random
import signal
import time

import numpy as np
import pytest
import torch
from md_toys import Toy, argon, lennard_jones, monoclinic_argon

from atomflow import md, runs
from atomflow.errors import AtomflowError, InputError, RunFailed, RunStopped
from atomflow.md.config import MDConfig
from atomflow.md.summary import remarks


def config(**changes):
    return MDConfig(**{"temperature_K": 60.0, "time_ps": 1.0, "equilibration_ps": 0.2, "timestep_fs": 2.0,
                       "checkpoint_interval_ps": 0.1, "skin_A": 0.5, **changes})


def everything(folder):
    run = runs.open_run(folder)
    arrays = {f"thermo:{name}": values for name, values in run.thermo().items()}
    return arrays | {
        "times": run.times_fs,
        "positions": run.positions_A(0, run.n_frames),
        "lattices": run.lattices_A(0, run.n_frames),
    }


def assert_bitwise(folder, reference):
    found, expected = everything(folder), everything(reference)
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def in_child(work):
    """Start ``work()`` in a forked process that leaves with the exit code of the error it met."""

    def target():
        torch.set_num_threads(1)
        code = 0
        try:
            work()
        except AtomflowError as error:
            code = error.exit_code
        os._exit(code)

    process = multiprocessing.get_context("fork").Process(target=target)
    process.start()
    return process


def test_a_run_stores_production_frames_equilibration_thermo_and_a_summary(tmp_path):
    cell = argon(2)
    before = cell.sha256
    manifest = md.run(cell, lennard_jones(), config(), tmp_path / "run", labels={"structure": "argon"})
    run = runs.open_run(tmp_path / "run")
    assert cell.sha256 == before
    assert manifest["state"] == "done"
    assert manifest["labels"]["structure"] == "argon"
    assert MDConfig.from_dump(manifest["config"]) == config()
    assert run.n_frames == 51
    np.testing.assert_allclose(run.times_fs, np.arange(51) * 20.0)
    thermo = run.thermo()
    assert thermo["time_fs"][0] == -200.0
    assert np.all(np.diff(thermo["time_fs"]) == 20.0)
    summary = manifest["summary"]
    assert 40 < summary["temperature_mean_K"] < 80
    production = thermo["temperature_K"][thermo["time_fs"] >= 0]
    assert summary["temperature_error_K"] > production.std(ddof=1) / np.sqrt(51)  # rows remember each other
    assert summary["potential_energy_error_eV"] > 0
    assert abs(summary["energy_drift_meV_per_atom_per_ps"]) < 0.05
    assert summary["volume_mean_A3"] == pytest.approx(cell.volume_A3)
    assert manifest["progress"]["step"] == 600
    centre = run.positions_A(0, 51).mean(1)
    np.testing.assert_allclose(centre, centre[:1].repeat(51, 0), atol=1e-4)


@pytest.mark.parametrize("ensemble", ["nve", "nvt", "npt"])
def test_a_run_stopped_by_a_signal_at_any_step_resumes_to_the_same_bits(tmp_path, ensemble):
    settings = config(ensemble=ensemble, barostat_time_fs=200.0, time_ps=0.3)
    potential = lennard_jones(cutoff_A=6.0)
    md.run(monoclinic_argon(), potential, settings, tmp_path / "whole")
    steps = random.Random(7).sample(range(20, 240), 2)

    def stopping(wanted):
        """Raise the signal when the run passes the wanted step: thermo rows come every ten steps."""
        return lambda moment: os.kill(os.getpid(), signal.SIGTERM) if moment.step >= wanted else None

    with pytest.raises(RunStopped, match="SIGTERM"):
        md.run(monoclinic_argon(), potential, settings, tmp_path / "cut", progress=stopping(min(steps)))
    assert runs.open_run(tmp_path / "cut").manifest["state"] == "stopped"
    with pytest.raises(RunStopped, match="--resume"):
        md.resume(tmp_path / "cut", potential, progress=stopping(max(steps)))
    manifest = md.resume(tmp_path / "cut", potential)
    assert manifest["state"] == "done"
    assert_bitwise(tmp_path / "cut", tmp_path / "whole")


def kill_and_resume(tmp_path, kills, seed):
    """Fork, kill −9 at a random moment, take up again; in the end the bits must be those of an undisturbed run."""
    settings = config(time_ps=0.5, ensemble="npt", barostat_time_fs=200.0, checkpoint_interval_ps=0.02)
    cell, potential, folder = argon(1, rattle=0.1), lennard_jones(cutoff_A=6.0), tmp_path / "killed"
    start = time.monotonic()
    md.run(cell, potential, settings, tmp_path / "whole")
    duration = time.monotonic() - start
    dice = random.Random(seed)
    killed = 0

    def go_on():
        if (folder / "run.json").exists():
            md.resume(folder, potential)
        else:
            md.run(cell, potential, settings, folder)

    for _ in range(kills):
        child = in_child(go_on)
        time.sleep(dice.uniform(0.01, 1.2 * duration / kills + 0.02))
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        killed += child.exitcode == -signal.SIGKILL
    assert killed >= kills // 2
    go_on()
    assert_bitwise(folder, tmp_path / "whole")


def test_a_run_killed_again_and_again_ends_in_the_same_bits(tmp_path):
    kill_and_resume(tmp_path, 3, 1)


@pytest.mark.slow
def test_twenty_kills(tmp_path):
    kill_and_resume(tmp_path, 20, 2)


def test_resuming_a_live_run_a_finished_one_and_one_with_another_potential(tmp_path):
    long = config(time_ps=1000.0)
    child = in_child(lambda: md.run(argon(2), lennard_jones(), long, tmp_path / "live"))
    try:
        while not list((tmp_path / "live").glob("checkpoint.*")):
            assert child.is_alive()
            time.sleep(0.05)
        with pytest.raises(InputError, match="another process"):
            md.resume(tmp_path / "live", lennard_jones())
    finally:
        os.kill(child.pid, signal.SIGUSR1)
        child.join(20)
    assert child.exitcode == 75
    with pytest.raises(InputError, match="sha256"):
        md.resume(tmp_path / "live", lennard_jones(sigma_A=3.3))
    with pytest.raises(InputError, match="float64"):
        md.resume(tmp_path / "live", lennard_jones(dtype="float32"))
    done = md.run(argon(2), lennard_jones(), config(time_ps=0.1), tmp_path / "done")
    assert md.resume(tmp_path / "done", lennard_jones()) == done


def test_resume_loads_the_potential_that_the_manifest_names(tmp_path):
    def stop(moment):
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(RunStopped):
        md.run(argon(1), lennard_jones(), config(time_ps=0.1), tmp_path / "run", progress=stop)
    assert md.resume(tmp_path / "run", device="cpu")["state"] == "done"


@pytest.mark.parametrize("ensemble", ["nvt", "npt"])
def test_a_replica_is_the_same_alone_and_in_a_batch(tmp_path, ensemble):
    cells = [argon(1, 5.5, rattle=0.1, seed=s) for s in (1, 2)] + [monoclinic_argon()]
    settings = [config(ensemble=ensemble, temperature_K=t, seed=s, time_ps=0.2, equilibration_ps=0.1,
                       barostat_time_fs=200.0)
                for s, t in ((5, 40.0), (6, 60.0), (7, 90.0))]
    jobs = [md.MDJob(c, s, tmp_path / f"batch{k}") for k, (c, s) in enumerate(zip(cells, settings, strict=True))]
    potential = lennard_jones(cutoff_A=6.0)
    md.run_batch(jobs, potential)
    for k in range(3):
        md.run(cells[k], potential, settings[k], tmp_path / f"alone{k}")
        found, expected = everything(tmp_path / f"batch{k}"), everything(tmp_path / f"alone{k}")
        for name in expected:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-10, atol=1e-10, err_msg=name)


def test_batch_members_that_do_not_match_are_refused(tmp_path):
    jobs = [md.MDJob(argon(1), config(timestep_fs=dt), tmp_path / str(dt)) for dt in (1.0, 2.0)]
    with pytest.raises(InputError, match=r"share 'timestep_fs' \(found 1.0, 2.0\)"):
        md.run_batch(jobs, lennard_jones())


def breaking(after_calls, system, value):
    """Free atoms; from the given call on, the second atom of one system meets a bad force."""
    calls = 0

    def function(x, h, owner, n):
        nonlocal calls
        calls += 1
        forces = torch.zeros_like(x)
        if calls > after_calls:
            victims = torch.nonzero(owner == min(system, n - 1)).flatten()
            forces[victims[1]] = value
        return torch.zeros(n, dtype=x.dtype), forces

    return Toy(function)


@pytest.mark.parametrize(("value", "words"), [(float("nan"), "is not a finite number"), (1e4, "reached 1e.04 eV/Å")])
def test_a_bad_force_stops_the_run_and_names_step_atom_and_checkpoint(tmp_path, value, words):
    settings = config(equilibration_ps=0.0, checkpoint_interval_ps=0.02)
    with pytest.raises(RunFailed, match=rf"step 27 .*atom 1 \(Ar\) {words}.*checkpoint is step 20"):
        md.run(argon(1), breaking(27, 0, value), settings, tmp_path / "run")
    manifest = runs.open_run(tmp_path / "run").manifest
    assert manifest["state"] == "failed"
    assert "atom 1 (Ar)" in manifest["reason"]
    frames = runs.open_run(tmp_path / "run").positions_A(0, 3)
    assert frames.shape == (3, 4, 3)
    assert np.isfinite(frames).all()


def test_atoms_on_top_of_each_other_stop_the_run_at_once(tmp_path):
    close = argon(2)
    positions = np.array(close.positions_A)
    positions[5] = positions[4] + 0.8
    clash = type(close)(close.numbers, positions, close.lattice_A)
    with pytest.raises(RunFailed, match=r"step 0 .*force on atom [45] \(Ar\)"):
        md.run(clash, lennard_jones(), config(), tmp_path / "run")
    near = config(min_distance_A=3.9)
    with pytest.raises(RunFailed, match=r"atom 0 \(Ar\) and atom \d+ \(Ar\) are 3.82 Å apart"):
        md.run(argon(2), lennard_jones(), near, tmp_path / "near")


def test_a_hot_run_stops(tmp_path):
    hot = config(time_ps=20.0, max_temperature_factor=1.5)
    positions = argon(2).positions_A + 0.35 * np.random.default_rng(1).standard_normal((32, 3))
    with pytest.raises(RunFailed, match="temperature reached"):
        md.run(type(argon(2))([2] * 32, positions * 0.75, argon(2).lattice_A * 0.75), lennard_jones(),
               hot.model_copy(update={"max_force_eV_per_A": 1e9}), tmp_path / "run")


def test_a_cell_that_evaporates_stops_the_run(tmp_path):
    boiling = config(ensemble="npt", temperature_K=900.0, pressure_GPa=-1.0, barostat_time_fs=10.0, time_ps=20.0,
                     compressibility_per_GPa=1.0)
    with pytest.raises(RunFailed, match=r"the cell went from 157 to \d+ Å³"):
        md.run(argon(1), lennard_jones(), boiling, tmp_path / "run")


def test_a_failing_member_ends_alone(tmp_path):
    settings = [config(seed=s, time_ps=0.2) for s in range(3)]
    jobs = [md.MDJob(argon(1), s, tmp_path / f"{k}") for k, s in enumerate(settings)]
    calls = 0

    def once(x, h, owner, n):
        nonlocal calls
        calls += 1
        forces = torch.zeros_like(x)
        if n == 3 and calls > 120:
            forces[torch.nonzero(owner == 1).flatten()[2]] = float("nan")
        return torch.zeros(n, dtype=x.dtype), forces

    with pytest.raises(RunFailed, match=r"1: stopped at step 120 .*atom 2 \(Ar\)"):
        md.run_batch(jobs, Toy(once))
    assert [runs.open_run(job.folder).manifest["state"] for job in jobs] == ["done", "failed", "done"]
    free = Toy(lambda x, h, owner, n: (torch.zeros(n, dtype=x.dtype), torch.zeros_like(x)))
    md.run(argon(1), free, settings[2], tmp_path / "alone")
    np.testing.assert_allclose(everything(tmp_path / "2")["positions"], everything(tmp_path / "alone")["positions"],
                               rtol=0, atol=1e-9)


def test_a_run_warns_of_what_its_reader_should_know(tmp_path):
    cold = md.run(argon(2), lennard_jones(), config(ensemble="nve", equilibration_ps=0.0, time_ps=0.1), tmp_path / "a")
    assert "half of the kinetic energy" in cold["warnings"][0]
    summary = {"temperature_mean_K": 63.0, "temperature_error_K": 0.9, "energy_drift_meV_per_atom_per_ps": -1.5}
    off, drifting = remarks(summary, config(time_ps=20.0))[::-1]
    assert "63 ± 0.9 K is 5.0 % above the target 60 K" in off
    assert remarks({**summary, "temperature_error_K": 1.1}, config(time_ps=20.0)) == [drifting]  # by chance
    assert "drifts by -1.50 meV/atom/ps" in drifting
    assert remarks(summary, config(time_ps=0.5)) == []
    assert "volume_std_A3" not in cold["summary"]


def test_a_learned_potential_runs_stops_and_resumes_to_the_same_bits(tmp_path):
    pytest.importorskip("chgnet")
    from atomflow import potentials
    from atomflow.cell import Cell

    salt = Cell([11, 17], [[0, 0, 0], [2.82, 2.82, 2.82]], [[0, 2.82, 2.82], [2.82, 0, 2.82], [2.82, 2.82, 0]])
    chgnet = potentials.load("chgnet", device="cpu")
    settings = config(temperature_K=300.0, time_ps=0.024, equilibration_ps=0.008, thermo_interval_fs=4.0,
                      frame_interval_fs=4.0, checkpoint_interval_ps=0.01)
    md.run(salt, chgnet, settings, tmp_path / "whole")

    def stop(moment):
        if moment.step == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(RunStopped):
        md.run(salt, chgnet, settings, tmp_path / "cut", progress=stop)
    manifest = md.resume(tmp_path / "cut", device="cpu")
    assert manifest["potential"]["name"] == "chgnet"
    assert_bitwise(tmp_path / "cut", tmp_path / "whole")
