"""Order against crystals whose order is known, an ideal gas, and brute force in skew cells smaller than the cutoff."""

import json
from types import SimpleNamespace

import ase.build
import ase.io
import numpy as np
import pytest
from ase.neighborlist import neighbor_list
from synthetic import ORDERED
from transport_walks import MemoryTrajectory

from atomflow.blocks import estimate, standard_error
from atomflow.cell import Cell, read_cell, write_cell
from atomflow.cli.main import run
from atomflow.errors import InputError
from atomflow.estimate import Estimate
from atomflow.order import accept, measure, open_frames
from atomflow.order.glass import judge, targets
from atomflow.order.neighbours import pairs
from atomflow.order.rdf import radial_distribution
from atomflow.order.rings import boroxol_fraction

TRICLINIC = np.array([[4.1, 0.0, 0.0], [2.6, 3.4, 0.0], [-1.7, 1.9, 3.0]])


def gas(rng, n=6, lattice=TRICLINIC):
    return rng.uniform(-2, 3, (n, 3)) @ lattice  # far outside the box too


@pytest.mark.parametrize("seed", range(5))
def test_pairs_in_a_small_triclinic_cell_are_those_of_brute_force_and_of_ase(seed):
    rng = np.random.default_rng(seed)
    positions, cutoff = gas(rng), 9.0
    found = pairs(positions, TRICLINIC, np.ones(6, bool), np.ones(6, bool), cutoff)
    shifts = np.stack(np.meshgrid(*[np.arange(-12, 13)] * 3, indexing="ij"), -1).reshape(-1, 3) @ TRICLINIC
    inside = ((positions @ np.linalg.inv(TRICLINIC)) % 1.0) @ TRICLINIC
    every = np.linalg.norm(inside[None, :, None] + shifts[None, None] - inside[:, None, None], axis=-1)
    brute = np.sort(every[(every < cutoff) & (every > 1e-9)])
    np.testing.assert_allclose(np.sort(found.distance_A), brute, rtol=1e-9, atol=0)
    atoms = ase.Atoms("Ar6", positions=positions, cell=TRICLINIC, pbc=True)
    i, d = neighbor_list("id", atoms, cutoff)
    assert np.array_equal(np.bincount(i, minlength=6), np.bincount(found.first, minlength=6))
    np.testing.assert_allclose(np.sort(d), brute, rtol=1e-9, atol=0)
    np.testing.assert_allclose(np.linalg.norm(found.vector_A, axis=1), found.distance_A, rtol=1e-12, atol=0)


def source(positions, symbols, lattice):
    frames = SimpleNamespace(name="frames", symbols=np.array(symbols), regions=np.array(["bulk"] * len(symbols)))
    frames.frames = lambda: ((p, lattice) for p in positions)
    return frames


def test_an_ideal_gas_has_g_of_one_and_the_histogram_of_brute_force():
    rng = np.random.default_rng(1)
    frames = [gas(rng, 40, 3 * TRICLINIC) for _ in range(60)]
    rdf = radial_distribution([source(frames, ["Na"] * 20 + ["O"] * 20, 3 * TRICLINIC)], "Na-O", 8.0, 0.5)
    assert np.all(np.abs(rdf.g[4:] - 1.0) < 5 * rdf.error[4:] + 0.02)
    assert rdf.peak_A is None
    i, j = neighbor_list("ij", ase.Atoms("Na20O20", positions=frames[0], cell=3 * TRICLINIC, pbc=True), 8.0)
    single = radial_distribution([source(frames[:1], ["Na"] * 20 + ["O"] * 20, 3 * TRICLINIC)], "Na-O", 8.0, 0.5)
    assert single.running[-1] * 20 == pytest.approx(np.sum((i < 20) & (j >= 20)), rel=1e-12)
    assert np.isnan(single.error).all()


