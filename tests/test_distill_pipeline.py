"""Label and train: resumable, in a separate process, with an analytic teacher; the division has no leaks."""

import json
import shutil
import sys

import numpy as np
import pytest

from atomflow.cli.main import run
from atomflow.config import parse
from atomflow.distill import label as labelling
from atomflow.distill import train as training
from atomflow.distill.beginnings import reference_energies_eV
from atomflow.distill.config import StudentConfig
from atomflow.distill.frames import Frame, Labels, read_about, read_frames, write_frames
from atomflow.distill.members import member_config, member_folder
from atomflow.errors import InputError, RunFailed


def toy_frames(systems: int, per_system: int = 2, seed: int = 0) -> list[Frame]:
    rng = np.random.default_rng(seed)
    grid = np.array([[x, y, z] for x in range(2) for y in range(2) for z in range(2)]) * 2.3
    frames = []
    for system in range(systems):
        numbers = rng.permutation([8] * 5 + [11] * 3)
        for _ in range(per_system):
            positions = grid + rng.normal(0, 0.1, grid.shape)
            frames.append(Frame(numbers, positions, np.eye(3) * 4.6, f"toy-{system}", "toy", "rattle",
                                "test" if system % 4 == 3 else "train"))
    return frames


def with_labels(frames: list[Frame], reference: dict[int, float]) -> list[Frame]:
    return [f.labelled(Labels(sum(reference[z] for z in f.numbers), np.full((f.n_atoms, 3), 0.1), np.zeros((3, 3))))
            for f in frames]


@pytest.fixture
def pool(tmp_path):
    (tmp_path / "pool").mkdir()
    write_frames(toy_frames(8), tmp_path / "pool" / "pool.npz", {"sample": {"name": "toy"}})
    return tmp_path / "pool"


def test_labels_come_from_the_teacher_and_a_second_call_computes_nothing(pool, tmp_path):
    out = tmp_path / "labelled"
    seen: list[int] = []
    path = labelling.label(pool, out, "lennard-jones", sys.executable, lambda s: seen.append(s.done), part_size=5)
    assert seen[-1] == 16
    assert read_about(path)["teacher"] == "lennard-jones"
    assert read_about(path)["sample"] == {"name": "toy"}
    from ase.calculators.lj import LennardJones

    for frame in read_frames(path)[::5]:
        atoms = frame.to_ase()
        atoms.calc = LennardJones(sigma=2.0, epsilon=0.05, rc=5.0, smooth=True)
        np.testing.assert_allclose(frame.labels.forces_eV_per_A, atoms.get_forces(), rtol=0, atol=2e-4)
    (out / "parts" / "000005.npz").unlink()  # as if killed in the middle
    again: list[int] = []
    labelling.label(pool, out, "lennard-jones", sys.executable, lambda s: again.append(s.done), part_size=5)
    assert len(again) == 5


def test_one_folder_holds_one_teacher(pool, tmp_path):
    labelling.label(pool, tmp_path / "out", "lennard-jones", sys.executable)
    with pytest.raises(InputError, match="another teacher"):
        labelling.label(pool, tmp_path / "out", "chgnet", sys.executable)


def test_teacher_that_fails_is_one_line(pool, tmp_path):
    with pytest.raises(RunFailed, match="unknown teacher 'oracle'"):
        labelling.label(pool, tmp_path / "out", "oracle", sys.executable)


def test_missing_interpreter_is_named(pool, tmp_path, capsys):
    code = run(["potential", "label", str(pool), "--python", "/nowhere/python", "-o", str(tmp_path / "out")])
    assert code == 2
    assert "/nowhere/python" in capsys.readouterr().err


def student(tmp_path, **changes) -> StudentConfig:
    return parse(StudentConfig, {"name": "toy", "labelled": [str(tmp_path / "labelled" / "labelled.npz")],
                                 "elements": ["O", "Na"], "trained_for": "tests", **changes})


