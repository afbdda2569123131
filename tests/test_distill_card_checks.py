"""Sections of a card: kept one by one, asked of student and teacher alike, honest about what is missing."""

import json
import math
import sys
import time
import types

import numpy as np
import pytest
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.lj import LennardJones

from atomflow import crystals, potentials
from atomflow.cell import Cell
from atomflow.cli.main import run
from atomflow.distill import operations
from atomflow.distill.card_checks import doubt, energies, eos, hops, runner, stability
from atomflow.distill.card_checks.crystal import NZSP, primitive
from atomflow.distill.card_checks.kept import Kept, TeacherSilent
from atomflow.distill.card_checks.section import Context, Section, Work
from atomflow.distill.card_checks.settings import CardSettings
from atomflow.distill.card_page import write_card
from atomflow.distill.goals import goals
from atomflow.distill.sides import Elsewhere, Here, task
from atomflow.errors import InputError, RunFailed


class Corrugated(Calculator):
    """Each atom alone in E = A sin²(πx/L) + k(y² + z²)/2: the barrier between neighbouring wells is A."""

    implemented_properties = ("energy", "forces", "stress")
    height_eV, period_A, stiffness = 0.4, 3.0, 2.0

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        x, across = self.atoms.positions[:, 0], self.atoms.positions[:, 1:] - 5.0
        angle = np.pi * x / self.period_A
        forces = np.zeros((len(x), 3))
        forces[:, 0] = -self.height_eV * np.pi / self.period_A * np.sin(2 * angle)
        forces[:, 1:] = -self.stiffness * across
        energy = self.height_eV * (np.sin(angle) ** 2).sum() + self.stiffness * (across**2).sum() / 2
        self.results = {"energy": energy, "forces": forces, "stress": np.zeros(6)}


def one_atom(x_A: float) -> Cell:
    return Cell(np.array([11]), np.array([[x_A, 5.2, 4.9]]), np.eye(3) * 12)


def argon(n: int = 2, length_A: float = 10.6, shake: float = 0.1) -> Cell:
    grid = np.array([[x, y, z] for x in range(n) for y in range(n) for z in range(n)]) * length_A / n
    base = np.concatenate([grid, grid + np.array([0.25, 0.25, 0.0]) * length_A])
    return Cell(
        np.full(len(base), 18), base + np.random.default_rng(1).normal(0, shake, base.shape), np.eye(3) * length_A
    )


@pytest.fixture
def context(tmp_path):
    potential = potentials.load("lennard-jones-argon")
    said: list[str] = []
    return Context(
        potential,
        "lennard-jones-argon",
        Here(potential, tmp_path / "student"),
        None,
        "no teacher was named",
        CardSettings(),
        tmp_path,
        said.append,
    )


def test_band_finds_the_barrier_of_an_analytic_landscape():
    found = operations.perform(task("band", [one_atom(0.3), one_atom(2.8)], images=3, steps=80), Corrugated())
    assert found["converged"]
    assert found["forward_eV"] == pytest.approx(0.4, abs=0.004)
    assert found["backward_eV"] == pytest.approx(0.4, abs=0.004)
    assert found["evaluations"] > 10


def test_relaxing_does_not_change_what_was_asked_and_comes_to_rest():
    asked = task("relax", [one_atom(0.4)], cell_too=False, fmax_eV_per_A=0.001)
    before = json.dumps(asked)
    found = operations.perform(asked, Corrugated())
    assert json.dumps(asked) == before
    np.testing.assert_allclose(found["cells"][0]["positions_A"], [[0, 5, 5]], atol=2e-3)
    assert found["largest_forces_eV_per_A"][0] < 0.001


