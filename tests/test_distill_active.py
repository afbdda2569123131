"""The loop: doubtful frames are found, labelled and learnt from; it ends for a stated reason; a kill costs nothing."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("mace")

from mace_toys import disturbed, tiny_files

from atomflow.cli.main import run as command
from atomflow.config import parse, read_yaml
from atomflow.distill import active, active_stages
from atomflow.distill.active_config import ActiveConfig
from atomflow.distill.active_round import choose, drawn_at_random
from atomflow.distill.frames import Frame, Labels, read_frames, write_frames
from atomflow.errors import InputError, RunStopped

ACTIVE = Path(__file__).parents[1] / "workflows" / "potential" / "active.yaml"


def packed(split="train", system="s0", spacing=2.2, seed=0):
    rng = np.random.default_rng(seed)
    grid = np.array([[x, y, z] for x in range(2) for y in range(2) for z in range(2)]) * spacing
    numbers = np.where(grid.sum(1) / spacing % 2 < 0.5, 11, 8)
    return Frame(numbers, grid + rng.normal(0, 0.05, grid.shape), np.eye(3) * 2 * spacing, system, "toy", "md", split)


def toy(tmp_path, **changes):
    """A loop on sodium oxide packings with an analytic teacher."""
    path = tmp_path / "set.npz"
    if not path.exists():
        frames = [packed("test" if k % 3 == 2 else "train", f"s{k}", seed=k) for k in range(9)]
        write_frames([f.labelled(Labels(-1.0, np.zeros((8, 3)), np.zeros((3, 3)))) for f in frames], path)
    return {
        "name": "toy", "labelled": [str(path)], "teacher": {"name": "lennard-jones", "python": "here"},
        "student": {"name": "toy", "elements": ["O", "Na"], "channels": 4, "max_ell": 1, "cutoff_A": 3.5, "epochs": 1,
                    "average_neighbours": 10, "committee": 2, "validation_fraction": 0.2, "trained_for": "tests"},
        "sources": [{"kind": "dynamics", "potential": "student", "temperatures_K": [300], "gaps_steps": [2, 2],
                     "start": {"kind": "packings", "systems": 4, "family": "toy", "units": {"Na2O": [2, 3]},
                               "density_g_per_cm3": [2.0, 2.2]}}],
        "choose": {"doubt_eV_per_A": 0.004, "frames": 3, "closest_contact": 0.3}, "stop": {"rounds": 3}, **changes,
    }


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    with np.load(tiny_files(tmp_path_factory.mktemp("weights"), 1)[0], allow_pickle=False) as archive:
        return dict(archive)


def trained_at_once(monkeypatch, export):
    """In place of a training: its student is put into the list that this gives, and ``export`` makes its file."""
    trained = []

    def train(student, home, progress):
        trained.append(student)
        for name in ("set.json", "reference_energies.json"):
            (home / name).write_text("{}")

    monkeypatch.setattr(active.active_students.training, "train", train)
    monkeypatch.setattr(active.active_students.training, "export", export)
    return trained


@pytest.fixture
def quick(monkeypatch, weights):
    """Training that takes no time and teaches: the members of every later round disagree forty times less."""

    def export(home, student):
        round_number = student.seed // 100
        return disturbed(weights, home / f"{student.name}.mace.npz", student.seed % 100, 0.5 / 40**round_number)

    return trained_at_once(monkeypatch, export)


def test_the_loop_goes_on_after_a_stop_and_ends_when_nothing_is_doubtful(quick, tmp_path, monkeypatch, capsys):
    config = parse(ActiveConfig, toy(tmp_path))
    label, sampled, real = active.label.label, [], active_stages.sample.sample

    def stopped(*arguments, **more):
        raise RunStopped("a signal came")

    def counted(wanted, say):
        sampled.append(wanted)
        return real(wanted, say)

    monkeypatch.setattr(active_stages.sample, "sample", counted)
    monkeypatch.setattr(active.label, "label", stopped)
    with pytest.raises(RunStopped):
        active.run(config, tmp_path / "loop")
    monkeypatch.setattr(active.label, "label", label)
    data = active.run(config, tmp_path / "loop")
    first, last = data["rounds"]
    assert [wanted.name for wanted in sampled] == ["toy-1", "toy-2"]  # nothing was sampled twice
    assert len({wanted.seed for wanted in sampled}) == 2
    assert first["fresh_frames"] == 8
    assert first["doubtful_fraction"] > 0.5
    assert first["chosen"] == 3
    assert last["doubtful_fraction"] <= 0.05
    assert "of the fresh frames of round 2 are doubtful" in data["ended"]
    assert first["error_on_chosen_before_eV_per_A"]["value"] > 0
    assert last["error_on_chosen_after_eV_per_A"] is None
    taught = str(tmp_path / "loop/round-01/labelled/labelled.npz")
    assert [student.labelled for student in quick] == [config.labelled] * 2 + [(*config.labelled, taught)] * 2
    assert [student.grow_from for student in quick[:2]] == [None, None]
    assert [student.grow_from for student in quick[2:]] == [str(tmp_path / f"loop/first/{name}.mace.npz")
                                                            for name in ("toy", "toy-2")]
    assert len({student.seed for student in quick}) == 4
    labelled = read_frames(tmp_path / "loop/round-01/labelled/labelled.npz")
    assert all(frame.labels is not None for frame in labelled)
    assert active.run(config, tmp_path / "loop") == data  # all done: nothing is computed again
    assert len(quick) == 4
    assert len(sampled) == 2
    rows, head = active.table(data)
    assert [len(row) for row in rows] == [len(head)] * 3
    assert "exam" not in " ".join(head)
    with pytest.raises(InputError, match=r"another configuration \(seed\)"):
        active.run(parse(ActiveConfig, toy(tmp_path, seed=2)), tmp_path / "loop")


def rounds(**changes):
    row = {"round": 1, "doubtful_fraction": 0.5, "chosen": 10, "hours": 1.0, "held_out_rmse_eV_per_A": {"value": 0.1}}
    return [{**row, **changes}]


@pytest.mark.parametrize(("stop", "found", "reason"), [
    ({}, rounds(), None),
    ({}, rounds(doubtful_fraction=0.04), "4.0 % of the fresh frames"),
    ({}, rounds(chosen=0), "fit to be labelled"),
    ({"force_rmse_eV_per_A": 0.11}, rounds(), "held-out force RMSE is 0.100"),
    ({"rounds": 1}, rounds(), "1 rounds were done"),
    ({"hours": 0.5}, rounds(), "budget 0.5 h"),
    ({"hours": 1.5}, rounds(), None),
])
def test_what_ends_a_loop(tmp_path, stop, found, reason):
    said = active.ending(parse(ActiveConfig, toy(tmp_path, stop=stop)), found)
    assert said is None if reason is None else reason in said


def test_chosen_frames_are_doubtful_whole_and_far_from_one_another(tmp_path):
    wanted = {"doubt_eV_per_A": 0.3, "frames": 3, "largest_doubt_eV_per_A": 9}
    config = parse(ActiveConfig, toy(tmp_path, choose=wanted))
    twins = [packed(seed=1) for _ in range(4)]
    others = [packed(spacing=2.5, seed=2), packed(spacing=2.9, seed=3)]
    overlapping = packed(seed=4)
    overlapping.positions_A[1] = overlapping.positions_A[0] + 0.3
    pool = [*twins, *others, overlapping, packed(seed=5), packed(seed=6)]
    spreads = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 5.0, 0.2, 50.0])
    chosen = choose(pool, spreads, config)
    assert [next(k for k, frame in enumerate(pool) if frame is one) for one in chosen] == [0, 4, 5]
    assert choose(pool, np.full(len(pool), 0.1), config) == []
    drawn = drawn_at_random(pool, spreads, config, 1)
    broken = (overlapping, pool[-1])
    assert len(drawn) == 3
    assert not any(frame is one for frame in drawn for one in broken)
    assert any(a is not b for a, b in zip(drawn, drawn_at_random(pool, spreads, config, 2), strict=True))


@pytest.mark.parametrize(("changes", "words"), [
    ({"teachers": {"name": "chgnet"}}, "did you mean 'teacher'"),
    ({"choose": {"doubt_eV_per_A": 0.3, "frame": 3}}, "did you mean 'frames'"),
    ({"sources": []}, "no sources"),
    ({"labelled": []}, "a first set is needed"),
    ({"student": {"name": "a", "trained_for": "b", "committee": 1}}, "greater than or equal to 2"),
    ({"student": {"name": "a", "trained_for": "b", "start_from": "x"}}, "stand at the top level"),
])
def test_configurations_that_cannot_be_meant(tmp_path, changes, words):
    with pytest.raises(InputError, match=words):
        parse(ActiveConfig, toy(tmp_path, **changes))


@pytest.mark.parametrize("path", sorted(ACTIVE.parent.glob("active*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_configurations_are_ones(path):
    config = parse(ActiveConfig, read_yaml(path), str(path))
    assert config.student.committee in (2, 3)
    assert {source.potential for source in config.sources_for("model/")} == {"model/"}


@pytest.mark.slow
def test_a_real_loop_by_the_command_line(tmp_path, capsys):
    """Two rounds with mace-torch's training and a MACE file as teacher: the error on what was labelled falls."""
    teacher = tiny_files(tmp_path, 1)[0]
    import torch

    from atomflow.potentials.mace.files import load_portable

    torch.save(load_portable(teacher), tmp_path / "teacher.model")
    from atomflow.distill.label import label

    (tmp_path / "pool").mkdir()
    frames = [packed("test" if k % 3 == 2 else "train", f"s{k}", 2.2 + 0.02 * k, k) for k in range(9)]
    write_frames(frames, tmp_path / "pool" / "pool.npz")
    name = f"mace:{tmp_path}/teacher.model"
    label(tmp_path / "pool", tmp_path / "labelled", name, sys.executable)
    wanted = toy(tmp_path, labelled=[str(tmp_path / "labelled" / "labelled.npz")],
                 teacher={"name": name, "python": "here"}, stop={"rounds": 2, "doubtful_fraction": 0.0},
                 choose={"doubt_eV_per_A": 1e-4, "frames": 4, "closest_contact": 0.3})
    (tmp_path / "active.yaml").write_text(json.dumps(wanted))  # JSON is YAML
    arguments = ["potential", "active", str(tmp_path / "active.yaml"), "-o", str(tmp_path / "loop")]
    assert command([*arguments, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["ended"] == "2 rounds were done"
    assert data["rounds"][0]["chosen"] == 4
    assert Path(data["model"], "member-2", "checkpoints").is_dir()
    assert command(arguments) == 0
    assert "Last student" in capsys.readouterr().out
