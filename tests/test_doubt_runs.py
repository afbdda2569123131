"""What the committee's doubt does to a run (nothing), and says of it."""

import json
import signal

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mace")

import doubt_toys  # noqa: E402
from doubt_toys import oxide  # noqa: E402

from atomflow import campaign, md, runs  # noqa: E402
from atomflow.cell import Cell, write_cell  # noqa: E402
from atomflow.cli.main import run  # noqa: E402
from atomflow.errors import InputError, RunFailed, RunStopped  # noqa: E402
from atomflow.md import MDConfig  # noqa: E402
from atomflow.md.doubt import ATOM, COST, MAX, MEAN, look_every  # noqa: E402
from atomflow.potentials import committee  # noqa: E402

files, models, student = doubt_toys.files, doubt_toys.models, doubt_toys.student


def config(**changes):
    return MDConfig(**{"temperature_K": 100.0, "time_ps": 0.04, "equilibration_ps": 0.01, "timestep_fs": 0.5,
                       "thermo_interval_fs": 2.5, "frame_interval_fs": 5.0, "checkpoint_interval_ps": 0.01,
                       "thermostat_time_fs": 50.0, "doubt_interval_fs": 5.0, **changes})


@pytest.fixture(scope="module")
def cell():
    return oxide(1, rattle=0.05)


@pytest.fixture(scope="module")
def watched(student, cell, tmp_path_factory):
    """A run whose committee is asked every ten steps; its spread is far above a limit of 0.001 eV/Å."""
    folder = tmp_path_factory.mktemp("watched") / "run"
    md.run(cell, student, config(doubt_warn_eV_per_A=0.001), folder)
    return folder


def test_the_committee_leaves_the_trajectory_alone(models, watched, cell, tmp_path):
    md.run(cell, models[0], config(doubt_interval_fs=None), tmp_path / "alone")
    mine, other = runs.open_run(watched), runs.open_run(tmp_path / "alone")
    np.testing.assert_array_equal(mine.positions_A(0, mine.n_frames), other.positions_A(0, other.n_frames))
    alone = other.thermo()
    for name, values in alone.items():
        np.testing.assert_array_equal(mine.thermo()[name], values, err_msg=name)
    assert set(mine.thermo()) - set(alone) == {MAX, MEAN, ATOM}


def test_thermo_holds_the_spread_of_the_frame(student, watched, cell):
    opened = runs.open_run(watched)
    thermo = opened.thermo()
    looked = np.isfinite(thermo[MAX])
    np.testing.assert_array_equal(thermo["time_fs"][looked], np.arange(-10.0, 41.0, 5.0))
    frame = Cell(cell.numbers, opened.positions_A(3, 4)[0], cell.lattice_A)
    row = np.flatnonzero(thermo["time_fs"] == 15.0)[0]
    spread = committee.force_spread(student, frame)
    assert thermo[MAX][row] == pytest.approx(spread.max(), rel=1e-3)
    assert thermo[MEAN][row] == pytest.approx(spread.mean(), rel=1e-3)
    assert thermo[ATOM][row] == spread.argmax()


def test_the_run_says_which_atom_and_when(watched):
    manifest = runs.open_run(watched).manifest
    first, last = manifest["warnings"]
    assert first.startswith("the models of the committee disagree by ")
    assert "at -0.01 ps, more than 0.001: the run may have left what tiny-0 knows" in first
    summary = manifest["summary"]
    assert summary["doubt_looks_above"] == summary["doubt_looks"] == 11
    assert sum(summary["doubt_above_by_element"].values()) == 11
    assert last.startswith("11 of 11 looks at the committee (100 %)")
    assert f"atom {summary['doubt_worst_atom']} ({summary['doubt_worst_element']})" in last


def test_a_run_within_the_limit_is_not_warned_of(student, cell, tmp_path):
    manifest = md.run(cell, student, config(time_ps=0.01, doubt_warn_eV_per_A=1000.0), tmp_path / "run")
    assert manifest["warnings"] == []
    assert manifest["summary"]["doubt_looks_above"] == 0
    assert manifest["summary"][MAX] > 0


def test_a_run_that_is_to_stop_fails_with_a_checkpoint(student, cell, tmp_path):
    with pytest.raises(RunFailed, match=r"the models of the committee disagree by .* \(limit 0.001 eV/Å\); the last "
                                        r"good checkpoint is step 0; label such frames"):
        md.run(cell, student, config(doubt_stop_eV_per_A=0.001), tmp_path / "run")
    failed = runs.open_run(tmp_path / "run")
    assert failed.manifest["state"] == "failed"
    assert np.isfinite(failed.thermo()[MAX]).sum() == 1


def test_a_resumed_run_is_bitwise_the_same_with_its_looks(watched, models, student, cell, tmp_path):
    folder = tmp_path / "run"

    def interrupt(moment):
        if moment.step == 60:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(RunStopped):
        md.run(cell, student, config(doubt_warn_eV_per_A=0.001), folder, progress=interrupt)
    manifest = md.resume(folder, models[0])  # the committee from what the manifest says
    one, two = runs.open_run(watched), runs.open_run(folder)
    np.testing.assert_array_equal(one.positions_A(0, one.n_frames), two.positions_A(0, two.n_frames))
    for name, values in one.thermo().items():
        np.testing.assert_array_equal(two.thermo()[name], values, err_msg=name)
    assert manifest["warnings"] == one.manifest["warnings"]


