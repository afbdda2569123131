"""Errors along one's own runs: a teacher is asked in their frames, and the numbers are those of two calculators."""

import json
import sys

import numpy as np
import pytest
from ase.calculators.lj import LennardJones as AseLennardJones
from md_toys import argon

from atomflow import md, potentials, runs
from atomflow.cli.main import run as command
from atomflow.distill.along import along
from atomflow.errors import InputError


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    """Two runs of 32 argon atoms, twenty frames each."""
    root = tmp_path_factory.mktemp("along")
    potential = potentials.load("lennard-jones-argon", device="cpu")
    for seed in (1, 2):
        config = md.MDConfig(temperature_K=60, time_ps=0.4, thermostat_time_fs=40, frame_interval_fs=20, seed=seed)
        md.run(argon(2, 5.3, rattle=0.05), potential, config, root / "runs" / f"s{seed}")
    return root


def test_errors_are_those_of_the_two_calculators(campaign, tmp_path):
    potential = potentials.load("lennard-jones-argon", device="cpu")
    found = along([campaign], tmp_path / "out", potential, "lennard-jones", sys.executable, n_frames=4)
    assert [row.group for row in found.rows] == ["s1", "s2"]
    assert [row.frames for row in found.rows] == [4, 4]
    for row, name in zip(found.rows, ("s1", "s2"), strict=True):
        with runs.open_run(campaign / "runs" / name) as run:
            chosen = np.linspace(run.n_frames - 1, 0, 4).round().astype(int)
            errors, teacher = [], []
            for index in chosen:
                atoms = run.initial_cell().to_ase()
                atoms.positions = run.raw_positions_A(index, index + 1)[0]
                atoms.calc = AseLennardJones(sigma=2.0, epsilon=0.05, rc=5.0, smooth=True)
                teacher.append(atoms.get_forces())
                atoms.calc = potential.calculator()
                errors.append(atoms.get_forces() - teacher[-1])
        assert row.force_rmse_eV_per_A.value == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-3)
        slope = 1 + np.sum(np.multiply(errors, teacher)) / np.sum(np.square(teacher))
        assert row.slope == pytest.approx(slope, rel=1e-3)
    assert found.together.frames == 8
    assert found.elements.keys() == {"Ar"}


def test_the_command_goes_on_and_says_of_what_it_speaks(campaign, tmp_path, capsys):
    words = ["potential", "along", str(campaign / "runs" / "s1"), "-p", "lennard-jones-argon", "--teacher",
             "lennard-jones", "--python", sys.executable, "--frames", "3", "-o", str(tmp_path / "out")]
    assert command(words) == 0
    told = capsys.readouterr().out
    assert "lennard-jones-argon" in told.splitlines()[0]
    assert "against lennard-jones" in told.splitlines()[0]
    before = (tmp_path / "out" / "labels" / "labelled.npz").stat().st_mtime_ns
    assert command([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["together"]["frames"] == 3
    assert (tmp_path / "out" / "labels" / "labelled.npz").stat().st_mtime_ns >= before
    assert command([*words[:-3], "2", *words[-2:]]) == 2
    assert "was begun with other frames; choose another folder" in capsys.readouterr().err


def test_what_cannot_be_compared_is_said(campaign, tmp_path):
    other = potentials.load("atomflow-nzsp-0", device="cpu")
    with pytest.raises(InputError, match=r"s1 was made with lennard-jones-argon .*, not with atomflow-nzsp-0 .*\(-p\)"):
        along([campaign], tmp_path / "out", other, "lennard-jones", sys.executable)
    argon_potential = potentials.load("lennard-jones-argon", device="cpu")
    with pytest.raises(InputError, match="holds no run"):
        along([tmp_path], tmp_path / "out", argon_potential)
    with pytest.raises(InputError, match="has no frame after 9 ps"):
        along([campaign], tmp_path / "out", argon_potential, discard_ps=9.0)
    assert not (tmp_path / "out").exists()
