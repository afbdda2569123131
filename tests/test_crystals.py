import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from atomflow import crystals
from atomflow.errors import InputError

pytest.importorskip("pymatgen")


@pytest.mark.parametrize("name", crystals.list())
def test_every_crystal_is_what_the_index_says(name):
    facts, structure = crystals.facts(name), crystals.load(name)
    assert structure.properties["sha256"] == facts.sha256
    np.testing.assert_allclose([*structure.lattice.abc, *structure.lattice.angles], facts.cell, rtol=0, atol=1e-3)
    formula = " ".join(f"{e.symbol}{round(float(n), 3):g}" for e, n in structure.composition.items())
    assert formula == facts.formula
    assert structure.is_ordered == facts.ordered
    if structure.is_ordered:
        assert structure.get_space_group_info(symprec=0.05)[1] == int(facts.space_group.split("(")[1].rstrip(")"))


def test_densities_against_the_literature():
    """Handbook densities and the theoretical density of NZSP, 3.244 g/cm³ (Baur's cell)."""
    for name, density in [("ZrO2_baddeleyite_P21c", 5.82), ("ZrSiO4_zircon_I41amd", 4.67), ("Na_bcc", 0.968),
                          ("NZSP_C2c_ordered_DFTcoords_PDF84-1200cell", 3.244)]:  # fmt: skip
        assert float(crystals.load(name).density) == pytest.approx(density, rel=0.003)


def test_an_altered_file_is_refused(tmp_path, monkeypatch):
    copy = tmp_path / "structures"
    shutil.copytree(crystals.folder(), copy)
    monkeypatch.setattr(crystals, "folder", lambda: copy)
    crystals.load("Na_bcc")
    path = copy / "Na_bcc.cif"
    path.write_text(path.read_text().replace("4.2906", "4.2806"))
    with pytest.raises(InputError, match=r"Na_bcc\.cif was altered"):
        crystals.load("Na_bcc")
    path.unlink()
    with pytest.raises(InputError, match="cannot read"):
        crystals.load("Na_bcc")


def test_an_unknown_crystal_names_the_nearest():
    with pytest.raises(InputError, match="did you mean 'Na_bcc'"):
        crystals.load("Na_bbc")


def test_every_file_is_in_the_index():
    listed = {crystals.facts(name).file for name in crystals.list()}
    assert listed == {path.name for path in crystals.folder().glob("*.cif")}


def test_importing_the_reader_does_not_import_pymatgen():
    code = "import sys, atomflow.crystals, atomflow.cli.build; assert not {'pymatgen', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_a_wheel_carries_the_crystals(tmp_path):
    pytest.importorskip("setuptools", minversion="77")
    root = Path(__file__).parent.parent
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "LICENSE", "README.md"):
        shutil.copy(root / name, source / name)
    for name in ("atomflow", "structures"):
        shutil.copytree(root / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    options = ["-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "."], cwd=source, check=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    assert {f"atomflow/structures/{crystals.facts(name).file}" for name in crystals.list()} < names
    assert "atomflow/structures/index.yaml" in names
