"""D of a lone walker on networks whose D is known, against a random walk that was simulated, and beside a campaign."""

import json

import numpy as np
import pytest
from synthetic import diffusivity_cm2_per_s, ordered_cell, write_run

from atomflow.cell import Cell, write_cell
from atomflow.cli.main import run
from atomflow.errors import InputError
from atomflow.estimate import Estimate
from atomflow.lattice.beside import beside
from atomflow.lattice.network import HopKind, _edges, network, read_hop
from atomflow.units import BOLTZMANN_EV_PER_K

KT = BOLTZMANN_EV_PER_K * 600.0


def sites(names, fractional, lattice, ions=1):
    """A cell with named sites, the first few filled."""
    fractional = np.array(fractional, dtype=float)
    lattice = np.array(lattice, dtype=float)
    return Cell([11] * ions, (fractional @ lattice)[:ions], lattice,
                provenance={"na_sites": {"names": list(names), "fractional": fractional.tolist()}})


def kind(names, length, barrier=0.3, reverse=None, attempt=5.0, vacancy=False):
    return HopKind(names, length, barrier, barrier if reverse is None else reverse, attempt, vacancy)


def rate(barrier, attempt=5.0):
    return attempt * np.exp(-barrier / KT)


def d_of(cell, *kinds):
    return network(cell, kinds, [600.0]).rows[0]


def test_equal_sites_give_the_uncorrelated_walk():
    cubic = sites(["A"], [[0, 0, 0]], np.diag([3.0, 3.0, 3.0]))
    row = d_of(cubic, kind(("A", "A"), 3.0))
    assert row["diffusivity_cm2_per_s"] == pytest.approx(6 * 9 * rate(0.3) / 6 * 1e-4, rel=1e-12)
    np.testing.assert_allclose(row["tensor_cm2_per_s"], np.eye(3) * row["diffusivity_cm2_per_s"], rtol=0, atol=1e-18)
    fcc = sites(["A"] * 4, [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]], np.eye(3) * 4.0)
    length = 4.0 / np.sqrt(2)
    found = network(fcc, [kind(("A", "A"), length)], [600.0])
    assert (found.walker, found.n_sites, found.n_hops) == ("ion", 4, 48)
    assert found.rows[0]["diffusivity_cm2_per_s"] == pytest.approx(12 * length**2 * rate(0.3) / 6 * 1e-4, rel=1e-12)
    assert found.rows[0]["tracer_cm2_per_s"] == Estimate(found.rows[0]["diffusivity_cm2_per_s"], None, None)
    assert found.warnings == ()


def test_a_chain_is_as_slow_as_its_slow_bonds():
    """In one dimension D = L²/Σ 1/(p k): bonds in series."""
    chain = sites(["A", "B"], [[0, 0, 0], [3 / 8, 0, 0]], np.diag([8.0, 30.0, 30.0]))
    fast, slow = rate(0.2), rate(0.4)
    found = network(chain, [kind(("A", "B"), 3.0, 0.2), kind(("B", "A"), 5.0, 0.4)], [600.0])
    expected = 64 / (2 * (1 / fast + 1 / slow)) * 1e-4
    assert found.rows[0]["tensor_cm2_per_s"][0][0] == pytest.approx(expected, rel=1e-9)
    assert found.rows[0]["uncorrelated_cm2_per_s"] > 5 * found.rows[0]["diffusivity_cm2_per_s"]
    assert "lead nowhere in 2 of three directions" in found.warnings[0]
    low = d_of(chain, kind(("A", "B"), 3.0, 0.3, 0.2), kind(("B", "A"), 5.0, 0.2, 0.3))  # B lies 0.1 eV above A
    share = 1 / (1 + np.exp(-0.1 / KT))
    assert low["tensor_cm2_per_s"][0][0] == pytest.approx(64 / (2 / (share * rate(0.3))) * 1e-4, rel=1e-9)
    dead = network(chain, [kind(("A", "B"), 3.0)], [600.0])
    assert dead.rows[0]["diffusivity_cm2_per_s"] == 0.0
    assert "3 of three directions" in dead.warnings[0]


