"""`atomflow potential list, show, check, evaluate, convert` as a shell sees them."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from atomflow.cell import Cell
from atomflow.cli.main import run

torch = pytest.importorskip("torch")
pytest.importorskip("matscipy")
if find_spec("mace") is None:  # importing it would switch torch's safe loading off
    pytest.skip("mace-torch is not installed", allow_module_level=True)

import potential_toys  # noqa: E402

from atomflow.potentials import load  # noqa: E402
from atomflow.potentials.check import check  # noqa: E402
from atomflow.potentials.pair import LennardJones  # noqa: E402

own_cache, module, pickled, small = (
    potential_toys.own_cache, potential_toys.module, potential_toys.pickled, potential_toys.small)


# --- the command line --------------------------------------------------------------------------------------------


def test_the_list_fits_a_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "110")
    assert run(["potential", "list"]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 110
    words = " ".join(shown.split())
    assert "atomflow-nzsp-0 yes B, O, Na, Si, P, Zn, Zr MIT bulk NZSP" in words


def test_list_and_show_need_no_torch():
    code = ("import sys; from atomflow.cli.main import run; assert run(['potential', 'list', '--json']) == 0; "
            "assert run(['potential', 'show', 'chgnet', '--json']) == 0; "
            "sys.exit('torch' in sys.modules or 'pymatgen' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    names, shown = json.loads("[" + done.stdout.replace("}\n{", "},{") + "]")
    assert "chgnet" in [each["name"] for each in names["potentials"]]
    assert shown["kind"] == "chgnet"


def test_importing_mace_prints_nothing_and_leaves_torchs_safe_loading_on():
    code = ("import os; from atomflow.potentials.mace.imports import mace_module; mace_module('modules'); "
            "assert 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD' not in os.environ")
    clean = {key: value for key, value in os.environ.items() if key != "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=clean)
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("", "")


def test_evaluate_writes_what_ase_reads(pickled, small, tmp_path, capsys):
    import ase.io

    frames = [small.copy() for _ in range(3)]
    for index, frame in enumerate(frames):
        frame.positions[0, 2] += 0.1 * index
        frame.info["tag"] = index
    ase.io.write(tmp_path / "frames.extxyz", frames)
    out = tmp_path / "out.extxyz"
    command = ["potential", "evaluate", str(pickled), str(tmp_path / "frames.extxyz"), "-o", str(out), "--json"]
    command += ["--dtype", "float64", "--device", "cpu"]
    assert run(command) == 2
    assert run([*command, "--trust-model"]) == 0
    assert json.loads(capsys.readouterr().out)["frames"] == 3
    potential = load(pickled, device="cpu", dtype="float64")
    calculator = potential.calculator()
    for index, frame in enumerate(ase.io.read(out, index=":")):
        reference = frames[index].copy()
        reference.calc = calculator
        assert frame.info["tag"] == index
        assert frame.get_potential_energy() == pytest.approx(reference.get_potential_energy(), rel=1e-7)
        np.testing.assert_allclose(frame.get_forces(), reference.get_forces(), rtol=0, atol=1e-7)
        np.testing.assert_allclose(frame.get_stress(), reference.get_stress(), rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("frames", "out", "message"),
    [
        ("missing.xyz", "out.extxyz", "no file"),
        ("molecule.xyz", "out.extxyz", "periodic"),
        ("astatine.xyz", "out.extxyz", "does not know At"),
        ("astatine.xyz", "out.cif", "extended XYZ"),
        ("astatine.xyz", "nowhere/out.extxyz", "does not exist"),
        ("broken.xyz", "out.extxyz", "cannot read frames"),
    ],
)
def test_evaluate_says_what_is_wrong(tmp_path, capsys, frames, out, message):
    pytest.importorskip("chgnet")
    (tmp_path / "molecule.xyz").write_text("1\n\nNa 0 0 0\n")
    (tmp_path / "astatine.xyz").write_text('1\nLattice="3 0 0 0 3 0 0 0 3"\nAt 0 0 0\n')
    (tmp_path / "broken.xyz").write_text('2\nLattice="3 0 0 0 3 0 0 0 3"\nFe 0 0\n')
    code = run(["potential", "evaluate", "chgnet", str(tmp_path / frames), "-o", str(tmp_path / out)])
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 2
    assert message in error
    assert not (tmp_path / out).exists()


def test_check_on_the_command_line(pickled, small, tmp_path, capsys):
    from atomflow.cell import write_cell

    cell = write_cell(Cell(small.numbers, small.positions, small.cell.array), tmp_path / "cell.extxyz")
    assert run(["potential", "check", str(pickled), str(cell), "--device", "cpu", "--json", "--trust-model"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["verdict"] == "good"
    assert report["atoms"] == len(small)
    assert report["identity"]["dtype"] == "float32"


def test_check_finds_forces_that_are_not_the_slope(small):
    class Wrong(LennardJones):
        def pair_energy(self, r_A):
            energy, slope = super().pair_energy(r_A)
            return energy, 1.01 * slope

        def with_dtype(self, dtype):
            return Wrong(self.epsilon_eV, self.sigma_A, self.cutoff_A, device="cpu", dtype=dtype)

    cell = Cell(small.numbers, small.positions, small.cell.array)
    assert "not the slope" in check(Wrong(0.2, 2.2, 6.0, device="cpu"), cell).verdict


def test_convert_writes_a_portable_model(pickled, tmp_path, capsys):
    out = tmp_path / "tiny.mace.npz"
    assert run(["potential", "convert", str(pickled), "-o", str(out)]) == 2
    capsys.readouterr()
    assert run(["potential", "convert", str(pickled), "-o", str(out), "--trust-model", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"model": str(out), "from": str(pickled)}
    assert load(out, device="cpu").identity.elements == ("B", "O", "Na", "Si", "P", "Zn", "Zr")
