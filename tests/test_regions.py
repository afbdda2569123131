"""Region-resolved transport against three planted diffusivities, walls, partition and drifting frameworks."""

import json

import numpy as np
import pytest
from region_walks import DT_PS, LATTICE, NAMES, WIDTH_A, three_regions
from synthetic import write_run
from transport_walks import MemoryTrajectory

from atomflow.cell import Cell
from atomflow.cli.main import run
from atomflow.errors import InputError
from atomflow.transport.regions import analyze_regions
from atomflow.transport.slabs import find_slabs, region_paths
from atomflow.units import BOLTZMANN_EV_PER_K

PLANTED = (1.0, 0.1, 0.4)


def coverage(trajectories, planted=PLANTED):
    """{(region, direction): (share of intervals that hold the truth, mean of value/truth)}."""
    held, ratio = {}, {}
    for trajectory in trajectories:
        for region in analyze_regions(trajectory, hop_length_A=1.0).regions:
            truth = planted[NAMES.index(region.region)] * 1e-4
            for direction in ("along", "across"):
                estimate = getattr(region, direction).estimate
                held.setdefault((region.region, direction), []).append(estimate.overlaps(truth, truth))
                ratio.setdefault((region.region, direction), []).append((estimate.value or np.nan) / truth)
    return {key: (np.mean(held[key]), np.nanmean(ratio[key])) for key in held}


@pytest.mark.slow
@pytest.mark.parametrize("kwargs", [
    {},
    {"walls": True, "vibration_A": 0.15},
    {"partition": 3.0, "drift_A_per_ps": (0.05, -0.03, 0.0)},
], ids=["open", "walls and vibration", "partition and drift"])
def test_intervals_hold_the_three_planted_diffusivities_as_often_as_they_say(kwargs):
    found = coverage(three_regions(np.random.default_rng(11), runs=300, **kwargs))
    assert len(found) == 6
    assert 0.93 <= np.mean([share for share, _ in found.values()]) <= 0.97
    for key, (share, ratio) in found.items():
        assert 0.915 <= share <= 0.985, key  # 300 runs: two and a half standard errors beyond 93-97 %
        assert ratio == pytest.approx(1.0, abs=0.03), key


def test_three_planted_diffusivities_are_found():
    found = coverage(three_regions(np.random.default_rng(2), runs=5, frames=1000, vibration_A=0.1))
    for key, (_, ratio) in found.items():
        assert ratio == pytest.approx(1.0, abs=0.2), key
    assert np.mean([share for share, _ in found.values()]) > 0.75


def test_walls_are_not_crossed_and_open_borders_at_the_planted_rate():
    closed = analyze_regions(three_regions(np.random.default_rng(3), walls=True)[0], hop_length_A=1.0)
    assert len(closed.crossings) == 6
    assert all(c.count == 0 and c.rate_per_ps.is_upper_limit for c in closed.crossings)
    assert all(region.residence_ps is None for region in closed.regions)
    opened = analyze_regions(three_regions(np.random.default_rng(3), d_A2_per_ps=(1.0, 1.0, 1.0), ions=60)[0],
                             hop_length_A=1.0)
    rates = np.array([c.rate_per_ps.value for c in opened.crossings])
    # settled 1 Å deep on either side: the flux of a uniform gas over a path of 2 Å, D/(w·2)
    assert rates.mean() == pytest.approx(1.0 / (WIDTH_A * 2 * 1.0), rel=0.25)


def test_partition_shows_in_the_density_profile():
    trajectory = three_regions(np.random.default_rng(4), partition=4.0, ions=500, frames=300)[0]
    result = analyze_regions(trajectory, hop_length_A=1.0)
    density = {region.region: region.density_per_A3 for region in result.regions}
    assert density["glass"] / density["grain_a"] == pytest.approx(4.0, rel=0.25)
    assert sum(region.mean_ions for region in result.regions) == pytest.approx(500, rel=1e-9)
    profile = result.profile
    volume = result.height_A / len(profile.place_A) * np.linalg.det(LATTICE) / result.height_A
    assert profile.density_per_A3.sum() * volume == pytest.approx(500, rel=1e-9)
    middle = [k for k, name in enumerate(profile.region) if name == "glass"][3:-3]
    outer = [k for k, name in enumerate(profile.region) if name == "grain_a"][3:-3]
    assert profile.density_per_A3[middle].mean() > 3 * profile.density_per_A3[outer].mean()
    assert np.nanmean(profile.diffusivity_cm2_per_s[middle]) == pytest.approx(1e-5, rel=0.2)
    assert np.nanmean(profile.diffusivity_cm2_per_s[outer]) == pytest.approx(1e-4, rel=0.2)