def test_a_vacancy_goes_the_other_way_and_its_number_turns_it_into_the_ions():
    """The ion falls by 0.1 eV from A to B: the vacancy's low site is A then."""
    chain = sites(["A", "B"], [[0, 0, 0], [0.5, 0, 0]], np.diag([8.0, 30.0, 30.0]))
    found = network(chain, [kind(("A", "B"), 4.0, 0.3, 0.4, vacancy=True)], [600.0])
    assert found.walker == "vacancy"
    assert found.site_energies_eV == pytest.approx({"A": 0.0, "B": 0.1})
    assert found.vacancies_per_ion == pytest.approx(1.0)  # one ion on two sites
    ion = network(chain, [kind(("A", "B"), 4.0, 0.3, 0.4)], [600.0])
    assert ion.site_energies_eV == pytest.approx({"A": 0.1, "B": 0.0})
    full = network(sites(["A", "B"], [[0, 0, 0], [0.5, 0, 0]], np.diag([8.0, 30.0, 30.0]), ions=2),
                   [kind(("A", "B"), 4.0, vacancy=True)], [600.0])
    assert full.vacancies_per_ion is None
    assert full.rows[0]["tracer_cm2_per_s"] == Estimate.unknown()


def test_an_uncertain_barrier_gives_the_interval_of_its_boltzmann_factor():
    """One kind of hop between equal sites: ln D has the spread σ/(kT √2) of the mean of the barriers there and back."""
    cubic = sites(["A"], [[0, 0, 0]], np.diag([3.0, 3.0, 3.0]))
    found = network(cubic, [kind(("A", "A"), 3.0)], [600.0], barrier_error_eV=0.03).rows[0]["tracer_cm2_per_s"]
    half = 1.96 * 0.03 / np.sqrt(2) / KT
    assert np.log(found.high / found.value) == pytest.approx(half, rel=0.1)
    assert np.log(found.value / found.low) == pytest.approx(half, rel=0.1)
    with pytest.raises(InputError, match="error of a barrier"):
        network(cubic, [kind(("A", "A"), 3.0)], [600.0], barrier_error_eV=-0.1)


def test_rates_that_differ_by_twenty_orders_are_no_difficulty():
    """A chain with a hop of 0.01 eV and one of 1.2 eV at 300 K: D = L² p k/2 of the slow one."""
    chain = sites(["A", "B"], [[0, 0, 0], [3 / 8, 0, 0]], np.diag([8.0, 30.0, 30.0]))
    hops = [kind(("A", "B"), 3.0, 0.01), kind(("B", "A"), 5.0, 1.2)]
    found = network(chain, hops, [300.0], barrier_error_eV=0.03)
    slow = 5.0 * np.exp(-1.2 / (BOLTZMANN_EV_PER_K * 300.0))
    row = found.rows[0]
    assert row["tensor_cm2_per_s"][0][0] == pytest.approx(64 * 0.5 * slow / 2 * 1e-4, rel=1e-6)
    assert row["uncorrelated_cm2_per_s"] > 1e18 * row["diffusivity_cm2_per_s"]
    assert 0 < row["tracer_cm2_per_s"].low < row["tracer_cm2_per_s"].value < row["tracer_cm2_per_s"].high


def test_pairs_of_sites_take_the_hop_nearest_to_their_length():
    """A chain of steps of 3.0 and 3.5 Å, between sites of one kind: each pair has the barrier of its own hop."""
    chain = sites(["A", "A"], [[0, 0, 0], [3.0 / 6.5, 0, 0]], np.diag([6.5, 30.0, 30.0]))
    row = d_of(chain, kind(("A", "A"), 3.0, 0.2), kind(("A", "A"), 3.5, 0.4))
    expected = 6.5**2 / (2 * (1 / rate(0.2) + 1 / rate(0.4))) * 1e-4
    assert row["tensor_cm2_per_s"][0][0] == pytest.approx(expected, rel=1e-9)
    with pytest.raises(InputError, match="are about"):
        d_of(chain, kind(("A", "A"), 23.0))