def test_an_fcc_crystal_has_its_shells():
    copper = Cell.from_ase(ase.build.bulk("Cu", a=3.6).repeat(2))
    result = measure(copper, ["Cu-Cu"], {"Cu-Cu": 3.0}, r_max_A=6.0, bin_A=0.01)
    rdf, shell = result.rdfs["Cu-Cu"], result.shells["Cu-Cu"]
    assert rdf.peak_A == pytest.approx(3.6 / np.sqrt(2), abs=0.01)
    for r, neighbours in ((3.0, 12), (4.0, 18), (4.8, 42), (5.3, 54)):
        assert rdf.running[round(r / 0.01) - 1] == pytest.approx(neighbours, rel=1e-12)
    assert shell.mean.value == 12
    assert shell.mean.low is None  # one frame
    assert set(shell.fractions) == {12}
    angles = np.flatnonzero(shell.angle_histogram["density"])
    assert set(angles) <= {59, 60, 89, 90, 119, 120, 179}


def test_nzsp_has_the_bonds_of_its_crystal():
    result = measure(read_cell(ORDERED))
    means = {pair: shell.mean.value for pair, shell in result.shells.items()}
    assert (means["Si-O"], means["P-O"], means["Zr-O"]) == (4, 4, 6)
    assert result.shells["Si-O"].length_A.value == pytest.approx(1.633, abs=0.002)
    assert result.shells["P-O"].length_A.value == pytest.approx(1.533, abs=0.002)
    assert result.shells["Si-O"].angle_deg.value == pytest.approx(109.4, abs=0.3)
    assert result.density_g_per_cm3.value == pytest.approx(3.243, abs=0.001)
    assert result.boroxol.value is None
    assert repr(result).startswith("<OrderResult: 1 frames of 1 replica(s); density 3.243")
    assert "Si-O: 4: 100 %" in str(result)
    assert result.of in str(result)
    assert result.of == "Na12Zr8Si8P4O48 (80 atoms)"  # a cell as it lies: no potential moved it


def boroxol_ring():
    """A planar B3O3 ring with one outer O on each boron."""
    angle = np.radians(60.0 * np.arange(6))
    ring = 1.38 * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    outer = ring[::2] * (1.38 + 1.36) / 1.38
    return np.concatenate([ring[::2], ring[1::2], outer]), ["B"] * 3 + ["O"] * 6


def test_boroxol_rings_are_found_and_chains_around_the_box_are_not():
    positions, symbols = boroxol_ring()
    box = np.diag([12.0, 12.0, 12.0])
    extra = np.concatenate([positions, [[5.0, 5.0, 5.0], [6.3, 5.0, 5.0]]])  # a fourth B, in no ring
    found = boroxol_fraction(extra, box, np.array([*symbols, "B", "O"]), 1.9)
    assert found == pytest.approx(0.75, rel=1e-12)
    chain = np.array([[x, 0, 0] for x in np.arange(6) * 1.4])  # B-O-B-O-B-O- closed only through the box
    assert boroxol_fraction(chain, np.diag([8.4, 9.0, 9.0]), np.array(["B", "O"] * 3), 1.9) == 0.0
    whole = measure(Cell(np.array([5] * 3 + [8] * 6), positions, box), ["B-O"])
    assert whole.boroxol.value == 1.0
    assert whole.bridges["B-O-B"][0].value == pytest.approx(120.0, abs=1e-6)
    assert whole.shells["B-O"].lengths_A[3].value == pytest.approx((2 * 1.38 + 1.36) / 3, rel=1e-9)


def test_a_breathing_cell_is_measured_in_the_box_of_the_moment():
    scale = np.linspace(0.9, 1.1, 11)
    box = 4.0 * np.eye(3)
    fractions = np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]])
    lattices = np.array([s * box for s in scale])
    positions = np.repeat((fractions @ lattices.mean(axis=0))[None], 11, axis=0)
    trajectory = MemoryTrajectory(positions, ["Na", "O"], lattice=lattices)
    result = measure(trajectory, ["Na-O"], {"Na-O": 4.0})
    expected = 4.0 * np.sqrt(3) / 2
    assert result.shells["Na-O"].shortest_A == pytest.approx(0.9 * expected, rel=1e-9)
    assert result.shells["Na-O"].length_A.value == pytest.approx(expected, rel=1e-9)
    densities = (22.98976928 + 15.999) / (64 * scale**3) * 1.66053906660
    assert result.density_g_per_cm3.value == pytest.approx(densities.mean(), rel=1e-6)


