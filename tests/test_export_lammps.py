"""A cell, a potential and a simulation for LAMMPS; its dump back again. Debian's lmp is the independent oracle."""

import json
import shutil
import subprocess

import numpy as np
import pytest
import torch

from atomflow import potentials, runs, transport
from atomflow.build.nzsp import build_nzsp
from atomflow.cell import Cell, read_cell, write_cell
from atomflow.cli.main import run as command
from atomflow.errors import InputError
from atomflow.md.config import MDConfig
from atomflow.md.lammps import write_lammps
from atomflow.potentials.evaluate import evaluate_cells
from atomflow.potentials.lammps import pair_style
from atomflow.potentials.mace.potential import from_module
from atomflow.potentials.pair import LennardJones
from atomflow.potentials.repulsion import with_repulsion
from atomflow.runs.lammps import data_text, turned

LMP = shutil.which("lmp")
needs_lmp = pytest.mark.skipif(LMP is None, reason="LAMMPS (lmp) is not installed")
SHORT = {"temperature_K": 120.0, "time_ps": 2.0, "equilibration_ps": 0.5, "timestep_fs": 5.0,
         "thermo_interval_fs": 20.0}  # fmt: skip


def somewhere_askew(cell, seed=3):
    """The same cell turned in space, shaken, some atoms several cells from home."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    away = rng.integers(-2, 3, (len(cell), 3)) @ cell.lattice_A
    positions = cell.positions_A + rng.normal(scale=0.05, size=(len(cell), 3)) + away
    return Cell(cell.numbers, positions @ turn, cell.lattice_A @ turn, cell.regions, cell.sites)


def argon(repeats=2):
    """Liquid-like argon in a triclinic box; a third of the atoms are called Na, the upper half is region glass."""
    rng = np.random.default_rng(1)
    grid = np.stack(np.meshgrid(*[np.arange(2 * repeats)] * 3, indexing="ij"), -1).reshape(-1, 3) / (2 * repeats)
    lattice = np.array([[7.8, 0.0, 0.0], [1.9, 7.5, 0.0], [-1.2, 0.9, 7.9]]) * repeats
    positions = (grid + rng.normal(scale=0.01, size=grid.shape)) @ lattice
    sodium = np.arange(len(grid)) % 3 == 0
    return Cell(np.where(sodium, 11, 8), positions, lattice, np.where(grid[:, 2] < 0.5, "grain_a", "glass"))


def engine(potential, cell):
    """Energy (eV) and forces (N, 3) of our engine."""
    found = evaluate_cells(potential, [cell.numbers], [cell.positions_A], [cell.lattice_A])
    return found.energy_eV.item(), found.forces_eV_per_A.numpy()


def lammps(folder, name="run.in", *arguments):
    done = subprocess.run([LMP, "-in", name, "-log", "none", *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-1000:]
    return done.stdout


def energy_and_forces(folder, elements):
    """What LAMMPS makes of the data file and the potential that were written."""
    lines = ["units metal", "atom_style atomic", "atom_modify map yes", "box tilt large", "read_data cell.data",
             "include potential.in", "thermo_style custom step pe", "thermo_modify format float %.16g",
             "dump f all custom 1 forces.dump id element fx fy fz",
             f"dump_modify f sort id element {' '.join(elements)} format float %.16g", "run 0"]
    (folder / "once.in").write_text("\n".join(lines) + "\n")
    text = lammps(folder, "once.in").splitlines()
    row = next(i for i, line in enumerate(text) if line.split() == ["Step", "PotEng"])
    table = np.array([line.split()[2:] for line in (folder / "forces.dump").read_text().splitlines()[9:]], dtype=float)
    return float(text[row + 1].split()[1]), table


@pytest.mark.parametrize("cell", [build_nzsp(primitive=True), argon(1)], ids=["NZSP primitive", "argon"])
@needs_lmp
def test_lammps_and_the_engine_agree_on_energy_and_forces(tmp_path, cell):
    cell = somewhere_askew(cell)
    potential = LennardJones(epsilon_eV=0.02, sigma_A=1.9, cutoff_A=6.5, dtype="float64", device="cpu")
    folder = write_lammps(cell, potential, MDConfig(**SHORT), tmp_path / "out")
    energy, forces = energy_and_forces(folder, cell.composition)
    our_energy, our_forces = engine(potential, cell)
    _, rotation = turned(cell.lattice_A)
    np.testing.assert_allclose(energy, our_energy, rtol=1e-10, atol=0)
    np.testing.assert_allclose(forces, our_forces @ rotation, rtol=0, atol=1e-10 * np.abs(our_forces).max())


def test_the_data_file_is_the_same_crystal_turned(tmp_path):
    import ase.io

    cell = somewhere_askew(build_nzsp(primitive=True))
    lattice, rotation = turned(cell.lattice_A)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-13)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    np.testing.assert_allclose(lattice, cell.lattice_A @ rotation, atol=1e-12)
    assert (np.diag(lattice) > 0).all()
    (tmp_path / "a.data").write_text(data_text(cell, "x"))
    atoms = ase.io.read(tmp_path / "a.data", format="lammps-data", units="metal", atom_style="atomic")
    assert atoms.get_chemical_symbols() == cell.symbols.tolist()
    np.testing.assert_allclose(atoms.get_all_distances(mic=True), cell.to_ase().get_all_distances(mic=True), atol=1e-9)


@needs_lmp
def test_a_run_of_lammps_comes_back(tmp_path, capsys):
    """Cell, regions, time step and temperature without a word from the user; D as from the same data as extxyz."""
    write_cell(argon(), tmp_path / "argon.extxyz")
    folder = tmp_path / "out"
    words = ["export", "lammps", str(tmp_path / "argon.extxyz"), "-p", "lennard-jones-argon", "--dtype", "float64",
             "-T", "120", "--time-ps", "8", "--equilibration-ps", "1", "--timestep-fs", "5", "-o", str(folder)]
    assert command(words) == 0
    lammps(folder)
    run = runs.open_trajectory(folder)
    assert (run.n_frames, run.frame_interval_fs, run.temperature_K) == (401, 20.0, 120.0)
    assert run.potential["name"] == "lennard-jones-argon"
    assert run.regions.tolist() == argon().regions.tolist()
    assert run.symbols.tolist() == argon().symbols.tolist()
    np.testing.assert_allclose(run.cell_summary["angles_deg"], argon().angles_deg, atol=1e-6)
    capsys.readouterr()
    assert command(["analyze", str(folder), "--framework", "cell", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["tracer_diffusivity_cm2_per_s"]["value"]
    other = runs.open_trajectory(as_extxyz(run, tmp_path / "same.extxyz"))
    expected = transport.analyze(other, framework="cell").tracer_diffusivity_cm2_per_s.value
    assert found == pytest.approx(expected, rel=1e-6)
    assert found > 0
    assert command(["analyze", str(folder), "--by", "region", "--along", "z", "--json"]) == 0
    assert {"glass", "grain_a"} <= set(json.dumps(json.loads(capsys.readouterr().out)).replace('"', " ").split())


def as_extxyz(run, path):
    """The trajectory wrapped into the box, as another program would have written it."""
    import ase
    import ase.io

    images = []
    for index, frame in enumerate(run.positions_A(0, run.n_frames)):
        atoms = ase.Atoms(run.symbols, frame, cell=run.mean_lattice_A, pbc=True)
        atoms.wrap()
        atoms.info = {"time_fs": index * run.frame_interval_fs, "temperature_K": run.temperature_K}
        images.append(atoms)
    ase.io.write(path, images)
    return path


@pytest.mark.parametrize("ensemble", ["npt", "nve"])
@needs_lmp
def test_a_resumed_run_is_one_trajectory(tmp_path, ensemble):
    pressure = {"pressure_GPa": 0.1} if ensemble == "npt" else {}
    config = MDConfig(**{**SHORT, "ensemble": ensemble, "checkpoint_interval_ps": 0.5, **pressure})
    potential = LennardJones(device="cpu")
    whole = write_lammps(argon(), potential, config, tmp_path / "whole")
    lammps(whole)
    broken = write_lammps(argon(), potential, config, tmp_path / "broken")
    text = (broken / "run.in").read_text()
    (broken / "run.in").write_text(text.replace("run 400 upto", "run 250 upto"))  # a walltime, after restart.200
    lammps(broken)
    dump = broken / "dump.0.lammpstrj"
    dump.write_text(dump.read_text()[:-300])  # killed inside a frame
    short = runs.open_trajectory(broken)
    assert "frames are whole" in short.warnings[0]
    lammps(broken, "resume.in", "-var", "from", "200")
    one, other = runs.open_trajectory(whole), runs.open_trajectory(dump)
    assert other.n_frames == one.n_frames == 101
    assert other.frame_interval_fs == 20.0
    assert not other.warnings
    assert one.variable_cell == (ensemble == "npt")
    before = np.abs(one.positions_A(0, 51) - one.positions_A(0, 1)).max()
    np.testing.assert_allclose(other.lattices_A(0, 50), one.lattices_A(0, 50), atol=1e-6)
    drift = np.abs(other.positions_A(0, 101) - one.positions_A(0, 101)).max()
    assert before > 0.5
    assert drift < 0.2 * before  # the same dynamics, not bit for bit: LAMMPS rebuilds its lists at a restart


class Ghosts:
    """What LAMMPS's ML-IAP hands to a model: own atoms, their images as ghosts, pairs, and the way back."""

    def __init__(self, cell, types, cutoff_A):
        from ase.neighborlist import neighbor_list

        i, j, images, vectors = neighbor_list("ijSD", cell.to_ase(), cutoff_A)
        self.nlocal, self.npairs = len(cell), len(i)
        keys = {(atom, (0, 0, 0)): atom for atom in range(self.nlocal)}
        self.pair_i = i
        self.pair_j = np.array([keys.setdefault((a, tuple(s)), len(keys)) for a, s in zip(j, images, strict=True)])
        self.owner = np.array([atom for atom, _ in keys])
        self.ntotal, self.rij, self.elems = len(self.owner), vectors, types[self.owner]
        self.eatoms, self.energy = np.zeros(self.nlocal), 0.0

    def forward_exchange(self, source, target, _):
        target.copy_(source)
        target[self.nlocal:] = source[torch.as_tensor(self.owner[self.nlocal:])]

    def reverse_exchange(self, source, target, _):
        target.copy_(source)
        target.index_add_(0, torch.as_tensor(self.owner[self.nlocal:]), source[self.nlocal:])
        target[self.nlocal:] = 0

    def update_pair_forces_gpu(self, forces):
        self.forces = np.zeros((self.nlocal, 3))
        np.add.at(self.forces, self.owner[self.pair_i], forces.detach().numpy())
        np.add.at(self.forces, self.owner[self.pair_j], -forces.detach().numpy())


