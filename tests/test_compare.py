"""Comparisons of planted campaigns: the verdict is the numerical relation only where both numbers mean the same."""

import copy
import json

import numpy as np
import pytest

from atomflow import paper
from atomflow.cell import Cell
from atomflow.cli.main import run
from atomflow.compare import compare
from atomflow.compare.judge import relation
from atomflow.compare.ours import tolerance_K
from atomflow.errors import EXIT_WRONG_INPUT, InputError
from atomflow.estimate import Estimate
from atomflow.runs import RunWriter
from atomflow.units import BOLTZMANN_EV_PER_K, CM2_PER_S_PER_A2_PER_PS

COLD = (300.0, 330.0, 365.0, 400.0)
HOT = (800.0, 1000.0, 1200.0, 1500.0)
NZSP = {"formula": "Na12Zr8Si8P4O48", "n_atoms": 80, "volume_A3": 1086.5, "regions": {"bulk": 80}}


def estimate(value, low, high):
    return {"value": value, "low": low, "high": high, "level": 0.95}


def group(temperature, structure="ordered", potential="chgnet", **changes):
    return {
        "kind": "run", "structure": structure, "species": "Na", "temperature_K": temperature, "n_ions": 12,
        "total_time_ps": 50.0, "n_runs": 2, "cell": NZSP, "potential": {"name": potential}, "diffusing": True,
        "tracer_diffusivity_cm2_per_s": estimate(1e-8, 8e-9, 1.2e-8),
        "charge_diffusivity_cm2_per_s": estimate(2e-8, 1.4e-8, 2.6e-8), "haven_ratio": estimate(0.5, 0.3, 0.7),
        "conductivity_S_per_cm": estimate(1.4e-3, 1.0e-3, 1.8e-3), "warnings": [], **changes,
    }  # fmt: skip


def line(temperatures, energy, structure="ordered", potential="chgnet", **changes):
    return {
        "structure": structure, "potential": potential, "activation_energy_eV": energy,
        "activation_energy_sigmaT_eV": estimate(None, None, None), "prefactor_cm2_per_s": estimate(1e-3, 1e-4, 1e-2),
        "temperatures_K": list(temperatures), "used": list(temperatures), "upper_limits": [], "kink": None,
        "extrapolation": {"temperature_K": 298.15, "distance": "502 K below the coldest run",
                          "tracer_diffusivity_cm2_per_s": estimate(1.5e-8, 5e-9, 5e-8)},
        "warnings": [], **changes,
    }  # fmt: skip


def campaign(temperatures, energy=None, **changes):
    fits = [] if energy is None else [line(temperatures, estimate(*energy), **changes)]
    return {"kind": "campaign", "name": "planted", "groups": [group(t) for t in temperatures], "arrhenius": fits,
            "excluded": [], "warnings": []}


def rows(data, publication=None):
    return {row.target.id: row for row in compare(data, publication).rows}


# --- intervals


@pytest.mark.parametrize(
    ("ours", "expected"),
    [
        (Estimate(0.3, 0.2, 0.4), "overlaps"),
        (Estimate(0.3, 0.29, 0.31), "overlaps"),
        (Estimate(0.4, 0.36, 0.5), "above"),
        (Estimate(0.1, 0.05, 0.2), "below"),
        (Estimate.upper_limit(0.2), "below"),
        (Estimate.upper_limit(0.3), None),
        (Estimate.unknown(), None),
        (Estimate(0.3, None, None), None),
        (Estimate(0.3, None, 0.4), None),
        (None, None),
    ],
)
def test_relation_of_an_interval_to_0_25_to_0_35(ours, expected):
    assert relation(ours, 0.25, 0.35) == expected


# --- activation energies


