import json

import numpy as np
import pytest
from transport_walks import MONOCLINIC, MemoryTrajectory, cage, gaussian_walk, lattice_hops, with_framework

from atomflow import transport
from atomflow.errors import InputError
from atomflow.transport.displacement import Displacements


def brownian(seed, d=0.1, frames=600, ions=40, **kwargs):
    rng = np.random.default_rng(seed)
    return with_framework(gaussian_walk(rng, frames, ions, d, 0.1), rng, **kwargs)


def test_a_random_walk_in_a_monoclinic_cell_gives_back_its_diffusivity():
    """0.1 Å²/ps is 1e-5 cm²/s; the interval holds it, is narrow, and a second seed narrows it further."""
    one = transport.analyze(brownian(1))
    both = transport.analyze([brownian(1), brownian(2)])
    d = one.tracer_diffusivity_cm2_per_s
    assert one.diffusing
    assert d.low < 1e-5 < d.high
    assert d.high / d.low < 1.5
    pooled = both.tracer_diffusivity_cm2_per_s
    assert both.n_runs == 2
    assert pooled.low < 1e-5 < pooled.high
    assert pooled.high / pooled.low < d.high / d.low


def test_conductivity_by_hand():
    """Nernst–Einstein: n e² D/(V k T) with n = 40, V = det of the lattice, T = 600 K."""
    result = transport.analyze(brownian(3))
    volume_cm3 = 15.65 * 9.05 * 7.65 * 1e-24
    factor = 40 * 1.602176634e-19**2 / (volume_cm3 * 1.380649e-23 * 600.0)
    d = result.tracer_diffusivity_cm2_per_s.value
    assert result.nernst_einstein_conductivity_S_per_cm.value == pytest.approx(factor * d, rel=1e-9, abs=0)
    charge = result.charge_diffusivity_cm2_per_s.value
    assert result.conductivity_S_per_cm.value == pytest.approx(factor * charge, rel=1e-9, abs=0)


def test_constant_drift_is_not_diffusion():
    """Ions that only vibrate while everything drifts at 1 Å/ps: an upper limit, and the drift is reported."""
    rng = np.random.default_rng(4)
    drift = np.outer(np.arange(500) * 0.1, [1.0, 0.5, 0.0])
    trajectory = with_framework(cage(rng, 500, 20, 0.3, 2), rng, drift=drift)
    result = transport.analyze(trajectory)
    assert not result.diffusing
    assert result.tracer_diffusivity_cm2_per_s.is_upper_limit
    assert result.drift_A == pytest.approx(np.linalg.norm(drift[-1]), rel=1e-9)
    assert any("drifted" in text for text in result.warnings)
    uncorrected = transport.analyze(trajectory, framework="none")
    assert uncorrected.tracer_diffusivity_cm2_per_s.value > 100 * result.tracer_diffusivity_cm2_per_s.high


def test_drift_correction_changes_nothing_else():
    rng = np.random.default_rng(5)
    ions = gaussian_walk(rng, 300, 10, 0.2, 0.1)
    drift = gaussian_walk(rng, 300, 1, 5.0, 0.1)[:, 0]
    rng_a, rng_b = np.random.default_rng(6), np.random.default_rng(6)
    still = transport.analyze(with_framework(ions, rng_a)).to_json()
    drifting = transport.analyze(with_framework(ions, rng_b, drift=drift)).to_json()
    for key in ("tracer_diffusivity_cm2_per_s", "charge_diffusivity_cm2_per_s"):
        assert drifting[key]["value"] == pytest.approx(still[key]["value"], rel=1e-8, abs=0)


def test_vibrating_atoms_give_an_upper_limit_worth_three_hops():
    """No hop among 24 ions in 40 ps: D < a² n/(6 N t) with n = 3.69, and not much more."""
    rng = np.random.default_rng(7)
    result = transport.analyze(with_framework(cage(rng, 400, 24, 0.4, 3), rng))
    limit = result.tracer_diffusivity_cm2_per_s
    counted = 3.5**2 * 3.6889 / (6 * 24 * 39.9) * 1e-4
    assert limit.is_upper_limit
    assert counted * 0.999 < limit.high < 3 * counted
    assert "not diffusing" in result.verdict
    assert result.haven_ratio.high is None
    assert result.conductivity_S_per_cm.is_upper_limit


