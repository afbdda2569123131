"""Phonons and hops where the answer is known: nearest-neighbour Lennard-Jones crystals, analytic saddles."""

import json

import ase.build
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("phonopy")

from atomflow.cell import Cell, write_cell
from atomflow.cli.main import run
from atomflow.errors import InputError, RunFailed
from atomflow.lattice import hop, phonons
from atomflow.lattice.choice import choose, into_vacancy
from atomflow.lattice.rates import diffusivity_cm2_per_s, frequencies_THz, hessian, rate_per_ps, vineyard_THz
from atomflow.potentials.pair import LennardJones
from atomflow.units import ACCELERATION_A_PER_FS2

SIGMA, EPSILON = 3.405, 0.0103236
NEAREST_A = 2 ** (1 / 6) * SIGMA
#: Nearest neighbours only, each at the minimum of its bond: second neighbours lie at 5.4 Å.
NEAREST = LennardJones(cutoff_A=4.9, switch_A=4.6, device="cpu")


def fcc(repeat=1):
    return Cell.from_ase(ase.build.bulk("Ar", a=NEAREST_A * np.sqrt(2), cubic=True).repeat(repeat))


def test_fcc_phonons_are_those_of_nearest_neighbour_springs():
    """At X: longitudinal ω² = 8k/m, transverse 4k/m, k = 72 ε/(2^{1/3} σ²)."""
    found = phonons(fcc(), NEAREST, (2, 2, 2))
    spring = 72 * EPSILON / (2 ** (1 / 3) * SIGMA**2)
    omega = np.sqrt(np.array([4, 4, 8]) * spring * ACCELERATION_A_PER_FS2 / 39.948) * 1e3 / (2 * np.pi)
    ends = [(s["labels"][k], s["frequency_THz"][k - 1 if k == 0 else -1]) for s in found.bands for k in (1,)]
    at_x = next(frequencies for label, frequencies in ends if label == "X")
    np.testing.assert_allclose(at_x, omega, rtol=2e-3, atol=0)
    assert found.primitive_atoms == 1
    assert found.n_displacements == 1
    assert found.acoustic_THz < 1e-3
    assert not found.imaginary
    states = np.trapezoid(found.dos["states_per_THz"], found.dos["frequency_THz"])
    assert states == pytest.approx(3.0, rel=0.02)
    warm = phonons(fcc(), NEAREST, (2, 2, 2), temperature_K=2000.0)
    assert warm.heat_capacity_J_per_mol_K == pytest.approx(3 * 8.314462618, rel=3e-3)  # Dulong, Petit; Γ left out
    assert warm.zero_point_eV == pytest.approx(found.zero_point_eV, rel=1e-9)


def test_an_unstable_crystal_has_imaginary_modes_with_names():
    simple = Cell.from_ase(ase.build.bulk("Ar", "sc", a=NEAREST_A).repeat(2))
    labelled = Cell(simple.numbers, simple.positions_A, simple.lattice_A, sites=["M1"] * 8)
    found = phonons(labelled, LennardJones(cutoff_A=6.0, device="cpu"), (1, 1, 1))
    assert found.imaginary
    worst = found.imaginary[0]
    assert worst.frequency_THz < -0.2
    assert worst.movers == {"M1": pytest.approx(1.0)}
    assert "i THz: M1 100 %" in worst.name
    assert "no minimum" in found.warnings[-1]


def test_what_is_not_relaxed_or_makes_no_sense_is_refused():
    shaken = fcc()
    moved = np.array(shaken.positions_A)
    moved[0] += 0.3
    with pytest.raises(InputError, match="not relaxed with lennard-jones-argon"):
        phonons(Cell(shaken.numbers, moved, shaken.lattice_A), NEAREST, (1, 1, 1))
    with pytest.raises(InputError, match="three repeats"):
        phonons(shaken, NEAREST, (0, 1, 1))
    with pytest.raises(InputError, match="displacement must be"):
        phonons(shaken, NEAREST, (1, 1, 1), displacement_A=-1)