def test_teacher_elsewhere_gives_what_the_same_calculator_gives_here_and_is_asked_once(tmp_path):
    tasks = [task("single", [argon()]), task("relax", [argon()], cell_too=False, steps=5)]
    side = Elsewhere("lennard-jones", tmp_path, sys.executable)
    found = side.perform(tasks, lambda text: None)
    own = LennardJones(sigma=2.0, epsilon=0.05, rc=5.0, smooth=True)
    for result, asked in zip(found, tasks, strict=True):
        expected = operations.perform(asked, own)
        np.testing.assert_allclose(result["energies_eV"], expected["energies_eV"], rtol=1e-12, atol=0)
    assert found[0]["version"].startswith("ase ")
    side.interpreter = "/nowhere/python"  # would fail if anybody were asked again
    assert side.perform(tasks, lambda text: None) == found
    with pytest.raises(FileNotFoundError):
        side.perform([task("single", [argon(shake=0.2)])], lambda text: None)


def test_teacher_that_fails_is_one_line(tmp_path):
    with pytest.raises(RunFailed, match="unknown teacher 'oracle'"):
        Elsewhere("oracle", tmp_path, sys.executable).perform([task("single", [argon()])], lambda text: None)


def test_answers_of_one_model_are_not_taken_for_those_of_another(tmp_path):
    potential = potentials.load("lennard-jones-argon")
    here = Here(potential, tmp_path)
    [first] = here.perform([task("single", [argon()])], lambda text: None)
    here._key = "another model"
    here.perform([task("single", [argon()])], lambda text: None)
    assert len(list(tmp_path.glob("*.result.json"))) == 2
    assert first["forces_eV_per_A"]


def toy_check(calls: list[str], name: str, section: Section | Exception) -> types.SimpleNamespace:
    def measure(context):
        calls.append(name)
        if isinstance(section, Exception):
            raise section
        return section

    return types.SimpleNamespace(TITLE=f"title of {name}", run=measure, work=lambda context: Work(student=100.0))


def test_a_check_that_fails_loses_itself_alone_and_the_kept_ones_are_not_measured_again(context, monkeypatch):
    calls: list[str] = []
    checks = {
        "good": toy_check(calls, "good", Section(lines=["seen"])),
        "bad": toy_check(calls, "bad", RunFailed("broke")),
    }
    monkeypatch.setattr(runner, "CHECKS", checks)
    first = runner.measure(context, ["bad", "good"])
    assert first["good"]["section"]["lines"] == ["seen"]
    assert first["bad"]["section"]["missing"] == ["not measured: broke"]
    assert first["good"]["model"]["sha256"] == context.potential.identity.sha256
    again = runner.measure(context, ["bad", "good"])
    assert calls == ["bad", "good", "bad"]
    assert again["good"] == first["good"]


def test_other_settings_measure_anew(context):
    longer = Context(**{**context.__dict__, "settings": CardSettings(drift_ps=9.0)})
    assert runner.path_of(context, "drift") != runner.path_of(longer, "drift")


def test_sections_of_another_model_are_shown_as_such(context, monkeypatch, tmp_path):
    calls: list[str] = []
    monkeypatch.setattr(
        runner,
        "CHECKS",
        {"hops": toy_check(calls, "hops", Section(lines=["barriers"], rows=[["a<b", "1"]], columns=["x", "y"]))},
    )
    runner.measure(context, ["hops"])
    [path] = (tmp_path / "sections").glob("*.json")
    record = json.loads(path.read_text())
    record["model"] = {"name": "older", "sha256": "f" * 64}
    path.write_text(json.dumps(record))
    kept = runner.others(context, [])
    assert kept["hops"]["model"]["name"] == "older"
    assert runner.others(context, ["hops"]) == {}
    data = {"potential": context.potential.identity.model_dump(), "about": {}, "sections": kept}
    page = write_card(data, tmp_path / "card.html").read_text()
    assert "Measured with another model: older" in page
    assert "a&lt;b" in page
    assert "no labelled held-out frames" in page


