"""Trajectories of other programs, and runs in other programs' formats."""

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.geometry import cellpar_to_cell
from hypothesis import given, settings
from hypothesis import strategies as st

from atomflow import runs
from atomflow.cell import Cell
from atomflow.cli.main import run as command
from atomflow.errors import InputError
from atomflow.runs.export import export

MONOCLINIC = cellpar_to_cell([9.0, 7.0, 8.0, 90, 124, 90])
TRICLINIC = cellpar_to_cell([8.0, 7.0, 9.0, 70, 105, 62])
KNOWN = {"frame_interval_fs": 20.0, "temperature_K": 900.0}


def random_walk(lattice, n_frames=60, n_atoms=6, step_A=0.8, seed=0):
    """(F, N, 3) positions of a walk that leaves the cell several times over."""
    rng = np.random.default_rng(seed)
    start = rng.random((n_atoms, 3)) @ lattice
    steps = rng.normal(scale=step_A / np.sqrt(3), size=(n_frames - 1, n_atoms, 3)) + 0.15
    return start + np.concatenate([np.zeros((1, n_atoms, 3)), np.cumsum(steps, axis=0)])


def images_of(positions, lattice, wrap):
    lattices = np.broadcast_to(lattice, (len(positions), 3, 3))
    symbols = (["Na", "O", "Na", "Zr", "P", "Si"] * 5)[: positions.shape[1]]
    images = [Atoms(symbols, frame, cell=box, pbc=True) for frame, box in zip(positions, lattices, strict=True)]
    for atoms in images if wrap else ():
        atoms.wrap()
    return images


def displacements(trajectory):
    positions = trajectory.positions_A(0, trajectory.n_frames)
    return positions - positions[0]


@pytest.mark.parametrize("lattice", [MONOCLINIC, TRICLINIC], ids=["monoclinic", "triclinic"])
@pytest.mark.parametrize(("wrap", "wrapped"), [(True, "auto"), (True, True), (False, "auto"), (False, False)])
def test_a_known_walk_comes_back(lattice, wrap, wrapped):
    walk = random_walk(lattice)
    assert np.abs(np.linalg.solve(lattice.T, (walk[-1] - walk[0]).T)).max() > 1
    trajectory = runs.open_trajectory(images_of(walk, lattice, wrap), wrapped=wrapped, **KNOWN)
    np.testing.assert_allclose(displacements(trajectory), walk - walk[0], rtol=0, atol=1e-10)
    assert trajectory.warnings == []
    assert trajectory.symbols.tolist()[:4] == ["Na", "O", "Na", "Zr"]
    assert (trajectory.frame_interval_fs, trajectory.temperature_K) == (20.0, 900.0)
    np.testing.assert_array_equal(trajectory.times_fs[:3], [0, 20, 40])


@given(st.integers(0, 10_000), st.floats(65, 115), st.floats(65, 115), st.floats(70, 110), st.floats(0, 0.03))
@settings(max_examples=25, deadline=None)
def test_unwrapping_in_any_breathing_cell(seed, alpha, beta, gamma, breath):
    """The fractional walk is the truth; wrapped frames of a box that breathes and shears give it back."""
    rng = np.random.default_rng(seed)
    mean = cellpar_to_cell([8, 9, 10, alpha, beta, gamma])
    fractional = np.cumsum(rng.uniform(-0.35, 0.39, size=(80, 4, 3)), axis=0)
    lattices = mean * (1 + breath * rng.uniform(-1, 1, size=(80, 3, 3)))
    images = images_of((fractional - np.floor(fractional)) @ lattices, lattices, wrap=False)
    trajectory = runs.open_trajectory(images, wrapped=True, **KNOWN)
    found = trajectory.positions_A(0, 80) @ np.linalg.inv(trajectory.mean_lattice_A)
    np.testing.assert_allclose(found - found[0], fractional - fractional[0], rtol=0, atol=1e-9)
    np.testing.assert_allclose(trajectory.lattices_A(0, 80), lattices)


