"""Grains and layers of a campaign to R_b, R_gb and σ, against walks of known D."""

import json

import numpy as np
import pytest
from synthetic import ordered_cell, write_run

from atomflow.cell import Cell
from atomflow.cli.main import run
from atomflow.errors import InputError
from atomflow.estimate import Estimate
from atomflow.impedance.ceramics import NO_LAYER, _ceramic, _ratios, ceramics
from atomflow.transport.conductivity import siemens_per_cm

KELVIN, D_GRAIN, D_DOPED, D_BARE = 800.0, 5e-5, 1e-4, 4e-5
HEIGHT_A, LAYER_A = 32.0, 4.0


def sandwich():
    """grain_a | boundary | grain_b | boundary along z, 60 Na spread evenly."""
    rng = np.random.default_rng(3)
    fractions = np.vstack([rng.uniform(0, 1, (60, 3)), rng.uniform(0, 1, (160, 3))])
    edges = np.array([0.0, 12.0, 16.0, 28.0, 32.0]) / HEIGHT_A
    names = np.array(["grain_a", "boundary", "grain_b", "boundary"])
    labels = names[np.searchsorted(edges, fractions[:, 2], side="right") - 1]
    lattice = np.diag([12.0, 12.0, HEIGHT_A])
    return Cell([11] * 60 + [40] * 160, fractions @ lattice, lattice, labels)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("control")
    runs = place / "runs"
    write_run(runs / "bulk", KELVIN, D_GRAIN, 1, "bulk", cell=ordered_cell(), n_frames=400)
    write_run(runs / "doped", KELVIN, D_DOPED, 1, "zn-doped", cell=ordered_cell(), n_frames=400)
    write_run(runs / "bare", KELVIN, D_BARE, 1, "bare", cell=sandwich(), n_frames=1000)
    write_run(runs / "sealed", KELVIN, 1e-9, 1, "sealed", cell=sandwich(), n_frames=300)
    return place


@pytest.fixture(scope="module")
def result(folder):
    return ceramics(folder, KELVIN, grain_size_um=0.01, relative_density=0.8, thickness_cm=0.1)


def test_resistances_follow_from_the_planted_diffusivities(result):
    rows = {(row.grain, row.layer): row for row in result.ceramics}
    assert set(rows) == {(g, layer) for g in ("bulk", "zn-doped") for layer in (NO_LAYER, "bare", "sealed")}
    pores = 2 * 0.8 / (3 - 0.8)
    sigma = siemens_per_cm(12, ordered_cell().volume_A3, KELVIN) * D_GRAIN
    bare = rows["bulk", "bare"]
    assert bare.grain_S_per_cm.overlaps(sigma, sigma)
    assert bare.R_b_ohm_cm2.overlaps(0.1 / sigma / pores, 0.1 / sigma / pores)
    # G of a layer of the same ions: n q² D/kT over its thickness and 1 Å on either side
    conductance = siemens_per_cm(60, 144 * HEIGHT_A, KELVIN) * D_BARE / ((LAYER_A + 2.0) * 1e-8)
    assert bare.layer_S_per_cm2.overlaps(0.9 * conductance, 1.1 * conductance)
    assert bare.R_gb_ohm_cm2.value == pytest.approx(0.1 / (0.01e-4 * bare.layer_S_per_cm2.value * pores))
    assert bare.total_S_per_cm.low < bare.total_S_per_cm.value < bare.total_S_per_cm.high
    expected = 0.1 / (bare.R_b_ohm_cm2.value + bare.R_gb_ohm_cm2.value)
    assert bare.total_S_per_cm.value == pytest.approx(expected, rel=0.05)
    plain = rows["bulk", NO_LAYER]
    assert plain.total_S_per_cm.value == pytest.approx(plain.grain_S_per_cm.value * pores)
    assert plain.R_gb_ohm_cm2.value == 0.0


def test_a_layer_that_nobody_passed_bounds_the_resistance_from_below(result):
    row = next(row for row in result.ceramics if (row.grain, row.layer) == ("bulk", "sealed"))
    assert row.layer_S_per_cm2.is_upper_limit
    assert (row.R_gb_ohm_cm2.value, row.R_gb_ohm_cm2.high) == (None, None)
    assert row.R_gb_ohm_cm2.low > 0
    assert row.total_S_per_cm.is_upper_limit
    assert row.total_S_per_cm.high < row.grain_S_per_cm.value


