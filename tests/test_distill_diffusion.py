"""The sections of a card that stand beside other people's numbers: diffusivity (CHGNet's) and boundaries (DFT's)."""

import json

import numpy as np
import pytest

from atomflow import potentials, runs
from atomflow.cell import Cell
from atomflow.distill.card_checks import boundary, diffusion, runner
from atomflow.distill.card_checks.engine_runs import LongRun, nzsp_published
from atomflow.distill.card_checks.section import Context
from atomflow.distill.card_checks.settings import CardSettings
from atomflow.distill.sides import Here
from atomflow.errors import InputError, RunStopped
from atomflow.estimate import Estimate
from atomflow.potentials.pair import LennardJones


def hot_salt() -> Cell:
    """Eight Na and eight O in a dilute box; with argon's forces between them they fly."""
    grid = np.array([[x, y, z] for x in range(4) for y in range(2) for z in range(2)]) * np.array([5.0, 5.0, 5.0])
    rng = np.random.default_rng(3)
    return Cell(np.array([11, 8] * 8), grid + rng.normal(0, 0.1, grid.shape), np.diag([20.0, 10.0, 10.0]))


@pytest.fixture
def context(tmp_path):
    potential = potentials.load("lennard-jones-argon")
    said: list[str] = []
    settings = CardSettings(diffusion_temperatures_K=(900.0,), diffusion_ps=1.5, diffusion_chgnet_ps=0.5)
    return Context(potential, "lennard-jones-argon", Here(potential, tmp_path / "student"), None, "none", settings,
                   tmp_path, said.append)  # fmt: skip


@pytest.fixture
def toys(monkeypatch):
    """A cell of seconds, half a picosecond of equilibration, and another pair potential in CHGNet's place."""
    monkeypatch.setattr(diffusion, "nzsp_published", lambda atoms: hot_salt())
    monkeypatch.setattr(diffusion, "EQUILIBRATION_PS", 0.5)
    other = LennardJones(epsilon_eV=0.02, sigma_A=3.0, cutoff_A=8.0)
    monkeypatch.setattr(diffusion, "_chgnet", lambda context: (other, ""))
    return other


def changed(context: Context, **settings) -> Context:
    return Context(**{**context.__dict__, "settings": context.settings.model_copy(update=settings)})


def frames(run: LongRun) -> np.ndarray:
    found = runs.open_run(run.folder)
    return found.positions_A(0, found.n_frames)


def long_run(root) -> LongRun:
    return LongRun.of(root, "walk", hot_salt(), potentials.load("lennard-jones-argon"), 900.0, 1, 0.5)


def test_a_run_made_longer_is_the_one_that_was_asked_for_at_once(tmp_path):
    at_once, in_parts = long_run(tmp_path / "a"), long_run(tmp_path / "b")
    at_once.go_on(1.5, None, lambda text: None)
    in_parts.go_on(0.5, None, lambda text: None)
    assert (in_parts.time_ps, in_parts.state) == (0.5, "stopped")
    first = frames(in_parts)
    in_parts.go_on(1.5, None, lambda text: None)
    assert at_once.time_ps == in_parts.time_ps == 1.5
    assert np.array_equal(frames(in_parts), frames(at_once))
    assert np.array_equal(frames(in_parts)[: len(first)], first)
    before = frames(in_parts)
    in_parts.go_on(1.0, None, lambda text: None)  # long enough already
    assert np.array_equal(frames(in_parts), before)


def test_no_minutes_run_nothing_and_few_minutes_leave_the_rest_for_later(tmp_path, monkeypatch):
    run = long_run(tmp_path)
    run.go_on(1.5, 0, lambda text: None)
    assert run.state == "none"
    clock = iter(np.arange(100) * 40.0)  # every look at it takes forty seconds
    monkeypatch.setattr("atomflow.distill.card_checks.engine_runs.time.monotonic", lambda: float(next(clock)))
    run.go_on(1.5, 1.0, lambda text: None)
    assert 0 <= run.time_ps < 1.5
    assert run.state == "stopped"


def test_what_another_process_has_is_left_to_it(tmp_path):
    run = long_run(tmp_path)
    run.go_on(0.5, None, lambda text: None)
    said: list[str] = []
    writer, _ = runs.RunWriter.resume(run.folder)
    with writer:
        run.go_on(1.5, None, said.append)
    assert len(said) == 1
    assert run.time_ps == 0.5


def test_a_signal_stops_the_run_and_is_passed_on(tmp_path, monkeypatch):
    import signal

    run = long_run(tmp_path)
    with pytest.raises(RunStopped):
        run.go_on(1.5, None, lambda text: signal.raise_signal(signal.SIGTERM) if run.time_ps < 1 else None)
    assert run.state == "stopped"


def test_runs_are_named_by_potential_cell_and_settings(tmp_path, toys):
    own = long_run(tmp_path)
    shifted = Cell(own.cell.numbers, own.cell.positions_A + 0.1, own.cell.lattice_A)
    folders = {
        LongRun.of(tmp_path, "walk", cell, potential, temperature, seed, 0.5).folder
        for cell in (own.cell, shifted)
        for potential in (own.potential, toys)
        for temperature in (900.0, 901.0)
        for seed in (1, 2)
    }
    assert len(folders) == 16
    assert own.folder in folders


