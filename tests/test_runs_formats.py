"""What foreign files say of units, time, temperature and ids is used or refused; planted walks are the truth."""

import gzip
import sys
from pathlib import Path

import ase.io
import h5py
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.geometry import cell_to_cellpar
from ase.units import kB
from scipy.io import netcdf_file
from test_runs_foreign import KNOWN, MONOCLINIC, displacements, images_of, lammps_text, random_walk

from atomflow import runs
from atomflow.cli.main import run as command
from atomflow.errors import InputError
from atomflow.runs.means import mean_temperature_K

LATTICE = np.array([[8.0, 0, 0], [-2.5, 7.0, 0], [1.5, 2.0, 9.0]])
WALK = random_walk(LATTICE, 40)
NUMBERS = [11, 8, 11, 40, 15, 14]


def close_to_the_walk(trajectory, walk=WALK, atol=2e-5):
    np.testing.assert_allclose(displacements(trajectory), walk - walk[0], rtol=0, atol=atol)


# --- NetCDF -------------------------------------------------------------------------------------------------------


def lammps_netcdf(path, time="picosecond", scale=0.002, length="angstrom", size=1.0, dataset=None, shuffle=False):
    """As LAMMPS's dump netcdf: the step number as time, the time step as its scale, types, ids, an origin."""
    rng = np.random.default_rng(1)
    handle = netcdf_file(path, "w", version=2) if dataset is None else dataset
    handle.Conventions = "AMBER"
    for name, count in (("frame", None), ("spatial", 3), ("atom", 6), ("cell_spatial", 3), ("cell_angular", 3)):
        handle.createDimension(name, count)
    variables = {name: handle.createVariable(name, kind, ("frame", *shape)) for name, kind, shape in (
        ("time", "f4", ()), ("coordinates", "f8", ("atom", "spatial")), ("cell_lengths", "f8", ("cell_spatial",)),
        ("cell_angles", "f8", ("cell_angular",)), ("cell_origin", "f8", ("cell_spatial",)),
        ("type", "i4", ("atom",)), ("id", "i4", ("atom",)))}
    variables["time"].units = time
    if scale:
        variables["time"].scale_factor = np.float32(scale)
    for name in ("coordinates", "cell_lengths", "cell_origin"):
        variables[name].units = length
    shape = cell_to_cellpar(LATTICE)
    if dataset is not None:
        handle.set_auto_maskandscale(False)
    for index, frame in enumerate(WALK):
        fractional = np.linalg.solve(LATTICE.T, frame.T).T
        order = rng.permutation(6) if shuffle else np.arange(6)
        inside = (fractional - np.floor(fractional)) @ LATTICE + index  # the origin moves as a barostat moves it
        variables["time"][index] = index * 100 if scale else index * 200.0
        variables["coordinates"][index] = inside[order] / size
        variables["cell_lengths"][index], variables["cell_angles"][index] = shape[:3] / size, shape[3:]
        variables["cell_origin"][index] = np.full(3, index / size)
        variables["type"][index], variables["id"][index] = (1 + order % 2), 10 + order
    handle.close()
    return path


@pytest.mark.parametrize(("given", "interval"), [
    ({}, 200.0), ({"time": "femtosecond", "scale": 2.0}, 200.0), ({"time": "femtosecond", "scale": None}, 200.0),
    ({"length": "Bohr", "size": 0.529177210903, "shuffle": True}, 200.0), ({"time": "nanoseconds"}, 200e3)])
def test_netcdf_of_lammps_is_read_in_the_units_it_names(tmp_path, given, interval):
    trajectory = runs.open_trajectory(lammps_netcdf(tmp_path / "a.nc", **given), temperature_K=700.0,
                                      elements=["Na", "O"])
    assert trajectory.frame_interval_fs == pytest.approx(interval, rel=1e-6)
    close_to_the_walk(trajectory)
    assert trajectory.symbols.tolist() == ["Na", "O"] * 3


def test_netcdf_in_reduced_units_is_refused(tmp_path):
    for given, word in (({"time": "lj"}, "time in 'lj'"), ({"length": "lj"}, "cell_lengths in 'lj'")):
        with pytest.raises(InputError, match=word):
            runs.open_trajectory(lammps_netcdf(tmp_path / "a.nc", **given), elements=["Na", "O"], **KNOWN)