def test_the_models_written_for_lammps_are_the_model(tmp_path):
    """Both forms of MACE, fed as LAMMPS feeds them, give the engine's energy and forces; a repulsion goes along."""
    cell = somewhere_askew(build_nzsp(primitive=True))
    plain = potentials.load("atomflow-nzsp-0", device="cpu", dtype="float64")
    radii = dict.fromkeys(plain.identity.elements, 1.0)  # so wide that the crystal's own bonds are repelled
    mace = from_module(with_repulsion(plain.model, radii), name="repelling", sha256="0" * 64, source="here",
                       device="cpu", dtype="float64")
    energy, forces = engine(mace, cell)
    assert energy > engine(plain, cell)[0] + 1
    elements = list(cell.composition)
    style = pair_style(mace, elements, tmp_path, "mliap")
    assert style.lines[1] == f"pair_coeff * * {' '.join(elements)}"
    wrapped = torch.load(tmp_path / "potential.mliap_lammps.pt", weights_only=False)
    known = wrapped.element_types
    data = Ghosts(cell, np.array([known.index(symbol) for symbol in cell.symbols]), 2 * wrapped.rcutfac)
    wrapped.compute_forces(data)
    np.testing.assert_allclose(data.energy, energy, rtol=1e-12, atol=0)
    np.testing.assert_allclose(data.forces, forces, rtol=0, atol=1e-10)

    assert "potential.lammps.pt" in pair_style(mace, elements, tmp_path, "libtorch").lines[1]
    script = torch.jit.load(tmp_path / "potential.lammps.pt")
    with torch.jit.optimized_execution(False):
        out = script(graph(cell, script, float(script.r_max)), torch.ones(len(cell), dtype=torch.float64), False)
    np.testing.assert_allclose(out["total_energy_local"].item(), energy, rtol=1e-12)
    np.testing.assert_allclose(out["forces"].detach().numpy(), forces, rtol=0, atol=1e-10)