def test_an_atom_at_rest_in_a_breathing_cell_does_not_diffuse():
    """The trap of NPT: unwrapped positions in the box of the moment would move by 10 cells × 1 % each frame."""
    lattices = MONOCLINIC * (1 + 0.01 * np.sin(np.arange(50)))[:, None, None]
    fractional = np.array([[10.3, -4.2, 7.7], [0.1, 0.2, 0.3]])
    trajectory = runs.open_trajectory(images_of(fractional @ lattices, lattices, wrap=False), **KNOWN)
    assert trajectory.variable_cell
    assert np.abs(displacements(trajectory)).max() < 1e-9


def test_steps_near_half_a_cell_are_warned_about():
    walk = random_walk(MONOCLINIC, step_A=0.3)
    walk[30:, 2] += 0.46 * MONOCLINIC[1]
    trajectory = runs.open_trajectory(images_of(walk, MONOCLINIC, wrap=True), **KNOWN)
    assert "atom 2 moves by 0.4" in trajectory.warnings[0]
    assert "between frames 29 and 30" in trajectory.warnings[0]


@pytest.mark.parametrize(("name", "format"), [("a.extxyz", "extxyz"), ("a.traj", "traj"), ("XDATCAR", "vasp-xdatcar")])
def test_files_that_ase_writes(tmp_path, name, format):
    walk = random_walk(MONOCLINIC)
    order = np.argsort(images_of(walk, MONOCLINIC, False)[0].numbers, kind="stable")
    images = [atoms[order] for atoms in images_of(walk, MONOCLINIC, wrap=True)]
    ase.io.write(tmp_path / name, images, format=format)
    trajectory = runs.open_trajectory(tmp_path / name, **KNOWN)
    np.testing.assert_allclose(displacements(trajectory), (walk - walk[0])[:, order], rtol=0, atol=2e-6)
    assert trajectory.symbols.tolist() == list(images[0].symbols)
    subset = trajectory.positions_A(5, 9, [3, 0])
    np.testing.assert_array_equal(subset, trajectory.positions_A(5, 9)[:, [3, 0]])


def lammps_text(walk, lattice, columns, wrap=True, every=10, shuffle=True):
    """A LAMMPS dump as LAMMPS writes it: atoms in any order, box bounds around a tilted box with an origin."""
    rng = np.random.default_rng(3)
    origin = np.array([-1.0, 2.0, 0.5])
    (lx, _, _), (xy, ly, _), (xz, yz, lz) = lattice
    low = origin + np.array([min(0, xy, xz, xy + xz), min(0, yz), 0])
    high = origin + np.array([lx + max(0, xy, xz, xy + xz), ly + max(0, yz), lz])
    lines = []
    for index, frame in enumerate(walk):
        fractional = np.linalg.solve(lattice.T, frame.T).T
        image = np.floor(fractional) if wrap else np.zeros_like(fractional)
        lines += ["ITEM: TIMESTEP", str(index * every), "ITEM: NUMBER OF ATOMS", str(len(frame)),
                  "ITEM: BOX BOUNDS xy xz yz pp pp pp"]
        lines += [f"{a:.12g} {b:.12g} {t:.12g}" for a, b, t in zip(low, high, (xy, xz, yz), strict=True)]
        lines.append("ITEM: ATOMS id type " + columns)
        for atom in rng.permutation(len(frame)) if shuffle else range(len(frame)):
            inside = (fractional[atom] - image[atom]) @ lattice + origin
            values = {"xyz": inside, "su": fractional[atom], "i": image[atom].astype(int), "u": frame[atom] + origin,
                      "s": fractional[atom] - image[atom]}
            row = [v for name in columns.split() for v in [values[_kind(name)]["xyz".index(name.strip("isu"))]]]
            lines.append(f"{atom + 1} {1 + atom % 2} " + " ".join(f"{v:.12g}" for v in row))
    return "\n".join(lines) + "\n"


