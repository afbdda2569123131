"""The shape of a comparison, what it refuses, and its command, on planted campaigns."""

import copy
import json

import numpy as np
import pytest
from compare_toys import COLD, HOT, NZSP, campaign, estimate, group, line, rows

from atomflow import paper
from atomflow.cell import Cell
from atomflow.cli.main import run
from atomflow.compare import compare
from atomflow.errors import EXIT_WRONG_INPUT, InputError
from atomflow.runs import RunWriter
from atomflow.units import BOLTZMANN_EV_PER_K, CM2_PER_S_PER_A2_PER_PS

# --- structure of the result


def test_a_cell_with_a_boundary_is_not_the_crystal():
    data = campaign(COLD, (0.28, 0.26, 0.30))
    for item in data["groups"]:
        item["cell"] = {**NZSP, "regions": {"grain_a": 60, "boundary": 20}}
    found = rows(data)
    assert {row.verdict for row in found.values()} == {"cannot say"}
    assert "boundary" in found["lit.Ea_bulk"].why


def test_another_composition_is_said_and_another_material_refused():
    data = campaign(COLD, (0.28, 0.26, 0.30))
    assert "nominal composition" not in rows(data)["lit.Ea_bulk"].why
    for item in data["groups"]:
        item["cell"] = {**NZSP, "formula": "Na24Zr16Si16P8O96"}
    assert "nominal composition" not in rows(data)["lit.Ea_bulk"].why
    for item in data["groups"]:
        item["cell"] = {**NZSP, "formula": "Na14Zr7ZnSi8P4O48"}
    doped = rows(data)["lit.Ea_bulk"]
    assert doped.verdict == "overlaps"
    assert "Na14Zr7ZnSi8P4O48, is not of the nominal composition" in doped.why
    for item in data["groups"]:
        item["cell"] = {**NZSP, "formula": "Ar32"}
    found = rows(data)
    assert {row.verdict for row in found.values()} == {"cannot say"}
    assert "Ar32" in found["sig.t_x0"].why


@pytest.mark.parametrize(
    ("angles", "expected"), [([90.0, 123.7, 90.0], "overlaps"), ([90.0, 90.0, 120.0], "cannot say")]
)
def test_a_cell_of_the_hot_phase_does_not_speak_of_room_temperature(angles, expected):
    data = campaign(COLD, (0.28, 0.26, 0.30))
    for item in data["groups"]:
        item["cell"] = {**NZSP, "angles_deg": angles}
    found = rows(data)
    assert found["lit.Ea_bulk"].verdict == found["lit.sigma_bulk"].verdict == expected
    assert ("shape of the rhombohedral phase" in found["lit.Ea_bulk"].why) == (expected == "cannot say")


def test_every_structure_and_potential_has_its_own_rows():
    data = campaign(COLD, (0.28, 0.26, 0.30))
    data["groups"] += [group(t, potential="mace") for t in COLD] + [group(300.0, structure="random")]
    data["arrhenius"].append(line(COLD, estimate(0.5, 0.48, 0.52), potential="mace"))
    found = compare(data).rows
    assert {row.structure for row in found} == {"ordered (chgnet)", "ordered (mace)", "random"}
    verdicts = {row.structure: row.verdict for row in found if row.target.id == "lit.Ea_bulk"}
    assert verdicts == {"ordered (chgnet)": "overlaps", "ordered (mace)": "above", "random": "cannot say"}
    assert all("potential mace" in row.ours_conditions for row in found if row.structure == "ordered (mace)")
    assert all("200 ps in all" in row.ours_conditions for row in found if row.structure.startswith("ordered"))


def test_json_has_the_promised_shape_and_the_input_is_untouched():
    data = campaign(COLD, (0.28, 0.26, 0.30))
    before = copy.deepcopy(data)
    result = json.loads(json.dumps(compare(data).to_json(), allow_nan=False))
    assert data == before
    assert result["campaign"] == "planted"
    assert result["notes"]
    for row in result["rows"]:
        assert {"id", "quantity", "reading", "structure", "paper", "ours", "ours_conditions", "numerical_relation",
                "verdict", "why"} <= set(row)
        assert {"value", "unit", "conditions", "where"} <= set(row["paper"])
        assert row["paper"]["where"]
        assert row["paper"]["conditions"]
        assert row["verdict"] in ("overlaps", "above", "below", "cannot say")
        assert row["verdict"] in (row["numerical_relation"], "cannot say")
        assert row["why"].endswith(".")
    assert len({row["id"] for row in result["rows"]}) == len(result["rows"])


def test_the_verdict_follows_the_publication():
    changed = paper.load().with_value("fc.Ea1", 0.40)
    data = campaign(COLD, (0.28, 0.26, 0.30))
    assert rows(data)["fc.Ea1.alternative"].verdict == "overlaps"
    assert rows(data, changed)["fc.Ea1.alternative"].verdict == "below"


