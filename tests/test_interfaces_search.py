"""The search for the translation between grains, and the commands, against bonds counted by hand."""

import json

import numpy as np
import pytest
from interface_toys import A_A, EPSILON_EV, bicrystal, bonds_only, slab

from atomflow.cell import Cell, read_cell, write_cell
from atomflow.cli.main import run
from atomflow.errors import InputError, RunStopped

pytest.importorskip("torch")

from atomflow.interfaces.energy import boundary_energy
from atomflow.interfaces.sides import crystals_of
from atomflow.interfaces.translation import SearchConfig, grid, search

QUICK = SearchConfig.model_validate({"shortlist": 4, "short_steps": 5, "finalists": 2, "fmax_eV_per_A": 1e-3})


@pytest.fixture(scope="module")
def potential():
    return bonds_only()


def test_the_search_finds_the_crystal_again(potential, tmp_path):
    """The lowest stacking of two pieces of one crystal is the crystal: no boundary energy, no excess volume."""
    found = search(bicrystal((1.1, 0.3), 0.9), potential, tmp_path, QUICK)
    assert found.alike
    assert found.energy_eV == pytest.approx(-6 * 16 * EPSILON_EV, abs=1e-3)
    assert found.cell.lattice_A[2, 2] == pytest.approx(4 * A_A, abs=0.02)
    assert found.n_scanned == 2 * len(grid(np.eye(2) * A_A, 1.0))
    assert read_cell(tmp_path / "best.extxyz").sha256 == found.cell.sha256


def test_a_search_killed_anywhere_goes_on_to_the_same_answer(potential, tmp_path):
    cell = bicrystal((1.1, 0.3), 0.9)
    whole = search(cell, potential, tmp_path / "whole", QUICK)
    asked = 0

    def after(n):
        def stop():
            nonlocal asked
            asked += 1
            return asked % n == 0

        return stop

    stops = 0
    for n in (3, 7, 2, 11, 20, 30, 60, 200, 10**6):
        try:
            found = search(cell, potential, tmp_path / "cut", QUICK, stop=after(n))
            break
        except RunStopped:
            stops += 1
            with (tmp_path / "cut" / "journal.jsonl").open("a") as file:
                file.write('{"key": "scan-0-0", "val')  # a line that a kill cut off
    assert stops >= 3
    assert found.energy_eV == pytest.approx(whole.energy_eV, abs=1e-3)
    assert found.finalists[0]["translations_A"] == whole.finalists[0]["translations_A"]
    with pytest.raises(InputError, match="holds another search"):
        search(bicrystal((1.0, 0.3), 0.9), potential, tmp_path / "cut", QUICK)


@pytest.mark.slow
def test_the_energy_of_a_searched_boundary_is_the_same_from_its_file(tmp_path):
    """From the search itself, and from best.extxyz alone, whose grains are built anew for the reference."""
    pytest.importorskip("mace")
    from atomflow import potentials
    from atomflow.build.boundary import build_boundary

    student = potentials.load("atomflow-nzsp-0", device="cpu")
    start = build_boundary((1, 0, 1), "mirror", grain_thickness=7.0)
    coarse = SearchConfig.model_validate({"grid_A": 4.0, "extra_gaps_A": (0.2,), "shortlist": 1, "short_steps": 2,
                                          "finalists": 1, "max_steps": 60})  # fmt: skip
    found = search(start, student, tmp_path, coarse)
    direct = boundary_energy(found.cell, student, max_steps=60, built=found.built)
    again = boundary_energy(read_cell(tmp_path / "best.extxyz"), student, max_steps=60)
    assert again.energy_J_per_m2 == pytest.approx(direct.energy_J_per_m2, abs=2e-3)
    assert 0 < direct.energy_J_per_m2 < 3
    with pytest.raises(InputError, match="cut from another crystal"):
        boundary_energy(build_again(found.cell), student)


def build_again(cell):
    """A relaxed cell whose plane was stretched."""
    return Cell(cell.numbers, cell.positions_A * [1.01, 1, 1], cell.lattice_A * [1.01, 1, 1], cell.regions, cell.sites,
                cell.provenance)  # fmt: skip


def test_what_cannot_be_searched_is_refused(potential, tmp_path):
    with pytest.raises(InputError, match="kind shift"):
        search(bicrystal((1.1, 0.3), 0.9, kind="shift"), potential, tmp_path)
    with pytest.raises(InputError, match="not a bare boundary"):
        search(slab(), potential, tmp_path)
    with pytest.raises(InputError, match="as atomflow build wrote it"):
        crystals_of(Cell([18], [[0, 0, 0]], np.eye(3) * 5))


def test_commands(tmp_path, capsys):
    gb = tmp_path / "gb.extxyz"
    write_cell(bicrystal((1.1, 0.3), 0.9), gb)
    lj = ["-p", "lennard-jones-argon"]
    assert run(["interface", "search", str(gb), *lj, "-o", str(tmp_path / "s"), "--shortlist", "2", "--finalists", "1",
                "--max-steps", "30", "--json"]) == 0  # fmt: skip
    printed = json.loads(capsys.readouterr().out)
    assert printed["alike"]
    assert printed["energy"]["n"] == 2
    assert json.loads((tmp_path / "s" / "search.json").read_text())["energy_eV"] == printed["energy_eV"]
    flat = tmp_path / "slab.extxyz"
    write_cell(slab(), flat)
    assert run(["interface", "energy", str(flat), *lj, "--thicker"]) == 0
    out = capsys.readouterr().out
    assert "surface energy" in out
    assert "twice as thick" in out
    for wrong, words in ((["energy", str(tmp_path / "none")], "no file"),
                         (["energy", str(gb), "--mu", "Na:1"], "Na=-1.31"),
                         (["search", str(flat), "-o", str(tmp_path / "t")], "not a bare boundary"),
                         (["search", str(gb), "-o", str(tmp_path / "s")], "holds another search"),
                         (["search", str(gb), "-o", str(tmp_path / "u"), "--grid-a", "0"], "grid_A")):  # fmt: skip
        assert run(["interface", *wrong, *lj]) == 2
        err = capsys.readouterr().err.strip().splitlines()
        assert words in err[-1]