def test_vineyards_rate_on_a_saddle_that_is_known():
    """V = h (x² − 1)² + ½ a y² + ½ b (1 + x²)... at x = ±1 and 0 the curvatures are 8h, k_y, k_z and −4h, k_y', k_z."""
    h, k_min, k_top, k_z, mass = 0.3, 2.0, 1.2, 1.5, 22.98976928

    def forces(positions):
        x, y, z = positions[0]
        k_y = k_top + (k_min - k_top) * x**2
        return np.array([[-4 * h * x * (x**2 - 1) - (k_min - k_top) * x * y**2, -k_y * y, -k_z * z]])

    at = [frequencies_THz(hessian(forces, np.array([place]), [0], 1e-4), np.array([mass]))
          for place in ([1.0, 0, 0], [0.0, 0, 0])]
    unit = np.sqrt(ACCELERATION_A_PER_FS2 / mass) * 1e3 / (2 * np.pi)
    attempt = vineyard_THz(*at)
    assert attempt == pytest.approx(unit * np.sqrt(8 * h * k_min / k_top), rel=1e-5)
    assert rate_per_ps(attempt, h, 600.0) == pytest.approx(attempt * np.exp(-h / (8.617333262e-5 * 600)), rel=1e-12)
    assert diffusivity_cm2_per_s(0.5, 3.0, 2) == pytest.approx(2 * 9 * 0.5 / 6 * 1e-4, rel=1e-12)
    with pytest.raises(RunFailed, match="no minimum"):
        vineyard_THz(at[1], at[1])
    with pytest.raises(RunFailed, match="0 unstable modes"):
        vineyard_THz(at[0], at[0])


def vacancy():
    """Na on a Lennard-Jones fcc crystal with one vacancy and named sites."""
    full = fcc(2)
    numbers = np.full(len(full) - 1, 11)
    names = ["A"] * (len(full) - 1) + ["V"]
    return Cell(numbers, full.positions_A[:-1], full.lattice_A, provenance={
        "na_sites": {"names": names, "fractional": full.fractional.tolist()}})


@pytest.fixture(scope="module")
def vacancy_hop():
    return hop(vacancy(), LennardJones(cutoff_A=5.2, device="cpu"), "A", "V", n_images=3, fmax_eV_per_A=0.003)


def test_a_vacancy_hop_in_fcc_is_symmetric_and_has_its_length(vacancy_hop):
    assert vacancy_hop.converged
    assert vacancy_hop.barrier_eV == pytest.approx(vacancy_hop.reverse_eV, abs=2e-4)
    np.testing.assert_allclose(vacancy_hop.energy_eV, vacancy_hop.energy_eV[::-1], rtol=0, atol=1e-3)
    assert vacancy_hop.length_A == pytest.approx(NEAREST_A, rel=0.05)
    assert vacancy_hop.barrier_eV > 5 * EPSILON
    assert 0.1 < vacancy_hop.attempt_THz < 20
    cold, warm = vacancy_hop.rates[0], vacancy_hop.rates[-1]
    ratio = np.exp(vacancy_hop.barrier_eV / 8.617333262e-5 * (1 / 300 - 1 / 900))
    assert warm["rate_per_ps"] / cold["rate_per_ps"] == pytest.approx(ratio, rel=1e-9)


def test_the_shortest_hop_between_the_named_sites_is_taken():
    choice = choose(vacancy(), "A", "V")
    assert choice.length_A == pytest.approx(NEAREST_A, rel=1e-9)
    assert choice.targets == 1
    assert choose(vacancy(), "A", "V", 12).length_A == pytest.approx(NEAREST_A * np.sqrt(2), rel=1e-9)
    for start, end, words in [("A", "X", "no site X in the cell, only A, V"),
                              ("V", "A", "no Na is on a V site.*: Na is on 31 A; vacant are 1 V"),
                              ("a", "V", "no site a in the cell, only A, V"),
                              ("A", "A", "no A site of this cell is vacant")]:
        with pytest.raises(InputError, match=words):
            choose(vacancy(), start, end)
    with pytest.raises(InputError, match="31 hops"):
        choose(vacancy(), "A", "V", 99)


def test_a_vacancy_is_made_at_the_end_of_the_step():
    full = vacancy()
    names = ["A"] * 31 + ["V"]
    whole = Cell(np.full(32, 11), fcc(2).positions_A, full.lattice_A, provenance={
        "na_sites": {"names": names, "fractional": fcc(2).fractional.tolist()}})
    made, choice = into_vacancy(whole, "A", "V")
    assert len(made) == 31
    assert made.provenance["vacancy"] == {"atom": 31, "site": "V"}
    assert choice.length_A == choose(made, "A", "V").length_A == pytest.approx(NEAREST_A, rel=1e-9)
    assert into_vacancy(whole, "A", "A")[1].length_A == pytest.approx(NEAREST_A, rel=1e-9)
    with pytest.raises(InputError, match="no vacancy to make"):
        into_vacancy(made, "A", "V")
    with pytest.raises(InputError, match="31 steps"):
        into_vacancy(whole, "A", "V", 31)
    for length in (np.nan, np.inf, -3.0):
        with pytest.raises(InputError, match=r"length of the hop \(--length\) must be a positive number"):
            into_vacancy(whole, "A", "V", 0, length)


