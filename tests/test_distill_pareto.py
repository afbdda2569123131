"""A front of students: who is on it, one budget for all, resumable a student, measured together."""

import json

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("mace")

from mace_toys import make_mace

from atomflow.cell import Cell
from atomflow.cli.main import run as command
from atomflow.config import parse
from atomflow.distill import pareto
from atomflow.distill.frames import Frame, Labels, read_frames, write_frames
from atomflow.distill.pareto import ParetoConfig
from atomflow.distill.pareto_figure import write_figure
from atomflow.distill.stepping import ms_per_step
from atomflow.errors import InputError, RunStopped

SHAPES = [{"channels": 4, "max_ell": 1, "cutoff_A": 3.5, "layers": 1}, {"channels": 8, "max_ell": 1, "cutoff_A": 3.5}]


def labelled(path, systems=20):
    """Rock-salt NaO cells with forces of a spring to the lattice sites."""
    rng = np.random.default_rng(0)
    grid = np.array([[x, y, z] for x in range(2) for y in range(2) for z in range(2)]) * 2.3
    frames = []
    for system in range(systems):
        moved = rng.normal(0, 0.1, grid.shape)
        labels = Labels(float((moved**2).sum()), -2 * moved, np.zeros((3, 3)))
        numbers = np.where(grid.sum(1).round(1) % 4.6 < 0.1, 11, 8)
        frames.append(Frame(numbers, grid + moved, np.eye(3) * 4.6, f"toy-{system}", "ab"[system % 2],
                            "md" if system < 16 else "rattle", "test" if system % 4 == 3 else "train", None, labels))
    return write_frames(frames, path, {"teacher": "springs"})


def config(tmp_path, **changes):
    if not (tmp_path / "set.npz").exists():
        labelled(tmp_path / "set.npz")
    return parse(ParetoConfig, {"name": "toy", "labelled": [str(tmp_path / "set.npz")], "frames": 4, "epochs": 1,
                                "students": SHAPES, **changes})


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """Training that takes no time: counts its calls and leaves a model with random weights."""
    from atomflow.potentials.mace.files import save_portable

    trained = []

    def train(student, home, progress):
        if len(trained) == 1 and (tmp_path / "stop").exists():
            (tmp_path / "stop").unlink()
            raise RunStopped("a signal came")
        trained.append(student)

    def export(home, student):
        module = make_mace(len(trained), num_elements=2, atomic_numbers=[8, 11], max_ell=student.max_ell,
                           atomic_energies=np.array([-1.0, -2.0]), r_max=student.cutoff_A)
        return save_portable(module, home / f"{student.name}.mace.npz")

    monkeypatch.setattr(pareto.training, "train", train)
    monkeypatch.setattr(pareto.training, "export", export)
    grid = np.array([[x, y, z] for x in range(2) for y in range(2) for z in range(2)]) * 2.3
    cell = Cell(np.where(np.arange(8) % 2, 11, 8), grid, np.eye(3) * 4.6)
    monkeypatch.setattr(pareto, "timing_cell", lambda name: cell)
    return trained


def test_points_on_the_front():
    points = [(1, 9), (2, 5), (3, 6), (4, 1), (4, 2), (2, 5)]
    assert pareto.on_front(points) == [True, True, False, True, False, True]


def test_a_front_stops_goes_on_and_takes_further_shapes(quick, tmp_path):
    (tmp_path / "stop").touch()
    with pytest.raises(RunStopped):
        pareto.run(config(tmp_path), tmp_path / "front")
    data = pareto.run(config(tmp_path), tmp_path / "front")
    assert [student.name for student in quick] == ["4ch-l1-c2-n1-r3.5", "8ch-l1-c2-n2-r3.5"]  # each once
    assert {student.epochs for student in quick} == {1}
    assert len(data["students"]) == 2
    assert any(row["on_front"] for row in data["students"])
    for row in data["students"]:
        assert 0 < row["ms_per_step"]["low"] <= row["ms_per_step"]["value"] <= row["ms_per_step"]["high"]
        assert row["force_rmse_eV_per_A"]["value"] > 0
    assert json.loads((tmp_path / "front" / "pareto.json").read_text()) == data
    more = config(tmp_path, students=[*SHAPES, {"channels": 2, "max_ell": 1, "cutoff_A": 3.0}])
    assert len(pareto.run(more, tmp_path / "front")["students"]) == 3
    assert len(quick) == 3
    with pytest.raises(InputError, match="another configuration"):
        pareto.run(config(tmp_path, epochs=2), tmp_path / "front")
    write_figure(data, tmp_path / "front.png")
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")
    rows, head = pareto.table(data)
    assert [len(row) for row in rows] == [len(head)] * 2


def test_the_set_is_of_the_kinds_asked_for_and_keeps_the_test_split(quick, tmp_path, monkeypatch):
    monkeypatch.setattr(pareto, "_trained", lambda *arguments: None)
    monkeypatch.setattr(pareto, "_loaded", lambda name: None)
    monkeypatch.setattr(pareto, "_measured", lambda models, held_out, cell: [])
    data = pareto.run(config(tmp_path, families=["b"], how=["md"], frames=4), tmp_path / "front")
    assert data["held_out"] == {"frames": 4, "systems": 4}
    frames = read_frames(tmp_path / "front" / "set.npz")
    assert {(frame.family, frame.how) for frame in frames} == {("b", "md")}
    assert sum(frame.split == "train" for frame in frames) == 4
    assert {frame.system for frame in frames if frame.split == "test"} == {"toy-3", "toy-7", "toy-11", "toy-15"}
    with pytest.raises(InputError, match="4 labelled frames fit"):
        pareto.run(config(tmp_path, families=["b"], how=["md"], frames=50), tmp_path / "other")


@pytest.mark.parametrize(("changes", "words"), [
    ({"students": SHAPES[:1]}, "at least two students"),
    ({"students": [SHAPES[0], SHAPES[0]]}, "different shape"),
    ({"epoch": 3}, "did you mean 'epochs'"),
])
def test_configurations_that_cannot_be_meant(tmp_path, changes, words):
    with pytest.raises(InputError, match=words):
        config(tmp_path, **changes)


def test_the_shipped_configuration_is_one():
    from pathlib import Path

    from atomflow.config import read_yaml

    path = Path(__file__).parents[1] / "workflows" / "potential" / "pareto.yaml"
    assert len(parse(ParetoConfig, read_yaml(path), str(path)).students) >= 8


def test_a_step_of_twice_the_work_costs_more():
    from md_toys import argon, lennard_jones

    small, large = ms_per_step([lennard_jones(), lennard_jones(cutoff_A=14.0, switch_A=12.0)], argon(3), 3, 5)
    assert small.value < large.value
    assert small.low <= small.value <= small.high


@pytest.mark.slow
def test_a_real_front_by_the_command_line(tmp_path, capsys, monkeypatch):
    labelled(tmp_path / "set.npz")
    (tmp_path / "front.yaml").write_text(
        f"name: toy\nlabelled: [{tmp_path}/set.npz]\nframes: 6\nepochs: 2\ncell: Na_bcc\nstudents:\n"
        "  - {channels: 4, max_ell: 1, cutoff_A: 3.5}\n  - {channels: 8, max_ell: 1, cutoff_A: 3.5}\n"
    )
    arguments = ["potential", "pareto", str(tmp_path / "front.yaml"), "-o", str(tmp_path / "front")]
    assert command([*arguments, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert all(row["cpu_minutes"] > 0 for row in data["students"])
    assert (tmp_path / "front" / "pareto.png").exists()
    assert command(arguments) == 0
    assert "no converged errors" in capsys.readouterr().out
