"""The committee's doubt: its formula, its files, what it does to a run (nothing) and says of it."""

import json
import signal
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mace")

from mace_toys import built_once, tiny_files  # noqa: E402

from atomflow import campaign, md, potentials, runs  # noqa: E402
from atomflow.cell import Cell, write_cell  # noqa: E402
from atomflow.cli.main import run  # noqa: E402
from atomflow.distill.doubt import Doubted, doubt_quality  # noqa: E402
from atomflow.distill.doubt_limits import chosen_limit, judged, judged_by_halves, rank_correlation  # noqa: E402
from atomflow.distill.frames import Frame, Labels, write_frames  # noqa: E402
from atomflow.errors import InputError, RunFailed, RunStopped  # noqa: E402
from atomflow.md import MDConfig  # noqa: E402
from atomflow.md.doubt import ATOM, COST, MAX, MEAN, look_every  # noqa: E402
from atomflow.potentials import committee  # noqa: E402
from atomflow.potentials.committee import members_of_files, with_committee  # noqa: E402
from atomflow.potentials.edges import build_edges  # noqa: E402
from atomflow.potentials.evaluate import evaluate_cells  # noqa: E402
from atomflow.potentials.pair import LennardJones  # noqa: E402


def oxide(n=2, rattle=0.1, seed=0, spacing=2.1):
    """NaO rock salt, atoms displaced."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(2 * n)] * 3, indexing="ij"), -1).reshape(-1, 3)
    numbers = np.where(grid.sum(1) % 2 == 0, 11, 8)
    return Cell(numbers, grid * spacing + rng.normal(0, rattle, grid.shape), np.eye(3) * 2 * n * spacing)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    with built_once():
        yield tiny_files(tmp_path_factory.mktemp("committee"), 3)


@pytest.fixture(scope="module")
def models(files):
    return [potentials.load(file, device="cpu") for file in files]


@pytest.fixture(scope="module")
def student(files, models):
    return with_committee(models[0], members_of_files(files[1:]))


def test_spread_is_the_standard_deviation_of_the_force_vectors(files, models, student):
    cell = oxide(1)
    forces = []
    for model in models:
        atoms = cell.to_ase()
        atoms.calc = model.calculator()
        forces.append(atoms.get_forces())
    by_component = np.std(forces, axis=0, ddof=1)
    found = committee.force_spread(student, cell)
    np.testing.assert_allclose(found, np.linalg.norm(by_component, axis=1), rtol=2e-4)
    assert found.shape == (8,)
    assert found.min() > 0


def test_members_that_agree_have_no_doubt(models):
    assert committee.force_spread(models[0], oxide(1), [models[0]] * 2).max() < 1e-6


def test_members_of_longer_reach_get_edges_of_their_own():
    near, far = (LennardJones(device="cpu", epsilon_eV=0.1, sigma_A=2.0, cutoff_A=c, switch_A=2.4) for c in (3.0, 6.0))
    cell = oxide(2)
    apart = [evaluate_cells(each, [cell.numbers], [cell.positions_A], [cell.lattice_A]).forces_eV_per_A
             for each in (near, far)]
    where = torch.tensor(np.array(cell.positions_A)), torch.tensor(np.array(cell.lattice_A))[None]
    owner = np.zeros(len(cell), int)
    short = build_edges(cell.positions_A, cell.lattice_A[None], owner, 3.0, near.device)
    batch = committee.CommitteeBatch([far], near.cutoff_A, cell.numbers, owner, 1)
    found = batch.spread(*where, short, apart[0])
    assert found.max() > 1e-3
    np.testing.assert_allclose(found, committee.spread_of(torch.stack(apart)), rtol=1e-10)


def test_a_potential_without_a_committee_says_so(models):
    with pytest.raises(InputError, match="has no committee"):
        committee.force_spread(models[0], oxide(1))


def test_a_member_that_is_gone_or_changed_is_one_line(files, models, tmp_path):
    copy = tmp_path / "copy.mace.npz"
    copy.write_bytes(files[1].read_bytes())
    student = with_committee(models[0], members_of_files([copy]))
    copy.write_bytes(files[2].read_bytes())
    with pytest.raises(InputError, match=r"copy\.mace\.npz is not the committee's member .* \(checksum\)"):
        committee.open_members(student)
    copy.unlink()
    with pytest.raises(InputError, match="is not whole"):
        committee.open_members(student)
    with pytest.raises(InputError, match="for the committee"):
        members_of_files([copy])


def test_a_member_must_know_the_elements(files, models):
    identity = models[0].identity
    more = identity.model_copy(update={"elements": ("Ar", *identity.elements, "Xe")})
    with pytest.raises(InputError, match=r"member tiny-1\S* does not know Ar, Xe"):
        committee.open_members(with_committee(replace(models[0], identity=more), members_of_files(files[1:])))


def test_identity_names_the_committee_and_is_as_before_without_one(files, models, student):
    data = student.identity.model_dump(mode="json")
    assert [member["file"] for member in data["committee"]] == [str(file) for file in files[1:]]
    alone = models[0].identity.model_dump(mode="json")
    assert "committee" not in alone
    assert "doubt_warn_eV_per_A" not in alone
    assert {**alone, "committee": data["committee"]} == data


def test_a_folder_of_a_trained_committee_loads_with_its_limit(files, tmp_path):
    for file in files:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    committee.write_committee(tmp_path, files[0].name, [file.name for file in files[1:]])
    committee.set_limit(tmp_path, 0.25)
    loaded = potentials.load(tmp_path, device="cpu")
    assert loaded.identity.doubt_warn_eV_per_A == 0.25
    assert len(committee.open_members(loaded)) == 2
    assert loaded.identity.name == "tiny-0"
    (tmp_path / "committee.json").write_text(json.dumps({"format": "atomflow-committee", "format_version": 1}))
    with pytest.raises(InputError, match="does not describe a committee"):
        potentials.load(tmp_path)
    (tmp_path / "committee.json").unlink()
    with pytest.raises(InputError, match="holds 3 trained models"):
        potentials.load(tmp_path)
    with pytest.raises(InputError, match="holds no trained models"):
        potentials.load(tmp_path.parent)


# --- molecular dynamics ----------------------------------------------------------------------------------------------


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
    with pytest.raises(ValueError, match=words):
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


# --- the command line ------------------------------------------------------------------------------------------------


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


# --- what doubt is worth ---------------------------------------------------------------------------------------------


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