def test_each_region_moves_with_its_own_framework():
    still = three_regions(np.random.default_rng(5), d_A2_per_ps=(0.2, 0.2, 0.2), drift_A_per_ps=(0.4, -0.4, 0.0))[0]
    result = analyze_regions(still, hop_length_A=1.0)
    for region in result.regions:
        assert region.along.estimate.value == pytest.approx(2e-5, rel=0.25)
        assert "its own framework (28 atoms)" in region.reference


def test_a_metal_without_framework_is_measured_from_the_cell():
    rng = np.random.default_rng(6)
    trajectory = three_regions(rng, walls=True)[0]
    is_b = (trajectory.symbols == "Zr") & (trajectory.regions == "grain_b")
    trajectory.symbols = np.where(is_b, "Na", trajectory.symbols)
    trajectory.regions = np.where(trajectory.regions == "grain_b", "metal", trajectory.regions)
    result = analyze_regions(trajectory, hop_length_A=1.0)
    metal = next(region for region in result.regions if region.region == "metal")
    assert "centre of mass of the cell" in metal.reference
    assert metal.width_A == pytest.approx(WIDTH_A, abs=1.0)


def test_slabs_follow_the_labels_around_the_box_and_swallow_slivers():
    place = np.concatenate([np.linspace(0.02, 0.38, 40), np.linspace(0.42, 0.78, 40), np.linspace(0.82, 0.98, 20)])
    labels = np.array(["a"] * 40 + ["b"] * 40 + ["a"] * 20)
    slabs = find_slabs(place, labels, 50.0)
    assert [slab.region for slab in slabs] == ["b", "a"]
    np.testing.assert_allclose([slabs[0].low, slabs[0].high, slabs[1].low, slabs[1].high], [0.4, 0.8, 0.8, 1.4],
                               rtol=0, atol=0.006)
    stray = labels.copy()
    stray[20] = "c"
    assert {slab.region for slab in find_slabs(place, stray, 50.0)} == {"a", "b"}


def test_every_ion_is_in_one_slab_and_its_depth_is_right():
    trajectory = three_regions(np.random.default_rng(7))[0]
    paths = region_paths(trajectory)
    height = trajectory.positions[:, :30, 2]
    expected = (height % (3 * WIDTH_A)) // WIDTH_A
    edge = np.abs((height + WIDTH_A / 2) % WIDTH_A - WIDTH_A / 2)
    clear = edge > 0.3
    names = np.array([slab.region for slab in paths.slabs])
    assert (names[paths.inside] == np.array(NAMES)[expected.astype(int)])[clear].all()
    np.testing.assert_allclose(paths.depth_A[clear], edge[clear], rtol=0, atol=0.25)
    assert paths.height_A == pytest.approx(42.0, rel=1e-12)
    assert paths.area_A2 == pytest.approx(99.0, rel=1e-12)
    thinned = region_paths(trajectory, memory_MB=1.5)
    assert len(thinned.ions_A) < len(paths.ions_A)
    assert thinned.interval_ps > DT_PS


def test_a_thin_film_has_no_diffusivity_across_and_frozen_ions_an_upper_limit():
    trajectory = three_regions(np.random.default_rng(8))[0]
    result = analyze_regions(trajectory, hop_length_A=6.0)
    fast = next(region for region in result.regions if region.region == "grain_a")
    assert fast.across.estimate.high is None
    assert "too thin to hold hops of 6 Å" in fast.across.why
    frozen = three_regions(np.random.default_rng(8), d_A2_per_ps=(1e-9, 1e-9, 1e-9), vibration_A=0.1)[0]
    for region in analyze_regions(frozen).regions:
        assert region.along.estimate.is_upper_limit
        assert region.across.estimate.is_upper_limit
        assert 0 < region.along.estimate.high < 1e-5
        assert "had not moved half a hop" in region.along.why
    assert np.isnan(analyze_regions(frozen).profile.diffusivity_cm2_per_s).all()


