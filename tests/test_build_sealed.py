from itertools import product

import numpy as np
import pytest
from ase.neighborlist import neighbor_list

from atomflow.build.boundary import build_boundary
from atomflow.build.checks import check_cell
from atomflow.build.film import film_thickness_from_x, x_from_film_thickness
from atomflow.build.glass import build_glass
from atomflow.build.sealed import build_sealed
from atomflow.cell import Cell, read_cell, write_cell
from atomflow.cli.main import run
from atomflow.errors import InputError

pytest.importorskip("pymatgen")


@pytest.fixture(scope="module")
def bare():
    return build_boundary((1, 1, 0), "mirror")


def require_good(cell, boundary):
    """Composition to the atom, grains untouched, no close contact, four O around every Si and P of a grain."""
    units = sum(film["units"] for film in cell.provenance["films"])
    oxides = sum(film["Na2O"] for film in cell.provenance["films"])
    added = {"Na": 2 * oxides, "Zn": 2 * units, "B": 6 * units, "O": 11 * units + oxides}
    expected = {s: boundary.composition.get(s, 0) + added.get(s, 0) for s in {*boundary.composition, *added}}
    assert cell.composition == {s: n for s, n in expected.items() if n}
    n = len(boundary)
    assert (cell.numbers[:n] == boundary.numbers).all()
    assert (cell.regions[:n] == boundary.regions).all()
    assert set(cell.regions[n:]) == {"glass"}
    i, j, d = neighbor_list("ijd", cell.to_ase(), 1.9)
    assert d.min() > 1.2
    oxygen = np.bincount(i[cell.symbols[j] == "O"], minlength=len(cell))
    assert (oxygen[np.isin(cell.symbols, ("Si", "P"))] == 4).all()
    found = check_cell(cell)
    assert found.ok, found.problems
    assert found.charge == 0


# --- the formula --------------------------------------------------------------------------------------------------


def test_the_formula_by_hand():
    """x = 0.2, 1 µm, 3.1 g/cm³. Molar masses by hand: 2 ZnO + 3 B2O3 = 371.61, Na3Zr2Si2PO12 = 530.55 g/mol."""
    glass, grain = 0.2 * 371.61 / 3.1, 530.55 / 3.244
    thickness = film_thickness_from_x(0.2, 1000.0, density=3.1)
    assert thickness == pytest.approx(1000 * glass / (glass + grain) / 3, rel=1e-4)
    assert thickness == pytest.approx(42.6, abs=0.05)
    # 0.5 Na2O (61.98 g/mol) a unit makes the glass 8.3 % heavier
    swollen = 0.2 * (371.61 + 0.5 * 61.979) / 3.1
    expected = 1000 * swollen / (swollen + grain) / 3
    assert film_thickness_from_x(0.2, 1000.0, 0.5, 3.1) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("x", "size", "uptake", "density"), [(0.1, 500, 0, 2.85), (0.3, 2e4, 0.7, 3.1), (0, 10, 0, 3)])
def test_the_formula_works_both_ways(x, size, uptake, density):
    thickness = film_thickness_from_x(x, size, uptake, density)
    assert x_from_film_thickness(thickness, size, uptake, density) == pytest.approx(x, rel=1e-12)


def test_the_formula_refuses_what_means_nothing():
    with pytest.raises(InputError, match="leaves nothing"):
        x_from_film_thickness(40.0, 100.0)
    with pytest.raises(InputError, match="above zero"):
        film_thickness_from_x(0.2, 0.0)


# --- cells --------------------------------------------------------------------------------------------------------


def test_two_films_in_a_periodic_boundary(bare):
    cell = build_sealed(bare, film=8.0, na_uptake=0.3)
    require_good(cell, bare)
    facts = cell.provenance
    assert facts["films"][0]["units"] == facts["films"][1]["units"] == 3
    assert facts["na_uptake"] == pytest.approx(1 / 3)
    assert "estimate" in facts["density"]
    # the film's own mass over its own volume is the density asked for
    area = np.linalg.norm(np.cross(cell.lattice_A[0], cell.lattice_A[1]))
    mass = cell.masses_amu[cell.regions == "glass"].sum() / 2 * 1.66053906660
    assert mass / area / facts["film_thickness_A"] == pytest.approx(2.85, rel=1e-6)
    # and the cell has grown by the films in place of the gaps
    grown = cell.lattice_A[2, 2] - bare.lattice_A[2, 2]
    assert grown == pytest.approx(2 * facts["room_A"] - sum(bare.provenance["excess_volume_A"]))


def test_grains_move_as_rigid_bodies(bare):
    cell = build_sealed(bare, film=8.0)
    n, first = len(bare), bare.provenance["atoms_of_grain_a"]
    difference = cell.positions_A[:n] - bare.positions_A
    for atoms in (np.arange(first), np.arange(first, n)):
        z = difference[atoms, 2]
        in_plane = difference[atoms] - np.outer(z, [0, 0, 1])
        turns = in_plane @ np.linalg.inv(bare.lattice_A)
        np.testing.assert_allclose(z, z[0], atol=1e-9)
        np.testing.assert_allclose(turns[:, :2], np.round(turns[:, :2]), atol=1e-9)


