"""Training by the shorter way: mace-torch's own energies, forces, stress and slopes of the weights, to rounding.

And no training outlives the command that began it.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from mace_toys import ELEMENTS, R_MAX, make_mace

from atomflow.distill.quick_training import each_pair_once, short_forward

pytest.importorskip("mace")


def batch_of_graphs():
    """A dense cell smaller than the cutoff (atoms see their own images), and a sparse skewed one."""
    import ase
    from mace import data
    from mace.tools import AtomicNumberTable, torch_geometric

    rng = np.random.default_rng(4)
    cells = [ase.Atoms("NaOZn", positions=rng.random((3, 3)) * 3, cell=np.diag([3.1, 3.4, 3.2]), pbc=True),
             ase.Atoms("Si2O3B", positions=rng.random((6, 3)) * 6, cell=[[7, 0, 0], [2, 6, 0], [0, 1, 8]], pbc=True)]
    table = AtomicNumberTable(ELEMENTS)
    graphs = [data.AtomicData.from_config(data.config_from_atoms(cell), table, R_MAX, heads=["Default"])
              for cell in cells]
    return next(iter(torch_geometric.dataloader.DataLoader(graphs, batch_size=2))).to_dict()


def slopes(model, answer):
    model.zero_grad()
    loss = answer["energy"].sum() + (answer["forces"] ** 2).sum() + 100 * (answer["stress"] ** 2).sum()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.fixture
def double():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def test_energies_forces_stress_and_slopes_are_mace_torchs_own(double):
    model = make_mace(3, max_ell=2)
    own = model({k: v.clone() for k, v in batch_of_graphs().items()}, training=True, compute_stress=True)
    expected = slopes(model, own)
    short = short_forward(model, batch_of_graphs(), training=True, stress=True)
    found = slopes(model, short)
    for key in ("energy", "forces", "stress"):
        torch.testing.assert_close(short[key], own[key], rtol=1e-9, atol=1e-10)
    assert found.keys() == expected.keys()
    for name, slope in expected.items():
        torch.testing.assert_close(found[name], slope, rtol=1e-7, atol=1e-8, msg=name)


def test_every_pair_is_kept_once():
    graph = batch_of_graphs()
    once = each_pair_once(*graph["edge_index"], graph["unit_shifts"])
    edges = [(int(i), int(j), *map(int, s)) for i, j, s in zip(*graph["edge_index"], graph["unit_shifts"], strict=True)]
    kept = {edge for edge, keep in zip(edges, once.tolist(), strict=True) if keep}
    assert 2 * len(kept) == len(edges)
    assert all(((i, j, *s) in kept) != ((j, i, *(-x for x in s)) in kept) for i, j, *s in edges)


#: in mace-torch's place: a training that says who it is and then takes a minute
ENDLESS = """
import os, pathlib, time
def main():
    pathlib.Path("begun.partial").write_text(str(os.getpid()))
    os.replace("begun.partial", "begun")
    time.sleep(60)
"""
BEGIN = """
import pathlib
from atomflow.distill import train
from atomflow.distill.config import StudentConfig
config = StudentConfig(name="toy", labelled=("l",), elements=("O", "Na"), trained_for="tests")
train._run(["--name=toy"], config, pathlib.Path(), print)
"""


def waited_for(what, seconds=60.0):
    until = time.monotonic() + seconds
    while not what() and time.monotonic() < until:
        time.sleep(0.05)
    return what()


def test_a_training_ends_when_the_command_that_began_it_is_killed_outright(tmp_path):
    (tmp_path / "mace" / "cli").mkdir(parents=True)
    (tmp_path / "mace" / "modules").mkdir()
    (tmp_path / "mace" / "__init__.py").touch()
    (tmp_path / "mace" / "cli" / "run_train.py").write_text(ENDLESS)
    (tmp_path / "mace" / "modules" / "models.py").write_text("class ScaleShiftMACE:\n    forward = None\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    begun = tmp_path / "begun"
    with subprocess.Popen([sys.executable, "-c", BEGIN], cwd=tmp_path, env=environment) as parent:
        assert waited_for(begun.exists)
        parent.kill()
    training = int(begun.read_text())
    try:
        assert waited_for(lambda: not is_there(training), 10.0)
    finally:
        if is_there(training):
            os.kill(training, 9)


def is_there(process):
    """Whether it runs; one that ended and that nobody has asked about yet (a zombie) does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
