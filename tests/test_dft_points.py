"""The density functional check: its points, and the comparison that says first how far the reference is converged."""

import importlib.util
import json
from pathlib import Path

import ase
import numpy as np
import pytest

from atomflow import potentials
from atomflow.potentials.ase_calculator import BatchCalculator

SCRIPT = Path(__file__).parents[1] / "workflows" / "potential" / "dft" / "single_points.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("single_points", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_points_are_rattled_crystals_and_the_same_every_time(script, tmp_path):
    script.make(tmp_path / "a")
    script.make(tmp_path / "b")
    text = (tmp_path / "a" / "points.json").read_text()
    assert text == (tmp_path / "b" / "points.json").read_text()
    points = json.loads(text)
    assert len(points) >= 8
    elements = {z for point in points for z in point["numbers"]}
    assert elements == {5, 8, 11, 14, 15, 30, 40}
    for point in points:
        assert point["settings"][0]["what"] == "reference"
        assert len(point["numbers"]) == len(point["positions_A"]) <= 80
    converged = {z for p in points for z in p["numbers"] if any(s["what"] == "cutoff" for s in p["settings"])}
    assert converged == elements  # the cutoff is tried on a point with every element


def test_comparison_finds_the_error_that_was_put_in(script, tmp_path, monkeypatch):
    monkeypatch.setattr(script, "POINTS", {"ZnO": script.POINTS["ZnO"], "Na2O": script.POINTS["Na2O"]})
    monkeypatch.setattr(script, "HELD_OUT", {})
    script.make(tmp_path)
    [point, other] = json.loads((tmp_path / "points.json").read_text())
    atoms = ase.Atoms(point["numbers"], positions=point["positions_A"], cell=point["lattice_A"], pbc=True)
    atoms.calc = BatchCalculator(potentials.load("lennard-jones-argon", dtype="float64"))
    forces = atoms.get_forces()
    results = tmp_path / "results"
    results.mkdir()
    for what, off in (("reference", 0.0), ("cutoff", 0.03)):
        settings = next(s for s in point["settings"] if s["what"] == what)
        moved = 0.5 * forces
        moved[1, 2] += off
        (results / f"{point['name']}-{what}.json").write_text(
            json.dumps(
                {
                    "name": point["name"],
                    "settings": settings,
                    "energy_eV": -1.0,
                    "forces_eV_per_A": moved.tolist(),
                    "net_force_eV_per_A": 0.001,
                    "gpaw": "22.8.0",
                }
            )
        )
    found = script.compare(tmp_path, "lennard-jones-argon", None, None)
    [row] = found["points"]  # the other point has no result
    assert other["name"] == "Na2O"
    assert row["change_cutoff_eV_per_A"] == pytest.approx(0.03)
    assert row["change_k-points_eV_per_A"] is None
    assert row["student_slope"] == pytest.approx(2.0, rel=1e-4)
    assert row["student_rmse_eV_per_A"] == pytest.approx(float(np.sqrt(((0.5 * forces) ** 2).mean())), rel=1e-4)
    assert "ZnO" in script._table(found)
