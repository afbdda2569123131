import json

import numpy as np
import pytest
from transport_walks import cage, gaussian_walk

from atomflow import runs
from atomflow.cell import Cell
from atomflow.cli.main import run as atomflow
from atomflow.errors import InputError
from atomflow.runs import RunWriter
from atomflow.transport import analyze, analyze_campaign
from atomflow.units import BOLTZMANN_EV_PER_K

IONS, FRAMEWORK = 20, 4


def write_run(folder, seed, temperature=600.0, d_A2_per_ps=0.1, frames=200, structure="ordered", state="done",
              mean_temperature=None, drift=0.1, sha="a" * 64, config=None, ions=IONS, framework_A2_per_ps=0.0,
              height_A=16.0):
    """A real run folder whose ions walk with a known D (0: they vibrate)."""
    rng = np.random.default_rng(seed)
    lattice = np.diag([14.0, 15.0, height_A])
    start = rng.uniform(0, 14, (ions + FRAMEWORK, 3))
    cell = Cell([11] * ions + [40] * FRAMEWORK, start, lattice)
    settings = {"ensemble": "nvt", "temperature_K": temperature, "seed": seed, "frame_interval_fs": 100.0,
              **(config or {})}
    walk = np.zeros((frames, ions + FRAMEWORK, 3))
    walk[:, :ions] = gaussian_walk(rng, frames, ions, d_A2_per_ps, 0.1) + cage(rng, frames, ions, 0.2, 2)
    walk[:, ions:] = gaussian_walk(rng, frames, FRAMEWORK, framework_A2_per_ps, 0.1)
    kelvin = np.broadcast_to(mean_temperature or temperature if np.ndim(mean_temperature) == 0 else mean_temperature,
                             frames)
    labels = {"structure": structure, "task": folder.name}
    with RunWriter.create(folder, settings, cell, {"name": "made-up", "sha256": sha}, labels, frames) as writer:
        for step in range(frames):
            writer.frame(step, step * 100.0, start + walk[step], lattice)
            writer.thermo(step, step * 100.0, {"temperature_K": kelvin[step], "potential_energy_eV": -1.0})
        writer.commit({"step": frames}, {"step": frames, "frames": frames})
        writer.finish(state, "made to fail" if state == "failed" else None,
                      {"energy_drift_meV_per_atom_per_ps": drift})
    return folder


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    """Ea = 0.30 eV, D = 0.1 Å²/ps at 600 K; four temperatures × two seeds, and four runs to leave out."""
    place = tmp_path_factory.mktemp("demo")
    runs = place / "runs"
    runs.mkdir()
    for i, temperature in enumerate((500.0, 600.0, 700.0, 850.0)):
        d = 0.1 * np.exp(-0.30 / BOLTZMANN_EV_PER_K * (1 / temperature - 1 / 600))
        for seed in (1, 2):
            write_run(runs / f"ordered-{temperature:.0f}-{seed}", 10 * i + seed, temperature, d)
    write_run(runs / "cold-1", 91, 350.0, 0.0)
    write_run(runs / "failed-1", 92, state="failed")
    write_run(runs / "short-1", 93, frames=10, state="stopped")
    write_run(runs / "hot-1", 94, mean_temperature=780.0)
    write_run(runs / "drifting-1", 95, drift=50.0)
    (place / "campaign.json").write_text(json.dumps({"config": {"name": "demo"}}))
    return place


def test_a_campaign_pools_seeds_and_recovers_the_activation_energy(campaign):
    result = analyze_campaign(campaign)
    assert result.name == "demo"
    assert [(g.result.temperature_K, g.result.n_runs) for g in result.groups] == [
        (350.0, 1), (500.0, 2), (600.0, 2), (700.0, 2), (850.0, 2)]
    (line,) = result.arrhenius
    energy = line.line.activation_energy_eV
    assert energy.low < 0.30 < energy.high
    assert energy.high - energy.low < 0.15
    assert line.upper_limits == [350.0]
    assert line.used == [500.0, 600.0, 700.0, 850.0]
    assert line.extrapolation.low < 1e-5 * np.exp(-0.30 / BOLTZMANN_EV_PER_K * (1 / 298.15 - 1 / 600)) \
        < line.extrapolation.high
    assert "202 K" in line.distance
    assert line.sigma_line.activation_energy_eV.low < 0.30 < line.sigma_line.activation_energy_eV.high
    assert any("transition" in text for text in line.warnings)