def graph(cell, script, cutoff_A):
    """What pair_style mace builds of a periodic box on one GPU."""
    from ase.neighborlist import neighbor_list

    i, j, images = neighbor_list("ijS", cell.to_ase(), cutoff_A)
    lattice = torch.tensor(cell.lattice_A)
    table = script.atomic_numbers.tolist()
    one_hot = torch.nn.functional.one_hot(torch.tensor([table.index(z) for z in cell.numbers]), len(table)).double()
    unit_shifts = torch.tensor(images, dtype=torch.float64)
    return {"positions": torch.tensor(cell.positions_A).requires_grad_(True), "node_attrs": one_hot, "cell": lattice,
            "edge_index": torch.tensor(np.stack([i, j])), "unit_shifts": unit_shifts, "shifts": unit_shifts @ lattice,
            "batch": torch.zeros(len(cell), dtype=torch.int64), "ptr": torch.tensor([0, len(cell)]),
            "energy": torch.zeros(1), "forces": torch.zeros(len(cell), 3),
            "weight": torch.ones(1), "energy_weight": torch.ones(1), "forces_weight": torch.ones(1)}  # fmt: skip


def test_what_lammps_is_told(tmp_path):
    config = MDConfig(**{**SHORT, "ensemble": "npt", "pressure_GPa": 0.1, "thermostat_time_fs": 250.0})
    folder = write_lammps(argon(), LennardJones(device="cpu"), config, tmp_path / "out")
    text = (folder / "run.in").read_text()
    assert "fix move all npt tri 1000 1000 2 flip no temp 120 120 0.25" in text
    assert "fix heat all langevin 120 120 0.1" in text
    assert "EXTRA-PAIR" in text
    assert "pair_style lj/mdf 6.8" in (folder / "potential.in").read_text()
    assert read_cell(folder / "cell.extxyz").sha256 == argon().sha256
    other = write_lammps(argon(), LennardJones(device="cpu"), MDConfig(**{**SHORT, "seed": 2}), tmp_path / "two")
    seeds = [next(line for line in (path / "run.in").read_text().splitlines() if line.startswith("velocity all create"))
             for path in (folder, other)]
    assert seeds[0] != seeds[1]