def test_kept_answers_of_a_teacher_are_enough_and_what_is_not_kept_is_said(context, monkeypatch, tmp_path):
    asked = [task("single", [argon()]), task("single", [argon(shake=0.2)])]
    told = Elsewhere("lennard-jones", tmp_path / "teacher", sys.executable).perform(asked[:1], lambda text: None)
    kept = Kept("lennard-jones", tmp_path / "teacher")
    assert kept.perform(asked[:1], lambda text: None) == told
    with pytest.raises(TeacherSilent, match="1 answers of lennard-jones are not among those kept"):
        kept.perform(asked, lambda text: None)

    def measure(given):
        answers = given.teacher.perform(asked, given.say) if given.teacher else []
        return Section(lines=[f"{len(answers)} answers"], missing=[given.no_teacher])

    check = types.SimpleNamespace(TITLE="toy", run=measure, work=lambda context: Work(teacher=100.0))
    monkeypatch.setattr(runner, "CHECKS", {"toy": check})
    silent = Context(**{**context.__dict__, "teacher": kept})
    section = runner.measure(silent, ["toy"])["toy"]["section"]
    assert section["lines"] == ["0 answers"]
    assert "not among those kept" in section["missing"][0]
    asking = Context(**{**context.__dict__, "teacher": Elsewhere("lennard-jones", kept.folder, sys.executable)})
    assert runner.measure(asking, ["toy"])["toy"]["section"]["lines"] == ["2 answers"]
    assert runner.measure(silent, ["toy"])["toy"]["section"]["lines"] == ["2 answers"]


def test_choosing_checks(context):
    assert runner.choose("none") == ()
    assert runner.choose("all") == tuple(runner.CHECKS)
    assert runner.choose("speed, lattice") == ("lattice", "speed")
    with pytest.raises(InputError, match="did you mean 'lattice'"):
        runner.choose("latice")


def test_estimate_counts_only_what_is_not_kept(context, monkeypatch):
    monkeypatch.setattr(runner, "CHECKS", {name: toy_check([], name, Section()) for name in ("one", "two")})
    before = runner.price(context, ["one", "two"])
    runner.measure(context, ["one"])
    assert set(before.seconds) == {"one", "two"}
    assert set(runner.price(context, ["one", "two"]).seconds) == {"two"}


def test_estimate_leaves_out_what_is_only_paid_once(context):
    """The first force call compiles and warms up: with the two that follow it, it is not what a thousand cost."""
    seen = []

    class SlowToStart(LennardJones):
        def calculate(self, *args, **named):
            super().calculate(*args, **named)
            time.sleep(0.0 if seen else 0.5)
            seen.append(1)

    cell = Cell([18, 18], [[0.0, 0, 0], [0, 0, 3.8]], np.eye(3) * 12)
    cells = [cell.with_(positions_A=cell.positions_A + shift) for shift in (0.0, 0.1, 0.2)]
    found = operations.perform(task("single", cells), SlowToStart())
    assert found["evaluations"] == 3
    assert found["seconds"] > 0.5
    assert found["seconds_per_atom"] < 0.05


def test_estimate_of_stability_is_no_longer_than_it_may_take(context):
    def changed(**settings):
        return Context(**{**context.__dict__, "settings": context.settings.model_copy(update=settings)})

    most = {minutes: stability.work(changed(stability_minutes=minutes)).at_most_s for minutes in (None, 0, 7)}
    assert most[None] == math.inf
    assert most[0] == 0
    assert most[7] == 7 * 60 * 2  # of NZSP and of ZBO
    assert runner.price(changed(stability_minutes=0, stability_nzsp_ps=1000), ["stability"]).total_s == 0


def test_every_reaction_is_balanced():
    for name, reaction in energies.REACTIONS.items():
        total: dict[str, float] = {}
        for crystal, count in reaction.items():
            composition = crystals.load(crystal).composition
            per_formula = energies.FORMULA_ATOMS[crystal] / composition.num_atoms
            for element, amount in composition.items():
                total[element.symbol] = total.get(element.symbol, 0) + count * amount * per_formula
        assert max(map(abs, total.values())) < 1e-9, name