def test_memory_bound_reads_in_pieces_and_gives_the_same():
    trajectory = brownian(8, frames=3000, ions=60)
    whole = transport.analyze(trajectory).to_json()
    trajectory.reads.clear()
    pieces = transport.analyze(trajectory, memory_MB=2).to_json()
    assert max(trajectory.reads) * 8 <= 1.05e6
    assert pieces["tracer_diffusivity_cm2_per_s"]["value"] == pytest.approx(
        whole["tracer_diffusivity_cm2_per_s"]["value"], rel=0.1)
    np.testing.assert_allclose(pieces["msd"]["msd_A2"], whole["msd"]["msd_A2"], rtol=1e-9, atol=0)


def test_an_unknown_temperature_gives_no_conductivity():
    result = transport.analyze(brownian(9, temperature_K=None))
    assert result.conductivity_S_per_cm.high is None
    assert any("temperature" in text for text in result.warnings)
    assert result.tracer_diffusivity_cm2_per_s.value is not None


def test_a_cell_without_framework_uses_its_centre_of_mass_and_gives_no_charge_diffusivity():
    rng = np.random.default_rng(10)
    walk = gaussian_walk(rng, 500, 50, 0.1, 0.1) + gaussian_walk(rng, 500, 1, 2.0, 0.1)
    result = transport.analyze(MemoryTrajectory(walk, ["Na"] * 50))
    assert result.tracer_diffusivity_cm2_per_s.overlaps(0.95e-5, 1.05e-5)
    assert result.charge_diffusivity_cm2_per_s.high is None
    assert "centre of mass" in result.reference
    assert any("no charge diffusivity" in text for text in result.warnings)


def test_frozen_atoms_are_an_upper_limit_too():
    """Positions that do not change at all, with a framework and without one."""
    still = np.broadcast_to(np.random.default_rng(1).uniform(0, 8, (6, 3)), (50, 6, 3))
    for symbols in (["Na"] * 4 + ["Zr"] * 2, ["Na"] * 6):
        result = transport.analyze(MemoryTrajectory(np.array(still), symbols))
        assert result.tracer_diffusivity_cm2_per_s.is_upper_limit
        assert not result.diffusing


def test_ballistic_motion_is_not_passed_off_as_diffusion():
    """Straight flight: the MSD goes as the square of the lag and the result says so."""
    rng = np.random.default_rng(2)
    flight = np.arange(200)[:, None, None] * rng.normal(scale=0.3, size=(20, 3))
    result = transport.analyze(with_framework(flight, rng))
    assert any("flight" in text for text in result.warnings)


def test_diffusion_along_one_axis_only():
    rng = np.random.default_rng(11)
    walk = gaussian_walk(rng, 600, 40, 0.3, 0.1) * [1.0, 0.0, 0.0] + cage(rng, 600, 40, 0.2, 2)
    result = transport.analyze(with_framework(walk, rng))
    x, y = result.directions["x"], result.directions["y"]
    assert x.low < 3e-5 < x.high
    assert y.high < 0.05 * x.low
    tensor = result.tensor_cm2_per_s
    assert tensor[0, 0] == pytest.approx(3e-5, rel=0.3)
    assert abs(tensor[0, 1]) < 0.1 * tensor[0, 0]
    assert result.tracer_diffusivity_cm2_per_s.value == pytest.approx(1e-5, rel=0.3)


def test_the_haven_ratio_of_ions_that_hop_three_together():
    """Planted: three ions hop at once, the same way; D_charge = 3 D_tracer, H = 1/3. Independent: H = 1."""
    rng = np.random.default_rng(12)
    runs = [with_framework(lattice_hops(rng, 1500, 30, 0.3, 0.1, together=3), rng) for _ in range(3)]
    together = transport.analyze(runs).haven_ratio
    assert together.low < 1 / 3 < together.high < 0.8
    alone = transport.analyze([brownian(s, frames=1500) for s in range(20, 24)]).haven_ratio
    assert alone.low < 1 < alone.high
    assert alone.low > 0.5


