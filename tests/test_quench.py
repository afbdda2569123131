"""Melt and quench, by a potential that costs nothing: stages, stops and kills, replicas, grains that are held."""

import os
import random
import signal
import time
from itertools import pairwise

import numpy as np
import pytest
from md_toys import argon, lennard_jones
from test_md_runs import everything, in_child

from atomflow import quench, runs
from atomflow.build.glass import build_glass
from atomflow.cell import Cell, read_cell, write_cell
from atomflow.cli.main import run as command
from atomflow.errors import InputError, RunFailed, RunStopped
from atomflow.quench import QuenchConfig, stages
from atomflow.quench.stages import cooling_ps
from atomflow.transport.campaign import find_runs


def config(**changes):
    """Argon: melted at 300 K (a fluid in this box), frozen at 20 K, in half a picosecond."""
    return QuenchConfig(**{
        "melt_temperature_K": 300.0, "start_ps": 0.1, "melt_ps": 0.1, "rate_K_per_ps": 2000.0, "step_K": 100.0,
        "anneal_temperature_K": 60.0, "anneal_ps": 0.1, "end_temperature_K": 20.0, "settle_ps": 0.1,
        "timestep_fs": 2.0, "frame_interval_fs": 20.0, "checkpoint_interval_ps": 0.04, "barostat_time_fs": 200.0,
        "thermostat_time_fs": 20.0,
        **changes})  # fmt: skip


def start(n=1):
    return argon(n, 5.5, rattle=0.1)


def film(n=2):
    """Argon of which the middle is the film between two grains."""
    cell = argon(n, 5.4, 0.05)
    height = cell.fractional[:, 2] % 1.0
    regions = np.select([height < 0.2, height < 0.7], ["grain_a", "glass"], "grain_b")
    return Cell(cell.numbers, cell.positions_A, cell.lattice_A, regions)


def potential():
    return lennard_jones(cutoff_A=5.0)


def outcome(folder):
    """Every number of every stage, and the final cell."""
    found = {"final": read_cell(folder).positions_A, "lattice": read_cell(folder).lattice_A}
    for stage in sorted((folder / "stages").iterdir()):
        if (stage / "run.json").exists():
            found |= {f"{stage.name}:{name}": values for name, values in everything(stage).items()}
    return found


def assert_same(folder, reference):
    found, expected = outcome(folder), outcome(reference)
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


# --- the plan -----------------------------------------------------------------------------------------------------


def test_the_stages_of_a_glass_and_their_rate():
    plan = stages(QuenchConfig(), build_glass(units=1))
    assert [stage.name for stage in plan] == [
        "01-melt", "02-quench-2560", "03-quench-2120", "04-quench-1680", "05-quench-1240", "06-quench-800",
        "07-anneal", "08-quench-300", "09-settle"]  # fmt: skip
    assert [stage.md.ensemble for stage in plan] == ["nvt"] * 6 + ["npt"] * 3
    assert {stage.md.barostat for stage in plan[6:]} == {"isotropic"}
    for before, stage in pairwise(plan):
        assert stage.md.temperature_K == (before.md.temperature_end_K or before.md.temperature_K)
        assert stage.md.production_steps % stage.md.frame_every == 0
    assert cooling_ps(QuenchConfig()) == pytest.approx(27.0)
    assert len({stage.md.seed for stage in plan}) == len(plan)
    uneven = config(rate_K_per_ps=333.0)
    assert 300.0 < 280.0 / cooling_ps(uneven) <= 333.0


def test_grains_are_held_until_the_anneal_and_only_where_there_is_a_film():
    plan = stages(config(), film())
    held = {stage.name[3:]: stage.md.held_regions for stage in plan if stage.md is not None}
    assert held["melt"] == held["quench-140"] == held["quench-60"] == ("grain_a", "grain_b")
    assert held["anneal"] == held["quench-20"] == held["settle"] == ()
    assert [stage.name[3:] for stage in plan].index("release") == [stage.name[3:] for stage in plan].index("anneal") - 1
    assert plan[-1].md.barostat == "anisotropic"
    for cell, changes in ((film(), {"hold": False}), (start(), {}), (build_glass(units=1), {})):
        plan = stages(config(**changes), cell)
        assert all(stage.md is not None and stage.md.held_regions == () for stage in plan)


# --- doing it -----------------------------------------------------------------------------------------------------


