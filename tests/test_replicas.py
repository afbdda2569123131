"""Replicas of one structure as one D: planted scatter between glasses is in the interval."""

import json
from dataclasses import replace

import numpy as np
import pytest
from test_transport_campaign import write_run

from atomflow.cli.main import run as atomflow
from atomflow.estimate import Estimate
from atomflow.report.results import _replicas
from atomflow.transport import analyze, analyze_campaign
from atomflow.transport.replicas import pool_replicas, random_effects, replica_sets
from atomflow.units import CM2_PER_S_PER_A2_PER_PS

GLASS = {"builder": "glass", "units": 2, "quench": {"melt_ps": 1, "seed": 1}}


@pytest.mark.parametrize(("n", "between"), [(3, 0.0), (3, 0.3), (3, 1.0), (6, 0.5), (2, 0.5)])
def test_the_interval_holds_the_mean_of_planted_replicas(n, between):
    """ln D of each replica N(0, between²), measured with errors of unequal size: 2,000 sets."""
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(2000):
        errors = rng.uniform(0.2, 0.4, n)
        mean, half, _ = random_effects(rng.normal(0, between, n) + rng.normal(0, errors), errors)
        held += abs(mean) < half
    assert 0.93 < held / 2000 < 0.99


def test_equal_replicas_are_the_t_interval_and_the_scatter_comes_out():
    mean, half, between = random_effects([1.0, 2.0, 3.0], [0.1, 0.1, 0.1])
    assert mean == pytest.approx(2.0)
    assert half == pytest.approx(4.302653 / np.sqrt(3), rel=1e-6)  # t of 2 degrees of freedom
    assert between == pytest.approx(np.sqrt(1.0 - 0.01))
    mean, half, between = random_effects([2.0, 2.0, 2.0], [0.1, 0.1, 0.2])
    assert (mean, between) == (pytest.approx(2.0), 0.0)
    assert half == pytest.approx(1.959964 / np.sqrt(225), rel=1e-6)  # their own errors


def campaign_file(folder, structures):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "campaign.json").write_text(json.dumps({"config": {"name": "glasses", "structures": structures}}))


def test_replicas_differ_in_nothing_but_seeds(tmp_path):
    campaign_file(tmp_path, {
        "glass-1": {**GLASS, "seed": 1}, "glass-2": {**GLASS, "seed": 2, "quench": {"melt_ps": 1, "seed": 2}},
        "hurried": {**GLASS, "quench": {"melt_ps": 0.5, "seed": 3}}, "more": {**GLASS, "units": 3}, "glass-7": GLASS,
        "a": {"file": "a.extxyz"}, "b": {"file": "b.extxyz"}})  # fmt: skip
    assert replica_sets(tmp_path) == {"glass": ["glass-1", "glass-2", "glass-7"]}
    assert replica_sets(tmp_path / "none") == {}
    (tmp_path / "campaign.json").write_text(json.dumps({"config": {"name": "old"}}))
    assert replica_sets(tmp_path) == {}


@pytest.fixture(scope="module")
def glasses(tmp_path_factory):
    """Three glasses whose D are 0.5, 1 and 2 times 0.1 Å²/ps at 600 K, four times that at 900 K."""
    place = tmp_path_factory.mktemp("glasses")
    campaign_file(place, {f"glass-{k}": {**GLASS, "seed": k} for k in (1, 2, 3)})
    for kelvin, d in ((600.0, 0.1), (900.0, 0.4)):
        for k, factor in ((1, 0.5), (2, 1.0), (3, 2.0)):
            write_run(place / "runs" / f"g{k}-{kelvin:g}", 10 * k, kelvin, d * factor, structure=f"glass-{k}")
    return place


def test_three_glasses_of_one_composition_have_one_d(glasses, capsys):
    result = analyze_campaign(glasses)
    assert [group.structure for group in result.groups] == ["glass-1"] * 2 + ["glass-2"] * 2 + ["glass-3"] * 2
    cold, warm = result.replicas
    assert cold.structures == ("glass-1", "glass-2", "glass-3")
    for group, truth in ((cold, 0.1), (warm, 0.4)):
        d = group.tracer_diffusivity_cm2_per_s.scaled(1.0 / CM2_PER_S_PER_A2_PER_PS)
        assert d.value == pytest.approx(truth, rel=0.25)
        assert d.low < truth / 2 < 2 * truth < d.high  # three replicas scatter by a factor of two: t of 2
        assert group.between == pytest.approx(np.log(2), rel=0.4)
    energy = result.replica_lines["glass"].activation_energy_eV
    assert energy.low < 8.617333e-5 * np.log(4) / (1 / 600 - 1 / 900) < energy.high
    assert atomflow(["analyze", str(glasses)]) == 0
    text = capsys.readouterr().out
    assert "replicas (structures that differ in nothing but seeds) as one" in text
    assert "glass: Ea " in text
    assert atomflow(["analyze", str(glasses), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["replicas"][0]["tracer_diffusivity_cm2_per_s"]["value"] == pytest.approx(
        cold.tracer_diffusivity_cm2_per_s.value)
    assert set(data["replica_activation_energies_eV"]) == {"glass"}
    page = _replicas(data)
    assert len(page) == 1
    assert "glass: glass-1, glass-2, glass-3" in str(page[0])
    assert _replicas({}) == []


def test_the_conductivity_of_a_set_knows_the_charge(glasses):
    """σ by hand: n q²D/(V k T), four times as much for ions of charge two."""
    def sigma(charge):
        one, two = (analyze(glasses / "runs" / name, charge_e=charge) for name in ("g1-600", "g2-600"))
        return one, pool_replicas("glass", [("a", one), ("b", two)])

    one, single = sigma(1.0)
    by_hand = (one.n_ions * 1.602176634e-19**2 * single.tracer_diffusivity_cm2_per_s.value
               / (one.volume_A3 * 1e-24 * 1.380649e-23 * single.temperature_K))
    assert single.nernst_einstein_conductivity_S_per_cm.value == pytest.approx(by_hand, rel=1e-6)
    assert sigma(2.0)[1].nernst_einstein_conductivity_S_per_cm.value == pytest.approx(4 * by_hand, rel=1e-6)


def test_a_replica_that_did_not_move_makes_an_upper_limit(glasses):
    moved = analyze(glasses / "runs" / "g1-600")
    still = replace(moved, ln_tracer=None, tracer_diffusivity_cm2_per_s=Estimate.upper_limit(1e-7))
    found = pool_replicas("glass", [("a", moved), ("b", still)])
    assert found.tracer_diffusivity_cm2_per_s.is_upper_limit
    assert found.tracer_diffusivity_cm2_per_s.high == pytest.approx(
        np.sqrt(moved.tracer_diffusivity_cm2_per_s.high * 1e-7))
    assert found.nernst_einstein_conductivity_S_per_cm.is_upper_limit
    assert "1 of 2 replicas moved too little" in found.warnings[0]
    nothing = replace(still, tracer_diffusivity_cm2_per_s=Estimate.unknown())
    assert pool_replicas("glass", [("a", moved), ("b", nothing)]).tracer_diffusivity_cm2_per_s.high is None
