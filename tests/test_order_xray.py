"""X-ray patterns against Bragg's law, reference intensity ratios, and the publication's lines."""

import json

import ase.build
import ase.spacegroup
import numpy as np
import pytest

pytest.importorskip("pymatgen")

from atomflow import crystals, paper
from atomflow.cell import Cell, write_cell
from atomflow.cli.main import run
from atomflow.order.xray import WAVELENGTHS_A, Phase, lines, profile, pseudo_voigt
from atomflow.order.xray_paper import compare_paper

ZIRCONIA, ZIRCON = "ZrO2_baddeleyite_P21c", "ZrSiO4_zircon_I41amd"


def crystal(name):
    return Cell.from_pymatgen(crystals.load(name))


def corundum():
    return Cell.from_ase(ase.spacegroup.crystal(
        ["Al", "O"], [(0, 0, 0.35216), (0.30624, 0, 0.25)], spacegroup=167,
        cellpar=[4.7587, 4.7587, 12.9929, 90, 90, 120]))


def test_the_publications_lines_are_found_at_the_wavelength_they_were_taken():
    found = {line.id: line for line in compare_paper(crystal(ZIRCONIA)) + compare_paper(crystal(ZIRCON))}
    assert set(found) == {value.id for value in paper.values("structure") if value.id.startswith("xrd.")}
    assert found["xrd.mZrO2_011"].difference_deg("CuKa1") == pytest.approx(0.004, abs=0.002)
    assert found["xrd.mZrO2_110"].difference_deg("CuKa") == pytest.approx(0.021, abs=0.002)
    assert found["xrd.mZrO2_-111"].difference_deg("CuKa1") == pytest.approx(0.046, abs=0.002)
    assert found["xrd.ZrSiO4_200"].difference_deg("CuKa") == pytest.approx(0.000, abs=0.002)
    assert found["xrd.ZrSiO4_200"].nearer == "CuKa"
    assert found["xrd.mZrO2_110"].nearer == "CuKa1"
    assert found["xrd.mZrO2_-111"].hkl in ("(-1 1 1)", "(1 1 -1)")  # one reflection
    assert found["xrd.ZrSiO4_200"].relative == pytest.approx(100.0, rel=1e-9)


@pytest.mark.parametrize(("cell", "ratio"), [
    (Cell.from_ase(ase.build.bulk("Si", a=5.4312, cubic=True)), 4.7),
    (Cell.from_ase(ase.build.bulk("NaCl", "rocksalt", a=5.6402, cubic=True)), 4.4),
], ids=["Si", "NaCl"])
def test_mixtures_have_the_reference_intensity_ratios_of_the_tables(cell, ratio):
    """I/Ic of powder files (Si 4.5-4.8, NaCl 4.4): equal weights with corundum, strongest lines."""
    ours = lines(cell, WAVELENGTHS_A["CuKa1"]).strength.max() / lines(corundum(), WAVELENGTHS_A["CuKa1"]).strength.max()
    assert ours == pytest.approx(ratio, rel=0.12)


def test_a_supercell_has_the_pattern_of_its_cell():
    cell = crystal(ZIRCON)
    double = Cell.from_ase(cell.to_ase().repeat((2, 1, 1)))
    one, other = (lines(c, WAVELENGTHS_A["CuKa1"], 15, 50) for c in (cell, double))
    bright = other.relative > 1e-6
    np.testing.assert_allclose(one.two_theta_deg, other.two_theta_deg[bright], rtol=1e-9, atol=0)
    np.testing.assert_allclose(one.strength, other.strength[bright], rtol=1e-6, atol=0)


def test_lines_lie_where_bragg_puts_them():
    found = lines(Cell.from_ase(ase.build.bulk("Si", a=5.4312, cubic=True)), 1.54056, 20, 80)
    expected = [2 * np.degrees(np.arcsin(1.54056 * np.sqrt(n) / (2 * 5.4312))) for n in (3, 8, 11, 16, 19)]
    np.testing.assert_allclose(found.two_theta_deg, expected, rtol=1e-9, atol=0)