def test_json_is_stable_and_plain():
    from atomflow.plain import to_jsonable

    data = to_jsonable(transport.analyze(brownian(13)))
    json.dumps(data, allow_nan=False)
    assert data["kind"] == "run"
    assert set(data["tracer_diffusivity_cm2_per_s"]) == {"value", "low", "high", "level"}
    assert set(data["msd"]) == {"lag_ps", "msd_A2", "low_A2", "high_A2", "charge_msd_A2"}
    start, end = data["fit_window_ps"]
    assert 0 < start < end
    expected = {"species", "temperature_K", "n_ions", "n_frames", "total_time_ps", "n_runs", "cell", "potential",
                "charge_diffusivity_cm2_per_s", "haven_ratio", "conductivity_S_per_cm", "diffusing", "verdict",
                "nernst_einstein_conductivity_S_per_cm", "fit_window_reason", "drift_A", "warnings",
                "diffusivity_tensor_cm2_per_s"}
    assert expected <= set(data)


def test_breathing_boxes_do_not_diffuse():
    """Positions come in the mean lattice whatever the box does; the volume is the mean one."""
    trajectory = brownian(14, lattice=np.linspace(0.9, 1.1, 600)[:, None, None] * MONOCLINIC)
    run = Displacements(trajectory)
    assert run.volume_A3 == pytest.approx(np.abs(np.linalg.det(trajectory.lattice)).mean(), rel=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"species": "Li"}, "there is no Li in it, only Na, Zr"),
        ({"discard_ps": 59}, "at least 20 are needed"),
        ({"discard_ps": -1}, "must not be negative"),
        ({"framework": ["P"]}, "there is no P in the cell"),
        ({"framework": ["Na"]}, "Na is the mobile species"),
        ({"level": 1.0}, "level"),
        ({"memory_MB": 0}, "memory_MB"),
        ({"hop_length_A": 0}, "hop length"),
        ({"charge_e": 0}, "charge"),
        ({"charge_e": float("nan")}, "charge"),
        ({"charge_e": "1"}, "charge"),
        ({"discard_ps": float("nan")}, "discard_ps"),
        ({"framework": []}, "framework is auto"),
        ({"frame_interval_fs": 20.0}, "open already"),
    ],
)
def test_wrong_input_says_what_is_wrong(change, message):
    with pytest.raises(InputError, match=message):
        transport.analyze(brownian(15), **change)


def test_files_of_other_programs_at_several_temperatures_make_a_line(tmp_path):
    """D planted with Ea = 0.30 eV and found again, from files that say neither their time nor their temperature."""
    from ase import Atoms
    from ase.io import write

    results = []
    for kelvin in (700.0, 900.0, 1200.0):
        d_A2_per_ps = 20.0 * np.exp(-0.30 / (8.617333e-5 * kelvin))
        rng = np.random.default_rng(int(kelvin))
        walk = with_framework(gaussian_walk(rng, 400, 30, d_A2_per_ps, 0.1), rng)
        images = [Atoms(walk.symbols, positions=frame, cell=walk.lattice, pbc=True) for frame in walk.positions]
        path = tmp_path / f"{kelvin:.0f}.xyz"
        write(path, images, format="extxyz")
        with pytest.raises(InputError, match="frame_interval_fs"):
            transport.analyze(path)
        results.append(transport.analyze(path, frame_interval_fs=100, temperature_K=kelvin))
        assert results[-1].temperature_K == kelvin
    found = transport.fit_arrhenius("planted", results).activation_energy_eV
    assert found.low < 0.30 < found.high
    assert found.high - found.low < 0.15


def test_boxes_that_differ_are_said_when_files_are_pooled():
    pool = [brownian(1), brownian(2, lattice=1.5 * MONOCLINIC)]
    (warning,) = [text for text in transport.analyze(pool).warnings if "begin in boxes" in text]
    assert "seeds of one run have one box" in warning
    assert not any("begin in boxes" in text for text in transport.analyze([brownian(1), brownian(2)]).warnings)


def test_runs_that_do_not_belong_together_are_not_pooled():
    with pytest.raises(InputError, match="one temperature"):
        transport.analyze([brownian(1), brownian(2, temperature_K=700.0)])
    with pytest.raises(InputError, match="different cells"):
        transport.analyze([brownian(1), brownian(2, ions=41)])
    with pytest.raises(InputError, match="frame intervals"):
        transport.analyze([brownian(1), brownian(2, frame_interval_fs=50.0)])
    with pytest.raises(InputError, match="empty"):
        transport.analyze([])


def test_a_position_that_is_not_a_number_is_named():
    trajectory = brownian(16)
    trajectory.positions[17, 3, 1] = np.nan
    with pytest.raises(InputError, match="frame 17"):
        transport.analyze(trajectory)
