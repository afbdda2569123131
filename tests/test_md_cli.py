"""`atomflow md` and `atomflow relax` as a shell sees them."""

import json

import pytest
from md_toys import argon

from atomflow.cell import read_cell, write_cell
from atomflow.cli.main import run

LJ = ["-p", "lennard-jones-argon", "--device", "cpu", "--dtype", "float64"]


@pytest.fixture
def cell(tmp_path):
    return str(write_cell(argon(1, 5.3, rattle=0.1), tmp_path / "argon.extxyz"))


def test_md_prints_one_json_object_and_its_progress_elsewhere(cell, tmp_path, capsys):
    folder = tmp_path / "run"
    command = ["md", cell, *LJ, "-T", "40", "--time-ps", "0.1", "--ensemble", "npt", "-o", str(folder), "--json"]
    assert run(command) == 0
    out = capsys.readouterr()
    manifest = json.loads(out.out)
    assert manifest["state"] == "done"
    assert manifest["labels"]["structure"] == "argon"
    assert "steps/s" in out.err
    assert out.err.startswith("Ar4: npt at 40 K")
    assert run(command) == 2
    again = capsys.readouterr()
    assert "already holds a run (done)" in again.err
    assert len(again.err.strip().splitlines()) == 1
    assert again.out == ""
    assert run(["export", str(folder), "--format", "lammps", "-o", str(tmp_path / "x.data"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": str(tmp_path / "x.data"), "format": "lammps"}
    assert run(["md", "--resume", str(folder)]) == 0
    out = capsys.readouterr()
    assert "nothing to resume" in out.err
    assert "energy drift" in out.out
    summary = manifest["summary"]
    assert f"potential energy: {summary['potential_energy_mean_eV']:.6g}"[:22] in out.out
    assert summary["temperature_error_K"] is None  # of six rows


def test_means_come_with_their_standard_errors_potential_and_cell(cell, tmp_path, capsys):
    folder = tmp_path / "run"
    assert run(["md", cell, *LJ, "-T", "40", "--time-ps", "0.4", "--ensemble", "npt", "-o", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("done: 21 frames, 0.4 ps of Ar4 at 40 K with lennard-jones-argon (")
    for start in ("temperature: ", "potential energy: -", "volume: ", "pressure: "):
        (line,) = [line for line in lines if line.startswith(start)]
        mean, _, error = line.removeprefix(start).split(" ")[0:3]
        assert 0 < float(error) < 100
        assert float(mean)
    assert "one standard error" in "".join(lines)
    assert run(["md", cell, *LJ, "-T", "40", "--temperature-end", "60", "--time-ps", "0.4", "-o", str(tmp_path / "r"),
                "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["summary"]["temperature_error_K"] is None  # of a ramp


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-T", "40", "-o", "x"], "missing --time-ps"),
        (["-T", "-40", "--time-ps", "1", "-o", "x"], "'temperature_K'"),
        (["-T", "40", "--time-ps", "1", "-o", "x", "--ensemble", "nvp"], "'ensemble'"),
        (["-T", "40", "--time-ps", "1", "-o", "x", "--frame-interval-fs", "3"], "whole number of time steps"),
        (["-T", "40", "--time-ps", "1", "-o", "x", "--device", "tpu"], "tpu"),
        (["-T", "40", "--time-ps", "1", "-o", "x", "--threads", "0"], "--threads"),
        (["-T", "40", "--time-ps", "1", "-o", "x", "--hold", "nosuch"], "no region nosuch, only bulk"),
        (["-T", "40", "--time-ps", "1", "-o", "x", "--hold", "nosuch", "--json"], "no region nosuch, only bulk"),
        (["-T", "40", "--time-ps", "1", "-o", "x", "--doubt-stop", "0.5"], "committee"),
        (["--resume", "x"], "leave CELL away"),
        (["--resume", "x", "-T", "40", "--time-ps", "2"], "leave CELL, --temperature, --time-ps away"),
        (["-T", "40", "--time-ps", "1", "-o", "x", "--pressure-GPa", "1"], "for the ensemble npt; nvt holds the cell"),
        (["-T", "40", "--time-ps", "1", "-o", "x", "--barostat", "isotropic"], "for the ensemble npt"),
        (["-T", "40K", "--time-ps", "1", "-o", "x"], "--temperature takes a number, not '40K'; leave units out"),
        (["-T", "warm"], "-T / --temperature takes a number, not 'warm'"),
    ],
)
def test_wrong_input_is_one_line_and_code_two(cell, arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["md", cell, *(LJ if "--device" not in arguments else LJ[:2]), *arguments]) == 2
    out = capsys.readouterr()
    assert message in out.err
    assert out.out == ""
    assert len(out.err.strip().splitlines()) == 1
    assert not (tmp_path / "x").exists()


def test_resuming_what_is_no_run(tmp_path, capsys):
    assert run(["md", "--resume", str(tmp_path)]) == 2
    assert "not a run folder" in capsys.readouterr().err


def test_relax_writes_the_cell_and_says_whether_it_converged(cell, tmp_path, capsys):
    out = tmp_path / "relaxed.extxyz"
    assert run(["relax", cell, *LJ, "--cell-too", "--fmax", "0.001", "-o", str(out), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["converged"]
    assert read_cell(out).volume_A3 == pytest.approx(result["volume_after_A3"], rel=1e-6)
    assert run(["relax", cell, *LJ, "--fmax", "1e-7", "--max-steps", "1", "-o", str(out)]) == 0
    shown = capsys.readouterr()
    assert "NOT converged" in shown.out
    assert "raise --max-steps" in shown.err
