"""What doubt is worth: does it find the frames with the largest errors, and which limit flags them?"""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mace")

import doubt_toys  # noqa: E402
from doubt_toys import oxide  # noqa: E402

from atomflow.cli.main import run  # noqa: E402
from atomflow.distill.doubt import Doubted, doubt_quality  # noqa: E402
from atomflow.distill.doubt_limits import chosen_limit, judged, judged_by_halves, rank_correlation  # noqa: E402
from atomflow.distill.frames import Frame, Labels, write_frames  # noqa: E402
from atomflow.potentials import committee  # noqa: E402

files = doubt_toys.files


def doubted_frames(relation, count=40, atoms=20, seed=0):
    """Frames whose errors follow from their spreads by ``relation(spread, rng)``; every system has two of them."""
    rng = np.random.default_rng(seed)
    found = []
    for k in range(count):
        spread = rng.gamma(2.0, 0.1 * (1 + k % 5), atoms)
        frame = Frame(np.full(atoms, 8), np.zeros((atoms, 3)), np.eye(3), f"s{k // 2}", "ab"[k % 2], "md", "test")
        found.append(Doubted(frame, spread, relation(spread, rng)))
    return found


def test_doubt_that_is_the_error_catches_all_of_the_worst():
    data = doubt_quality(doubted_frames(lambda spread, rng: 0.7 * spread))
    everything = data["groups"][0]
    assert everything["spearman_atoms"]["value"] == pytest.approx(1)
    assert [row["group"] for row in data["groups"]] == ["all", "a", "b"]
    assert [row["frames"] for row in data["groups"]] == [40, 20, 20]
    [row] = [row for row in data["limits"] if row["limit_eV_per_A"] == data["suggested_limit_eV_per_A"]]
    assert (row["worst_frames_caught"], row["other_frames_above"], row["frames_above"]) == (1.0, 0.0, 0.1)
    many = doubt_quality(doubted_frames(lambda spread, rng: 0.7 * spread, count=400, atoms=4))
    assert many["halves"]["caught"]["value"] == pytest.approx(0.9, abs=0.1)
    assert many["halves"]["false_alarms"]["value"] < 0.05


def test_doubt_that_knows_nothing_is_found_out():
    data = doubt_quality(doubted_frames(lambda spread, rng: rng.random(len(spread))))
    rank = data["groups"][0]["spearman_atoms"]
    assert rank["low"] < 0 < rank["high"]
    half = data["limits"][0]
    assert half["worst_atoms_caught"] == pytest.approx(half["atoms_above"], abs=0.15)


def test_the_limit_flags_as_much_as_is_asked_and_no_lower_one_is_needed():
    rng = np.random.default_rng(2)
    spread, error = rng.random(200), rng.random(200)
    limit = chosen_limit(spread, error, catch=0.9)
    bad = np.sort(error)[-20]
    assert judged(spread, error, limit)["caught"] == pytest.approx(0.9)
    assert (spread[error >= bad] > limit + 1e-9).mean() < 0.9
    assert judged(spread, error, limit)["false_alarms"] == pytest.approx((spread[error < bad] > limit).mean())


def test_a_limit_is_judged_on_systems_it_was_not_chosen_on():
    """Spreads that say nothing: a limit that catches 90 % where it was chosen flags good and bad alike elsewhere."""
    rng = np.random.default_rng(3)
    spread, error = rng.random(400), rng.random(400)
    systems, families = [f"s{k // 4}" for k in range(400)], ["ab"[k // 4 % 2] for k in range(400)]
    halves = judged_by_halves(spread, error, systems, families)
    assert halves["caught"]["value"] == pytest.approx(halves["false_alarms"]["value"], abs=0.06)
    assert judged_by_halves(spread, error, ["one", "two"] * 200, families) is None
    learnt = judged_by_halves(error, error, systems, families)
    assert learnt["caught"]["value"] == pytest.approx(0.9, abs=0.1)
    assert learnt["spearman_frames"]["value"] == pytest.approx(1)


def test_rank_correlation_is_of_ranks_and_says_nothing_of_constants():
    """Ranks 1 2 3 4 against 1 3 2 4: 1 - 6 * 2 / (4 * 15) = 0.8."""
    assert rank_correlation(np.array([0.1, 0.2, 0.3, 9.0]), np.array([1.0, 50.0, 2.0, 51.0])) == pytest.approx(0.8)
    assert rank_correlation(np.ones(5), np.arange(5.0)) is None


def test_labelled_frames_from_the_command_line(files, tmp_path, capsys):
    for file in files:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    committee.write_committee(tmp_path, files[0].name, [file.name for file in files[1:]])
    frames = []
    for k in range(4):
        one = oxide(1, rattle=0.05 * (k + 1), seed=k)
        labels = Labels(0.0, np.zeros((8, 3)), np.zeros((3, 3)))
        frames.append(Frame(one.numbers, one.positions_A, one.lattice_A, f"s{k}", "toy", "md", "test", None, labels))
    write_frames(frames, tmp_path / "set.npz")
    arguments = ["potential", "doubt", "--labelled", str(tmp_path / "set.npz"), "-p", str(tmp_path), "--device", "cpu"]
    assert run([*arguments, "--json", "--set-limit"]) == 0
    data = json.loads(capsys.readouterr().out)
    kept = json.loads((tmp_path / "committee.json").read_text())["doubt_warn_eV_per_A"]
    assert kept == pytest.approx(data["suggested_limit_eV_per_A"], abs=6e-4)
    assert run([*arguments, "--split", "train"]) == 2
    assert "no frame of split train" in capsys.readouterr().err
    assert run(arguments) == 0
    assert "suggested limit" in capsys.readouterr().out