@pytest.mark.parametrize(
    ("energy", "expected"),
    [((0.28, 0.26, 0.30), "overlaps"), ((0.40, 0.38, 0.42), "above"), ((0.15, 0.12, 0.18), "below")],
)
def test_inside_the_monoclinic_range_the_relation_is_the_verdict(energy, expected):
    found = rows(campaign(COLD, energy))
    for name in ("fc.Ea1.alternative", "lit.Ea_bulk", "d.Ea_SE.literal"):
        assert (found[name].numerical_relation, found[name].verdict) == (expected, expected)
        assert "monoclinic" in found[name].why
    assert "grains and boundaries in series" in found["fc.Ea1.alternative"].why


def test_high_temperatures_cannot_speak_of_room_temperature_even_where_intervals_touch():
    found = rows(campaign(HOT, (0.28, 0.22, 0.34)))
    row = found["fc.Ea1.alternative"]
    assert row.numerical_relation == "overlaps"
    assert row.verdict == "cannot say"
    assert "overlap as numbers, but" in row.why
    assert "rhombohedral" in row.why
    assert "nearly liquid" in row.why
    assert {r.verdict for r in found.values()} == {"cannot say"}


def test_the_transition_is_the_border():
    below, across = rows(campaign((300.0, 365.0, 430.0), (0.28, 0.26, 0.3))), rows(
        campaign((300.0, 365.0, 436.0), (0.28, 0.26, 0.3)))
    assert below["lit.Ea_bulk"].verdict == "overlaps"
    assert across["lit.Ea_bulk"].verdict == "cannot say"
    assert "across the transition" in across["lit.Ea_bulk"].why
    assert "nearly liquid" not in across["lit.Ea_bulk"].why


def test_between_the_transition_and_the_liquid_sublattice_only_the_hot_branch_is_comparable():
    found = rows(campaign((500.0, 600.0, 750.0, 900.0), (0.15, 0.12, 0.18)))
    assert found["lit.Ea_bulk_rhombohedral"].verdict == "overlaps"
    assert "monoclinic shape" in found["lit.Ea_bulk_rhombohedral"].why
    data = campaign((500.0, 600.0, 750.0, 900.0), (0.15, 0.12, 0.18))
    for item in data["groups"]:
        item["cell"] = {**NZSP, "angles_deg": [90.0, 90.0, 120.0]}
    assert "monoclinic shape" not in rows(data)["lit.Ea_bulk_rhombohedral"].why
    assert found["lit.Ea_bulk"].verdict == "cannot say"
    assert rows(campaign(COLD, (0.15, 0.12, 0.18)))["lit.Ea_bulk_rhombohedral"].verdict == "cannot say"
    assert rows(campaign(HOT, (0.15, 0.12, 0.18)))["lit.Ea_bulk_rhombohedral"].verdict == "cannot say"


def test_electrodes_and_whole_cells_are_never_compared_with_a_crystal():
    found = rows(campaign(COLD, (0.45, 0.44, 0.46)))
    for name in ("fc.Ea2.literal", "fc.Ea2.alternative"):
        assert found[name].numerical_relation == "overlaps"
        assert found[name].verdict == "cannot say"
        assert "electrode" in found[name].why
    assert "R_total adds" in found["fc.Ea3.literal"].why
    assert found["fc.Ea3.literal"].verdict == "cannot say"


def test_both_readings_of_all_three_energies_are_shown():
    found = compare(campaign(COLD, (0.28, 0.26, 0.30))).rows
    shown = {(row.target.reading, row.target.quantity, row.target.value) for row in found if row.target.reading}
    assert {("literal", "Ea of R_ct,anodic", 0.27), ("literal", "Ea of R_ct,cathodic", 0.45),
            ("literal", "Ea of R_total", 0.33), ("alternative", "Ea of R_SE", 0.27),
            ("alternative", "Ea of R_ct,anodic", 0.45), ("alternative", "Ea of R_ct,cathodic", 0.33)} <= shown


@pytest.mark.parametrize(("low", "expected"), [(0.3015, "overlaps"), (0.3035, "above")])
def test_the_unstated_convention_widens_the_paper_upwards_by_kT(low, expected):
    """0.27 + 0.005 rounding + 0.0272 eV: the upper end is 0.3022 eV."""
    assert rows(campaign(COLD, (0.32, low, 0.34)))["fc.Ea1.alternative"].verdict == expected