def _kind(name):
    return "i" if name[0] == "i" else name[1:] or "xyz"


@pytest.mark.parametrize("columns", ["x y z", "xs ys zs", "xu yu zu", "xsu ysu zsu", "x y z ix iy iz"])
def test_lammps_dumps_sorted_by_id_in_a_tilted_box(tmp_path, columns):
    lattice = np.array([[8.0, 0, 0], [-2.5, 7.0, 0], [1.5, 2.0, 9.0]])
    walk = random_walk(lattice)
    (tmp_path / "a.dump").write_text(lammps_text(walk, lattice, columns))
    trajectory = runs.open_trajectory(tmp_path / "a.dump", elements=["Na", "O"], **KNOWN)
    np.testing.assert_allclose(displacements(trajectory), walk - walk[0], rtol=0, atol=1e-8)
    np.testing.assert_allclose(trajectory.lattices_A(0, 1)[0], lattice, atol=1e-9)
    assert trajectory.symbols.tolist() == ["Na", "O"] * 3
    theirs = ase.io.read(tmp_path / "a.dump", index=7, format="lammps-dump-text")
    apart = trajectory.positions_A(7, 8)[0] @ np.linalg.inv(lattice) - theirs.get_scaled_positions(wrap=False)
    apart -= apart[0]  # ASE keeps the box's origin
    np.testing.assert_allclose(apart - np.round(apart), 0, atol=1e-8)


def test_image_counts_of_lammps_survive_frames_too_far_apart(tmp_path):
    lattice = np.diag([8.0, 7.0, 9.0])
    walk = random_walk(lattice, step_A=6.0)
    (tmp_path / "a.dump").write_text(lammps_text(walk, lattice, "x y z ix iy iz"))
    trajectory = runs.open_trajectory(tmp_path / "a.dump", elements=["Na", "O"], **KNOWN)
    np.testing.assert_allclose(displacements(trajectory), walk - walk[0], rtol=0, atol=1e-8)
    assert trajectory.warnings == []


def test_time_and_temperature_are_found_where_the_file_says_them(tmp_path):
    images = images_of(random_walk(MONOCLINIC, 5), MONOCLINIC, False)
    for index, atoms in enumerate(images):
        atoms.info.update(time_fs=index * 15.0, temperature_K=700.0)
    trajectory = runs.open_trajectory(images)
    assert (trajectory.frame_interval_fs, trajectory.temperature_K) == (15.0, 700.0)
    ase.io.write(tmp_path / "XDATCAR", images, format="vasp-xdatcar")
    with pytest.raises(InputError, match="--frame-interval-fs"):
        runs.open_trajectory(tmp_path / "XDATCAR")
    (tmp_path / "INCAR").write_text("IBRION = 0 ! md\nPOTIM = 2.0; NBLOCK = 5\nTEBEG = 800\n")
    trajectory = runs.open_trajectory(tmp_path / "XDATCAR")
    assert (trajectory.frame_interval_fs, trajectory.temperature_K) == (10.0, 800.0)
    for atoms in images:
        del atoms.info["temperature_K"]
    with pytest.raises(InputError, match="--temperature"):
        runs.open_trajectory(images)
    images[3].info["time_fs"] = 50.0
    with pytest.raises(InputError, match="not at equal intervals"):
        runs.open_trajectory(images, **KNOWN)


def spoiled(images, kind):
    if kind == "nan":
        images[3].positions[2, 1] = np.nan
    elif kind == "fewer":
        del images[3][0]
    elif kind == "species":
        images[3].symbols[1] = "K"
    elif kind == "no cell":
        images[3].cell = np.zeros((3, 3))
    return images


