"""Density functional points beside a student: errors that were put in come out, and what is missing is said."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from atomflow import potentials  # noqa: E402
from atomflow.distill import card, dft_points  # noqa: E402
from atomflow.distill.card_checks import dft, runner  # noqa: E402
from atomflow.distill.card_checks.section import Context  # noqa: E402
from atomflow.distill.card_checks.settings import CardSettings  # noqa: E402
from atomflow.distill.sides import Here  # noqa: E402
from atomflow.errors import InputError  # noqa: E402

LATTICE = np.eye(3) * 6.0
POSITIONS = np.array([[0.0, 0, 0], [3.1, 3.0, 0.1], [3.0, 0, 3.2], [0, 2.9, 3.0]])


@pytest.fixture(scope="module")
def potential():
    return potentials.load("lennard-jones-argon", device="cpu", dtype="float64")


@pytest.fixture
def folder(tmp_path, potential):
    """One point whose reference forces are the potential's own, 10 % larger, and one without a reference."""
    point = {"name": "a", "formula": "Ar4", "numbers": [18] * 4, "positions_A": POSITIONS.tolist(),
             "lattice_A": LATTICE.tolist(), "settings": []}
    own = dft_points._atoms(point)
    own.calc = potential.calculator()
    forces = 1.1 * own.get_forces()
    (tmp_path / "results").mkdir()
    (tmp_path / "points.json").write_text(json.dumps([point, {**point, "name": "b"}]))
    for what, values in {"reference": forces, "cutoff": forces + 0.02, "k-points": forces - 0.01}.items():
        result = {"settings": {"cutoff_eV": 700.0}, "forces_eV_per_A": values.tolist(), "net_force_eV_per_A": 0.0,
                  "gpaw": "22.8.0"}
        (tmp_path / "results" / f"a-{what}.json").write_text(json.dumps(result))
    told = {"teacher": "7net-l3i5", "asked": [["a", point["positions_A"]]],
            "forces_eV_per_A": {"a": (forces + 0.3).tolist()}}
    (tmp_path / "teacher-7net-l3i5.json").write_text(json.dumps(told))
    return tmp_path


def context(potential, tmp_path, points):
    return Context(potential, "lennard-jones-argon", Here(potential, tmp_path), None, "", CardSettings(), tmp_path,
                   lambda text: None, dft_points=points)


def test_errors_that_were_put_in_come_out(potential, folder):
    points, found = dft_points.read(folder)
    teacher, told = dft_points.kept_teacher(folder, points)
    [row] = dft_points.compare(points, found, potential, teacher, told)["points"]
    assert row["student_rmse_eV_per_A"] == pytest.approx(row["force_rms_eV_per_A"] / 11, rel=1e-6)
    assert row["student_slope"] == pytest.approx(1 / 1.1)
    assert row["teacher_rmse_eV_per_A"] == pytest.approx(0.3)
    assert row["change_cutoff_eV_per_A"] == pytest.approx(0.02)
    assert row["change_k-points_eV_per_A"] == pytest.approx(0.01)
    assert row["change_lower-cutoff_eV_per_A"] is None


def test_the_teacher_of_other_positions_is_not_taken(folder):
    points, _ = dft_points.read(folder)
    points["a"]["positions_A"][0][0] += 0.1
    assert dft_points.kept_teacher(folder, points) == (None, {})


def test_section_of_the_card(potential, folder, tmp_path):
    given = context(potential, tmp_path, folder)
    section = dft.run(given)
    assert [row[0] for row in section.rows] == ["a"]
    assert section.rows[0][-2:] == ["0.020", "0.010"]
    assert "Student: 9 to 9 %" in section.lines[0]
    assert not section.missing
    assert "none are at hand" in dft.run(context(potential, tmp_path, None)).missing[0]
    before = runner.path_of(given, "dft")
    (folder / "results" / "a-reference.json").write_text((folder / "results" / "a-cutoff.json").read_text())
    assert runner.path_of(given, "dft") != before


def test_a_folder_without_points_or_results_is_one_line(folder, tmp_path):
    with pytest.raises(InputError, match=r"single_points\.py made"):
        dft_points.read(tmp_path / "nowhere")
    for path in (folder / "results").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="run gpaw_worker"):
        dft_points.read(folder)


def test_the_points_of_the_checkout_fit_their_results():
    shipped = card.shipped_dft_points()
    if shipped is None:
        pytest.skip("not a source checkout")
    points, found = dft_points.read(shipped)
    teacher, told = dft_points.kept_teacher(shipped, points)
    assert teacher == "7net-l3i5"
    assert sum(stem.endswith("-reference") for stem in found) >= 8
    for result in found.values():
        forces = np.array(result["forces_eV_per_A"])
        point = points[result["name"]]
        assert forces.shape == (len(point["numbers"]), 3) == told[result["name"]].shape
        assert np.abs(forces.sum(0)).max() < 0.05
        assert np.sqrt(((told[result["name"]] - forces) ** 2).mean()) < 0.4 * np.sqrt((forces**2).mean())
