"""Microstructure models against their exact limits, arcs against the circle, and the publication's numbers."""

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atomflow import paper
from atomflow.cli.main import run
from atomflow.errors import InputError
from atomflow.impedance import Arc, Layer, Microstructure, beside_paper, spectrum
from atomflow.impedance.beside_paper import apparent_energy_eV, default_thickness_cm, needed_boundary_S_per_cm
from atomflow.impedance.microstructure import bruggeman, maxwell, series_conductivity

POSITIVE = st.floats(1e-8, 1.0)


def ceramic(**changes):
    options = {"grain": Layer(1e-3), "boundary": Layer(1e-6), "grain_size_um": 1.0, "boundary_nm": 1.0}
    return Microstructure(**{**options, **changes})


@pytest.mark.parametrize(("words", "said"), [
    ("--grain-sigma 1e-3 --grain-ea nan", "an activation energy is a number of eV, not nan"),
    ("--grain-sigma 1e-3 --boundary-sigma 1e-6 --boundary-nm 1 --film-coverage 0.5", "a film coverage needs a film"),
])
def test_what_makes_no_sense_is_named(words, said, capsys):
    assert run(["impedance", *words.split()]) == 2
    assert said in capsys.readouterr().err


def test_without_boundaries_every_model_is_the_bulk():
    bare = Microstructure(Layer(2e-3))
    assert set(bare.conductivities_S_per_cm().values()) == {2e-3}
    grain, boundary = bare.resistances_ohm_cm2(0.1)
    assert (grain, boundary) == (pytest.approx(50.0, rel=1e-12), 0.0)


def test_the_series_terms_are_exact():
    grain, boundary = ceramic().resistances_ohm_cm2(0.1)
    layers = 0.1 / (1e-4 + 1e-7)
    assert grain == pytest.approx(layers * 1e-4 / 1e-3, rel=1e-12)
    assert boundary == pytest.approx(layers * 1e-7 / 1e-6, rel=1e-12)
    total = ceramic().conductivities_S_per_cm()["series brick layer"]
    assert 0.1 / total == pytest.approx(grain + boundary, rel=1e-12)


@pytest.mark.parametrize("sigma", [1e-4, 1e-6])
def test_thin_layers_give_the_same_by_every_model_that_covers_the_grains(sigma):
    found = ceramic(boundary=Layer(sigma), boundary_nm=0.01).conductivities_S_per_cm()
    assert found["Maxwell"] == pytest.approx(found["series brick layer"], rel=1e-3)
    assert found["parallel brick layer"] == pytest.approx(found["series brick layer"], rel=1e-3)


@given(POSITIVE, POSITIVE, st.floats(0.001, 0.999))
@settings(max_examples=200, deadline=None)
def test_models_stand_in_the_order_of_their_bounds(first, second, fraction):
    """Series ≤ lower Hashin–Shtrikman ≤ Bruggeman ≤ upper ≤ parallel, for one volume fraction."""
    low, high = min(first, second), max(first, second)
    share = fraction if low == first else 1.0 - fraction  # of the worse conductor
    bounds = [series_conductivity(low, high, share), maxwell(low, high, 1.0 - share),
              bruggeman(first, second, fraction), maxwell(high, low, share), share * low + (1.0 - share) * high]
    assert all(a <= b * (1 + 1e-9) for a, b in pairwise(bounds))


def test_blocking_boundaries_let_bruggeman_conduct_and_the_brick_layer_not():
    found = ceramic(boundary=Layer(1e-12), boundary_nm=50.0).conductivities_S_per_cm()
    assert found["series brick layer"] < 1e-10
    assert found["Maxwell"] < 1e-10
    assert found["Bruggeman"] > 5e-4  # grains that touch


def test_a_film_is_in_series_where_it_is_and_absent_where_it_is_not():
    none = ceramic(film=Layer(1e-7), film_nm=5.0, film_coverage=0.0)
    assert none.resistances_ohm_cm2(0.1)[1] == pytest.approx(ceramic().resistances_ohm_cm2(0.1)[1], rel=1e-12)
    full = ceramic(film=Layer(1e-7), film_nm=5.0)
    assert full.conductance_S_per_cm2 == pytest.approx(1.0 / (1e-7 / 1e-6 + 5e-7 / 1e-7), rel=1e-12)
    half = ceramic(film=Layer(0.0), film_nm=5.0, film_coverage=0.5)
    assert half.conductance_S_per_cm2 == pytest.approx(0.5 * 10.0, rel=1e-12)
    with pytest.raises(InputError, match="block: a continuous film"):
        ceramic(film=Layer(0.0), film_nm=5.0)


def test_pores_scale_by_maxwell():
    dense, porous = ceramic(), ceramic(relative_density=0.74)
    factor = 2 * 0.74 / (3 - 0.74)
    for name, value in dense.conductivities_S_per_cm().items():
        assert porous.conductivities_S_per_cm()[name] == pytest.approx(value * factor, rel=1e-12)