def test_intervals_of_correlated_frames_cover_the_mean():
    rng = np.random.default_rng(7)
    covered = {1: 0, 3: 0}
    for _ in range(400):
        for replicas in covered:
            runs = []
            for _ in range(replicas):
                noise = rng.normal(size=400)
                for k in range(1, 400):
                    noise[k] += 0.8 * noise[k - 1]
                runs.append(1.0 + noise)
            covered[replicas] += estimate(runs).overlaps(1.0, 1.0)
    assert 0.91 < covered[1] / 400 < 0.98
    assert 0.92 < covered[3] / 400 < 0.98


def remembering(rng, runs, rows, memory):
    """Rows of variance one that remember each other: an autoregressive process whose sum of correlations is known."""
    phi = (memory - 1) / (memory + 1)  # so that ``memory`` rows count as one
    values = np.empty((runs, rows))
    values[:, 0] = rng.normal(size=runs)
    for k in range(1, rows):
        values[:, k] = phi * values[:, k - 1] + np.sqrt(1 - phi**2) * rng.normal(size=runs)
    return values


@pytest.mark.parametrize(("rows", "memory"), [(1000, 1.0), (2000, 20.0), (200, 50.0)])
def test_the_standard_error_of_a_mean_is_what_means_scatter_by(rows, memory):
    values = remembering(np.random.default_rng(1), 600, rows, memory)
    claimed = np.sqrt(np.mean([standard_error(run, memory) ** 2 for run in values]))
    assert 0.85 < claimed / values.mean(axis=1).std() < 1.35
    plain = np.sqrt(np.mean([standard_error(run) ** 2 for run in values]))
    if rows < 5 * memory:  # blocks alone do not know how long it remembers
        assert plain < 0.8 * claimed


def test_few_rows_have_no_standard_error():
    assert standard_error(np.arange(9.0)) is None
    assert standard_error(np.ones(50)) is None


def glass_like(rng, density_scale=1.0):
    """A boroxol ring and a ZnO4 tetrahedron in a box: lines that pass, fail and are open."""
    positions, _ = boroxol_ring()
    positions = positions + rng.normal(scale=0.001, size=positions.shape)
    tetrahedron = 1.98 * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3) + 6.0
    every = np.concatenate([positions, [[6.0, 6.0, 6.0]], tetrahedron])
    return Cell(np.array([5] * 3 + [8] * 6 + [30] + [8] * 4), every, density_scale * 12.0 * np.eye(3))


def test_glass_acceptance_says_which_line_fails_and_which_is_open():
    rng = np.random.default_rng(3)
    replicas = [glass_like(rng) for _ in range(3)]
    verdict = accept(measure(replicas, ["B-O", "Zn-O"]))
    lines = {line.target.id: line for line in verdict.lines}
    assert lines["density"].verdict == "fail"
    assert lines["density"].why == "below"
    assert lines["b3_o"].verdict == "pass"
    assert lines["zn_o"].verdict == "pass"
    assert lines["zn_cn"].verdict == "pass"
    assert lines["b_network"].verdict == "pass"
    assert lines["n4"].verdict == "pass"
    assert lines["b4_o"].verdict == "cannot say"  # there is no four-coordinated boron
    assert not verdict.accepted
    assert "density, g/cm3: fail" in verdict.sentence
    one = accept(measure(replicas[0], ["B-O", "Zn-O"]))
    assert {line.verdict for line in one.lines} == {"cannot say"}
    assert "1 replica of the 3" in one.sentence