@pytest.fixture(scope="module")
def nzsp():
    from atomflow.build.nzsp import build_nzsp

    return build_nzsp(order="ordered")


NZSP_HOPS = (kind(("Na1", "Na3"), 3.53, 0.30, 0.24), kind(("Na1", "Na2"), 3.73, 0.33, 0.30))


def test_nzsp_agrees_with_a_simulated_walk(nzsp):
    """Kinetic Monte Carlo on the network of Na1, Na2 and Na3 in the monoclinic cell, 4,000 walkers."""
    found = network(nzsp, NZSP_HOPS, [600.0])
    assert found.warnings == ()
    known = nzsp.provenance["na_sites"]
    names, places = np.array(known["names"]), np.array(known["fractional"]) @ nzsp.lattice_A
    used = np.flatnonzero(np.isin(names, ("Na1", "Na2", "Na3")))
    assert found.n_sites == len(used) == 16
    start, end, vector, which = _edges(nzsp, names[used], places[used], NZSP_HOPS)
    forward = [name == NZSP_HOPS[k].names[0] for name, k in zip(names[used][start], which, strict=True)]
    rates = np.array([rate(NZSP_HOPS[k].barrier_eV if go else NZSP_HOPS[k].reverse_eV)
                      for k, go in zip(which, forward, strict=True)])
    assert _measured(start, end, vector, rates, len(used)) == pytest.approx(
        found.rows[0]["diffusivity_cm2_per_s"], rel=0.06)


