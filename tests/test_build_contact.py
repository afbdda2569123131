from collections import Counter

import numpy as np
import pytest
from ase.neighborlist import neighbor_list

from atomflow.build.boundary import build_boundary
from atomflow.build.contact import build_contact
from atomflow.build.glass import build_glass
from atomflow.build.sealed import build_sealed
from atomflow.cell import read_cell, write_cell
from atomflow.cli.main import run
from atomflow.errors import InputError

pytest.importorskip("pymatgen")


@pytest.fixture(scope="module")
def sealed():
    return build_sealed(build_boundary((1, 1, 0), "mirror"), film=8.0, na_uptake=0.3)


def require_good(cell):
    metal = cell.regions == "metal"
    assert metal.sum() == cell.provenance["metal_atoms"]
    assert set(cell.symbols[metal]) == {"Na"}
    i, j, d = neighbor_list("ijd", cell.to_ase(), 4.0)
    assert d.min() > 1.2
    assert d[metal[i] & ~metal[j]].min() > 2.1
    short = d[metal[i] & metal[j]].min()
    assert short == pytest.approx(4.2906 * np.sqrt(3) / 2, rel=cell.provenance["strain"] + 1e-6)
    assert short != pytest.approx(4.2906 * np.sqrt(3) / 2, rel=1e-6)
    near = d < 1.9
    oxygen = np.bincount(i[near & (cell.symbols[j] == "O")], minlength=len(cell))
    assert (oxygen[np.isin(cell.symbols, ("Si", "P"))] == 4).all()


@pytest.mark.parametrize("options", [{}, {"plane": (1, 0, 1), "metal_plane": (1, 0, 0), "vacuum": 15.0}])
def test_sodium_on_nzsp(options):
    cell = build_contact(**options)
    require_good(cell)
    units = Counter(cell.symbols[cell.regions != "metal"].tolist())
    assert units == {s: n * units["P"] for s, n in {"Na": 3, "Zr": 2, "Si": 2, "P": 1, "O": 12}.items()}
    assert len(cell.provenance["gaps_A"]) == (1 if "vacuum" in options else 2)
    assert cell.provenance["strain"] <= 0.04


def test_sodium_on_glass():
    glass = build_glass(units=8)
    cell = build_contact(glass)
    require_good(cell)
    times = (len(cell) - cell.provenance["metal_atoms"]) // len(glass)
    assert Counter(cell.symbols[cell.regions == "glass"].tolist()) == {s: n * times for s, n in
                                                                      glass.composition.items()}  # fmt: skip


@pytest.mark.parametrize("face", [None, "c"])
def test_sodium_on_a_sealed_boundary(sealed, face):
    cell = build_contact(sealed, face=face)
    require_good(cell)
    kept = Counter(cell.regions[cell.regions != "metal"].tolist())
    assert {k: v * kept["glass"] // 120 for k, v in Counter(sealed.regions.tolist()).items()} == kept


def test_an_opened_cell_loses_no_bond_but_those_it_names():
    """Around every atom of the solid the distances are those of the periodic cell, or were cut: counted both ways."""
    glass = build_glass(units=4, seed=2)
    cell = build_contact(glass, vacuum=30.0, max_strain=0.08)
    times = (len(cell) - cell.provenance["metal_atoms"]) // len(glass)
    lengths = {("B", "O"): 1.9, ("Zn", "O"): 2.4}
    whole = len(neighbor_list("i", glass.to_ase(), lengths)) // 2
    left = len(neighbor_list("i", cell.to_ase(), lengths)) // 2
    assert times * whole - left == times * cell.provenance["solid"]["bonds_cut"]


@pytest.mark.parametrize(("options", "words"), [
    ({"max_strain": 1e-5}, "share no plane cell"),
    ({"metal": "Li"}, "no metal 'Li'"),
    ({"metal_plane": (0, 0, 0)}, "0 0 0 is no plane"),
    ({"face": "d"}, "face"),
    ({"vacuum": 1.0}, "vacuum"),
])  # fmt: skip
def test_what_cannot_be_built_is_refused(options, words):
    with pytest.raises(InputError, match=words):
        build_contact(**options)


def test_command(sealed, tmp_path, capsys):
    path, solid = tmp_path / "contact.extxyz", tmp_path / "gbs.extxyz"
    write_cell(sealed, solid)
    assert run(["build", "contact", "--metal", "Na", "--on", "nzsp", "--max-strain", "0.04", "-o", str(path)]) == 0
    assert "strained by" in capsys.readouterr().out
    require_good(read_cell(path))
    assert run(["build", "contact", "--on", "sealed", str(solid), "-o", str(path)]) == 0
    assert set(read_cell(path).regions) == {"grain_a", "grain_b", "boundary", "glass", "metal"}
    capsys.readouterr()
    for wrong in (["--on", "glass"], ["--on", "steel"], ["--metal", "Li"], ["--max-strain", "0.00001"]):
        assert run(["build", "contact", *wrong, "-o", str(path)]) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