@pytest.mark.parametrize(("kind", "named"), [("NETCDF4", "NetCDF-4"), ("NETCDF3_64BIT_DATA", "CDF-5")])
def test_newer_kinds_of_netcdf_are_read_by_netcdf4_or_named(tmp_path, monkeypatch, kind, named):
    package = pytest.importorskip("netCDF4")
    path = lammps_netcdf(tmp_path / "a.nc", dataset=package.Dataset(tmp_path / "a.nc", "w", format=kind))
    trajectory = runs.open_trajectory(path, temperature_K=700.0, elements=["Na", "O"])
    assert trajectory.frame_interval_fs == pytest.approx(200.0, rel=1e-6)
    close_to_the_walk(trajectory)
    (tmp_path / "cut.nc").write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"frame 39 cannot be read \(zeros where|cut.nc is damaged"):
        runs.open_trajectory(tmp_path / "cut.nc", temperature_K=700.0, elements=["Na", "O"])
    monkeypatch.setitem(sys.modules, "netCDF4", None)
    with pytest.raises(InputError, match=f"the kind {named}.*pip install netCDF4.*nccopy -k nc6"):
        runs.open_trajectory(path, temperature_K=700.0, elements=["Na", "O"])


def test_half_a_netcdf_file_is_named(tmp_path):
    path = lammps_netcdf(tmp_path / "a.nc")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 + 1])
    with pytest.raises(InputError, match=r"a.nc is cut short or damaged: .* copy it again"):
        runs.open_trajectory(path, elements=["Na", "O"], **KNOWN)


# --- H5MD ---------------------------------------------------------------------------------------------------------


def h5md(path, unit="Angstrom", size=1.0, fixed=False):
    with h5py.File(path, "w") as handle:
        group = handle.create_group("particles/all")
        for name, values in (("position", WALK), ("box/edges", np.broadcast_to(LATTICE, (len(WALK), 3, 3)))):
            group.create_dataset(f"{name}/value", data=values / size).attrs["unit"] = unit
        time = group.create_dataset("position/time", data=0.2 if fixed else 0.2 * np.arange(len(WALK)))
        time.attrs["unit"] = "ps"
        if fixed:
            time.attrs["offset"] = 7.0
        group["species"] = NUMBERS
    return path


@pytest.mark.parametrize("given", [{}, {"unit": "nm", "size": 10.0}, {"unit": b"pm", "size": 0.01}, {"fixed": True}])
def test_h5md_in_any_unit_and_at_fixed_intervals(tmp_path, given):
    trajectory = runs.open_trajectory(h5md(tmp_path / "a.h5md", **given), temperature_K=700.0)
    assert trajectory.frame_interval_fs == pytest.approx(200.0, rel=1e-9)
    close_to_the_walk(trajectory, atol=1e-9)
    with pytest.raises(InputError, match="positions in 'sigma'"):
        runs.open_trajectory(h5md(tmp_path / "b.h5md", unit="sigma"), **KNOWN)


# --- XDATCAR ------------------------------------------------------------------------------------------------------


def xdatcar(path, keep=slice(None), number=lambda index: index + 1):
    """Frames ``keep`` of the walk under one head, numbered as they were before the others were taken out."""
    order = np.argsort(NUMBERS, kind="stable")
    images = [atoms[order] for atoms in images_of(WALK, LATTICE, wrap=True)]
    ase.io.write(path, images, format="vasp-xdatcar")
    head, *blocks = path.read_text().split("Direct configuration=")
    numbered = ["\n".join([f"Direct configuration={number(index):6d}", *block.split("\n")[1:7], ""])
                for index, block in enumerate(blocks)]
    path.write_text(head + "".join(numbered[keep]))
    return path


def incar(folder, *more):
    (folder / "INCAR").write_text("\n".join(["IBRION = 0", "POTIM = 2.0", "TEBEG = 700", *more]))


MLFF = ("ML_LMLFF = .TRUE.", "ML_MODE = run", "ML_OUTBLOCK = 100")


@pytest.mark.parametrize(("tags", "keep", "number", "interval"), [
    (["NBLOCK = 100"], slice(None), lambda index: index + 1, 200.0),  # numbered by tools that rewrote it
    (["NBLOCK = 100"], slice(None), lambda index: 100 * (index + 1), 200.0),  # numbered by VASP: MD steps
    (["NBLOCK = 100"], slice(None, None, 5), lambda index: index + 1, 1000.0),
    (["NBLOCK = 100"], slice(None, None, 5), lambda index: 100 * (index + 1), 1000.0),
    ([], slice(4, None, 5), lambda index: index + 1, 10.0),
    (MLFF, slice(None), lambda index: index + 1, 200.0),
    ((*MLFF[:2], "ML_OUTBLOCK = 10", "NBLOCK = 50"), slice(None), lambda index: index + 1, 100.0),
    ((MLFF[0], "ML_MODE = train", MLFF[2]), slice(None), lambda index: index + 1, 2.0)])