def test_the_hop_into_a_made_vacancy_is_the_one_asked_for(tmp_path):
    """Not the shortest into the same vacancy: a second neighbour goes there."""
    full = fcc(2)
    whole = Cell(np.full(32, 11), full.positions_A, full.lattice_A, provenance={
        "na_sites": {"names": ["A"] * 32, "fractional": full.fractional.tolist()}})
    second = NEAREST_A * np.sqrt(2)
    for rank, length in ((32 * 12, None), (0, 1.05 * second)):
        made, choice = into_vacancy(whole, "A", "A", rank, length)
        assert choice.length_A == pytest.approx(second, rel=1e-9)
        np.testing.assert_allclose(np.linalg.norm(choice.end_A - made.positions_A[choice.atom]), second, rtol=1e-9)
        gone = whole.positions_A[made.provenance["vacancy"]["atom"]]
        offset = (choice.end_A - gone) @ np.linalg.inv(whole.lattice_A)
        np.testing.assert_allclose(offset, np.round(offset), rtol=0, atol=1e-9)
    assert choose(vacancy(), "A", "V", length_A=second).length_A == pytest.approx(second, rel=1e-9)


def test_the_commands_write_their_folders(tmp_path, capsys):
    write_cell(fcc(), tmp_path / "ar.extxyz")
    arguments = ["phonon", str(tmp_path / "ar.extxyz"), "-p", "lennard-jones-argon", "--supercell", "1,1,1"]
    assert run([*arguments, "-o", str(tmp_path / "ph"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["primitive_atoms"] == 1
    assert {p.name for p in (tmp_path / "ph").iterdir()} == {"phonons.json", "dos.csv", "bands.png"}
    write_cell(vacancy(), tmp_path / "v.extxyz")
    arguments = ["hop", str(tmp_path / "v.extxyz"), "-p", "lennard-jones-argon", "--from", "A", "--to", "V", "--images",
                 "1", "--fmax", "0.02", "--vibrating-a", "0"]
    assert run([*arguments, "-o", str(tmp_path / "hop")]) == 0
    assert "A → V" in capsys.readouterr().out
    assert {p.name for p in (tmp_path / "hop").iterdir()} == {"hop.json", "path.extxyz", "barrier.png"}


def test_wrong_input_is_one_line(tmp_path, capsys):
    write_cell(fcc(), tmp_path / "ar.extxyz")
    write_cell(vacancy(), tmp_path / "v.extxyz")
    cell, base = str(tmp_path / "ar.extxyz"), ["-p", "lennard-jones-argon", "-o", str(tmp_path / "out")]
    named = str(tmp_path / "v.extxyz")
    for arguments, words in [
        (["phonon", cell, *base, "--supercell", "2x2"], "'--supercell' requires 3 arguments"),
        (["phonon", str(tmp_path / "none"), *base], "there is no file"),
        (["hop", cell, *base, "--from", "Na1", "--to", "Na2"], "has no list of Na sites"),
        (["hop", cell, *base, "--from", "Na1", "--to", "Na2", "--vibrating-a", "-1"], "zero or more"),
        (["hop", named, *base, "--from", "A", "--to", "V", "--images", "0"], "at least one image"),
        (["hop", named, *base, "--from", "A", "--to", "A"], "Na is on 31 A; vacant are 1 V; --vacancy takes"),
        (["hop", named, *base, "--from", "AA", "--to", "V"], "no site AA in the cell, only A, V; did you mean 'A'?"),
        (["hop", named, *base, "--from", "A", "--to", "nosuch", "--json"], "no site nosuch in the cell, only A, V"),
    ]:
        assert run(arguments) == 2
        told = capsys.readouterr()
        assert words in told.err
        assert told.err.count("\n") == 1
        assert told.out == ""


def test_a_wrong_site_is_told_before_anything_is_loaded_or_made(tmp_path, capsys):
    write_cell(vacancy(), tmp_path / "v.extxyz")
    asked = ["hop", str(tmp_path / "v.extxyz"), "-p", "no-such-potential", "-o", str(tmp_path / "out")]
    assert run([*asked, "--from", "nosuch", "--to", "V"]) == 2
    assert "there is no site nosuch" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_barrier_stands_without_an_attempt_frequency(monkeypatch):
    """A band of one image that climbs only roughly: the top is no saddle, the barrier is given all the same."""
    from atomflow.lattice import hops

    def no_saddle(*_):
        raise RunFailed("the top of the path has 0 unstable modes")

    monkeypatch.setattr(hops, "vineyard_THz", no_saddle)
    found = hop(vacancy(), LennardJones(cutoff_A=5.2, device="cpu"), "A", "V", n_images=1, fmax_eV_per_A=0.02,
                vibrating_A=1.0)
    assert found.barrier_eV > 0
    assert found.attempt_THz is None
    assert found.rates == ()
    assert "0 unstable modes" in found.warnings[-1]