def _measured(start, end, vector, rates, n, walkers=4000, hops=400):
    rng = np.random.default_rng(5)
    order = np.argsort(start, kind="stable")
    start, end, vector, rates = start[order], end[order], vector[order], rates[order]
    first = np.searchsorted(start, np.arange(n))
    total = np.bincount(start, weights=rates, minlength=n)
    cumulative = np.cumsum(rates)
    before = np.concatenate([[0.0], cumulative])[first]
    where, moved, clock = rng.integers(0, n, walkers), np.zeros((walkers, 3)), np.zeros(walkers)
    marks = []
    for _ in range(hops):
        clock += rng.exponential(size=walkers) / total[where]
        pick = np.searchsorted(cumulative, before[where] + rng.random(walkers) * total[where])
        moved, where = moved + vector[pick], end[pick]
        marks.append((clock.mean(), (moved**2).sum(axis=1).mean()))
    (t0, r0), (t1, r1) = marks[hops // 4], marks[-1]
    return (r1 - r0) / (t1 - t0) / 6 * 1e-4


def test_nzsp_has_one_vacancy_for_three_ions(nzsp):
    found = network(nzsp, [kind(("mid", "Na2"), 3.97, vacancy=True)], [600.0])
    assert found.vacancies_per_ion == pytest.approx(1 / 3)


def test_what_cannot_be_a_network_is_refused(nzsp, tmp_path):
    with pytest.raises(InputError, match="do not mix"):
        network(nzsp, [kind(("Na1", "Na2"), 3.7), kind(("Na1", "Na3"), 3.5, vacancy=True)], [600.0])
    with pytest.raises(InputError, match="given twice"):
        network(nzsp, [kind(("Na1", "Na2"), 3.7), kind(("Na2", "Na1"), 3.71)], [600.0])
    with pytest.raises(InputError, match="no site Na9"):
        network(nzsp, [kind(("Na1", "Na9"), 3.7)], [600.0])
    with pytest.raises(InputError, match="at least one hop"):
        network(nzsp, [], [600.0])
    odd = network(nzsp, [kind(("Na1", "Na3"), 3.53, 0.3, 0.2), kind(("Na1", "Na3"), 3.86, 0.3, 0.5)], [600.0])
    assert any("do not agree on the energies" in text for text in odd.warnings)
    with pytest.raises(InputError, match=r"there is no .*nowhere; give the folder of a finished `atomflow hop`"):
        read_hop(tmp_path / "nowhere")
    (tmp_path / "hop.json").write_text(json.dumps({"names": ["A", "B"], "attempt_THz": None}))
    with pytest.raises(InputError, match="no attempt frequency"):
        read_hop(tmp_path)
    (tmp_path / "hop.json").write_text(json.dumps({"names": ["A", "B"], "attempt_THz": 5.0}))
    with pytest.raises(InputError, match="of this version"):
        read_hop(tmp_path / "hop.json")


def test_beside_a_campaign_of_known_d(nzsp, tmp_path):
    for kelvin in (700.0, 900.0, 1200.0):
        write_run(tmp_path / "runs" / f"r{kelvin:g}", kelvin, diffusivity_cm2_per_s(kelvin, 1e-3, 0.25),
                  cell=ordered_cell(), n_frames=600)
    result = beside(nzsp, NZSP_HOPS, "another", tmp_path, barrier_error_eV=0.02)
    assert [row.structure for row in result.rows] == ["ordered"] * 3
    for row in result.rows:
        truth = diffusivity_cm2_per_s(row.temperature_K, 1e-3, 0.25)
        harmonic = network(nzsp, NZSP_HOPS, [row.temperature_K]).rows[0]["diffusivity_cm2_per_s"]
        assert row.harmonic_cm2_per_s.value == pytest.approx(harmonic)
        assert row.ratio.value == pytest.approx(harmonic / truth, rel=0.4)
        assert row.ratio.low < harmonic / truth < row.ratio.high
    energy, slope = result.energies["ordered"]
    assert energy.low < 0.25 < energy.high
    assert 0.25 < slope < 0.33  # between the barriers of the hops
    assert "with synthetic random walk, the hops with another" in result.warnings[0]


def test_the_command_adds_the_network_and_what_stands_beside(tmp_path, capsys):
    from test_lattice import vacancy

    write_cell(vacancy(), tmp_path / "v.extxyz")
    write_run(tmp_path / "c" / "runs" / "r", 800.0, 3e-5, cell=ordered_cell(), n_frames=300)
    arguments = ["hop", str(tmp_path / "v.extxyz"), "-p", "lennard-jones-argon", "--from", "A", "--to", "V", "--images",
                 "3", "--fmax", "0.01", "-T", "80"]
    assert run([*arguments, "--beside", str(tmp_path / "c"), "-o", str(tmp_path / "hop"), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["ideal_length_A"] == pytest.approx(data["length_A"], rel=0.05)
    assert (data["network"]["walker"], data["network"]["n_hops"]) == ("ion", 24)
    assert "lead nowhere" in data["network"]["warnings"][0]
    assert data["beside"]["rows"][0]["structure"] == "ordered"
    assert len(data["beside"]["limits"]) == 3
    assert json.loads((tmp_path / "hop" / "hop.json").read_text())["network"] == data["network"]
    assert read_hop(tmp_path / "hop").barrier_eV == pytest.approx(data["barrier_eV"])
    warm = [*arguments, "-T", "90", "--beside", str(tmp_path / "c"), "-o", str(tmp_path / "hop"), "--json"]
    path = (tmp_path / "hop" / "path.extxyz").stat().st_mtime_ns
    assert run(warm) == 0  # read back: other temperatures, the same band
    read = json.loads(capsys.readouterr().out)
    assert (tmp_path / "hop" / "path.extxyz").stat().st_mtime_ns == path
    assert read["barrier_eV"] == data["barrier_eV"]
    assert [row["temperature_K"] for row in read["rates"]] == [80.0, 90.0]
    assert read["network"]["rows"][0]["tracer_cm2_per_s"]["value"] == 0.0
    assert run([*arguments, "--fmax", "0.02", "-o", str(tmp_path / "hop")]) == 2
    assert "holds another hop (fmax_eV_per_A differ)" in capsys.readouterr().err
    again = [*arguments, "--also", str(tmp_path / "hop"), "-o", str(tmp_path / "again")]
    assert run(again) == 2
    assert "the same hop is given twice" in capsys.readouterr().err
    assert run([*arguments, "--beside", str(tmp_path / "hop"), "-o", str(tmp_path / "x")]) == 2
    assert "give the folder of a campaign" in capsys.readouterr().err