def test_two_temperatures_are_said_to_test_nothing(tmp_path):
    for seed, (temperature, d) in enumerate(((600.0, 0.1), (900.0, 0.4))):
        write_run(tmp_path / f"r{seed}", seed, temperature, d)
    result = analyze_campaign(tmp_path)
    assert any("two temperatures: a line through them always fits" in text for text in result.arrhenius[0].warnings)
    assert "Ea unknown from ln D" not in str(result)


def test_runs_of_one_name_but_other_cells_are_not_one(tmp_path):
    """Two cells of one composition are pooled with a word; other compositions stay apart."""
    for seed in (1, 2):
        write_run(tmp_path / f"same-{seed}", seed)
    write_run(tmp_path / "other", 3, ions=16)
    result = analyze_campaign(tmp_path)
    assert [(g.structure, g.result.n_runs) for g in result.groups] == [
        ("ordered (Na16Zr4)", 1), ("ordered (Na20Zr4)", 2)]
    assert not result.excluded
    (word,) = [text for text in result.groups[1].result.warnings if "different cells" in text]
    assert word.startswith("the runs pooled start from 2 different cells (3360.0 to 3360.0 Å³)")


def test_a_ramp_has_no_one_temperature(tmp_path):
    ramp = write_run(tmp_path / "ramp", 1, config={"temperature_end_K": 300.0})
    write_run(tmp_path / "held", 2, config={"temperature_end_K": 600.0})
    assert any("went from 600 to 300 K" in text for text in analyze(ramp).warnings)
    result = analyze_campaign(tmp_path)
    assert result.excluded == [{"run": "ramp", "reason": "the thermostat went from 600 to 300 K: it is of no one "
                                                         "temperature"}]


def test_what_is_discarded_does_not_count_for_the_temperature_either(tmp_path):
    """The first half at 800 K, the second at 600 K: only the second is used."""
    run = write_run(tmp_path / "run", 1, mean_temperature=np.repeat([800.0, 600.0], 100))
    assert analyze(run).temperature_mean_K == pytest.approx(700.0)
    assert analyze(run, discard_ps=10.0).temperature_mean_K == pytest.approx(600.0)


def test_a_framework_that_flows_and_ions_that_are_held_are_named(tmp_path):
    solid = analyze(write_run(tmp_path / "solid", 1))
    assert not any("not at rest" in text or "held" in text for text in solid.warnings)
    melt = analyze(write_run(tmp_path / "melt", 1, framework_A2_per_ps=0.2))
    assert any(text.startswith("the framework is not at rest") and "Zr " in text for text in melt.warnings)
    held = analyze(write_run(tmp_path / "held", 1, config={"held_regions": ["bulk"]}))
    assert any(text.startswith("20 Na were held in place (bulk)") for text in held.warnings)


def test_a_box_with_vacuum_says_that_the_conductivity_counts_it(tmp_path):
    """Atoms fill 14 of 15 Å along y and 14 of 40 along z."""
    assert not any("empty" in text for text in analyze(write_run(tmp_path / "full", 1)).warnings)
    slab = analyze(write_run(tmp_path / "slab", 1, height_A=40.0))
    (word,) = [text for text in slab.warnings if "the box is empty over" in text]
    assert 26.0 < float(word.split(" Å")[0].rsplit(" ", 1)[1]) < 29.0


def test_a_result_shows_itself_in_a_notebook(tmp_path):
    result = analyze(write_run(tmp_path / "run", 1))
    assert repr(result) == "<TransportResult: 20 Na at 600 K (measured 600 K); 1 run(s), 19.9 ps, 200 frames>"
    assert "tracer diffusivity, cm²/s" in str(result)
    assert repr(runs.open_run(tmp_path / "run")).endswith(
        "run: done, 200 frames of 24 atoms every 100 fs at 600 K; made-up>")
    with pytest.raises(InputError, match="a dict is no trajectory; give a path"):
        analyze({"a": 1})


def test_what_is_left_out_is_named_with_its_reason(campaign):
    reasons = {item["run"]: item["reason"] for item in analyze_campaign(campaign).excluded}
    assert set(reasons) == {"failed-1", "short-1", "hot-1", "drifting-1"}
    assert "made to fail" in reasons["failed-1"]
    assert "10 frames" in reasons["short-1"]
    assert "+30.0 %" in reasons["hot-1"]
    assert "50 meV" in reasons["drifting-1"]


def test_a_plain_folder_of_runs_and_different_potentials(tmp_path):
    """No campaign.json: the folder's name; two potentials are two groups and two lines."""
    write_run(tmp_path / "one", 1)
    write_run(tmp_path / "two", 2, sha="b" * 64)
    result = analyze_campaign(tmp_path)
    assert result.name == tmp_path.name
    assert len(result.groups) == len(result.arrhenius) == 2
    assert result.arrhenius[0].line.activation_energy_eV.high is None
    assert any("two are needed" in text for text in result.arrhenius[0].warnings)