def test_the_numbers_of_an_xdatcar_are_its_time(tmp_path, tags, keep, number, interval):
    incar(tmp_path, *tags)
    trajectory = runs.open_trajectory(xdatcar(tmp_path / "XDATCAR", keep, number))
    assert (trajectory.frame_interval_fs, trajectory.temperature_K) == (interval, 700.0)


def test_an_xdatcar_with_frames_cut_out_is_refused_and_two_joined_are_one(tmp_path):
    incar(tmp_path, "NBLOCK = 10")
    path = xdatcar(tmp_path / "XDATCAR")
    head, *blocks = path.read_text().split("Direct configuration=")
    path.write_text("Direct configuration=".join([head, *blocks[:10], *blocks[15:]]))
    for known in ({}, KNOWN):
        with pytest.raises(InputError, match=r"not at equal intervals \(steps apart by 1 to 6\)"):
            runs.open_trajectory(path, **known)
    one = xdatcar(tmp_path / "XDATCAR", slice(0, 30)).read_text()
    for number in (lambda index: index - 29, lambda index: 10 * (index - 29)):  # the second run begins anew
        first = one if number(30) == 1 else xdatcar(path, slice(0, 30), lambda index: 10 * (index + 1)).read_text()
        path.write_text(first + xdatcar(tmp_path / "XDATCAR_2", slice(30, 40), number).read_text())
        joined = runs.open_trajectory(path)
        assert (joined.n_frames, joined.frame_interval_fs) == (40, 20.0)
        close_to_the_walk(joined, WALK[:, np.argsort(NUMBERS, kind="stable")])


def test_blank_lines_in_an_xdatcar_are_no_frames(tmp_path):
    path = xdatcar(tmp_path / "XDATCAR")
    path.write_text(" \n" + path.read_text().split("\n", 1)[1] + " \n\n")  # a nameless system, and two at the end
    assert runs.open_trajectory(path, **KNOWN).n_frames == len(WALK)


def test_an_xdatcar_is_told_by_its_content_and_may_be_compressed(tmp_path):
    order = np.argsort(NUMBERS, kind="stable")
    (tmp_path / "XDATCAR.gz").write_bytes(gzip.compress(xdatcar(tmp_path / "XDATCAR").read_bytes()))
    (tmp_path / "hot").write_bytes((tmp_path / "XDATCAR.gz").read_bytes())
    ase.io.write(tmp_path / "XDATCAR_run.extxyz", [atoms[order] for atoms in images_of(WALK, LATTICE, wrap=True)])
    incar(tmp_path, "NBLOCK = 10")
    for name in ("XDATCAR.gz", "hot"):
        assert runs.open_trajectory(tmp_path / name).frame_interval_fs == 20.0
    for name in ("XDATCAR.gz", "hot", "XDATCAR_run.extxyz"):
        close_to_the_walk(runs.open_trajectory(tmp_path / name, **KNOWN), WALK[:, order])


# --- LAMMPS dumps -------------------------------------------------------------------------------------------------


def dump(path, columns="x y z", walk=WALK):
    path.write_text(lammps_text(walk, LATTICE, columns))
    return path