@pytest.mark.parametrize(("high", "expected"), [(0.2655, "overlaps"), (0.2645, "below")])
def test_and_not_downwards(high, expected):
    assert rows(campaign(COLD, (0.25, 0.24, high)))["fc.Ea1.alternative"].verdict == expected


def test_uncertainty_is_stated():
    row = compare(campaign(COLD, (0.28, 0.26, 0.30))).rows[0].to_json()
    assert "no error bar" in row["paper"]["uncertainty"]
    assert "±0.005" in row["paper"]["uncertainty"]
    assert "0.027 eV" in row["paper"]["uncertainty"]


def test_a_wide_interval_is_told_that_its_overlap_decides_little():
    assert "decides little" in rows(campaign(COLD, (0.3, 0.1, 0.5)))["lit.Ea_bulk"].why
    assert "decides little" not in rows(campaign(COLD, (0.28, 0.26, 0.3)))["lit.Ea_bulk"].why


@pytest.mark.parametrize(("kink", "expected"), [
    ({"temperature_K": 350.0, "p_value": 0.01}, "cannot say"),
    ({"temperature_K": 350.0, "p_value": 0.4}, "overlaps"),
    ({"temperature_K": 350.0, "p_value": 0.4, "significant": True}, "cannot say"),
])  # fmt: skip
def test_a_bent_line_is_no_single_energy(kink, expected):
    found = rows(campaign(COLD, (0.28, 0.26, 0.30), kink=kink))
    assert found["lit.Ea_bulk"].verdict == expected
    assert ("bends" in found["lit.Ea_bulk"].why) == (expected == "cannot say")


def test_upper_limits_unknowns_and_single_temperatures_work():
    limit = rows(campaign(COLD, (None, None, 0.15)))["lit.Ea_bulk"]
    assert (limit.numerical_relation, limit.verdict) == ("below", "below")
    open_limit = rows(campaign(COLD, (None, None, 0.4)))["lit.Ea_bulk"]
    assert (open_limit.numerical_relation, open_limit.verdict) == (None, "cannot say")
    assert "upper limit" in open_limit.why
    bare = rows(campaign(COLD, (0.28, None, None)))["lit.Ea_bulk"]
    assert bare.verdict == "cannot say"
    assert "without an interval" in bare.why
    unknown = rows(campaign(COLD, (None, None, None), used=[], upper_limits=list(COLD)))["lit.Ea_bulk"]
    assert unknown.ours is None
    assert "several temperatures" in unknown.why
    single = rows(campaign((300.0,)))["lit.Ea_bulk"]
    assert single.verdict == "cannot say"
    assert "number of those with a result is 1" in single.why
    single_fit = rows(campaign((300.0,), (None, None, None)))["lit.Ea_bulk"]
    assert single_fit.verdict == "cannot say"


def test_an_empty_campaign_still_shows_the_paper():
    found = compare({"kind": "campaign", "name": "empty", "groups": [], "arrhenius": []})
    assert {row.target.id for row in found.rows} >= {"fc.Ea1.literal", "fc.Ea1.alternative", "sig.t_x0.2"}
    assert {(row.ours, row.numerical_relation, row.verdict) for row in found.rows} == {(None, None, "cannot say")}
    assert found.notes


# --- conductivities and diffusivities


def test_a_run_at_room_temperature_is_compared_by_its_charge_diffusivity():
    found = rows(campaign(COLD, (0.28, 0.26, 0.30)))
    assert found["sig.t_x0"].verdict == "above"  # 1.0-1.8 against 0.53 mS/cm
    assert found["sig.t_x0.1"].verdict == "overlaps"  # 1.19
    assert found["d.sig_b_x0"].verdict == "overlaps"  # 0.91-1.44
    assert found["lit.sigma_bulk"].verdict == "overlaps"
    row = found["d.Dsig_x0.2"]  # 2.29e-8 within 1.4-2.6e-8, where the tracer, 0.8-1.2e-8, would be below
    assert row.verdict == "overlaps"
    assert row.ours.value == pytest.approx(2e-8, rel=1e-12)
    assert "300 K" in row.ours_conditions