@pytest.mark.parametrize(
    ("kind", "message"),
    [("nan", "frame 3 the position of atom 2 is not a number; the 3 frames before it are good"),
     ("fewer", "frame 3 has 5 atoms, the frames before have 6"),
     ("species", "atom 1 of frame 3 is another element"),
     ("no cell", "frame 3: there is no periodic cell")],
)
@pytest.mark.parametrize("in_file", [True, False])
def test_a_bad_frame_is_named(tmp_path, kind, message, in_file):
    source = spoiled(images_of(random_walk(MONOCLINIC, 6), MONOCLINIC, False), kind)
    if in_file:
        ase.io.write(tmp_path / "a.traj", source)
        source = tmp_path / "a.traj"
    with pytest.raises(InputError, match=message):
        runs.open_trajectory(source, **KNOWN)


def cut(path, part):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])


@pytest.mark.parametrize("name", ["a.extxyz", "XDATCAR", "a.dump"])
def test_of_a_file_that_ends_inside_a_frame_the_whole_frames_are_used(tmp_path, name):
    walk = random_walk(MONOCLINIC, 10)
    if name == "a.dump":
        (tmp_path / name).write_text(lammps_text(walk, np.diag([8.0, 7.0, 9.0]), "x y z"))
    else:
        ase.io.write(tmp_path / name, images_of(walk, MONOCLINIC, False))
    elements = ["Na", "O"] if name == "a.dump" else None
    whole = runs.open_trajectory(tmp_path / name, elements=elements, **KNOWN)
    cut(tmp_path / name, 0.65)
    part = runs.open_trajectory(tmp_path / name, elements=elements, **KNOWN)
    assert "6 frames are whole and used" in part.warnings[0]
    np.testing.assert_array_equal(part.positions_A(0, part.n_frames), whole.positions_A(0, 6))
    cut(tmp_path / name, 0.1)
    with pytest.raises(InputError, match=r"frame 0 is cut short.*no frame is good"):
        runs.open_trajectory(tmp_path / name, elements=elements, **KNOWN)


@pytest.mark.parametrize("name", ["a.extxyz", "XDATCAR", "a.dump", "a.traj", "a.nc"])
def test_no_cut_of_a_file_escapes_as_a_traceback(tmp_path, name):
    walk = random_walk(MONOCLINIC, 3)
    path = tmp_path / name
    for part in np.linspace(0, 0.97, 12):
        if name == "a.dump":
            path.write_text(lammps_text(walk, np.diag([8.0, 7.0, 9.0]), "x y z"))
        elif name == "a.nc":
            path.unlink(missing_ok=True)
            export(a_run(tmp_path / f"run{part}"), "netcdf", path)
        else:
            ase.io.write(path, images_of(walk, MONOCLINIC, False))
        cut(path, part)
        problem, trajectory = None, None
        try:
            trajectory = runs.open_trajectory(path, elements=["Na", "O"] if name == "a.dump" else None, **KNOWN)
        except InputError as error:
            problem = str(error)
        if problem is None:  # what is whole is used
            assert trajectory.n_frames < 3
        else:
            assert name in problem
            assert "\n" not in problem


def test_what_is_no_trajectory(tmp_path):
    (tmp_path / "empty.xyz").write_text("")
    (tmp_path / "text.qqq").write_text("hello\n")
    (tmp_path / "types.dump").write_text(lammps_text(random_walk(MONOCLINIC, 2), np.diag([8.0, 7, 9]), "x y z"))
    (tmp_path / "molecule.xyz").write_text("1\n\nNa 0 0 0\n")
    cases = {"missing.xyz": "there is no file", "empty.xyz": "is empty", "text.qqq": "--format",
             "types.dump": "--elements", "molecule.xyz": "no periodic cell", ".": "not a run folder"}
    for name, message in cases.items():
        with pytest.raises(InputError, match=message):
            runs.open_trajectory(tmp_path / name, **KNOWN)
    with pytest.raises(InputError, match="holds no frames"):
        runs.open_trajectory([], **KNOWN)
    with pytest.raises(InputError, match="must be a positive number"):
        runs.open_trajectory([], frame_interval_fs=0.0)