@pytest.mark.parametrize("data", [{}, {"kind": "run"}, {"kind": "campaign"}, {"kind": "campaign", "groups": None}])
def test_what_is_not_a_campaign_is_refused(data):
    with pytest.raises(InputError, match="campaign"):
        compare(data)


def test_the_folder_of_a_campaign_will_do(tmp_path):
    for seed, (temperature, d) in enumerate(((600, 2e-5), (900, 6e-5))):
        write_run(tmp_path / "runs" / f"{temperature}", temperature, d, seed)
    from atomflow.transport import analyze_campaign

    assert compare(tmp_path) == compare(analyze_campaign(tmp_path))


# --- command line


def write_run(folder, temperature, diffusivity_cm2_per_s, seed):
    """A run folder of 80 atoms in which Na walks with a known D and the framework stands still."""
    rng = np.random.default_rng(seed)
    lattice = np.array([[15.65, 0.0, 0.0], [0.0, 9.05, 0.0], [-5.1, 0.0, 7.65]])
    numbers = [11] * 12 + [40] * 8 + [14] * 8 + [15] * 4 + [8] * 48
    start = rng.uniform(0.0, 1.0, (80, 3)) @ lattice
    step_A = np.sqrt(2.0 * diffusivity_cm2_per_s / CM2_PER_S_PER_A2_PER_PS * 0.1)
    walk = np.zeros((400, 80, 3))
    walk[1:, :12] = np.cumsum(rng.normal(0.0, step_A, (399, 12, 3)), axis=0)
    config = {"ensemble": "nvt", "temperature_K": temperature, "seed": seed, "frame_interval_fs": 100.0}
    labels = {"structure": "ordered", "task": folder.name}
    with RunWriter.create(folder, config, Cell(numbers, start, lattice), {"name": "planted"}, labels, 399) as writer:
        for step in range(400):
            writer.frame(step, step * 100.0, start + walk[step], lattice)
            writer.thermo(step, step * 100.0, {"temperature_K": temperature})
        writer.commit({"step": 399}, {"step": 399, "frames": 400})
        writer.finish("done", None, {"energy_drift_meV_per_atom_per_ps": 0.0})
    return folder


@pytest.mark.parametrize(("temperatures", "expected"), [(COLD, "overlaps"), (HOT, "cannot say")])
def test_from_run_folders_to_the_verdict(tmp_path, capsys, temperatures, expected):
    """Ea = 0.28 eV planted: the same number is comparable when it comes from cold runs, and is not from hot ones."""
    for i, temperature in enumerate(temperatures):
        beta = 1.0 / (BOLTZMANN_EV_PER_K * temperature) - 1.0 / (BOLTZMANN_EV_PER_K * temperatures[-1])
        write_run(tmp_path / "runs" / f"task-{i}", temperature, 2e-4 * np.exp(-0.28 * beta), i)
    assert run(["compare", str(tmp_path), "--json"]) == 0
    row = {r["id"]: r for r in json.loads(capsys.readouterr().out)["rows"]}["lit.Ea_bulk"]
    assert row["ours"]["low"] < 0.28 < row["ours"]["high"]
    assert row["numerical_relation"] == "overlaps"
    assert row["verdict"] == expected


class _Planted:
    def to_json(self):
        return {**campaign(COLD, (0.28, 0.26, 0.30)), "excluded": [{"run": "task-7", "reason": "failed: made to"}]}


@pytest.fixture
def planted(monkeypatch, tmp_path):
    from atomflow import transport

    monkeypatch.setattr(transport, "analyze_campaign", lambda folder, progress: _Planted())
    return str(tmp_path)


def test_the_command_prints_one_object(planted, capsys):
    assert run(["compare", planted, "--json"]) == 0
    streams = capsys.readouterr()
    assert json.loads(streams.out)["campaign"] == "planted"
    assert "left out task-7: failed: made to" in streams.err


def test_the_command_prints_a_table_with_reasons(planted, capsys):
    assert run(["compare", planted]) == 0
    text = capsys.readouterr().out
    for part in ("ordered", "alternative", "overlaps", "cannot say", "why",
                 "charge transfer at an electrode", "no error bars"):
        assert part in text


def test_structures_without_a_number_share_one_table(tmp_path, capsys):
    """Two structures at one temperature each: what cannot be said is listed once."""
    for i, structure in enumerate(("ordered", "doped")):
        folder = write_run(tmp_path / "runs" / f"task-{i}", 900.0, 2e-4, i)
        manifest = json.loads((folder / "run.json").read_text())
        manifest["labels"]["structure"] = structure
        (folder / "run.json").write_text(json.dumps(manifest))
    assert run(["compare", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert text.count("quantity") == 1
    assert "doped: from ln D at 900 K" in text
    assert text.count("no number to hold against the publication") == 1
    assert text.count("An activation energy needs several temperatures") == 2


@pytest.mark.parametrize("command", [["compare"], ["compare", "missing"], ["compare", "--jsn", "x"]])
def test_bad_input_is_one_line_and_exit_code_2(capsys, command):
    assert run(command) == EXIT_WRONG_INPUT
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.count("\n") == 1