def test_a_line_is_judged_by_its_whole_interval():
    target = next(t for t in targets() if t.id == "zn_o")
    assert judge(target, Estimate(1.99, 1.97, 2.01)).verdict == "pass"
    assert judge(target, Estimate(1.99, 1.94, 2.04)).verdict == "cannot say"
    assert judge(target, Estimate(2.10, 2.05, 2.15)).verdict == "fail"
    assert judge(target, Estimate(1.99, None, None)).verdict == "cannot say"
    density = next(t for t in targets() if t.id == "density")
    assert density.interval() == (2.70, 3.00)
    ceiling = next(t for t in targets() if t.id == "n4")
    assert judge(ceiling, Estimate(0.9, 0.8, 1.0)).verdict == "fail"


def test_regions_limit_the_centres():
    cell = glass_like(np.random.default_rng(0))
    regions = np.where(cell.numbers == 30, "glass", "grain_a")
    labelled = Cell(cell.numbers, cell.positions_A, cell.lattice_A, regions)
    assert measure(labelled, ["Zn-O"], region="glass").shells["Zn-O"].mean.value == 4
    with pytest.raises(InputError, match="there is no B in region glass"):
        measure(labelled, ["B-O"], region="glass")
    with pytest.raises(InputError, match="there is no region metal, only glass, grain_a"):
        measure(labelled, ["Zn-O"], region="metal")