def test_a_trajectory_h5_without_its_run_can_be_read(tmp_path):
    run = a_run(tmp_path / "run")
    (tmp_path / "alone.h5").write_bytes((tmp_path / "run" / "trajectory.h5").read_bytes())
    alone = runs.open_trajectory(tmp_path / "alone.h5", temperature_K=800.0)
    assert alone.frame_interval_fs == 5.0
    assert alone.symbols.tolist() == run.symbols.tolist()
    np.testing.assert_allclose(alone.positions_A(0, 12), run.positions_A(0, 12), rtol=0, atol=1e-5)
    (tmp_path / "alone.h5").write_bytes((tmp_path / "run" / "cell.h5").read_bytes())
    with pytest.raises(InputError, match="no H5MD trajectory"):
        runs.open_trajectory(tmp_path / "alone.h5", **KNOWN)


def test_a_missing_line_break_at_the_end_is_mentioned(tmp_path):
    path = tmp_path / "a.extxyz"
    ase.io.write(path, images_of(random_walk(MONOCLINIC, 4), MONOCLINIC, False))
    path.write_bytes(path.read_bytes().rstrip()[:-2])
    assert "cut short" in runs.open_trajectory(path, **KNOWN).warnings[0]


# --- export -----------------------------------------------------------------------------------------------------


def a_run(folder, lattice=TRICLINIC, n_frames=12):
    """A finished run that leaves the cell, in a box that breathes and lies askew in space."""
    turn = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    walk = random_walk(lattice, n_frames) @ turn
    writer = runs.RunWriter.create(folder, {"ensemble": "npt", "temperature_K": 800.0},
                                   Cell([11, 8, 11, 40, 15, 14], walk[0], lattice @ turn,
                                        regions=["bulk", "glass"] * 3), {})
    for index, frame in enumerate(walk):
        writer.frame(index, index * 5.0, frame, lattice @ turn * (1 + 0.01 * np.sin(index)))
    writer.finish("done")
    return runs.open_run(folder)


def test_extxyz_comes_back_by_ase_and_by_us(tmp_path):
    run = a_run(tmp_path / "run")
    assert command(["export", str(tmp_path / "run"), "--format", "extxyz", "-o", str(tmp_path / "a.extxyz")]) == 0
    images = ase.io.read(tmp_path / "a.extxyz", index=":")
    np.testing.assert_allclose([atoms.positions for atoms in images], run.raw_positions_A(0, 12), atol=1e-8)
    np.testing.assert_allclose([atoms.cell.array for atoms in images], run.lattices_A(0, 12), atol=1e-8)
    assert images[0].arrays["region"].tolist() == ["bulk", "glass"] * 3
    again = runs.open_trajectory(tmp_path / "a.extxyz")
    assert (again.frame_interval_fs, again.temperature_K) == (5.0, 800.0)
    np.testing.assert_allclose(again.positions_A(0, 12), run.positions_A(0, 12), atol=1e-7)


@pytest.mark.parametrize("wrap", [False, True])
def test_netcdf_keeps_distances_cells_and_times(tmp_path, wrap):
    """AMBER turns the box; fractional coordinates stay. Read back by us, ASE (netCDF4) and MDAnalysis."""
    run = a_run(tmp_path / "run")
    arguments = ["export", str(run.folder), "--format", "netcdf", "--stride", "2", "-o", str(tmp_path / "a.nc")]
    assert command(arguments + ["--wrap"] * wrap) == 0
    again = runs.open_trajectory(tmp_path / "a.nc")
    assert (again.n_frames, again.frame_interval_fs, again.temperature_K) == (6, 10.0, 800.0)
    assert again.symbols.tolist() == run.symbols.tolist()
    ours = again.positions_A(0, 6) @ np.linalg.inv(again.mean_lattice_A)
    truth = run.positions_A(0, 12)[::2] @ np.linalg.inv(run.mean_lattice_A)
    np.testing.assert_allclose(ours - ours[0], truth - truth[0], rtol=0, atol=1e-5)
    if wrap:
        raw = runs.open_trajectory(tmp_path / "a.nc", wrapped=False)
        inside = raw.positions_A(0, 6) @ np.linalg.inv(raw.mean_lattice_A)
        assert inside.min() > -1e-5
        assert inside.max() < 1 + 1e-5


