"""What formed at a contact: everything planted by hand is found, with the frames it was planted in."""

import json

import numpy as np
import pytest
from transport_walks import MemoryTrajectory

from atomflow.cell import Cell, write_cell
from atomflow.cli.main import run
from atomflow.errors import InputError
from atomflow.order.contact import contact, text

FRAMES = 100
LATTICE = np.array([[10.0, 0.0, 0.0], [1.0, 10.0, 0.0], [1.5, -0.7, 30.0]])
OCTAHEDRON = 2.0 * np.vstack([np.eye(3), -np.eye(3)])
ZR = np.array([[2.5, 2.5, 3.0], [7.5, 7.5, 3.0], [2.5, 7.5, 8.5], [7.5, 2.5, 8.5]])
SOLID_NA = np.array([[5.0, 5.0, 5.5], [0.0, 5.0, 5.5]])
METAL = np.array([[x, y, z] for z in (17.0, 20.5, 24.0) for x in (2.5, 7.5) for y in (2.5, 7.5)])


def cell():
    oxygen = (ZR[:, None] + OCTAHEDRON).reshape(-1, 3)
    positions = np.concatenate([ZR, oxygen, SOLID_NA, METAL])
    symbols = ["Zr"] * 4 + ["O"] * 24 + ["Na"] * (2 + len(METAL))
    regions = ["grain_a"] * 30 + ["metal"] * len(METAL)
    return positions, np.array(symbols), np.array(regions)


def planted(seed=0, drift=0.02, breathing=0.0, events=True, frames=FRAMES):
    """Metal atom 30 goes 3.2 Å above Zr 2 from frame 60 on, O 4 of Zr 0 into the metal, Na 28 into it from 80 on."""
    rng = np.random.default_rng(seed)
    start, symbols, regions = cell()
    path = np.repeat(start[None], frames, axis=0)
    if events:
        path[int(0.6 * frames) :, 30] = ZR[2] + [0.0, 0.0, 3.2]
        path[int(0.6 * frames) :, 4] = [5.0, 5.0, 19.0]
        path[int(0.8 * frames) :, 28] = [5.0, 5.0, 22.5]
    path += drift * np.arange(frames)[:, None, None] * np.array([1.0, 0.5, 1.0])
    path += 0.03 * rng.standard_normal(path.shape)
    lattice = LATTICE
    if breathing:
        scale = 1 + breathing * np.sin(np.arange(frames))
        lattice = LATTICE[None] * (scale / scale.mean())[:, None, None]
    trajectory = MemoryTrajectory(path, symbols, lattice)
    trajectory.regions = regions
    return trajectory


@pytest.mark.parametrize("breathing", [0.0, 0.01])
def test_what_was_planted_is_found(breathing):
    found = contact(planted(breathing=breathing))
    assert {slab.region for slab in found.slabs} == {"grain_a", "metal"}
    assert len(found.slabs) == 2
    zr = found.coordination["Zr"]
    assert [e.value for e in zr.mean] == pytest.approx([6, 6, 6, 5.75, 5.75])
    assert zr.lost == (0, 0, 0, 1, 1)
    assert zr.n_atoms == 4
    assert [e.value for e in found.entered] == pytest.approx([0, 0, 0, 1, 1])
    assert [e.value for e in found.left] == pytest.approx([0, 0, 0, 0, 1])
    moves = {(m.element, m.source, m.target): [e.value for e in m.count] for m in found.moved}
    assert moves == {("Na", "metal", "grain_a"): pytest.approx([0, 0, 0, 1, 1]),
                     ("O", "grain_a", "metal"): pytest.approx([0, 0, 0, 1, 1]),
                     ("Na", "grain_a", "metal"): pytest.approx([0, 0, 0, 0, 1])}  # fmt: skip
    assert [e.value for e in found.neighbours["Na-Zr"]] == pytest.approx([0, 0, 0, 1 / 12, 1 / 12])
    assert found.cation_bonds == {}
    # the edge lies half-way between the highest oxygen (10.5) and the lowest metal (17.0)
    depth = 13.75 - 11.7
    assert found.deepest_A == pytest.approx(depth, abs=0.4)
    assert found.depth_count.sum() == pytest.approx(1)
    assert found.depth_count[1:3].sum() == pytest.approx(1)
    words = text(found)
    assert "metal atoms in the solid" in words
    assert "no charges" in words


def test_nothing_formed_where_nothing_was_planted():
    found = contact(planted(events=False))
    assert found.moved == ()
    assert all(e.value == 0 for e in (*found.entered, *found.left))
    assert found.coordination["Zr"].lost == (0, 0, 0, 0, 0)
    assert found.deepest_A == 0
    assert found.entered[0].low == 0


def test_bonds_between_cations_and_intervals_over_replicas():
    runs = [planted(seed) for seed in range(3)]
    for trajectory in runs:
        trajectory.positions[80:, 1] = trajectory.positions[80:, 0] + [2.9, 0.0, 0.0]
    found = contact(runs)
    assert [e.value for e in found.cation_bonds["Zr-Zr"]] == pytest.approx([0, 0, 0, 0, 1])
    assert found.cation_bonds["Zr-Zr"][-1].low is not None
    assert len(found.sources) == 3
    assert found.coordination["Zr"].lost[-1] == 2
    shorter = contact(planted(), cutoffs_A={"Na-Zr": 3.0})
    assert shorter.neighbours["Na-Zr"][-1].value == 0


def test_runs_without_metal_report_what_moved():
    trajectory = planted()
    trajectory.regions = np.where(trajectory.regions == "metal", "glass", trajectory.regions)
    trajectory.symbols = np.where((trajectory.regions == "glass") & (np.arange(42) != 30), "Zn", trajectory.symbols)
    found = contact(trajectory)
    assert found.entered is None
    assert found.neighbours == {}
    assert {(m.element, m.source, m.target) for m in found.moved} >= {("O", "grain_a", "glass")}


def test_refusals_and_command(tmp_path, capsys):
    one = planted()
    one.regions = np.full(one.n_atoms, "bulk")
    for wrong, words in ((one, "every atom is in region bulk"), (planted(frames=4), "at least 5")):
        with pytest.raises(InputError, match=words):
            contact(wrong)
    with pytest.raises(InputError, match="no direction"):
        contact(planted(), along="w")
    import ase.io

    positions, symbols, regions = cell()
    numbers = Cell.from_ase(ase.Atoms(symbols.tolist(), positions, cell=LATTICE, pbc=True)).numbers
    trajectory = planted()
    images = [Cell(numbers, trajectory.positions[k], LATTICE, regions).to_ase() for k in range(0, FRAMES, 5)]
    path = tmp_path / "run.extxyz"
    ase.io.write(path, images)
    timed = ["--frame-interval-fs", "100"]
    assert run(["order", str(path), "--contact", "--json"]) == 2
    assert "give --frame-interval-fs" in capsys.readouterr().err
    assert run(["order", str(path), "--contact", *timed, "--json", "-o", str(tmp_path / "depth.csv")]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["entered"][-1]["value"] == pytest.approx(1)
    assert (tmp_path / "depth.csv").read_text().startswith("depth_A,metal_atoms")
    assert run(["order", str(path), "--contact", *timed, "-o", str(tmp_path / "depth.png")]) == 0
    assert run(["order", str(path), "--contact", "--glass"]) == 2
    write_cell(Cell(numbers, positions, LATTICE, regions), tmp_path / "one.extxyz")
    assert run(["order", str(tmp_path / "one.extxyz"), "--contact"]) == 2
    assert "at least 5" in capsys.readouterr().err