def test_what_cannot_go_to_lammps_is_one_line(tmp_path, capsys):
    cell = str(tmp_path / "cell.extxyz")
    write_cell(argon(), cell)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("x")
    base = ["export", "lammps", cell, "-T", "300", "--time-ps", "1"]
    for more, message in (
        (["-p", "chgnet", "-o", str(tmp_path / "a")], "no form for LAMMPS"),
        (["-p", "lennard-jones-argon", "-o", str(tmp_path / "full")], "not empty"),
        (["-p", "atomflow-nzsp-0", "--interface", "kim", "-o", str(tmp_path / "b")], "must be one of mliap, libtorch"),
        (["-p", "lennard-jones-argon", "--timestep-fs", "3", "-o", str(tmp_path / "c")], "whole number of time steps"),
    ):
        assert command([*base, *more]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert len([line for line in said.splitlines() if not line.startswith("warning: ")]) == 1
    write_cell(Cell([26], [[0.0, 0, 0]], np.eye(3) * 4), cell)
    assert command([*base, "-p", "atomflow-nzsp-0", "-o", str(tmp_path / "d")]) == 2
    assert "Fe" in capsys.readouterr().err
    ramp = MDConfig(temperature_K=300, temperature_end_K=600, time_ps=1)
    with pytest.raises(InputError, match="ramp"):
        write_lammps(argon(), LennardJones(device="cpu"), ramp, tmp_path / "e")


def test_a_folder_that_lammps_did_not_run_or_spoiled(tmp_path):
    folder = write_lammps(argon(1), LennardJones(device="cpu"), MDConfig(**SHORT), tmp_path / "out")
    with pytest.raises(InputError, match="holds no dump yet"):
        runs.open_trajectory(folder)
    dump = "ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n1\nITEM: BOX BOUNDS pp pp pp\n0 5\n0 5\n0 5\n"
    (folder / "dump.0.lammpstrj").write_text(dump + "ITEM: ATOMS id element xu yu zu\n1 Na 0 0 0\n")
    with pytest.raises(InputError, match="other atoms"):
        runs.open_trajectory(folder)
    (folder / "lammps.json").write_text("{")
    with pytest.raises(InputError, match="cannot read"):
        runs.open_trajectory(folder)