def test_conductivity_is_held_in_the_unit_of_the_paper():
    row = rows(campaign(COLD, (0.28, 0.26, 0.30)))["sig.t_x0"].to_json()
    assert row["unit"] == row["paper"]["unit"] == "mS/cm"
    assert row["ours"]["value"] == pytest.approx(1.4, rel=1e-12)


@pytest.mark.parametrize(("sigma", "expected"), [((4e-3, 3e-3, 5e-3), "above"), ((1e-4, 5e-5, 2e-4), "below")])
def test_conductivity_above_and_below(sigma, expected):
    data = campaign((300.0,))
    data["groups"][0]["conductivity_S_per_cm"] = estimate(*sigma)
    found = rows(data)
    for name in ("sig.t_x0", "sig.t_x0.3", "d.sig_b_x0", "lit.sigma_bulk"):
        assert found[name].verdict == expected


def test_an_upper_limit_of_conductivity():
    data = campaign((300.0,))
    data["groups"][0]["conductivity_S_per_cm"] = estimate(None, None, 1e-4)
    assert rows(data)["sig.t_x0"].verdict == "below"
    data["groups"][0]["conductivity_S_per_cm"] = estimate(None, None, 1e-2)
    assert rows(data)["sig.t_x0"].verdict == "cannot say"


def test_without_a_cold_run_conductivity_has_no_number_and_says_which_run_is_closest():
    row = rows(campaign(HOT, (0.28, 0.26, 0.30)))["sig.t_x0.2"]
    assert row.ours is None
    assert row.verdict == "cannot say"
    assert "800 K" in row.why


def test_an_extrapolated_tracer_diffusivity_is_no_charge_diffusivity():
    row = rows(campaign((330.0, 365.0, 400.0), (0.28, 0.26, 0.30)))["d.Dsig_x0.2"]
    assert row.numerical_relation == "overlaps"
    assert row.verdict == "cannot say"
    assert "Haven ratio" in row.why
    assert "rhombohedral" not in row.why
    assert "502 K below" in row.why
    assert "rhombohedral" in rows(campaign(HOT, (0.28, 0.26, 0.30)))["d.Dsig_x0.2"].why


def test_how_close_a_run_must_be_to_a_temperature():
    assert 1.85 < tolerance_K(298.15) < 2.5  # 300 K counts as 298 K, 301 K does not
    assert "sig.t_x0" in rows(campaign((300.0,)))
    assert rows(campaign((300.0,)))["sig.t_x0"].ours is not None
    assert rows(campaign((301.0,)))["sig.t_x0"].ours is None


def test_a_recorded_mean_temperature_counts_before_the_one_asked_for():
    data = campaign((300.0,))
    data["groups"][0]["temperature_mean_K"] = 312.0
    assert rows(data)["sig.t_x0"].ours is None


def test_literature_at_other_temperatures_appears_only_where_a_run_was_taken():
    assert "lit.D_tracer_623K" not in rows(campaign(HOT, (0.1, 0.05, 0.15)))
    data = campaign((573.0, 623.0))
    data["groups"][1]["tracer_diffusivity_cm2_per_s"] = estimate(5e-6, 4e-6, 6e-6)
    data["groups"][0]["conductivity_S_per_cm"] = estimate(0.01, 0.005, 0.02)
    found = rows(data)
    assert found["lit.D_tracer_623K"].verdict == "overlaps"
    assert "simulation too" in found["lit.D_tracer_623K"].why
    assert found["lit.sigma_total_573K"].verdict == "below"
    assert "monoclinic shape" in found["lit.sigma_total_573K"].why


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