def test_a_wrapped_boundary_gives_the_same_cell(bare):
    """Files of other programs wrap atoms into the cell; the grains are put together again."""
    fractional = bare.fractional % 1.0
    wrapped = Cell(bare.numbers, fractional @ bare.lattice_A, bare.lattice_A, bare.regions, bare.sites, bare.provenance)
    assert not np.allclose(wrapped.positions_A, bare.positions_A)
    first, second = build_sealed(bare, seed=4), build_sealed(wrapped, seed=4)
    difference = (first.positions_A - second.positions_A) @ np.linalg.inv(first.lattice_A)
    np.testing.assert_allclose(difference - np.round(difference), 0, atol=1e-6)


def test_a_relaxed_boundary_can_be_sealed(bare):
    """The last frame of a run carries its origin one level down, and a relaxed cell is a little larger."""
    scale = np.array([1.01, 0.99, 1.02])
    relaxed = Cell(bare.numbers, bare.positions_A * scale, bare.lattice_A * scale, bare.regions, bare.sites,
                   {"run": "relax", "frame": 3, "from": bare.provenance})  # fmt: skip
    cell = build_sealed(relaxed, film=8.0)
    first = bare.provenance["atoms_of_grain_a"]
    low, high = cell.provenance["films"][0]["z_A"]
    assert relaxed.positions_A[:first, 2].max() - 2.0 < low < relaxed.positions_A[:first, 2].max() + 2.0
    assert cell.positions_A[first : len(bare), 2].min() == pytest.approx(
        relaxed.positions_A[first:, 2].min() + high - low - relaxed.provenance["from"]["boundaries"][0]["gap_A"] * 1.02
    )
    turned = Cell(bare.numbers, bare.positions_A[:, [2, 0, 1]], bare.lattice_A[:, [2, 0, 1]], bare.regions, bare.sites,
                  bare.provenance)  # fmt: skip
    with pytest.raises(InputError, match="no longer lies in xy"):
        build_sealed(turned)


def test_one_film_and_a_vacuum():
    boundary = build_boundary((1, 0, 1), "tilt", vacuum=15.0)
    cell = build_sealed(boundary, film=8.0, na_uptake=1.0, density=3.1)
    require_good(cell, boundary)
    assert len(cell.provenance["films"]) == 1


def test_density_and_uptake_of_a_glass(bare):
    glass = build_glass(units=4, na=0.5, density=2.7)
    cell = build_sealed(bare, glass, film=12.0)
    require_good(cell, bare)
    assert cell.provenance["film_density_g_per_cm3"] == pytest.approx(2.7)
    assert cell.provenance["na_uptake"] == pytest.approx(0.5, abs=0.1)
    assert build_sealed(bare, glass, film=12.0, na_uptake=0.0).provenance["na_uptake"] == 0


def test_the_seed_decides(bare):
    assert build_sealed(bare, seed=1).sha256 == build_sealed(bare, seed=1).sha256 != build_sealed(bare, seed=2).sha256


@pytest.mark.parametrize(("arguments", "words"), [
    ({"film": 0.5}, "less than half a unit"),
    ({"film": 8.0, "gap": 5.0}, "thicker than the gap"),
    ({"film": 8.0, "na_uptake": 0.05}, "less than half an Na2O"),
    ({"film": 3.0, "density": 7.5, "gap": 3.0}, "does not fit"),
    ({"film": -1.0}, "film"),
])  # fmt: skip
def test_what_cannot_be_built_is_refused(bare, arguments, words):
    with pytest.raises(InputError, match=words):
        build_sealed(bare, **arguments)


def test_what_is_no_boundary_or_no_glass_is_refused(bare):
    glass = build_glass(units=1)
    with pytest.raises(InputError, match="not a bare boundary"):
        build_sealed(glass)
    with pytest.raises(InputError, match="not a bare boundary"):
        build_sealed(build_sealed(bare))
    with pytest.raises(InputError, match="not a whole number"):
        build_sealed(bare, bare)


def test_command(bare, tmp_path, capsys):
    boundary, path = tmp_path / "gb.extxyz", tmp_path / "gbs.extxyz"
    write_cell(bare, boundary)
    base = ["build", "sealed", "--boundary", str(boundary), "-o", str(path)]
    assert run([*base, "--film", "8", "--na-uptake", "0.3"]) == 0
    assert "as the paper's x" in capsys.readouterr().out
    require_good(read_cell(path), bare)
    assert run([*base, "--x", "0.2", "--grain-size-um", "0.02"]) == 0
    thickness = film_thickness_from_x(0.2, 200.0)
    assert read_cell(path).provenance["film_thickness_A"] == pytest.approx(thickness, abs=1.4)
    capsys.readouterr()
    for wrong in (["--film", "8", "--x", "0.2"], ["--film", "8", "--gap", "3"], ["--film", "0.1"]):
        assert run([*base, *wrong]) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.slow
def test_twenty_sealed_cells():
    planes = [(1, 1, 0), (1, 0, 1), (0, 0, 1), (1, 1, 1), (2, 2, 1)]
    made = 0
    for (plane, kind), (film, uptake) in product(
        [(p, k) for p in planes for k in ("mirror", "shift")], [(8.0, 0.3), (12.0, 1.0)]
    ):
        boundary = build_boundary(plane, kind)
        cell = build_sealed(boundary, film=film, na_uptake=uptake, seed=made)
        require_good(cell, boundary)
        made += 1
    assert made == 20