def test_a_compressed_dump_is_read_as_a_dump(tmp_path):
    text = dump(tmp_path / "a.lammpstrj").read_bytes()
    path = tmp_path / "a.lammpstrj.gz"
    path.write_bytes(gzip.compress(text))
    close_to_the_walk(runs.open_trajectory(path, elements=["Na", "O"], **KNOWN))
    with pytest.raises(InputError, match="--elements"):
        runs.open_trajectory(path, **KNOWN)
    path.with_suffix("").write_bytes(b"\xef\xbb\xbf" + text)  # as some editors of Windows save it
    close_to_the_walk(runs.open_trajectory(path.with_suffix(""), elements=["Na", "O"], **KNOWN))
    path.write_bytes(gzip.compress(text)[: path.stat().st_size // 2])
    part = runs.open_trajectory(path, elements=["Na", "O"], **KNOWN)
    assert 0 < part.n_frames < len(WALK)
    assert f"{part.n_frames} frames are whole and used" in part.warnings[0]


def test_other_ids_and_the_same_id_twice_are_refused(tmp_path):
    path = dump(tmp_path / "a.dump", "xu yu zu")
    head, *frames = path.read_text().split("ITEM: TIMESTEP\n")
    renamed = [frame if index < 25 else frame.replace("\n2 2 ", "\n8 2 ") for index, frame in enumerate(frames)]
    path.write_text("ITEM: TIMESTEP\n".join([head, *renamed]))
    with pytest.raises(InputError, match=r"frame 25 has other atom ids .*id 2 is gone, id 8 is new.*25 frames before"):
        runs.open_trajectory(path, elements=["Na", "O"], **KNOWN)
    path.write_text("ITEM: TIMESTEP\n".join([head, *(frame.replace("\n2 2 ", "\n4 2 ") for frame in frames)]))
    with pytest.raises(InputError, match="frame 0: atom id 4 is there twice"):
        runs.open_trajectory(path, elements=["Na", "O"], **KNOWN)


def test_a_frame_cut_in_the_middle_of_a_file_is_an_error(tmp_path):
    path = dump(tmp_path / "a.dump")
    head, *frames = path.read_text().split("ITEM: TIMESTEP\n")
    path.write_text("ITEM: TIMESTEP\n".join([head, *frames[:5], frames[5][:-30] + "\n", *frames[6:]]))
    with pytest.raises(InputError, match=r"frame 5 cannot be read .*the 5 frames before it are good"):
        runs.open_trajectory(path, elements=["Na", "O"], **KNOWN)


def test_elements_are_for_types_alone(tmp_path):
    path = dump(tmp_path / "a.dump")
    named = tmp_path / "named.dump"
    named.write_text(path.read_text().replace("id type", "id element").replace(" 1 ", " Na ").replace(" 2 ", " O "))
    ase.io.write(tmp_path / "a.extxyz", images_of(WALK, LATTICE, False))
    for name in (named, xdatcar(tmp_path / "XDATCAR"), tmp_path / "a.extxyz"):
        with pytest.raises(InputError, match=r"names .*elements itself.*leave --elements away"):
            runs.open_trajectory(name, elements=["Na", "O"], **KNOWN)


def test_lists_of_names_may_have_spaces(tmp_path, capsys):
    path = str(dump(tmp_path / "a.dump"))
    options = ["-T", "700", "--frame-interval-fs", "200", "--framework", "O, ", "--json"]
    assert command(["analyze", path, "--elements", "Na, O", *options]) == 0
    assert '"Na"' in capsys.readouterr().out


# --- boxes that flip, atoms that change places --------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [True, False])
@pytest.mark.parametrize("combined", [[[1, 0, 0], [0, 1, 0], [-1, 0, 1]], [[1, 0, 0], [-1, 1, 0], [1, -1, 1]]])
def test_a_box_that_flips_displaces_no_atom(wrap, combined):
    breathing = 1 + 0.01 * np.sin(np.arange(len(WALK)))
    truth = [LATTICE * size for size in breathing]
    walk = np.array([frame * size for frame, size in zip(WALK, breathing, strict=True)])
    images = [Atoms(NUMBERS, frame, cell=box if index < 20 else combined @ box, pbc=True)
              for index, (frame, box) in enumerate(zip(walk, truth, strict=True))]
    for atoms in images if wrap else ():
        atoms.wrap()
    trajectory = runs.open_trajectory(images, **KNOWN)
    close_to_the_walk(trajectory, WALK * breathing.mean(), atol=1e-8)
    np.testing.assert_allclose(trajectory.lattices_A(0, len(WALK)), truth, atol=1e-9)
    assert trajectory.warnings == []


def test_image_counts_of_lammps_go_through_a_flip(tmp_path):
    combined = np.array([[1, 0, 0], [0, 1, 0], [-1, 0, 1]])
    far = random_walk(LATTICE, 40, step_A=6.0)
    before, after = (lammps_text(far, box, "x y z ix iy iz").split("ITEM: TIMESTEP\n")
                     for box in (LATTICE, combined @ LATTICE))
    (tmp_path / "a.dump").write_text("ITEM: TIMESTEP\n".join(before[:21] + after[21:]))
    close_to_the_walk(runs.open_trajectory(tmp_path / "a.dump", elements=["Na", "O"], **KNOWN), far, atol=1e-8)


def test_a_box_that_jumps_is_refused():
    images = images_of(WALK, LATTICE, wrap=False)
    for atoms in images[20:]:
        atoms.cell *= 2
    with pytest.raises(InputError, match="frame 20: the box is another than in the frame before"):
        runs.open_trajectory(images, **KNOWN)


def test_atoms_that_change_places_are_counted():
    rng = np.random.default_rng(2)
    images = [Atoms("Na6", frame[rng.permutation(6)], cell=LATTICE, pbc=True) for frame in WALK]
    for atoms in images:
        atoms.wrap()
    trajectory = runs.open_trajectory(images, **KNOWN)
    assert "of 234 steps of an atom" in trajectory.warnings[0]
    assert "the order of the atoms changes" in trajectory.warnings[0]


# --- time and temperature -----------------------------------------------------------------------------------------


def told(temperatures=None, times=None):
    images = images_of(random_walk(MONOCLINIC, 120), MONOCLINIC, False)
    for index, atoms in enumerate(images):
        if temperatures is not None:
            atoms.info["temperature_K"] = float(temperatures[index])
        if times is not None and times[index] is not None:
            atoms.info["time_fs"] = times[index]
    return images


def test_times_in_some_frames_only_and_times_that_run_back_are_refused():
    half = [200.0 * index if index % 2 == 0 else None for index in range(120)]
    with pytest.raises(InputError, match="60 of 120 frames say their time; give --frame-interval-fs"):
        runs.open_trajectory(told(times=half), temperature_K=700.0)
    assert runs.open_trajectory(told(times=half), 200.0, 700.0).frame_interval_fs == 200.0
    with pytest.raises(InputError, match="runs backwards"):
        runs.open_trajectory(told(times=[200.0 * (120 - index) for index in range(120)]), 200.0, 700.0)


def test_times_in_single_precision_are_at_equal_intervals():
    times = np.float32(1e8) + np.arange(120, dtype=np.float32) * np.float32(1000.0)
    assert runs.open_trajectory(told(times=times.tolist()), temperature_K=700.0).frame_interval_fs == 1000.0
    late = np.float32(1e9 + 500.0 * np.arange(120))  # a step of 500 fs, of which 64 fs are rounded
    found = runs.open_trajectory(told(times=late.tolist()), temperature_K=700.0).frame_interval_fs
    assert found == pytest.approx(500.0, rel=0.01)


def test_the_temperature_is_that_of_the_frames_that_are_kept():
    kelvin = np.where(np.arange(120) < 40, 300.0, 900.0) + np.random.default_rng(0).normal(scale=20.0, size=120)
    trajectory = runs.open_trajectory(told(kelvin, [100.0 * index for index in range(120)]))
    assert mean_temperature_K(trajectory)[0] == pytest.approx(kelvin.mean())
    mean, error = mean_temperature_K(trajectory, discard_ps=4.0)
    assert mean == pytest.approx(kelvin[40:].mean())
    assert 0 < error < 20
    assert "drifts along the file, from 299 K (first third) to 900 K" in trajectory.warnings[0]
    given = runs.open_trajectory(told(kelvin), 100.0, 900.0)
    assert (mean_temperature_K(given), given.warnings) == ((None, None), [])


def test_momenta_are_temperatures_and_fluctuations_are_no_drift():
    rng = np.random.default_rng(5)
    images = told()
    for atoms in images:
        atoms.set_momenta(rng.normal(size=(6, 3)) * np.sqrt(atoms.get_masses() * kB * 700.0)[:, None])
        atoms.calc = SinglePointCalculator(atoms, energy=0.0)
    trajectory = runs.open_trajectory(images, 100.0)
    expected = [atoms.get_temperature() for atoms in images]
    np.testing.assert_allclose(trajectory.thermo()["temperature_K"], expected)
    assert mean_temperature_K(trajectory, 6.0)[0] == pytest.approx(np.mean(expected[60:]))
    assert trajectory.warnings == []
    ramp = runs.open_trajectory(told(np.linspace(300.0, 900.0, 120) + rng.normal(scale=30.0, size=120)), 100.0)
    assert "the temperature drifts" in ramp.warnings[0]
    target = runs.open_trajectory(told(np.full(120, 700.0)), 100.0)
    assert (target.thermo(), target.temperature_K) == ({}, 700.0)


def test_the_readers_are_found_whatever_the_path_is_called(tmp_path):
    folder = tmp_path / "XDATCAR 2 é"
    folder.mkdir()
    assert runs.open_trajectory(Path(dump(folder / "POSCAR.out")), elements=["Na", "O"], **KNOWN).n_frames == len(WALK)