def test_a_drawn_mixture_keeps_the_areas_of_its_parts():
    pure = profile([Phase("a", crystal(ZIRCONIA), 1.0)], fwhm_deg=0.1)
    mixed = profile([Phase("a", crystal(ZIRCONIA), 1.0), Phase("b", crystal(ZIRCON), 0.25)], fwhm_deg=0.1)
    assert pure.total.max() == pytest.approx(100.0, rel=1e-12)
    np.testing.assert_allclose(mixed.total, sum(mixed.parts.values()), rtol=1e-12, atol=0)
    alone = profile([Phase("b", crystal(ZIRCON), 1.0)], fwhm_deg=0.1)
    in_mixture = mixed.parts["b"].sum() / mixed.parts["a"].sum()
    strengths = [lines(crystal(n), WAVELENGTHS_A["CuKa1"]).strength.sum() for n in (ZIRCON, ZIRCONIA)]
    assert in_mixture == pytest.approx(0.25 / 0.75 * strengths[0] / strengths[1], rel=0.02)
    assert np.argmax(alone.total) == np.argmax(mixed.parts["b"])


def test_a_pseudo_voigt_has_unit_area_and_its_width():
    x = np.linspace(-300, 300, 600_001)
    for share in (0.0, 0.4, 1.0):
        y = pseudo_voigt(x, 0.5, share)
        assert np.trapezoid(y, x) == pytest.approx(1.0, abs=2e-3)
        assert pseudo_voigt(np.array([0.25]), 0.5, share)[0] == pytest.approx(y.max() / 2, rel=1e-6)


def test_the_command_compares_draws_and_writes(tmp_path, capsys):
    angles = np.arange(20, 40, 0.05)
    np.savetxt(tmp_path / "lab.xy", np.column_stack([angles, 50 + 10 * np.sin(angles)]), header="2theta counts")
    out = tmp_path / "pattern.csv"
    arguments = ["xrd", ZIRCONIA, "--mixture", f"{ZIRCON}:0.1", "--compare-paper", "--measured",
                 str(tmp_path / "lab.xy"), "-o", str(out)]
    assert run([*arguments, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert len(data["paper"]) == 5
    assert data["weights"][ZIRCONIA] == pytest.approx(0.9)
    assert out.read_text().splitlines()[0] == f"two_theta_deg,total,part_{ZIRCONIA},part_{ZIRCON},measured"
    assert run([*arguments[:-1], str(tmp_path / "pattern.png")]) == 0
    assert "nearer" in capsys.readouterr().out
    assert (tmp_path / "pattern.png").stat().st_size > 10000
    write_cell(crystal(ZIRCON), tmp_path / "zircon.extxyz")
    assert run(["xrd", str(tmp_path / "zircon.extxyz"), "--compare-paper"]) == 0
    assert "26.968 (-0.022)" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "words"), [
    (["ZrO2"], "there is no crystal 'ZrO2'"),
    (["none.cif"], "there is no file"),
    (["Na_bcc", "--compare-paper"], "lines of ZrO2 and ZrSiO4 only"),
    (["Na_bcc", "--mixture", "Na_bcc"], "write it like zro2.cif:0.1"),
    (["Na_bcc", "--mixture", f"{ZIRCON}:1.2"], "between 0 and 1"),
    (["Na_bcc", "--mixture", f"{ZIRCON}:0.6", "--mixture", f"{ZIRCONIA}:0.5"], "nothing is left"),
    (["Na_bcc", "--from", "50", "--to", "40"], "0 < from < to"),
    (["Na_bcc", "--to", "15"], "no reflection"),
    (["Na_bcc", "-o", "pattern.doc"], "end the name in .csv"),
    (["Na_bcc", "--measured", "none.xy"], "say where with -o"),
    (["Na_bcc", "--measured", "none.xy", "-o", "p.csv"], "cannot read none.xy"),
])
def test_wrong_input_is_one_line(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["xrd", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