def test_division_keeps_systems_together_and_the_test_split_out(tmp_path):
    frames = with_labels(toy_frames(12), {8: -4.0, 11: -1.0})
    division = training.divide(frames, student(tmp_path, validation_fraction=0.3))
    groups = [{f.system for f in part} for part in (division.train, division.valid, division.test)]
    assert all(groups)
    assert not (groups[0] & groups[1])
    assert not (groups[0] & groups[2])
    assert not (groups[1] & groups[2])
    assert len(division.train) + len(division.valid) + len(division.test) == len(frames)
    assert all(f.split == "test" for f in division.test)


def test_frames_with_absurd_forces_are_left_out_and_counted(tmp_path):
    frames = with_labels(toy_frames(6), {8: -4.0, 11: -1.0})
    frames[0].labels.forces_eV_per_A[0, 0] = 400.0
    assert training.divide(frames, student(tmp_path)).dropped == 1


def test_fewer_frames_than_a_batch_are_refused_before_training(tmp_path):
    (tmp_path / "labelled").mkdir()
    write_frames(with_labels(toy_frames(3), {8: -4.0, 11: -1.0}), tmp_path / "labelled" / "labelled.npz", {})
    with pytest.raises(InputError, match=r"frames are left to train on, fewer than batch_size 50"):
        training._write_data(student(tmp_path, batch_size=50), tmp_path)


def test_reference_energies_recover_what_made_the_labels():
    rng = np.random.default_rng(2)
    frames = [Frame(rng.choice([8, 11, 30], 9), np.zeros((9, 3)), np.eye(3), f"s{k}", "toy", "rattle", "train")
              for k in range(40)]
    truth = {8: -4.25, 11: -1.5, 30: 0.75}
    found = reference_energies_eV(with_labels(frames, truth), ("O", "Na", "Zn"))
    assert found == pytest.approx(truth, rel=1e-3)


def test_element_the_student_does_not_know_is_an_error():
    frames = with_labels(toy_frames(2), {8: -4.0, 11: -1.0})
    with pytest.raises(InputError, match="element number 11"):
        reference_energies_eV(frames, ("O",))


def test_unlabelled_frames_are_an_error(tmp_path):
    with pytest.raises(InputError, match="no labels"):
        training.divide(toy_frames(4), student(tmp_path))


def test_unknown_key_of_a_student_names_the_nearest(tmp_path, capsys):
    (tmp_path / "s.yaml").write_text("name: a\nlabelled: [x.npz]\ntrained_for: t\nchanels: 8\n")
    assert run(["potential", "train", str(tmp_path / "s.yaml"), "-o", str(tmp_path / "m")]) == 2
    assert "did you mean 'channels'" in capsys.readouterr().err


def test_going_on_from_a_student_of_another_shape_is_refused(tmp_path):
    (tmp_path / "labelled").mkdir()
    write_frames(with_labels(toy_frames(6), {8: -4.0, 11: -1.0}), tmp_path / "labelled" / "labelled.npz")
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "student.json").write_text(student(tmp_path, channels=8).model_dump_json())
    (tmp_path / "small" / "reference_energies.json").write_text('{"8": -4.0, "11": -1.0}')
    with pytest.raises(InputError, match="channels is 8 there, 16 here"):
        training.train(student(tmp_path, channels=16, start_from=str(tmp_path / "small")), tmp_path / "model")
    adams = student(tmp_path, channels=8, optimizer="adam", start_from=str(tmp_path / "small"))
    shutil.rmtree(tmp_path / "model")
    (tmp_path / "small" / "checkpoints").mkdir()
    (tmp_path / "small" / "checkpoints" / f"{adams.name}_run-1_epoch-3.pt").touch()
    with pytest.raises(InputError, match=r"trained with soap.*set optimizer: soap, or begin from its exported model"):
        training.train(adams, tmp_path / "model")