def test_a_short_run_is_kept_when_chance_takes_its_temperature_that_far(tmp_path):
    """Ten per cent off: chance for 3 ps of few atoms, not for 60 ps of as many."""
    write_run(tmp_path / "short", 1, frames=30, mean_temperature=660.0)
    write_run(tmp_path / "long", 2, frames=6000, mean_temperature=660.0)
    assert [item["run"] for item in analyze_campaign(tmp_path).excluded] == ["long"]


def test_runs_of_one_line_may_differ_in_length(tmp_path):
    """Colder runs are longer: still one Arrhenius line, and seeds of different length are pooled."""
    write_run(tmp_path / "a", 1, 600.0, frames=600, config={"time_ps": 60.0})
    write_run(tmp_path / "b", 2, 600.0, frames=300, config={"time_ps": 30.0})
    write_run(tmp_path / "c", 3, 700.0, frames=400, config={"time_ps": 40.0})
    result = analyze_campaign(tmp_path)
    assert [group.result.n_runs for group in result.groups] == [2, 1]
    assert len(result.arrhenius) == 1


def test_the_measured_temperature_is_used_and_said(tmp_path):
    write_run(tmp_path / "one", 1, mean_temperature=624.0)
    (group,) = analyze_campaign(tmp_path).groups
    assert group.result.temperature_K == 600.0
    assert group.result.actual_temperature_K == pytest.approx(624.0)
    assert any("624 K" in text for text in group.result.warnings)


def test_command_line_on_a_campaign(campaign, capsys):
    assert atomflow(["analyze", str(campaign), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["kind"] == "campaign"
    assert {"name", "groups", "arrhenius", "excluded", "warnings"} <= set(data)
    limit = data["groups"][0]["tracer_diffusivity_cm2_per_s"]
    assert limit["value"] is None
    assert limit["low"] is None
    assert limit["high"] > 0
    line = data["arrhenius"][0]
    assert {"structure", "activation_energy_eV", "activation_energy_sigmaT_eV", "prefactor_cm2_per_s", "kink",
            "temperatures_K", "used", "upper_limits", "extrapolation", "warnings"} <= set(line)
    assert line["extrapolation"]["temperature_K"] == 298.15
    assert atomflow(["analyze", str(campaign)]) == 0
    text = capsys.readouterr().out
    assert "Ea" in text
    assert "left out: hot-1" in text


def test_command_line_on_one_run(campaign, capsys):
    one = campaign / "runs" / "ordered-600-1"
    assert atomflow(["analyze", str(one)]) == 0
    assert "tracer diffusivity" in capsys.readouterr().out
    assert atomflow(["analyze", str(one), "--json", "--discard-ps", "2"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["n_frames"] == 180
    assert data["potential"]["name"] == "made-up"


def test_command_line_on_a_foreign_trajectory(tmp_path, capsys):
    """Wrapped extxyz without times or temperature: given on the command line; D = 0.1 Å²/ps."""
    import ase
    import ase.io

    rng = np.random.default_rng(5)
    walk = gaussian_walk(rng, 200, 20, 0.1, 0.1) + rng.uniform(0, 12, (20, 3))
    frames = []
    for positions in walk:
        atoms = ase.Atoms("Na20Zr2", np.vstack([positions, [[1, 1, 1], [5, 5, 5]]]), cell=[12, 12, 12], pbc=True)
        atoms.wrap()
        frames.append(atoms)
    path = tmp_path / "walk.extxyz"
    ase.io.write(path, frames)
    assert atomflow(["analyze", str(path), "--species", "Na", "--temperature", "1000", "--frame-interval-fs", "100",
                     "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    d = data["tracer_diffusivity_cm2_per_s"]
    assert d["low"] < 1e-5 < d["high"]
    assert data["temperature_K"] == 1000
    assert atomflow(["analyze", str(path)]) == 2
    assert "frame-interval-fs" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["nothing-here"], ["."], [".", "--sites"]])
def test_wrong_places_are_one_line(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert atomflow(["analyze", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1


def test_a_species_that_no_run_holds_is_wrong_input(tmp_path):
    write_run(tmp_path / "runs" / "one", 1, frames=40)
    with pytest.raises(InputError, match=r"there is no Ar in any run, only .*Na"):
        analyze_campaign(tmp_path, species="Ar")