def labelled_run(folder, regions=True, kelvin=800, seed=1, structure="ordered", d_cm2_per_s=5e-5):
    """A run folder whose cell has two regions along z."""
    rng = np.random.default_rng(1)
    fractions = rng.uniform(0, 1, (60, 3))
    numbers = np.array([11] * 20 + [40] * 40)
    labels = np.where(fractions[:, 2] < 0.5, "grain_a", "glass") if regions else None
    cell = Cell(numbers, fractions @ np.diag([12.0, 12.0, 40.0]), np.diag([12.0, 12.0, 40.0]), labels)
    return write_run(folder, kelvin, d_cm2_per_s, seed, structure, cell=cell, n_frames=300)


def test_the_command_prints_json_and_writes_the_profile(tmp_path, capsys):
    folder = str(labelled_run(tmp_path / "run"))
    assert run(["analyze", folder, "--by", "region", "--along", "z", "--json", "-o", str(tmp_path / "p.csv")]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["kind"] == "regions"
    assert {slab["region"] for slab in data["slabs"]} == {"grain_a", "glass"}
    region = data["regions"][0]
    assert region["diffusivity_along_cm2_per_s"]["low"] < 5e-5 < region["diffusivity_along_cm2_per_s"]["high"]
    assert region["conductivity_along_S_per_cm"]["value"] > 0
    assert (tmp_path / "p.csv").read_text().startswith("place_A,density_per_A3")
    assert run(["analyze", folder, "--by", "region", "-o", str(tmp_path / "p.png")]) == 0
    assert "D along" in capsys.readouterr().out
    assert (tmp_path / "p.png").stat().st_size > 10000


def test_wrong_input_is_one_line(tmp_path, capsys):
    folder = str(labelled_run(tmp_path / "run"))
    plain = str(labelled_run(tmp_path / "plain", regions=False))
    for arguments, words in [
        ([folder, "--by", "regoin"], "did you mean 'region'"),
        ([folder, "--by", "region", "--along", "w"], "no direction w"),
        ([folder, "--by", "region", "--along", "x"], "do not follow one another"),
        ([folder, "--by", "region", "--species", "Li"], "there is no Li"),
        ([folder, "--by", "region", "--sites"], "do not go with --by region"),
        ([folder, "--by", "region", "--framework", "Zr"], "its own framework"),
        ([folder, "-o", "p.csv"], "-o writes the profile"),
        ([folder, "--by", "region", "-o", "p.txt"], "end the name in .csv"),
        ([plain, "--by", "region"], "every atom is in region bulk"),
        ([str(tmp_path), "--sites"], "are for one run"),
    ]:
        assert run(["analyze", *arguments]) == 2
        error = capsys.readouterr().err
        assert words in error, arguments
        assert error.count("\n") == 1


def test_options_are_checked():
    trajectory = MemoryTrajectory(np.zeros((30, 4, 3)), ["Na"] * 4)
    with pytest.raises(InputError, match="level"):
        analyze_regions(trajectory, level=1.0)
    with pytest.raises(InputError, match="hop length"):
        analyze_regions(trajectory, hop_length_A=0)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_intervals_of_pooled_seeds_hold_the_planted_diffusivities_as_often_as_they_say(seeds):
    """200 pools, each as long altogether as one run of the tests above."""
    walks = three_regions(np.random.default_rng(21), runs=200 * seeds, frames=1500 // seeds, vibration_A=0.1)
    found = coverage([walks[k : k + seeds] for k in range(0, len(walks), seeds)])
    assert 0.93 <= np.mean([share for share, _ in found.values()]) <= 0.97
    for key, (share, ratio) in found.items():
        assert 0.91 <= share <= 0.99, key  # 200 pools: two and a half standard errors beyond 93-97 %
        assert ratio == pytest.approx(1.0, abs=0.03), key


@pytest.mark.slow
def test_seeds_that_differ_in_more_than_their_luck_widen_the_interval():
    """Half of the runs are of D, half of 2D (two cation orders, say): three such seeds do not pretend to know more."""
    rng = np.random.default_rng(22)
    slow = three_regions(rng, d_A2_per_ps=(0.5, 0.5, 0.5), runs=2, frames=800)
    fast = three_regions(rng, d_A2_per_ps=(1.0, 1.0, 1.0), runs=2, frames=800)
    mixed, alike = analyze_regions([*slow, fast[0]], hop_length_A=1.0), analyze_regions([*fast, fast[0]],
                                                                                     hop_length_A=1.0)
    for one, other in zip(mixed.regions, alike.regions, strict=True):
        assert one.along.estimate.high / one.along.estimate.low > 1.3 * (
            other.along.estimate.high / other.along.estimate.low)


def test_pooled_seeds_narrow_the_interval_and_add_up():
    trajectories = three_regions(np.random.default_rng(12), runs=4, frames=800, d_A2_per_ps=(1.0, 0.3, 0.6))
    one, four = analyze_regions(trajectories[0], hop_length_A=1.0), analyze_regions(trajectories, hop_length_A=1.0)
    assert (four.n_runs, len(four.sources)) == (4, 4)
    assert four.total_time_ps == pytest.approx(4 * one.total_time_ps)
    for region in ("grain_a", "glass", "grain_b"):
        alone, pooled = (next(r for r in result.regions if r.region == region) for result in (one, four))
        width = [r.along.estimate.high / r.along.estimate.low for r in (alone, pooled)]
        assert width[1] < width[0]
    singles = [analyze_regions(trajectory, hop_length_A=1.0) for trajectory in trajectories]
    for index, crossing in enumerate(four.crossings):
        assert crossing.count == sum(single.crossings[index].count for single in singles)
    assert sum(region.mean_ions for region in four.regions) == pytest.approx(30)
    np.testing.assert_allclose(four.profile.density_per_A3,
                               np.mean([single.profile.density_per_A3 for single in singles], axis=0), rtol=1e-9)
    assert np.nanmean(four.profile.diffusivity_error) < np.nanmean(one.profile.diffusivity_error)


def test_runs_that_are_not_seeds_of_one_run_are_not_pooled():
    rng = np.random.default_rng(13)
    first, other = three_regions(rng)[0], three_regions(rng, ions=31)[0]
    with pytest.raises(InputError, match="different cells"):
        analyze_regions([first, other])
    hot = three_regions(rng)[0]
    first.temperature_K, hot.temperature_K = 500.0, 800.0
    with pytest.raises(InputError, match="one temperature"):
        analyze_regions([first, hot])
    slow = three_regions(rng)[0]
    slow.temperature_K, slow.frame_interval_fs = 500.0, 99.0
    with pytest.raises(InputError, match="different frame intervals"):
        analyze_regions([first, slow])
    with pytest.raises(InputError, match="nothing to analyze"):
        analyze_regions([])


def region_campaign(folder):
    """Two seeds of a labelled cell at three temperatures, D = 1e-3 exp(−0.25 eV/kT), and one bulk run."""
    for kelvin in (700.0, 900.0, 1200.0):
        for seed in (1, 2):
            labelled_run(folder / "runs" / f"gb-{kelvin:g}K-s{seed}", kelvin=kelvin, seed=seed, structure="gb",
                         d_cm2_per_s=1e-3 * np.exp(-0.25 / (BOLTZMANN_EV_PER_K * kelvin)))
    labelled_run(folder / "runs" / "bulk-700K-s1", regions=False, structure="bulk")
    return folder


def test_a_campaign_by_region_pools_seeds_and_fits_lines(tmp_path, capsys):
    folder = region_campaign(tmp_path)
    assert run(["analyze", str(folder), "--by", "region", "--json", "--hop-length-a", "1.5"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["kind"] == "region-campaign"
    assert [(group["structure"], group["n_runs"]) for group in data["groups"]] == [("gb", 2)] * 3
    assert len(data["excluded"]) == 1
    assert "nothing to resolve by region" in data["excluded"][0]["reason"]
    lines = {(line["region"], line["direction"]): line for line in data["arrhenius"]}
    assert set(lines) == {(r, d) for r in ("grain_a", "glass") for d in ("along", "across")}
    line = lines["glass", "along"]
    assert line["activation_energy_eV"]["low"] < 0.25 < line["activation_energy_eV"]["high"]
    truth = 1e-3 * np.exp(-0.25 / (BOLTZMANN_EV_PER_K * 298.15))
    room = line["extrapolation"]["diffusivity_cm2_per_s"]
    assert room["low"] < truth < room["high"]
    sigma = line["extrapolation"]["conductivity_S_per_cm"]
    density = np.mean([region["density_per_A3"] for group in data["groups"] for region in group["regions"]
                       if region["region"] == "glass"])
    assert sigma["value"] / room["value"] == pytest.approx(
        density * 1e24 * (1.602176634e-19) ** 2 / (1.380649e-23 * 298.15), rel=1e-6)
    assert run(["analyze", str(folder), "--by", "region"]) == 0
    assert "σ at 298 K" in capsys.readouterr().out
    seeds = [str(folder / "runs" / f"gb-700K-s{seed}") for seed in (1, 2)]
    assert run(["analyze", *seeds, "--by", "region", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n_runs"] == 2
    assert run(["analyze", *seeds, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n_runs"] == 2


def test_several_paths_that_do_not_go_together_are_one_line(tmp_path, capsys):
    folder = region_campaign(tmp_path)
    seeds = [str(folder / "runs" / f"gb-700K-s{seed}") for seed in (1, 2)]
    only_bulk = tmp_path / "plain"
    labelled_run(only_bulk / "runs" / "bulk-s1", regions=False)
    for arguments, words in [
        ([str(folder), seeds[0]], "a folder of runs: analyze it by itself"),
        ([*seeds, "--sites"], "for one run"),
        ([str(folder), "--by", "region", "-o", str(tmp_path / "p.csv")], "name its run folders"),
        ([str(only_bulk), "--by", "region"], "no run can be resolved by region"),
        ([seeds[0], str(folder / "runs" / "gb-900K-s1"), "--by", "region"], "one temperature"),
    ]:
        assert run(["analyze", *arguments]) == 2, arguments
        error = capsys.readouterr().err
        assert words in error.splitlines()[-1], arguments


def test_passages_give_the_conductance_of_a_layer_of_known_diffusivity():
    """Equal D everywhere: Φ = nD/ℓ through the 14 Å of glass and 1 Å on either side; grains in contact do not count.

    The walkers live on planes at 0.25, 0.75, ... Å: the first that is 1 Å deep lies at 1.25 Å.
    """
    density = 200 / (9 * 11 * 3 * WIDTH_A)
    for middle in (1.0, 0.2):
        walks = three_regions(np.random.default_rng(31), d_A2_per_ps=(1.0, middle, 1.0), ions=200, runs=2, frames=2000)
        (through,) = analyze_regions(walks, hop_length_A=1.0).passages
        assert (through.layer, through.thickness_A) == ("glass", pytest.approx(WIDTH_A + 2.0, abs=0.2))
        truth = density / (WIDTH_A / middle + 2.5)
        assert through.flux_per_A2_ps.overlaps(0.9 * truth, 1.1 * truth)
        assert through.flux_per_A2_ps.high / through.flux_per_A2_ps.low < 2.5
    closed = analyze_regions(three_regions(np.random.default_rng(32), walls=True)[0], hop_length_A=1.0).passages[0]
    assert closed.count == 0
    assert closed.flux_per_A2_ps.is_upper_limit


def test_conductance_is_nernst_einstein_over_thickness():
    from atomflow.transport.conductivity import siemens_per_cm
    from atomflow.transport.region_crossings import conductance_S_per_cm2

    density, d, thickness = 0.011, 3e-5, 8.0  # per Å³, cm²/s, Å
    flux = density * d * 1e4 / thickness
    expected = siemens_per_cm(1, 1 / density, 600.0) * d / (thickness * 1e-8)
    assert flux * conductance_S_per_cm2(600.0) == pytest.approx(expected, rel=1e-12)
