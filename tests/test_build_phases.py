import numpy as np
import pytest

from atomflow import crystals
from atomflow.build.checks import check_cell
from atomflow.build.phases import METALS, NVCP_CRYSTAL, PHASES, _nvcp, build_phase
from atomflow.cell import read_cell
from atomflow.cli.main import run
from atomflow.errors import InputError

pytest.importorskip("pymatgen")

#: g/cm³ from handbooks, not from these files.
DENSITIES = {"ZrO2": 5.82, "ZrSiO4": 4.67, "Na": 0.968, "ZnO": 5.675, "B2O3": 2.55, "Zn4B6O13": 4.25, "SiO2": 2.65,
             "BPO4": 2.80, "ZrB2": 6.09, "ZrSi2": 4.88, "Zn": 7.14, "Si": 2.329}  # fmt: skip


@pytest.mark.parametrize("name", PHASES)
def test_every_phase_builds_and_is_named_after_its_formula(name):
    cell = build_phase(name)
    counts = np.array(list(cell.composition.values()))
    divisor = np.gcd.reduce(counts)
    formula = {symbol: int(n) // divisor for symbol, n in cell.composition.items()}
    written = name.split("-")[0]
    from pymatgen.core import Composition

    assert Composition(formula).reduced_composition == Composition(written).reduced_composition
    assert set(cell.regions) == {"metal" if name in METALS else "bulk"}
    assert cell.provenance["sources"][0]["sha256"]


@pytest.mark.parametrize(("name", "density"), DENSITIES.items())
def test_densities_are_those_of_handbooks(name, density):
    assert build_phase(name).density_g_per_cm3 == pytest.approx(density, rel=0.01)


def test_borates_have_the_bonds_that_the_glass_is_held_against():
    zinc = check_cell(build_phase("ZnB4O7")).shortest_A
    assert 1.33 < zinc["B-O"] < 1.38
    assert 1.9 < zinc["O-Zn"] < 2.0


def test_cathode_by_substitution():
    cell = build_phase("NVCP", supercell=(2, 1, 1), seed=5)
    assert cell.composition == {"Na": 36, "V": 18, "Cr": 6, "P": 36, "O": 144}
    found = check_cell(cell)
    assert found.charge == 0
    assert found.ok
    again, other = build_phase("NVCP", (2, 1, 1), 5), build_phase("NVCP", (2, 1, 1), 6)
    assert cell.sha256 == again.sha256 != other.sha256
    # Zatovsky's occupancies: M1 0.805 of 6, M2 0.731 of 18. Over many draws the share of M1 among Na follows them.
    structure = crystals.load(NVCP_CRYSTAL)
    first = [i for i, site in enumerate(structure) if site.label == "Na1"]
    assert len(first) == 6
    rng = np.random.default_rng(0)
    filled = [np.isin(first, _nvcp(structure, rng)[1]).mean() for _ in range(300)]
    assert np.mean(filled) == pytest.approx(0.805, abs=0.04)


def test_supercell():
    cell = build_phase("Na", supercell=(3, 2, 1))
    assert len(cell) == 12
    np.testing.assert_allclose(np.linalg.norm(cell.lattice_A, axis=1), 4.2906 * np.array([3, 2, 1]), rtol=1e-9)


def test_what_cannot_be_built_is_refused(tmp_path, capsys):
    with pytest.raises(InputError, match="did you mean 'ZrO2'"):
        build_phase("ZrO3")
    with pytest.raises(InputError, match="known: NVCP, ZrO2"):
        build_phase("xyzzy")
    with pytest.raises(InputError, match="three whole numbers"):
        build_phase("Na", supercell=(1, 0, 1))
    assert run(["build", "phase", "Unobtainium", "-o", str(tmp_path / "x.extxyz")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_command(tmp_path, capsys):
    path = tmp_path / "zno.extxyz"
    assert run(["build", "phase", "ZnO", "--supercell", "2", "2", "1", "-o", str(path)]) == 0
    assert "neutral" in capsys.readouterr().out
    assert len(read_cell(path)) == 16
