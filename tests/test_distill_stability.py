"""Many seeds in one batch: resumed where they were stopped, blown up once and for all, told of at any moment."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from atomflow import potentials, runs  # noqa: E402
from atomflow.cell import Cell  # noqa: E402
from atomflow.cli.main import run  # noqa: E402
from atomflow.distill.card_checks import runner, stability, stability_runs  # noqa: E402
from atomflow.distill.card_checks.section import Context, Section  # noqa: E402
from atomflow.distill.card_checks.settings import CardSettings  # noqa: E402
from atomflow.distill.card_checks.stability_runs import Stood, Trial, go_on, standing, wall_seconds  # noqa: E402
from atomflow.distill.sides import Here  # noqa: E402


def argon(seed: int) -> Cell:
    """Face-centred cubic argon, atoms displaced."""
    grid = np.array([[x, y, z] for x in range(2) for y in range(2) for z in range(2)]) * 5.3
    base = np.concatenate([grid + np.array(s) * 2.65 for s in ((0, 0, 0), (1, 1, 0), (1, 0, 1), (0, 1, 1))])
    shaken = base + np.random.default_rng(seed).normal(0, 0.05, base.shape)
    return Cell(np.full(len(base), 18), shaken, np.eye(3) * 10.6)


def clash(seed: int) -> Cell:
    """The same; in seed 2 two atoms are in one another."""
    cell = argon(seed)
    positions = np.array(cell.positions_A)
    if seed == 2:
        positions[1] = positions[0] + 0.5
    return Cell(cell.numbers, positions, cell.lattice_A)


def trial(cell=argon, seeds=3, time_ps=1.2):
    return Trial("toy", "argon", cell, 50.0, time_ps, 2.0, seeds)


@pytest.fixture(scope="module")
def potential():
    return potentials.load("lennard-jones-argon", device="cpu")


def quiet(text: str) -> None:
    return


class Impatient(stability_runs._Clock):
    """Its time is over after so many rows of energies."""

    rows = 0

    def tick(self) -> bool:
        self.rows += 1
        return super().tick()

    @property
    def over(self) -> bool:
        return self.rows >= 25


def test_stopped_by_its_minutes_it_goes_on_to_the_very_same_end(potential, tmp_path, monkeypatch):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    go_on(trial(), potential, whole, None, quiet)
    monkeypatch.setattr(stability_runs, "_Clock", Impatient)
    for expected in ("stopped", "stopped", "done"):
        go_on(trial(), potential, cut, 60, quiet)
        assert {end.state for end in standing(trial(), potential, cut)} == {expected}
    for seed in (1, 2, 3):
        one, two = (runs.open_run(trial().folder(root, potential, seed)) for root in (whole, cut))
        np.testing.assert_array_equal(one.positions_A(0, one.n_frames), two.positions_A(0, two.n_frames))
    for end in standing(trial(), potential, cut):
        assert (end.state, end.time_ps, end.blown_up) == ("done", 1.2, False)
        assert abs(end.drift_meV_per_atom_per_ps) < 0.05
        assert 3.0 < end.closest_A < 3.76
        assert 30 < end.hottest_K < 120
    assert wall_seconds(trial(), potential, cut) > 0


def test_it_tells_how_far_it_came_while_it_runs(potential, tmp_path):
    seen = []

    def peep(text):
        seen.append([end.time_ps for end in standing(trial(), potential, tmp_path)])

    assert [end.state for end in standing(trial(), potential, tmp_path)] == ["waiting"] * 3
    quick, stability_runs._Clock.EVERY_S = stability_runs._Clock.EVERY_S, 0.0
    try:
        go_on(trial(), potential, tmp_path, None, peep)
    finally:
        stability_runs._Clock.EVERY_S = quick
    assert [0.5] * 3 in seen
    assert [1.0] * 3 in seen


def test_a_seed_that_blows_up_ends_alone_and_is_not_tried_again(potential, tmp_path):
    said = []
    go_on(trial(clash, time_ps=0.5), potential, tmp_path, None, said.append)
    ends = standing(trial(clash, time_ps=0.5), potential, tmp_path)
    assert [end.blown_up for end in ends] == [False, True, False]
    assert [end.state for end in ends] == ["done", "failed", "done"]
    assert "eV/Å" in ends[1].reason
    assert any("seed" in text or "toy" in text for text in said)
    changed = (tmp_path / trial(clash, time_ps=0.5).folder(tmp_path, potential, 2).name / "run.json").stat().st_mtime_ns
    go_on(trial(clash, time_ps=0.5), potential, tmp_path, None, quiet)
    after = (tmp_path / trial(clash, time_ps=0.5).folder(tmp_path, potential, 2).name / "run.json").stat().st_mtime_ns
    assert after == changed


def test_a_drifting_energy_is_a_blow_up():
    times = np.arange(0, 2001, 20.0)
    flat = {"time_fs": times, "conserved_energy_eV": np.full(len(times), -3.0)}
    rising = {"time_fs": times, "conserved_energy_eV": -3.0 + 10 * 0.002 * times / 1000}
    assert stability_runs._drift(flat, 10) == pytest.approx(0, abs=1e-9)
    assert stability_runs._drift(rising, 10) == pytest.approx(2.0)
    short = {name: values[:20] for name, values in rising.items()}
    assert stability_runs._drift(short, 10) is None


def test_row_and_unfinished_section(potential, tmp_path, monkeypatch):
    ends = [
        Stood(1, "done", 1.0, hottest_K=90.0, closest_A=3.1, drift_meV_per_atom_per_ps=0.01),
        Stood(2, "failed", 0.4, True, "too hot", 900.0, 1.0, None),
        Stood(3, "stopped", 0.7, hottest_K=80.0),
    ]
    monkeypatch.setattr(stability, "trials", lambda context: [trial(), trial()])
    monkeypatch.setattr(stability, "standing", lambda *given: ends)
    context = Context(
        potential, "lennard-jones-argon", Here(potential, tmp_path), None, "", CardSettings(), tmp_path, quiet
    )
    found = stability.section(context)
    assert found.unfinished
    assert found.rows[0][2:6] == ["3 x 1.2", "2 x 0.70", "2.1", "seed 2 at 0.40 ps: too hot"]
    assert found.facts["toy"][1]["blown_up"]
    ends[:] = [Stood(seed, "waiting", 0.0) for seed in (1, 2, 3)]
    assert stability.section(context).rows[0][5:9] == ["none", "-", "-", "-"]  # nothing was seen of what has not begun


def test_an_unfinished_section_is_measured_again(potential, tmp_path, monkeypatch):
    context = Context(
        potential, "lennard-jones-argon", Here(potential, tmp_path), None, "", CardSettings(), tmp_path, quiet
    )
    states = [True, False, False]

    class Check:
        TITLE = "toy"

        @staticmethod
        def run(context):
            return Section(lines=[f"{len(states)} left"], unfinished=states.pop(0))

    monkeypatch.setattr(runner, "CHECKS", {"toy": Check})
    assert runner.measure(context, ["toy"])["toy"]["section"]["unfinished"]
    assert not runner.measure(context, ["toy"])["toy"]["section"]["unfinished"]
    runner.measure(context, ["toy"])
    assert len(states) == 1


def test_the_command_says_what_stands_without_running(tmp_path, capsys):
    command = ["potential", "stability", "atomflow-nzsp-0", "-o", str(tmp_path / "w"), "--device", "cpu", "--report"]
    assert run([*command, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [end["state"] for end in data["stability-nzsp"]] == ["waiting", "waiting"]
    assert run(command) == 0
    assert "2 x 0.00" in capsys.readouterr().out
    assert run([*command[:4], str(tmp_path / "no" / "w")]) == 2
    assert "does not exist" in capsys.readouterr().err


@pytest.mark.slow
def test_the_shift_of_a_melting_packings_conserved_energy_goes_with_the_square_of_the_step(tmp_path):
    """So the fall of a melt's first picosecond is the integrator's, not the potential's (docs/students.md)."""
    from atomflow import md
    from atomflow.build.glass import build_glass
    from atomflow.md.packing import run_packed
    from atomflow.md.runner import MDJob

    student = potentials.load("atomflow-nzsp-zbo", device="cpu")
    cells = [md.relax(build_glass(units=4, seed=s), student, fmax_eV_per_A=1.0, max_steps=60)[0] for s in range(1, 7)]
    shifts_meV = {}
    for step_fs in (1.0, 0.5):
        jobs = []
        for k, cell in enumerate(cells, start=1):
            config = md.MDConfig(temperature_K=2500, time_ps=0.4, equilibration_ps=0.05, timestep_fs=step_fs, seed=k,
                                 thermostat_time_fs=200.0, frame_interval_fs=100.0, thermo_interval_fs=5.0)
            jobs.append(MDJob(cell, config, tmp_path / f"{step_fs}-{k}", {}))
        run_packed(jobs, student, len(jobs), lambda *_: None, quiet)
        rows = [runs.open_run(job.folder).thermo() for job in jobs]
        shifts_meV[step_fs] = [1000 * (row["conserved_energy_eV"][row["time_fs"] > 350].mean()
                                       - row["conserved_energy_eV"][row["time_fs"] < -30].mean()) / len(cells[0])
                               for row in rows]
    ratio = np.mean(shifts_meV[1.0]) / np.mean(shifts_meV[0.5])
    print({step: np.round(shifts, 3) for step, shifts in shifts_meV.items()}, ratio)
    assert np.mean(shifts_meV[1.0]) < -0.3
    assert 2.5 < ratio < 6