@pytest.fixture
def trained_at_once(monkeypatch):
    """mace_run_train that leaves a model with random weights, and tells one epoch; the seeds it was called with."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("mace")
    from mace_toys import make_mace

    seeds = []

    def run_train(options, config, folder, progress):
        seeds.append(config.seed)
        progress(training.TrainProgress(1, 2, 1.0, 100.0, 60.0))
        module = make_mace(config.seed, num_elements=2, atomic_numbers=[8, 11], atomic_energies=np.array([-1.0, -2.0]))
        (folder / "checkpoints").mkdir(exist_ok=True)
        torch.save(module, folder / "checkpoints" / f"{config.name}_run-{config.seed}.model")

    monkeypatch.setattr(training, "_run", run_train)
    return seeds


def test_a_committee_is_trained_apart_and_loaded_as_one(trained_at_once, tmp_path):
    from atomflow import potentials
    from atomflow.potentials.committee import open_members

    (tmp_path / "labelled").mkdir()
    write_frames(with_labels(toy_frames(12), {8: -4.0, 11: -1.0}), tmp_path / "labelled" / "labelled.npz")
    wanted, told = student(tmp_path, committee=2, seed=5, validation_fraction=0.3), []
    training.train(wanted, tmp_path / "model", told.append)
    path = training.export(tmp_path / "model", wanted)
    assert trained_at_once == [5, 6]
    assert [(state.member, state.members) for state in told] == [(1, 2), (2, 2)]
    assert told[0].seconds_left > 2 * told[1].seconds_left - 1  # the second member is still to come
    valid = [(tmp_path / "model" / f"member-{k}" / "data" / "valid.xyz").read_text() for k in (1, 2)]
    assert valid[0] != valid[1]
    loaded = potentials.load(tmp_path / "model", device="cpu")
    assert loaded.identity.name == path.name.removesuffix(".mace.npz") == "toy"
    assert [member.identity.name for member in open_members(loaded)] == ["toy-2"]
    training.train(wanted, tmp_path / "model")
    assert trained_at_once == [5, 6]  # done: nothing is trained again
    assert member_folder(tmp_path / "model", 2).name == "member-2"
    further = student(tmp_path, start_from=str(tmp_path / "model"), committee=3)
    assert member_config(further, 3).start_from == str(
        tmp_path / "model" / "member-1")


@pytest.mark.slow
def test_from_pool_to_card_by_the_command_line(pool, tmp_path, capsys):
    labelled, model = tmp_path / "labelled", tmp_path / "model"
    assert run(["potential", "label", str(pool), "--teacher", "lennard-jones", "--python", sys.executable,
                "-o", str(labelled)]) == 0
    (tmp_path / "student.yaml").write_text(
        f"name: toy\nlabelled: [{labelled}/labelled.npz]\nelements: [O, Na]\nchannels: 4\nmax_ell: 1\ncutoff_A: 3.5\n"
        "average_neighbours: 10\nepochs: 1\nvalidation_fraction: 0.2\ntrained_for: tests\n"
    )
    assert run(["potential", "train", str(tmp_path / "student.yaml"), "-o", str(model)]) == 0
    assert (model / "toy.mace.npz").exists()
    capsys.readouterr()
    assert run(["potential", "card", str(model), "--checks", "none", "-o", str(tmp_path / "card.html"), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["by_family"][0]["frames"] == 4
    assert run(["potential", "train", str(tmp_path / "student.yaml"), "-o", str(model)]) == 0  # done: nothing to do
    again = (tmp_path / "student.yaml").read_text() + f"start_from: {model}\n"
    (tmp_path / "again.yaml").write_text(again)
    assert run(["potential", "train", str(tmp_path / "again.yaml"), "-o", str(tmp_path / "second")]) == 0
    references = [(folder / "reference_energies.json").read_text() for folder in (model, tmp_path / "second")]
    assert references[0] == references[1]
    first, second = (np.load(folder / "toy.mace.npz") for folder in (model, tmp_path / "second"))
    weights = "node_embedding.linear.weight"
    moved = np.abs(first[weights] - second[weights]).max()
    assert 0 < moved < 0.3  # it went on from the first student, and it moved