def test_netcdf_opens_elsewhere(tmp_path):
    pytest.importorskip("netCDF4")
    run = a_run(tmp_path / "run")
    path = export(run, "netcdf", tmp_path / "a.nc")
    images = ase.io.read(path, index=":", format="netcdftrajectory")
    truth = [np.linalg.solve(box.T, frame.T).T for frame, box in
             zip(run.raw_positions_A(0, 12), run.lattices_A(0, 12), strict=True)]
    found = [np.linalg.solve(atoms.cell.array.T, atoms.positions.T).T for atoms in images]
    np.testing.assert_allclose(found, truth, rtol=0, atol=1e-5)
    assert images[0].numbers.tolist() == [11, 8, 11, 40, 15, 14]
    pytest.importorskip("MDAnalysis")
    from MDAnalysis.coordinates.TRJ import NCDFReader

    with NCDFReader(str(path)) as reader:
        np.testing.assert_allclose(reader[5].positions, images[5].positions, atol=1e-5)


def test_lammps_data_of_the_last_frame_names_its_types(tmp_path):
    run = a_run(tmp_path / "run")
    with pytest.raises(InputError, match=r"a data file of the last frame.*end it in .data, or export extxyz or netcdf"):
        export(run, "lammps", tmp_path / "a.lammpstrj")
    path = export(run, "lammps", tmp_path / "a.data")
    assert "1 = Na, 2 = O, 3 = Zr, 4 = P, 5 = Si" in path.read_text().splitlines()[0]
    atoms = ase.io.read(path, format="lammps-data", units="metal", atom_style="atomic")
    assert atoms.symbols.get_chemical_formula() == Atoms(numbers=run.cell().numbers).symbols.get_chemical_formula()
    np.testing.assert_allclose(atoms.get_all_distances(mic=True), run.cell().to_ase().get_all_distances(mic=True),
                               atol=1e-6)
    np.testing.assert_allclose(atoms.cell.cellpar(), run.cell().to_ase().cell.cellpar(), atol=1e-6)


def test_export_refuses_what_it_cannot_do(tmp_path, capsys):
    folder = str(a_run(tmp_path / "run").folder)
    (tmp_path / "there.xyz").write_text("mine")
    for arguments, message in (
        (["--format", "pdb"], "must be one of"),
        ([], "in which format? give --format extxyz, netcdf, lammps, or end -o in .extxyz, .nc, .data"),
        (["-o", str(tmp_path / "a.pdb")], "in which format?"),
        (["--format", "extxyz", "--stride", "0"], "--stride"),
        (["--format", "extxyz", "-o", str(tmp_path / "there.xyz")], "already there"),
        (["--format", "extxyz", "-o", str(tmp_path / "no" / "a.xyz")], "does not exist"),
    ):
        assert command(["export", folder, *arguments]) == 2
        assert message in capsys.readouterr().err
    assert (tmp_path / "there.xyz").read_text() == "mine"
    assert command(["export", str(tmp_path), "--format", "extxyz"]) == 2


@pytest.mark.parametrize("name", ["run", "lammps"])
def test_a_run_folder_may_be_called_as_a_command_is_and_the_ending_is_the_format(tmp_path, monkeypatch, capsys, name):
    a_run(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert command(["export", name, "-o", "x.extxyz"]) == 0
    assert capsys.readouterr().out == "x.extxyz\n"
    assert runs.open_trajectory("x.extxyz").n_frames == runs.open_run(name).n_frames
