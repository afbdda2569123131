import numpy as np
import pytest
from ase.neighborlist import primitive_neighbor_list

from atomflow.build.checks import check_cell
from atomflow.build.glass import build_glass, glass_symbols, glass_units
from atomflow.build.packing import NATURAL_DISTANCE_A, contact_ratio, natural_distances_A, push_apart
from atomflow.cell import read_cell
from atomflow.cli.main import run
from atomflow.errors import InputError

MASS = {"Na": 22.98977, "Zn": 65.38, "B": 10.81, "O": 15.999}


@pytest.mark.parametrize(("units", "na", "density"), [(8, 0.0, 2.85), (4, 0.5, 2.7), (6, 1.5, 3.1), (1, 0.0, 2.85)])
def test_composition_density_and_contacts(units, na, density):
    cell = build_glass(units=units, na=na, density=density, seed=3)
    oxides = round(units * na)
    expected = {"Na": 2 * oxides, "Zn": 2 * units, "B": 6 * units, "O": 11 * units + oxides}
    assert cell.composition == {symbol: n for symbol, n in expected.items() if n}
    mass_g = sum(MASS[symbol] * n for symbol, n in expected.items()) / 6.02214076e23
    assert mass_g / (cell.volume_A3 * 1e-24) == pytest.approx(density, rel=1e-4)
    assert set(cell.regions) == {"glass"}
    assert check_cell(cell).charge == 0
    i, j, d = primitive_neighbor_list("ijd", (True,) * 3, cell.lattice_A, cell.positions_A, 2.6,
                                      numbers=np.ones(len(cell), int))  # fmt: skip
    for a, b, distance in zip(cell.symbols[i], cell.symbols[j], d, strict=True):
        assert distance > 0.97 * NATURAL_DISTANCE_A.get((min(a, b), max(a, b)), 2.5)


def test_the_seed_decides():
    first, again, other = (build_glass(units=2, seed=seed) for seed in (1, 1, 2))
    assert first.sha256 == again.sha256 != other.sha256


def test_the_default_density_is_called_an_estimate():
    assert "estimate" in build_glass(units=1).provenance["density"]
    assert build_glass(units=1, density=3.0).provenance["density"] == "as given"


def test_pairs_in_boxes_smaller_than_the_reach():
    """Contacts through several images, against ASE, in an oblique box with edges shorter than the reach."""
    lattice = np.array([[3.0, 0, 0], [1.5, 2.5, 0], [0.7, -0.3, 4.0]])
    positions = np.random.default_rng(0).normal(size=(2, 3)) * 9
    symbols = np.array(["O", "Zn"])
    i, j, d = primitive_neighbor_list("ijd", (True,) * 3, lattice, positions, 2.6, numbers=np.ones(2, int))
    expected = (d / natural_distances_A(symbols, i, j)).min()
    assert contact_ratio(symbols, positions, lattice) == pytest.approx(expected, rel=1e-9)


def test_atoms_that_may_not_move_do_not_and_bounds_hold():
    rng = np.random.default_rng(4)
    lattice = np.diag([8.0, 9.0, 30.0])
    symbols = np.concatenate([np.full(10, "O"), glass_symbols(2, 1)])
    positions = rng.random((len(symbols), 3)) * [8, 9, 10] + [0, 0, 2]
    positions[:10, 2] = rng.random(10) * 2
    positions[:10] = push_apart(symbols[:10], positions[:10], lattice, 1.0)
    movable = np.arange(len(symbols)) >= 10
    packed = push_apart(symbols, positions, lattice, 0.97, 2000, movable, (2.0, 12.0))
    np.testing.assert_array_equal(packed[:10], positions[:10])
    assert packed[10:, 2].min() >= 2.0
    assert packed[10:, 2].max() <= 12.0
    assert contact_ratio(symbols, packed, lattice) >= 0.97


def test_units_of_a_composition():
    assert glass_units({"Zn": 4, "B": 12, "O": 23, "Na": 2}) == (2, 1)
    assert glass_units({"Zn": 4, "B": 12, "O": 22}) == (2, 0)
    assert glass_units({"Zn": 4, "B": 12, "O": 23}) is None
    assert glass_units({"Na": 2, "O": 1}) is None


@pytest.mark.parametrize(("arguments", "words"), [
    ({"na": 0.3}, "nearest that fit are na=0.25 and na=0.375"),
    ({"units": 0}, "units"),
    ({"density": 7.5, "units": 1}, "take a lower density"),
    ({"density": 44}, "density"),
    ({"na": -1}, "na"),
    ({"units": 5000}, "50,000 is the most"),
])  # fmt: skip
def test_what_cannot_be_built_is_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        build_glass(**arguments)


def test_command(tmp_path, capsys):
    path = tmp_path / "melt.extxyz"
    assert run(["build", "glass", "--units", "2", "--na", "0.5", "--seed", "1", "-o", str(path)]) == 0
    assert "Na2Zn4B12O23" in capsys.readouterr().out
    assert set(read_cell(path).regions) == {"glass"}
    assert run(["build", "glass", "--na", "0.3", "-o", str(path)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.slow
def test_two_thousand_atoms_and_twenty_glasses():
    cell = build_glass(units=105)
    assert len(cell) == 1995
    for seed in range(20):
        cell = build_glass(units=6 + 2 * (seed % 3), na=(0.0, 0.5, 1.0)[seed % 3], seed=seed)
        assert check_cell(cell).ok