def test_the_puzzle_is_put_in_words(result):
    assert any(note.startswith("grain zn-doped over grain bulk: ") for note in result.notes)
    assert any("INC-10" in note for note in result.notes)
    assert any(note.startswith("layer sealed over layer bare: < ") for note in result.notes)
    bare = Estimate(1.0, 0.5, 2.0)
    assert _ratios("layer", {"a": bare, "b": Estimate.upper_limit(3.0), "c": Estimate.upper_limit(0.4)})[:2] == [
        "layer b over layer a: < 3 (within the intervals)", "layer c over layer a: < 0.4 (beyond the intervals)"]
    assert _ratios("layer", {"b": Estimate(1.0, 0.5, 2.0), "a": Estimate.upper_limit(3.0)}) == [
        "layer b over layer a: not known"]
    said = result.text()
    assert "synthetic random walk at 800 K" in said
    assert "> " in said


def test_intervals_hold_the_series_of_two_uncertain_conductances():
    """The total of a lognormal grain and layer, by brute force."""
    rng = np.random.default_rng(1)
    grain, layer = np.exp(rng.normal(np.log(1e-3), 0.2, 400_000)), np.exp(rng.normal(np.log(10.0), 0.5, 400_000))
    truth = np.quantile(1 / (1 / grain + 1 / (1e-4 * layer)), [0.025, 0.5, 0.975])

    def estimate(middle, sd):
        return Estimate(middle, middle * np.exp(-1.959964 * sd), middle * np.exp(1.959964 * sd))

    row = _ceramic("g", estimate(1e-3, 0.2), "l", estimate(10.0, 0.5), 0.1, 1e-4, 1.0)
    np.testing.assert_allclose([row.total_S_per_cm.low, row.total_S_per_cm.value, row.total_S_per_cm.high], truth,
                               rtol=0.02)
    exact = _ceramic("g", estimate(1e-3, 1e-9), "l", estimate(10.0, 1e-9), 0.1, 1e-4, 1.0)
    assert exact.total_S_per_cm.value == pytest.approx(1 / (1e3 + 1e3))
    assert exact.R_b_ohm_cm2.value + exact.R_gb_ohm_cm2.value == pytest.approx(200.0)


def test_a_conductivity_beyond_the_measured_temperatures_is_said_to_be(tmp_path):
    for kelvin, diffusivity in ((800.0, 2e-5), (1000.0, 6e-5)):
        write_run(tmp_path / f"{kelvin:g}", kelvin, diffusivity, 1, "bulk", cell=ordered_cell(), n_frames=300)
    assert any("on a line through 798 to 995 K, outside" in text for text in ceramics(tmp_path, 500.0).warnings)
    assert not any("on a line" in text for text in ceramics(tmp_path, 900.0).warnings)


def test_the_command_prints_draws_and_refuses(folder, tmp_path, capsys):
    base = ["impedance", "--from", str(folder), "-T", "800", "--grain-size-um", "0.01"]
    assert run([*base, "-o", str(tmp_path / "c.png"), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["kind"] == "ceramics"
    assert len(data["ceramics"]) == 6
    assert data["publication"]["R_b_bare_ohm_cm2"] == 117.7
    assert (tmp_path / "c.png").stat().st_size > 5000
    write_run(tmp_path / "one" / "runs" / "bulk", KELVIN, D_GRAIN, 1, "bulk", cell=ordered_cell(), n_frames=100)
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments, words in [
        (["impedance"], "either --grain-sigma"),
        ([*base, "--grain-sigma", "1e-3"], "either --grain-sigma"),
        ([*base, "--film-nm", "3"], "leave them out"),
        ([*base, "-o", str(tmp_path / "c.csv")], "a figure"),
        (["impedance", "--from", str(tmp_path / "none")], "there is no folder"),
        (["impedance", "--from", str(empty)], "holds no run"),
        (["impedance", "--from", str(tmp_path / "one"), "-T", "300"], "no structure of a single region has"),
        ([*base, "--relative-density", "2"], "relative density"),
    ]:
        assert run(arguments) == 2, arguments
        assert words in capsys.readouterr().err, arguments
    with pytest.raises(InputError, match="temperature"):
        ceramics(folder, -1.0)
