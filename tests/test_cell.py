import numpy as np
import pytest

from atomflow.cell import Cell, read_cell, write_cell
from atomflow.errors import InputError


@pytest.fixture
def salt():
    return Cell(
        [11, 17, 11],
        [[0, 0, 0], [2.8, 0.1, 0], [-0.3, 7.0, 1.0]],
        [[5.6, 0, 0], [0, 5.6, 0], [-1.0, 0, 5.5]],
        regions=["grain_a", "glass", "metal"],
        sites=["Na1", "", "Na2"],
        provenance={"builder": "test", "seed": 3},
    )


def test_cell_survives_extxyz_with_regions_sites_and_unwrapped_positions(salt, tmp_path):
    again = read_cell(write_cell(salt, tmp_path / "cell.extxyz"))
    assert again.sha256 == salt.sha256
    assert again.sites.tolist() == salt.sites.tolist()
    assert again.provenance == salt.provenance


def test_any_text_in_the_provenance_survives_extxyz(salt, tmp_path):
    facts = {"source": 'the "ordered" cell, β = 123.7°, 15.65 Å', "path": "C:\\cells\\one", "note": "two\nlines"}
    cell = Cell(salt.numbers, salt.positions_A, salt.lattice_A, provenance=facts)
    assert read_cell(write_cell(cell, tmp_path / "cell.extxyz")).provenance == facts
    assert Cell.from_ase(cell.to_ase()).provenance == facts


def test_a_cell_shows_what_it_is_in_one_line(salt):
    assert repr(salt).startswith("<Cell Na2Cl: 3 atoms, 172.5 Å³, ")
    assert repr(salt).endswith("regions: grain_a 1, glass 1, metal 1>")


def test_cell_survives_pymatgen(salt):
    again = Cell.from_pymatgen(salt.to_pymatgen(), salt.provenance)
    assert again.sha256 == salt.sha256
    assert again.sites.tolist() == salt.sites.tolist()


def test_a_changed_cell_is_another_one(salt):
    moved = salt.with_(positions_A=salt.positions_A + 0.1, provenance={"moved_A": 0.1})
    np.testing.assert_allclose(moved.positions_A - salt.positions_A, 0.1)
    assert (moved.sites == salt.sites).all()
    assert salt.provenance == {"builder": "test", "seed": 3}
    with pytest.raises(InputError, match=r"cannot be changed; make another: cell = cell.with_\(positions_A=...\)"):
        salt.positions_A = moved.positions_A
    with pytest.raises(InputError, match="a cell has no position_A; it has numbers, positions_A"):
        salt.with_(position_A=0)
    with pytest.raises(InputError, match="left-handed"):
        salt.with_(lattice_A=-salt.lattice_A)


def test_cell_arrays_cannot_be_changed(salt):
    with pytest.raises(ValueError, match="read-only"):
        salt.positions_A[0, 0] = 1.0


def test_fractional_coordinates_in_a_monoclinic_cell(salt):
    np.testing.assert_allclose(salt.fractional @ salt.lattice_A, salt.positions_A, rtol=0, atol=1e-12)
    assert salt.density_g_per_cm3 == pytest.approx((2 * 22.98976928 + 35.45) * 1.66053906660 / salt.volume_A3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positions_A": [[0, 0, np.nan]]}, "not a finite number"),
        ({"lattice_A": np.diag([1.0, 1.0, 0.0])}, "no volume"),
        ({"lattice_A": np.diag([3.0, 3.0, -3.0])}, "left-handed"),
        ({"numbers": [0]}, "not an element"),
        ({"positions_A": [[0, 0, 0], [1, 1, 1]]}, "needs positions"),
    ],
)
def test_a_bad_cell_says_what_is_wrong(change, message):
    good = {"numbers": [11], "positions_A": [[0, 0, 0]], "lattice_A": np.eye(3) * 4}
    with pytest.raises(InputError, match=message):
        Cell(**{**good, **change})


def test_reading_what_is_not_a_structure(tmp_path):
    (tmp_path / "broken.cif").write_text("data_x\n_cell_length_a abc\n")
    (tmp_path / "molecule.xyz").write_text("1\n\nNa 0 0 0\n")
    for name in ("missing.cif", "broken.cif", "molecule.xyz"):
        with pytest.raises(InputError, match=name.split(".")[0]):
            read_cell(tmp_path / name)


@pytest.mark.parametrize(("pbc", "axes"), [("F F F", "a, b, c"), ("T T F", "c")])
def test_a_cell_that_says_it_is_not_periodic_is_not_made_so_in_silence(tmp_path, pbc, axes):
    path = tmp_path / "slab.extxyz"
    path.write_text(f'1\nLattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3 pbc="{pbc}"\nNa 0 0 0\n')
    with pytest.raises(InputError, match=f"not periodic along {axes}, and every cell is here"):
        read_cell(path)
    path.write_text(path.read_text().replace(f' pbc="{pbc}"', ""))
    assert len(read_cell(path)) == 1


def test_an_unknown_element_is_called_one(tmp_path):
    path = tmp_path / "qq.extxyz"
    path.write_text('1\nLattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3\nQq 0 0 0\n')
    with pytest.raises(InputError, match="there is no element 'Qq'"):
        read_cell(path)
