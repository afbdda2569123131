"""A training shared by processes is the training of one: the same batches, the same slopes, the same weights."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from test_distill_pipeline import student, toy_frames
from test_distill_quick_training import is_there, waited_for

from atomflow.distill import train as training
from atomflow.distill.frames import Labels, write_frames
from atomflow.distill.shares import SharedBatches, even_parts
from atomflow.errors import InputError

pytest.importorskip("mace")


def test_parts_are_even_and_hold_everything_once():
    sizes = [90, 10, 40, 70, 30, 60]
    parts = even_parts(sizes, 2)
    assert sorted(index for part in parts for index in part) == list(range(6))
    assert max(sum(sizes[index] for index in part) for part in parts) <= 7 / 6 * 150  # Graham's bound for two
    assert [len(part) for part in even_parts([5, 0, 0], 3)] == [1, 1, 1]


def test_processes_see_every_frame_of_a_pass_once_in_another_order_each_pass():
    graphs = [SimpleNamespace(num_nodes=number % 4 + 1, number=number) for number in range(14)]
    loader = SimpleNamespace(dataset=graphs, batch_size=4, collate_fn=lambda batch: [each.number for each in batch])
    passes = []
    for order in (0, 1):
        first, second = (list(SharedBatches(loader, part, 2, order)) for part in (0, 1))
        assert len(first) == len(second) == 3  # whole batches only, as mace-torch's own
        for mine, other in zip(first, second, strict=True):
            assert min(len(mine), len(other)) > 0
            assert len(mine) + len(other) == 4
        seen = [number for batch in first + second for number in batch]
        assert len(set(seen)) == len(seen) == 12
        passes.append(first)
    assert passes[0] != passes[1]


def springs(frame):
    """Labels of atoms each held by a spring to the mean of its column of the grid: something that can be learnt."""
    away = frame.positions_A - 2.3 * np.round(frame.positions_A / 2.3)
    energy = sum({8: -4.0, 11: -1.0}[z] for z in frame.numbers) + (away**2).sum()
    return frame.labelled(Labels(energy, -2 * away, np.zeros((3, 3))))


def prepared(tmp_path, name, **changes):
    """A folder and the words of a training in double precision: 18 frames of eight atoms, all of them one batch."""
    (tmp_path / "labelled").mkdir(exist_ok=True)
    frames = [springs(frame) for frame in toy_frames(12)]
    write_frames(frames, tmp_path / "labelled" / "labelled.npz", {})
    config = student(tmp_path, channels=4, max_ell=1, cutoff_A=3.5, average_neighbours=10, validation_fraction=0.2,
                     learning_rate=0.002, optimizer="adam", name=name, **changes)
    folder = tmp_path / name
    folder.mkdir()
    training._write_data(config, folder)
    words = [word for word in training.arguments(config, folder) if "default_dtype" not in word]
    return config, folder, [*words, "--default_dtype=float64"]


def weights(folder):
    import torch

    (path,) = (folder / "checkpoints").glob("*epoch-2.pt")
    state = torch.load(path, weights_only=False)["model"]
    return {key: value.numpy() for key, value in state.items() if value.is_floating_point()}


def test_two_processes_make_the_steps_of_one(tmp_path):
    found = {}
    for processes in (1, 2):
        config, folder, words = prepared(tmp_path, f"of-{processes}", epochs=3, batch_size=14, processes=processes)
        training._run(words, config, folder, lambda state: None)
        frames = (folder / "data" / "train.xyz").read_text().count("Lattice")
        assert frames == 14  # all in one batch: its order is no matter
        found[processes] = weights(folder)
        assert len(list((folder / "checkpoints").glob("*.pt"))) == 1
    assert len(found[1]) > 10
    # The steps were three of 0.002 each. Adam divides a slope by its own size: rounding shows where that is near 1e-8.
    far = np.concatenate([np.abs(found[2][key] - value).ravel() for key, value in found[1].items()])
    assert far.max() < 1e-4
    assert np.quantile(far, 0.99) < 1e-6


def test_more_processes_than_frames_of_a_batch_are_an_error(tmp_path):
    with pytest.raises(InputError, match="processes cannot exceed batch_size"):
        student(tmp_path, batch_size=2, processes=3)


def children(process):
    found = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for path in found for child in path.read_text().split()]


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["helper", "training"])
def test_what_is_killed_takes_the_others_with_it(tmp_path, killed):
    _, folder, words = prepared(tmp_path, "toy", epochs=10000, batch_size=4, processes=2)
    command = [sys.executable, "-m", "atomflow.distill.quick_training", *words]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        assert waited_for(lambda: "Epoch 2:" in (folder / "log").read_text())
        (helper,) = children(process.pid)
        os.kill(helper if killed == "helper" else process.pid, signal.SIGKILL)
        assert process.wait(60) != 0
    until = time.monotonic() + 10
    while is_there(helper) and time.monotonic() < until:
        time.sleep(0.05)
    assert not is_there(helper)