def test_doubt_without_a_committee_is_refused(models, cell, tmp_path):
    for key in ("doubt_stop_eV_per_A", "doubt_warn_eV_per_A", "doubt_interval_fs"):
        with pytest.raises(InputError, match=f"{key} needs a potential with a committee"):
            md.run(cell, models[0], config(**{"doubt_interval_fs": None, key: 5.0}), tmp_path / key)
        assert not (tmp_path / key).exists()


def test_looks_are_so_rare_that_they_cost_little():
    usual = MDConfig(temperature_K=300, time_ps=1)
    for others in (1, 2, 4):
        steps = look_every(usual, others)
        assert others / steps <= COST
        assert steps % usual.thermo_every == 0
    assert look_every(usual, 0) == 0
    assert look_every(MDConfig(temperature_K=300, time_ps=1, doubt_interval_fs=0), 2) == 0


@pytest.mark.parametrize(("changes", "words"), [
    ({"doubt_interval_fs": 3.0}, "whole number of thermo intervals"),
    ({"doubt_interval_fs": 0, "doubt_stop_eV_per_A": 1.0}, "never asks the committee"),
])
def test_configurations_that_cannot_be_meant(changes, words):
    with pytest.raises(InputError, match=words):
        config(**changes)


def test_younger_settings_leave_the_names_of_runs_alone():
    dump = MDConfig(temperature_K=300, time_ps=1).dump()
    assert not [key for key in dump if "doubt" in key]
    assert MDConfig.from_dump(config().dump()) == config()


def test_held_atoms_raise_no_doubt(student, cell, tmp_path):
    regions = np.where(cell.numbers == 8, "grain", "film")
    held = Cell(cell.numbers, cell.positions_A, cell.lattice_A, regions)
    md.run(held, student, config(time_ps=0.005, doubt_warn_eV_per_A=0.001, held_regions=("grain",)), tmp_path / "run")
    manifest = runs.open_run(tmp_path / "run").manifest
    assert manifest["summary"]["doubt_above_by_element"].keys() == {"Na"}
    assert "(Na, region film)" in manifest["warnings"][0]


def test_md_of_the_command_line_takes_a_committee(files, cell, tmp_path, capsys):
    write_cell(cell, tmp_path / "cell.extxyz")
    arguments = ["md", str(tmp_path / "cell.extxyz"), "-p", str(files[0]), "-T", "100", "--time-ps", "0.01",
                 "--timestep-fs", "0.5", "--thermo-interval-fs", "0.5", "--frame-interval-fs", "5", "--device", "cpu"]
    assert run([*arguments, "-o", str(tmp_path / "run"), "--committee", f"{files[1]},{files[2]}",
                "--doubt-warn", "0.001"]) == 0
    said = capsys.readouterr()
    assert "warning: the models of the committee disagree by" in said.err
    assert "committee's force spread: " in said.out
    assert run([*arguments, "-o", str(tmp_path / "other"), "--committee", "nowhere.npz"]) == 2
    assert "there is no file nowhere.npz for the committee" in capsys.readouterr().err


def test_doubt_of_a_run_and_of_a_cell(files, models, watched, cell, tmp_path, capsys):
    with_files = ["-p", str(files[0]), "--committee", f"{files[1]},{files[2]}", "--device", "cpu"]
    assert run(["potential", "doubt", str(watched), *with_files, "--frames", "3", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [row["frame"] for row in data["frames"]] == ["0.000 ps", "0.020 ps", "0.040 ps"]
    thermo = runs.open_run(watched).thermo()
    last = thermo[MAX][thermo["time_fs"] == 40.0][0]
    assert data["frames"][-1]["force_spread_max_eV_per_A"] == pytest.approx(last, rel=1e-3)
    assert {row["element"] for row in data["elements"]} == {"Na", "O"}
    write_cell(cell, tmp_path / "cell.extxyz")
    assert run(["potential", "doubt", str(tmp_path / "cell.extxyz"), *with_files]) == 0
    assert "worst atom" in capsys.readouterr().out
    assert run(["potential", "doubt", str(tmp_path / "nothing"), *with_files]) == 2
    assert run(["potential", "doubt", "-p", str(files[0])]) == 2
    assert "either a cell or trajectory, or --labelled" in capsys.readouterr().err


def test_show_names_the_committee_of_a_trained_folder(files, tmp_path, capsys):
    for file in files:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    committee.write_committee(tmp_path, files[0].name, [file.name for file in files[1:]])
    assert run(["potential", "show", str(tmp_path)]) == 0
    assert f"committee:     {tmp_path}/{files[1].name}, {tmp_path}/{files[2].name}" in capsys.readouterr().out
    assert run(["potential", "show", "lennard-jones-argon"]) == 0
    assert "committee" not in capsys.readouterr().out


def test_a_campaign_names_a_committee_beside_its_file(files, cell, tmp_path):
    for file in files:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    write_cell(cell, tmp_path / "cell.extxyz")
    (tmp_path / "toy.yaml").write_text(
        "name: toy\nstructures: {toy: {file: cell.extxyz}}\nmd: {time_ps: 1}\ntemperatures_K: [300]\n"
        f"potential: {{name: {files[0].name}, device: cpu, committee: [{files[1].name}]}}\n"
    )
    potential = campaign.load(tmp_path / "toy.yaml").load_potential()
    assert [member.file for member in potential.identity.committee] == [str(tmp_path / files[1].name)]