def test_a_quench_freezes_a_fluid_and_leaves_a_cell_and_runs_that_others_read(tmp_path):
    seen = []
    manifest = quench.run(start(2), potential(), config(relax=True), tmp_path / "q", labels={"structure": "argon"},
                          progress=seen.append)  # fmt: skip
    summary = manifest["summary"]
    assert manifest["state"] == "done"
    assert [stage["name"][3:] for stage in summary["stages"]] == [
        "melt", "quench-220", "quench-140", "quench-60", "anneal", "quench-20", "settle", "relax"]  # fmt: skip
    temperatures = [stage.get("temperature_mean_K") for stage in summary["stages"]]
    assert 200 < temperatures[0] < 400
    assert temperatures[6] < 40
    assert summary["rate_K_per_ps"] == pytest.approx(2000.0)
    assert abs(summary["energy_drift_meV_per_atom_per_ps"]) < 1.0
    assert summary["acceptance"] is None  # no zinc borate
    final = read_cell(tmp_path / "q")
    assert final.provenance["parameters"] == config(relax=True).dump()
    assert final.composition == start(2).composition
    assert summary["stages"][-1]["converged"]
    run = runs.open_run(tmp_path / "q")
    assert run.folder.name == "07-settle"
    assert run.n_frames == 6
    assert runs.open_trajectory(tmp_path / "q").n_frames == 6
    assert all(later.step >= earlier.step for earlier, later in pairwise(seen))
    assert seen[-1].step <= seen[-1].steps_total == sum(stage["steps"] for stage in manifest["stages"])
    assert {moment.stage[3:] for moment in seen} >= {"melt", "settle", "relax"}


def test_grains_do_not_move_before_the_anneal_and_do_after(tmp_path):
    cell = film()
    manifest = quench.run(cell, potential(), config(), tmp_path / "q")
    assert manifest["summary"]["held_regions"] == ["grain_a", "grain_b"]
    grains = cell.regions != "glass"
    moved = {}
    for stage in sorted((tmp_path / "q" / "stages").iterdir()):
        last = read_cell(stage / "relaxed.extxyz") if stage.name.endswith("release") else runs.open_run(stage).cell()
        moved[stage.name[3:]] = np.abs(last.positions_A - cell.positions_A).max(1)
        assert (last.regions == cell.regions).all()
        assert (last.numbers == cell.numbers).all()
    for name in ("melt", "quench-220", "quench-60"):
        assert moved[name][grains].max() < 1e-4
        assert moved[name][~grains].max() > 0.5
    for name in ("release", "settle"):
        assert moved[name][grains].max() > 1e-3
    assert set(read_cell(tmp_path / "q").regions) == {"grain_a", "glass", "grain_b"}


def test_a_quench_stopped_within_and_between_stages_ends_in_the_same_bits(tmp_path):
    cell, settings = film(), config(relax=True, release_steps=5)
    quench.run(cell, potential(), settings, tmp_path / "whole")
    plan = stages(settings, cell)
    ends = {stage.name[3:]: int(end) for stage, end in zip(plan, np.cumsum([s.steps for s in plan]), strict=True)}

    def stopping(wanted):
        return lambda moment: os.kill(os.getpid(), signal.SIGTERM) if moment.step >= wanted else None

    for wanted in (30, ends["quench-60"] + 2, ends["anneal"] - 7, ends["settle"] + 3):  # run, release, run, relax
        with pytest.raises(RunStopped, match="atomflow quench --resume"):
            quench.run(cell, potential(), settings, tmp_path / "cut", progress=stopping(wanted))
        with pytest.raises(InputError, match="not finished"):
            runs.open_run(tmp_path / "cut")
    assert quench.resume(tmp_path / "cut", potential())["state"] == "done"
    assert_same(tmp_path / "cut", tmp_path / "whole")
    assert quench.resume(tmp_path / "cut", potential())["state"] == "done"


def kill_and_resume(tmp_path, kills, seed):
    cell, settings, folder = start(), config(), tmp_path / "killed"
    began = time.monotonic()
    quench.run(cell, potential(), settings, tmp_path / "whole", replicas=2)
    duration = time.monotonic() - began
    dice, killed = random.Random(seed), 0
    for _ in range(kills):
        child = in_child(lambda: quench.run(cell, potential(), settings, folder, replicas=2))
        time.sleep(dice.uniform(0.01, 1.5 * duration / kills))
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        killed += child.exitcode == -signal.SIGKILL
    assert killed >= kills // 2
    quench.run(cell, potential(), settings, folder, replicas=2)
    for name in ("replica-1", "replica-2"):
        assert_same(folder / name, tmp_path / "whole" / name)


def test_a_quench_killed_again_and_again_ends_in_the_same_bits(tmp_path):
    kill_and_resume(tmp_path, 4, 1)


@pytest.mark.slow
def test_twenty_kills_of_a_quench(tmp_path):
    kill_and_resume(tmp_path, 20, 2)


