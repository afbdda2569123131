import numpy as np
import pytest
import scipy.special
import scipy.stats

from atomflow.transport.arrhenius import Limit, Point, distance_in_words, fit
from atomflow.transport.campaign import fit_arrhenius
from atomflow.transport.kink import find_kink
from atomflow.units import BOLTZMANN_EV_PER_K

EA, LN_D0 = 0.30, -5.0


def true_ln_d(temperature_K):
    return LN_D0 - EA / (BOLTZMANN_EV_PER_K * temperature_K)


def points(rng, temperatures, dof, scatter=0.0, bend=None):
    """Posteriors of D seen through χ² noise of ``dof`` degrees of freedom; ``bend``: (K, extra eV below it)."""
    result = []
    for temperature, nu in zip(temperatures, np.broadcast_to(dof, len(temperatures)), strict=True):
        ln_d = true_ln_d(temperature) + scatter * rng.normal()
        if bend and temperature < bend[0]:
            ln_d -= bend[1] / BOLTZMANN_EV_PER_K * (1 / temperature - 1 / bend[0])
        rate = np.exp(ln_d) * rng.chisquare(nu) / 2
        result.append(Point(temperature, float(np.log(rate) - scipy.special.digamma(nu / 2)),
                            float(np.sqrt(scipy.special.polygamma(1, nu / 2)))))
    return result


def test_exact_points_give_back_the_line():
    exact = [Point(t, true_ln_d(t), 0.01) for t in (500.0, 700.0, 900.0)]
    line = fit(exact)
    assert line.activation_energy_eV.value == pytest.approx(EA, abs=1e-4)
    assert line.prefactor.value == pytest.approx(np.exp(LN_D0), rel=0.01, abs=0)
    room = line.at(298.15)
    assert room.value == pytest.approx(np.exp(true_ln_d(298.15)), rel=0.01, abs=0)
    assert room.high / room.low > line.at(700.0).high / line.at(700.0).low


def test_the_interval_is_the_textbook_one_for_small_errors():
    """Weighted least squares with known errors: ±1.96 σ/√Σ(β − β̄)²."""
    temperatures = (500.0, 600.0, 800.0)
    sd = 0.05
    line = fit([Point(t, true_ln_d(t), sd) for t in temperatures]).activation_energy_eV
    beta = 1 / (BOLTZMANN_EV_PER_K * np.array(temperatures))
    expected = 1.96 * sd / np.sqrt(((beta - beta.mean()) ** 2).sum())
    assert (line.high - line.low) / 2 == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    ("temperatures", "dof"),
    [((600.0, 900.0), 60), ((600.0, 750.0, 900.0), 8), ((500.0, 600.0, 750.0, 900.0), 40)],
)
def test_ea_intervals_cover_the_truth_in_few_trials(temperatures, dof):
    hits = 0
    for seed in range(40):
        energy = fit(points(np.random.default_rng(seed), temperatures, dof)).activation_energy_eV
        hits += energy.low <= EA <= energy.high
    assert hits >= scipy.stats.binom.ppf(0.001, 40, 0.95)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("temperatures", "dof"),
    [((600.0, 900.0), 60), ((600.0, 750.0, 900.0), 8), ((500.0, 600.0, 750.0, 900.0), (20, 50, 100, 200)),
     ((400.0, 500.0, 600.0, 700.0, 800.0, 900.0), (10, 20, 50, 100, 200, 300))],
)
def test_ea_intervals_cover_the_truth_95_percent_of_the_time(temperatures, dof):
    hits = 0
    for seed in range(500):
        energy = fit(points(np.random.default_rng(seed), temperatures, dof)).activation_energy_eV
        hits += energy.low <= EA <= energy.high
    assert 0.93 <= hits / 500 <= 0.97 + np.sqrt(0.95 * 0.05 / 500)


def test_points_that_scatter_widen_the_interval_and_say_so():
    rng = np.random.default_rng(1)
    temperatures = (500.0, 600.0, 700.0, 800.0, 900.0)
    quiet, loud = fit(points(rng, temperatures, 400)), fit(points(rng, temperatures, 400, scatter=0.5))
    assert loud.inflation > 2
    assert any("scatter" in text for text in loud.warnings)
    width = [line.activation_energy_eV.high - line.activation_energy_eV.low for line in (quiet, loud)]
    assert width[1] > 3 * width[0]


def test_one_temperature_is_no_activation_energy():
    line = fit([Point(600.0, -10.0, 0.1)])
    assert line.activation_energy_eV.high is None
    assert "two are needed" in line.warnings[0]
    assert line.at(300.0).high is None


def test_an_upper_limit_is_censored_data_not_a_number():
    """No hop where the true line has 40: Ea rises. No hop where it has 0.01: no news."""
    hot = [Point(800.0, true_ln_d(800.0), 0.3), Point(900.0, true_ln_d(900.0), 0.3)]
    alone = fit(hot).activation_energy_eV
    expected = np.exp(true_ln_d(400.0))
    harmless = fit(hot, [Limit(400.0, 0.0, 0.01 / expected)]).activation_energy_eV
    telling = fit(hot, [Limit(400.0, 0.0, 40.0 / expected)]).activation_energy_eV
    assert harmless.value == pytest.approx(alone.value, abs=0.15 * (alone.high - alone.low))
    assert telling.low > alone.low + 0.2
    assert telling.high > EA


def test_a_planted_kink_is_found_and_placed():
    """0.3 eV above 436 K, 0.5 eV below it, seven temperatures with 10 % errors."""
    temperatures = (330.0, 360.0, 400.0, 450.0, 500.0, 560.0, 620.0)
    found = [find_kink(points(np.random.default_rng(s), temperatures, 200, bend=(436.0, 0.2))) for s in range(30)]
    assert np.mean([kink.significant for kink in found]) > 0.8
    assert np.median([kink.temperature_K for kink in found]) == pytest.approx(436.0, abs=30)
    assert np.median([kink.energy_below_eV - kink.energy_above_eV for kink in found]) == pytest.approx(0.2, abs=0.1)


def test_false_alarms_of_the_kink_are_rare():
    temperatures = (330.0, 360.0, 400.0, 450.0, 500.0, 560.0, 620.0)
    alarms = sum(find_kink(points(np.random.default_rng(s), temperatures, 200)).significant for s in range(100))
    assert scipy.stats.binom.ppf(0.001, 100, 0.05) <= alarms <= scipy.stats.binom.ppf(0.999, 100, 0.05)


def test_too_few_temperatures_for_a_kink():
    assert find_kink(points(np.random.default_rng(0), (400.0, 500.0, 600.0, 700.0), 100)) is None


def test_the_distance_of_the_extrapolation_in_words():
    """1/kT: 38.92 per eV at 298.15 K, 12.89 at 900 K, 19.34 at 600 K."""
    text = distance_in_words([600.0, 900.0])
    assert "302 K" in text
    assert "19.6 per eV" in text
    assert "3.0 times the span" in text
    assert "inside" in distance_in_words([250.0, 400.0])


def test_no_results_at_all():
    line = fit_arrhenius("empty", [])
    assert line.line.activation_energy_eV.high is None
    assert line.distance == "no temperature could be used"