def test_the_slow_side_is_kept_for_a_later_student_and_goes_on_when_more_is_asked(context, toys):
    said: list[str] = []
    context = Context(**{**context.__dict__, "say": said.append})
    section = diffusion.run(context)
    fact = section.facts["900"]
    assert (fact["student"]["time_ps"], fact["chgnet"]["time_ps"]) == (1.5, 0.5), said  # what stopped a run is in it
    assert not section.unfinished
    [kept] = diffusion._runs(context, toys, 1)
    before = frames(kept)

    later = Context(**{**context.__dict__, "potential": LennardJones(epsilon_eV=0.015, sigma_A=3.2, cutoff_A=8.0)})
    assert diffusion.work(later).chgnet == 0
    assert diffusion.work(later).student > 0
    assert diffusion.run(later).facts["900"]["chgnet"] == fact["chgnet"], said
    assert np.array_equal(frames(kept), before)

    more = changed(later, diffusion_chgnet_ps=1.0)
    assert diffusion.work(more).chgnet == pytest.approx(80 * 500 * 0.5)
    assert diffusion.run(more).facts["900"]["chgnet"]["time_ps"] == 1.0, said
    assert np.array_equal(frames(kept)[: len(before)], before)


def test_seeds_of_the_slow_side_are_asked_for_apart_and_pooled(context, toys):
    alone = diffusion.run(context).facts["900"]
    asked = changed(context, diffusion_chgnet_seeds=2)
    assert diffusion.work(asked).student == 0
    assert diffusion.work(asked).chgnet == pytest.approx(80 * 500 * (0.5 + 0.5))  # equilibration and half a picosecond
    section = diffusion.run(asked)
    fact = section.facts["900"]
    assert fact["chgnet"]["time_ps"] == 1.0
    assert fact["student"] == alone["student"]
    assert any("1 seed(s) of the student, 2 of CHGNet" in line for line in section.lines)


def test_what_exists_is_shown_where_the_slow_side_is_not_to_be_run(context, toys):
    asked = changed(context, diffusion_minutes=0)
    section = diffusion.run(asked)
    assert section.unfinished  # CHGNet's half picosecond is still asked for
    assert "CHGNet at 900 K: no run to go by yet" in section.missing
    assert section.facts["900"]["inside"] is None
    assert section.facts["900"]["student"]["time_ps"] == 1.5
    assert diffusion.work(asked).chgnet == 0


def test_without_chgnet_the_student_is_measured_alone(context, toys, monkeypatch):
    monkeypatch.setattr(diffusion, "_chgnet", lambda context: (None, "pip install chgnet"))
    section = diffusion.run(context)
    assert section.missing[0] == "CHGNet's diffusivity: pip install chgnet"
    assert section.rows[0][3:5] == ["-", "0"]
    assert section.facts["900"]["student"]["time_ps"] == 1.5


def test_diffusivity_is_that_of_the_analysis_of_the_runs(context, toys):
    from atomflow import transport

    section = diffusion.run(changed(context, diffusion_seeds=2))
    own = diffusion.student_runs(changed(context, diffusion_seeds=2))
    assert [each.config.seed for each in own] == [1, 2]
    found = transport.analyze([each.folder for each in own])
    assert section.facts["900"]["student"]["value"] == found.tracer_diffusivity_cm2_per_s.value
    assert section.facts["900"]["student"]["time_ps"] == 3.0


@pytest.mark.parametrize("atoms", [40, 80])
def test_the_published_cell_is_that_of_density_functional_theory(atoms):
    cell = nzsp_published(atoms)
    assert len(cell) == atoms
    assert cell.volume_A3 / atoms == pytest.approx(1118.5 / 80, rel=1e-4)  # Xie et al. 2023


def test_joint_interval_of_a_ratio():
    ratio, inside = diffusion.joint(Estimate(2.0, 1.0, 4.0), Estimate(1.0, 0.5, 2.0))
    assert ratio.value == pytest.approx(2.0)
    assert ratio.low == pytest.approx(2.0 * 2 ** -np.sqrt(2))
    assert ratio.high == pytest.approx(2.0 * 2 ** np.sqrt(2))
    assert inside
    assert diffusion.joint(Estimate(8.0, 7.0, 9.0), Estimate(1.0, 0.9, 1.1))[1] is False
    assert diffusion.joint(Estimate.upper_limit(1.0), Estimate(1.0, 0.9, 1.1))[1] is None


ROWS = [
    {"what": "boundary", "plane": [1, 0, 1], "ours_J_per_m2": 0.2, "theirs_J_per_m2": 0.1},
    {"what": "boundary", "plane": [1, 1, 0], "ours_J_per_m2": 0.9, "theirs_J_per_m2": 1.0},
    {"what": "their cell", "plane": [1, 0, 1], "ours_J_per_m2": 0.5, "theirs_J_per_m2": 0.1},
    {"what": "their cell", "plane": [1, 1, 0], "ours_J_per_m2": 0.4, "theirs_J_per_m2": 1.0},
    {"what": "surface", "plane": [1, 1, 0], "ours_J_per_m2": 0.5, "theirs_J_per_m2": 0.5},
    {"what": "their slab", "plane": [1, 1, 0], "ours_J_per_m2": 0.5, "theirs_J_per_m2": 0.7},
]