def test_replicas_differ_and_are_found(tmp_path, capsys):
    manifest = quench.run(start(), potential(), config(), tmp_path / "q", replicas=2)
    assert manifest["replicas"] == ["replica-1", "replica-2"]
    first, second = (read_cell(tmp_path / "q" / name) for name in manifest["replicas"])
    assert np.abs(first.positions_A - second.positions_A).max() > 0.01
    quench.run(start(), potential(), config(seed=2), tmp_path / "alone")
    assert_same(tmp_path / "alone", tmp_path / "q" / "replica-2")
    with pytest.raises(InputError, match=r"holds 2 replicas; name one, like .*replica-1"):
        runs.open_run(tmp_path / "q")
    assert [place.parent.parent.name for place in find_runs(tmp_path / "q")] == ["replica-1", "replica-2"]
    assert command(["analyze", str(tmp_path / "q" / "replica-1"), "--species", "Ar"]) == 2  # a frame or two: too short
    assert "at least 20 are needed" in capsys.readouterr().err


# --- what is refused ----------------------------------------------------------------------------------------------


def test_a_folder_of_something_else_is_refused(tmp_path):
    quench.run(start(), potential(), config(), tmp_path / "q")
    before = (tmp_path / "q" / "quench.json").read_bytes()
    for arguments, words in (
        ((start(), potential(), config(melt_ps=0.4)), "holds a quench with melt_ps = 0.1, not 0.4"),
        ((start(), potential(), config(seed=9)), "seed = 1, not 9"),
        ((argon(1, 5.6), potential(), config()), "another cell"),
        ((start(), lennard_jones(cutoff_A=5.0, sigma_A=3.3), config()), "sha256"),
        ((start(), potential(), config(), tmp_path / "q", 3), "begun with 1 replicas, not 3"),
    ):
        with pytest.raises(InputError, match=words):
            quench.run(*arguments[:3], tmp_path / "q", *arguments[4:])
    assert (tmp_path / "q" / "quench.json").read_bytes() == before
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="holds other files"):
        quench.run(start(), potential(), config(), tmp_path / "full")
    with pytest.raises(InputError, match="not a quench folder"):
        quench.resume(tmp_path / "full")
    with pytest.raises(InputError, match="at least one replica"):
        quench.run(start(), potential(), config(), tmp_path / "none", replicas=0)


@pytest.mark.parametrize(("changes", "words"), [
    ({"anneal_temperature_K": 400.0}, "temperatures fall"),
    ({"melt_ps": 0.013}, "whole number of frame intervals"),
    ({"rate_K_per_ps": 0.0}, "rate_K_per_ps"),
    ({"rate": 5.0}, "unknown key 'rate'"),
])  # fmt: skip
def test_settings_that_make_no_sense_are_refused(changes, words):
    with pytest.raises(InputError, match=words):
        QuenchConfig.from_dump({**config().dump(), **changes})


def test_a_stage_that_fails_is_named_and_the_other_replicas_end(tmp_path):
    cell = start()
    positions = np.array(cell.positions_A)
    positions[1] = positions[0] + 0.4
    clash = Cell(cell.numbers, positions, cell.lattice_A)
    with pytest.raises(RunFailed, match=r"01-melt.*replica-2"):
        quench.run(clash, potential(), config(), tmp_path / "q", replicas=2)
    assert runs.chain.read_chain(tmp_path / "q")["state"] == "failed"


def test_the_command(tmp_path, capsys):
    path, out = tmp_path / "melt.extxyz", tmp_path / "glass"
    write_cell(start(), path)
    short = ["--melt-temperature", "300", "--melt-ps", "0.1", "--rate-K-per-ps", "1000", "--anneal-temperature", "60",
             "--anneal-ps", "0.1", "--end-temperature", "20", "--settle-ps", "0.1",
             "--frame-interval-fs", "10"]  # fmt: skip
    base = ["quench", str(path), "-p", "lennard-jones-argon", "-o", str(out)]
    assert command([*base, *short]) == 0
    shown = capsys.readouterr()
    assert "cooled at:    1000 K/ps" in shown.out
    assert "300 K only" in shown.err
    assert command([*base, *short]) == 0  # done already: said again, not done again
    assert command(["quench", "--resume", str(out)]) == 0
    assert command(["order", str(out), "--pairs", "Ar-Ar", "--cutoff", "Ar-Ar=5"]) == 0
    capsys.readouterr()
    for wrong in ([*base, *short, "--seed", "2"], ["quench", str(path)], ["quench", "--resume", str(tmp_path)],
                  ["quench", "--resume", str(out), "--seed", "3"],
                  [*base[:4], "-o", str(tmp_path / "x"), "--rate-K-per-ps", "-1"]):  # fmt: skip
        assert command(wrong) == 2
        said = capsys.readouterr().err
        assert said.count("atomflow: ") == 1
        assert "stages, " not in said  # what will be done is said only where it will be