def test_fit_of_the_equation_of_state_returns_what_made_the_curve():
    volume, modulus, slope = 11.3, 0.9, 4.6
    volumes = np.linspace(0.94, 1.06, 7) * volume
    eta = (volume / volumes) ** (2 / 3)
    curve = -3.0 + 9 * volume * modulus / 16 * ((eta - 1) ** 3 * slope + (eta - 1) ** 2 * (6 - 4 * eta))
    assert eos.birch_murnaghan(volumes, curve) == pytest.approx((volume, modulus), rel=1e-6)
    with pytest.raises(ValueError, match="no minimum"):
        eos.birch_murnaghan(volumes, -volumes)


def test_the_hop_moves_one_sodium_to_an_empty_site():
    first, last, ion = hops.hop_ends(3)
    moved = np.linalg.norm(last.positions_A - first.positions_A, axis=1)
    assert np.flatnonzero(moved > 1e-6).tolist() == [ion]
    assert first.symbols[ion] == "Na"
    away = (first.positions_A[first.symbols == "Na"] - last.positions_A[ion]) @ np.linalg.inv(first.lattice_A)
    assert np.linalg.norm((away - np.round(away)) @ first.lattice_A, axis=1).min() > 0.5


def test_barriers_along_the_students_path_need_no_band_of_the_teacher(tmp_path):
    """Planted: the student climbs 0.30 and 0.20 eV, the teacher 0.33 and 0.18 eV along the same three cells."""
    first, last, _ = hops.hop_ends(3)
    path = [Cell(first.numbers, (1 - part) * first.positions_A + part * last.positions_A, first.lattice_A)
            for part in (0.0, 0.5, 1.0)]
    own = {"cells": [operations.to_cell(cell.to_ase()) for cell in path], "converged": True, "evaluations": 9,
           "forward_eV": 0.30, "backward_eV": 0.20}
    student = types.SimpleNamespace(perform=lambda tasks, say: [own])

    def teach(tasks, say):
        assert [asked["operation"] for asked in tasks] == ["single"]
        return [{"energies_eV": [-5.0, -4.67, -4.85]}]

    context = Context(None, "toy", student, types.SimpleNamespace(perform=teach), "",
                      CardSettings(hop_seeds=(3,), hop_teacher_bands=False), tmp_path, lambda text: None)
    found = hops.run(context)
    assert found.facts["3"]["errors_on_students_path_eV"] == pytest.approx([-0.03, 0.02])
    assert "errors_eV" not in found.facts["3"]  # the goal asks for the teacher's own bands
    assert "mean |difference| 25 meV, largest 30 meV" in found.lines[0]
    assert "hop_teacher_bands" in found.missing[0]
    assert found.rows[0][3] == "0.330 / 0.180"


def test_conventional_lattice_comes_back_from_the_primitive_cell():
    crystal = primitive(NZSP)
    assert len(crystal.cell) == 40
    np.testing.assert_allclose(crystal.lattice_parameters(crystal.cell), crystals.facts(NZSP).cell, rtol=1e-5)
    stretched = Cell(crystal.cell.numbers, crystal.cell.positions_A, crystal.cell.lattice_A * 1.01)
    np.testing.assert_allclose(
        crystal.lattice_parameters(stretched)[:3], 1.01 * np.array(crystals.facts(NZSP).cell[:3]), rtol=1e-5
    )


def test_doubt_needs_a_committee_and_frames(context):
    assert "has no committee" in doubt.run(context).missing[0]
    assert doubt.work(context).student == 0