def test_boundary_energies_say_with_which_model_they_were_measured(context, tmp_path):
    path = tmp_path / "b.json"
    path.write_text(json.dumps({"rows": ROWS, "potential": {"sha256": "0" * 64}}))
    given = Context(**{**context.__dict__, "boundary_energies": path})
    section = boundary.run(given)
    assert section.lines == [
        "Boundaries, lowest found: 2, mean |difference| 0.100 J/m², order right.",
        "In DFT's own cells, relaxed on: 3, mean |difference| 0.400 J/m², order NOT right.",
        "Surfaces, lowest cut: 1, mean |difference| 0.000 J/m².",
    ]
    assert section.rows[4] == ["surface (1 1 0)", "0.500", "0.500", "+0.000"]
    assert "another model" in section.missing[0]
    for wrong in ("{}", "[]", "no json"):
        path.write_text(wrong)
        with pytest.raises(InputError, match="compare-dft"):
            boundary.run(given)


def test_boundary_energies_are_searched_where_none_are_given(context, tmp_path, monkeypatch):
    """The same call as the command's with --no-thicker, and the same numbers in the section."""
    calls = []

    def search(potential, folder, thicker=True, say=None, stop=None, searches=None):
        calls.append(folder)
        assert not stop()
        assert not thicker
        assert searches is context.settings.boundary_searches
        return {"rows": ROWS, "potential": {"sha256": potential.identity.sha256}}

    monkeypatch.setattr("atomflow.interfaces.compare_dft", search)
    assert "does not know" in boundary.run(context).missing[0]  # argon's forces for every element: not asked
    assert boundary.work(context).student == 0
    monkeypatch.setattr(boundary, "_can", lambda context: True)
    section = boundary.run(context)
    assert calls == [tmp_path / f"boundary-{context.potential.identity.sha256[:8]}"]
    assert section.missing == []
    assert section.facts["rows"] == ROWS
    assert boundary.work(context).student > 0


def test_a_section_that_is_unfinished_is_measured_again(context, toys):
    asked = changed(context, diffusion_minutes=0)
    runner.measure(asked, ["diffusion"])
    assert runner.kept_section(runner.path_of(asked, "diffusion")) is None
    runner.measure(context, ["diffusion"])
    assert runner.kept_section(runner.path_of(context, "diffusion")) is not None


def test_the_settings_that_are_shipped_are_understood():
    from pathlib import Path

    from atomflow.config import parse, read_yaml

    path = Path(__file__).parents[1] / "workflows/potential/card-asked.yaml"
    settings = parse(CardSettings, read_yaml(path), path.name)
    assert settings.diffusion_temperatures_K == (1500.0, 1000.0)


def test_the_goal_is_judged_in_the_published_cells_and_says_what_searches_found():
    from atomflow.distill.goals import goals

    def row(rows):
        record = {"model": {"sha256": "a"}, "section": {"facts": {"rows": rows}}}
        data = {"potential": {"sha256": "a"}, "sections": {"boundary": record}}
        return next(row for row in goals(data) if row[0] == "published DFT boundary and surface energies")

    theirs = [{"what": what, "ours_J_per_m2": ours, "theirs_J_per_m2": dft}
              for what, ours, dft in (("their cell", 0.2, 0.1), ("their cell", 0.9, 0.9), ("their slab", 0.5, 0.6))]
    found = {"what": "boundary", "ours_J_per_m2": 0.5, "theirs_J_per_m2": 0.9}
    assert row([found, *theirs])[2:] == ["in DFT's own cells: 0.067 J/m² over 3, order right; "
                                         "lowest found: 0.400 J/m² over 1, order right", "met"]  # fmt: skip
    assert row([found])[3] == "NOT met"
    theirs[2]["ours_J_per_m2"] = 0.95
    assert row(theirs)[3] == "NOT met"
    assert row([])[3] == "open"


def test_the_runs_of_chgnet_that_are_shipped_are_those_that_the_card_looks_for(tmp_path):
    import tarfile
    from pathlib import Path

    pytest.importorskip("chgnet")
    chgnet = potentials.load("chgnet", device="cpu")
    with tarfile.open(Path(__file__).parents[1] / "workflows/potential/card-answers.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    for temperature in (1500.0, 1000.0):
        seeds = [LongRun.of(tmp_path / "runs", "diffusion", nzsp_published(80), chgnet, temperature, seed,
                            diffusion.EQUILIBRATION_PS) for seed in range(1, 9)]  # fmt: skip
        for run in seeds:
            assert run.state == "stopped"
            assert run.time_ps >= 12
        assert 1e-5 < diffusion.measured(seeds).diffusivity.value < 2e-4