def test_the_command_prints_and_writes(tmp_path, capsys):
    write_cell(glass_like(np.random.default_rng(0)), tmp_path / "glass.extxyz")
    path = str(tmp_path / "glass.extxyz")
    assert run(["order", path, "--pairs", "B-O,Zn-O", "--glass", "--json", "-o", str(tmp_path / "g.csv")]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["shells"]["Zn-O"]["mean"]["value"] == 4
    assert data["glass"]["accepted"] is False
    assert len(data["rdfs"]["B-O"]["g"]) == 160
    header, first = (tmp_path / "g.csv").read_text().splitlines()[:2]
    assert header.startswith("r_A,g_B-O")
    assert first.startswith("0.025,0")
    assert run(["order", path, "--pairs", "Zn-O", "-o", str(tmp_path / "g.png")]) == 0
    assert "Zn-O" in capsys.readouterr().out
    assert (tmp_path / "g.png").stat().st_size > 5000


def denser(path=None, timed=True):
    """Thirty frames 200 fs apart of Na and O in a box that is 10 % longer from frame 10 (2 ps) on."""
    rng = np.random.default_rng(5)
    fractional = rng.random((8, 3))
    images = []
    for index in range(30):
        box = (10.0 if index < 10 else 11.0) * np.eye(3)
        images.append(ase.Atoms("Na4O4", fractional @ box, cell=box, pbc=True))
        if timed:
            images[-1].info["time_fs"] = 200.0 * index
    if path is not None:
        ase.io.write(path, images)
    return images


def dump_of(images, path, column="element"):
    """A LAMMPS dump with times (units metal); atom types 7 and 8 where it names no elements."""
    lines = []
    for index, atoms in enumerate(images):
        edge = atoms.cell.array[0, 0]
        lines += ["ITEM: UNITS", "metal", "ITEM: TIME", f"{0.2 * index}", "ITEM: TIMESTEP", str(100 * index),
                  "ITEM: NUMBER OF ATOMS", "8", "ITEM: BOX BOUNDS pp pp pp", *[f"0 {edge}"] * 3,
                  f"ITEM: ATOMS id {column} x y z"]
        for n, (symbol, place) in enumerate(zip(atoms.symbols, atoms.positions, strict=True), start=1):
            kind = symbol if column == "element" else {"Na": 7, "O": 8}[symbol]
            lines.append(f"{n} {kind} " + " ".join(f"{x:.9f}" for x in place))
    path.write_text("\n".join(lines) + "\n")
    return str(path)


AMU_PER_A3 = 1.66053906660
DENSE, LOOSE = ((4 * 22.98976928 + 4 * 15.999) / edge**3 * AMU_PER_A3 for edge in (10.0, 11.0))


def looked_at(capsys, *arguments):
    assert run(["order", *arguments, "--pairs", "Na-O", "--cutoff", "Na-O=3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    return found["n_frames"], found["density_g_per_cm3"]["value"]


def test_files_of_other_programs_are_read_whole_and_discard_by_their_own_time(tmp_path, capsys):
    denser(tmp_path / "a.extxyz")
    dumped = dump_of(denser(), tmp_path / "a.lammpstrj")
    for path in (str(tmp_path / "a.extxyz"), dumped):
        assert looked_at(capsys, path) == (30, pytest.approx((DENSE + 2 * LOOSE) / 3, rel=1e-6))
        assert looked_at(capsys, path, "--discard-ps", "0.1")[0] == 29
        assert looked_at(capsys, path, "--discard-ps", "2") == (20, pytest.approx(LOOSE, rel=1e-6))
        assert run(["order", path, "--discard-ps", "6"]) == 2
        assert "no frame is left after discarding 6 ps" in capsys.readouterr().err
    assert looked_at(capsys, dump_of(denser()[:1], tmp_path / "one.dump")) == (1, pytest.approx(DENSE, rel=1e-6))
    assert measure(dumped, ["Na-O"], {"Na-O": 3.0}, discard_ps=2.0).n_frames == 20


def test_atom_types_are_no_atomic_numbers(tmp_path, capsys):
    path = dump_of(denser(), tmp_path / "a.lammpstrj", "type")
    assert run(["order", path]) == 2
    assert "say which they are with --elements" in capsys.readouterr().err
    named = "Zr,Si,P,Zn,B,Li, Na, O"
    assert looked_at(capsys, path, "--elements", named)[1] == pytest.approx((DENSE + 2 * LOOSE) / 3, rel=1e-6)
    opened = open_frames(path, elements=["Zr", "Si", "P", "Zn", "B", "Li", "Na", "O"])
    assert measure(opened, ["Na-O"], {"Na-O": 3.0}).of == "Na4O4 (8 atoms) with an unknown potential"


def test_a_time_that_nobody_says_is_asked_for_only_where_it_matters(tmp_path, capsys):
    denser(tmp_path / "a.extxyz", timed=False)
    path = str(tmp_path / "a.extxyz")
    assert repr(open_frames(path)[0]).endswith("30 frames of 8 atoms>")
    assert looked_at(capsys, path)[0] == 30
    assert run(["order", path, "--discard-ps", "1"]) == 2
    assert "does not say how far apart its frames are" in capsys.readouterr().err
    assert looked_at(capsys, path, "--discard-ps", "1", "--frame-interval-fs", "100")[0] == 20


def test_a_file_that_ends_inside_a_frame_says_so_in_the_result(tmp_path, capsys):
    path = tmp_path / "a.lammpstrj"
    dump_of(denser(), path)
    path.write_text(path.read_text()[:-50])
    assert run(["order", str(path), "--pairs", "Na-O"]) == 0
    assert "29 frames are whole and used" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "words"), [
    (["--discard-ps", "nan"], "zero or a positive number"),
    (["--pairs", "B-X"], "there is no X here"),
    (["--pairs", "BO"], "not a pair of elements"),
    (["--cutoff", "B-O"], "write it like B-O=1.85"),
    (["--cutoff", "B-O=-1"], "must be positive"),
    (["--frames", "0"], "at least one frame"),
    (["--bin-a", "0"], "must be positive"),
    (["--pairs", "B-O", "--glass"], "name both"),
    (["-o", "g.xyz"], "end the name in .csv"),
    (["--region", "metal"], "there is no region metal"),
])
def test_wrong_input_is_one_line(tmp_path, capsys, arguments, words):
    write_cell(glass_like(np.random.default_rng(0)), tmp_path / "glass.extxyz")
    assert run(["order", str(tmp_path / "glass.extxyz"), *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert run(["order", str(tmp_path / "none.extxyz")]) == 2