def test_an_arc_is_a_semicircle_and_a_depressed_one_keeps_its_ends_and_peak():
    frequency = np.geomspace(1e-3, 1e9, 2001)
    round_ = Arc("a", 100.0, 1e-6, 1.0).impedance_ohm_cm2(frequency)
    np.testing.assert_allclose(np.abs(round_ - 50.0), 50.0, rtol=1e-9, atol=0)
    flat = Arc("a", 100.0, 1e-6, 0.8)
    z = flat.impedance_ohm_cm2(frequency)
    assert z[0].real == pytest.approx(100.0, rel=1e-3)
    assert abs(z[-1]) < 0.1
    assert frequency[np.argmax(-z.imag)] == pytest.approx(flat.peak_Hz, rel=0.02)
    assert -flat.impedance_ohm_cm2(np.array([flat.peak_Hz]))[0].imag < 50.0


def test_a_spectrum_ends_at_the_sum_and_says_when_arcs_overlap():
    found = spectrum(ceramic(), 0.1, interface_ohm_cm2=900.0)
    assert [arc.name for arc in found.arcs] == ["grain", "boundary", "interface"]
    assert found.impedance_ohm_cm2[-1].real == pytest.approx(found.total_ohm_cm2, rel=0.01)
    assert not found.warnings
    grain = found.arcs[0]
    assert grain.peak_Hz == pytest.approx(1e-3 / (2 * np.pi * 20 * 8.8541878128e-14), rel=2e-3)  # σ/2πε, whatever L
    assert spectrum(ceramic(boundary=Layer(5e-4)), 0.1).warnings


def test_the_publications_resistances_follow_from_its_own_conductivities():
    """The bare disc: its R_b and R_gb as layers give them back, and its σ_t."""
    thickness = default_thickness_cm()
    grain = paper.get("d.sig_b_x0").value * 1e-3
    bare = Microstructure(Layer(grain), Layer(1e-6), grain_size_um=1.0, boundary_nm=1.0)
    needed = needed_boundary_S_per_cm(bare, thickness)
    fitted = Microstructure(Layer(grain), Layer(needed), grain_size_um=1.0, boundary_nm=1.0)
    rows = {row.id: row for row in beside_paper(fitted, thickness, paper.load().number("sym.Rint_x0", "ohm cm2"))}
    assert rows["sym.Rb_x0"].ratio == pytest.approx(1.0, rel=2e-3)
    assert rows["sym.Rgb_x0"].ratio == pytest.approx(1.0, rel=1e-9)
    assert rows["sym.Rint_x0"].ratio == 1.0
    assert rows["sig.t_x0"].ratio == pytest.approx(1.0, rel=0.01)
    assert rows["fc.Ea1"].ours is None


def test_energies_mix_between_those_of_grain_and_boundary():
    mixed = ceramic(grain=Layer(1e-3, 0.27), boundary=Layer(1e-6, 0.5))
    energy = apparent_energy_eV(mixed, 0.1)
    assert 0.27 < energy < 0.5
    assert apparent_energy_eV(Microstructure(Layer(1e-3, 0.27)), 0.1) == pytest.approx(0.27, rel=1e-9)
    warm = mixed.at(333.15)
    assert warm.grain.sigma_S_per_cm > mixed.grain.sigma_S_per_cm
    with pytest.raises(InputError, match="activation energy is missing"):
        ceramic().at(333.15)


def test_the_command_prints_and_draws(tmp_path, capsys):
    arguments = ["impedance", "--grain-sigma", "9.1e-4", "--boundary-sigma", "2e-6", "--grain-size-um", "1",
                 "--boundary-nm", "1.6", "--interface-ohm-cm2", "957.4"]
    assert run([*arguments, "--json", "-o", str(tmp_path / "n.csv")]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["R_gb_ohm_cm2"] == pytest.approx(85.0, rel=0.05)
    assert len(data["spectrum"]["arcs"]) == 3
    assert data["paper"][0]["printed"] == 117.7
    assert (tmp_path / "n.csv").read_text().startswith("frequency_Hz")
    assert run([*arguments, "-o", str(tmp_path / "n.png")]) == 0
    assert "sym.Rgb_x0" in capsys.readouterr().out
    assert (tmp_path / "n.png").stat().st_size > 10000


@pytest.mark.parametrize(("arguments", "words"), [
    (["--grain-sigma", "-1"], "grain conductivity must be a positive"),
    (["--grain-sigma", "1e-3", "--boundary-nm", "1"], "both a thickness and a conductivity"),
    (["--grain-sigma", "1e-3", "--boundary-sigma", "1e-6"], "both a thickness and a conductivity"),
    (["--grain-sigma", "1e-3", "--film-nm", "5", "--film-sigma", "0"], "block"),
    (["--grain-sigma", "1e-3", "--relative-density", "1.2"], "relative density"),
    (["--grain-sigma", "1e-3", "--exponent", "2"], "CPE exponent"),
    (["--grain-sigma", "1e-3", "--thickness-cm", "0"], "thickness must be a positive"),
    (["--grain-sigma", "1e-3", "--film-ea", "0.5"], "add --film-sigma"),
    (["--grain-sigma", "1e-3", "-o", "nyquist.txt"], "end the name in"),
    (["--grain-sigma", "nan"], "positive number"),
    ([], "grain-sigma"),
])
def test_wrong_input_is_one_line(arguments, words, capsys):
    assert run(["impedance", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