def test_goals_are_judged_from_what_was_measured_with_this_model():
    def record(facts, sha="a"):
        return {"model": {"sha256": sha}, "section": {"facts": facts}}

    def family(name, rmse):
        return {"group": name, "force_rmse_eV_per_A": {"value": rmse}}

    data = {
        "potential": {"sha256": "a"},
        "by_family": [family("nzsp, md, above 1000 K", 0.3), family("glass, md, to 1000 K", 0.14),
                      family("sealed, md, above 1000 K", 0.16), family("sealed, relaxing", 0.13)],
        "nzsp_dynamics_300_to_1500K": {"force_rmse_eV_per_A": {"value": 0.055}, "slope": 1.01, "frames": 9},
        "sections": {
            "hops": record({"1": {"errors_eV": [0.01, -0.02]}, "2": {}}),
            "phonons": record({"imaginary": [{}], "gamma_teacher_THz": [0.0, 2.0]}),
            "stability": record({"stability-nzsp": [{"blown_up": False, "time_ps": 20.0}],
                                 "stability-zbo": [{"blown_up": False, "time_ps": 0.0}]}),  # waiting: no seed is whole
            "diffusion": record({"1500": {"inside": True}}, sha="b"),
        },
    }
    verdicts = {row[0]: row[3] for row in goals(data)}
    assert verdicts["force RMSE, held-out NZSP dynamics, 300-1500 K"] == "met"
    assert verdicts["force RMSE, held-out glass, boundary, sealed, contact systems, to 1000 K"] == "met"
    assert verdicts["the same above 1000 K: melts, hot films, boundaries"] == "NOT met"
    assert verdicts["Na hop barriers against the teacher's"] == "met"
    assert verdicts["phonons of C2/c NZSP"] == "NOT met"
    assert verdicts["NZSP at 1500 K"] == "less than asked"
    assert verdicts["ZBO at 2500 K"] == "open"
    assert verdicts["Na diffusivity beside CHGNet's"] == "open"
    assert verdicts["published DFT boundary and surface energies"] == "open"


def test_card_of_a_named_potential_without_frames_or_checks(tmp_path, capsys):
    out = tmp_path / "card.html"
    assert run(["potential", "card", "lennard-jones-argon", "--checks", "none", "-o", str(out)]) == 0
    assert "Not measured" in out.read_text()
    assert json.loads(out.with_suffix(".json").read_text())["sections"] == {}
    assert run(["potential", "card", "lennard-jones-argon", "--checks", "phonos", "-o", str(out)]) == 2
    assert "did you mean 'phonons'" in capsys.readouterr().err
    assert (
        run(
            [
                "potential",
                "card",
                "lennard-jones-argon",
                "--checks",
                "boundary",
                "--python",
                "/nowhere/python",
                "-o",
                str(out),
            ]
        )
        == 2
    )
    assert "/nowhere/python" in capsys.readouterr().err


@pytest.mark.slow
def test_dynamic_sections_of_a_shipped_model(tmp_path):
    """The engine's sections end to end, short: drift, stability, speed; kept on the second call."""
    (tmp_path / "s.yaml").write_text(
        "drift_ps: 0.1\nstability_seeds: 1\nstability_nzsp_ps: 0.1\nstability_zbo_ps: 0.1\nspeed_atoms: [80]\n"
    )
    command = [
        "potential",
        "card",
        "atomflow-nzsp-0",
        "--checks",
        "drift,stability,speed",
        "--settings",
        str(tmp_path / "s.yaml"),
        "-o",
        str(tmp_path / "card.html"),
    ]
    assert run(command) == 0
    sections = json.loads((tmp_path / "card.json").read_text())["sections"]
    assert abs(sections["drift"]["section"]["facts"]["drift_meV_per_atom_per_ps"]) < 0.5
    assert sections["stability"]["section"]["facts"]["stability-nzsp"][0]["state"] == "done"
    assert sections["speed"]["section"]["facts"]["cpu-80"]["seconds"] > 0
    measured = {name: record["measured"] for name, record in sections.items()}
    assert run(command) == 0
    again = json.loads((tmp_path / "card.json").read_text())["sections"]
    assert {name: record["measured"] for name, record in again.items()} == measured
