"""The run folder: what is written is what is read, while it runs, stops, resumes and is asked for by others."""

import fcntl
import json
import os
import resource
import subprocess
import threading
import time

import numpy as np
import pytest
from run_walks import FRAME_EVERY, LATTICE, STEPS, a_cell, in_child, stopped, walk

from atomflow import runs
from atomflow.cell import Cell
from atomflow.errors import InputError
from atomflow.runs.lock import FolderLock


def test_a_run_reads_back_what_was_written(tmp_path):
    walk(tmp_path / "run")
    with runs.open_run(tmp_path / "run") as run:
        assert run.state == "done"
        assert run.n_frames == STEPS // FRAME_EVERY + 1
        assert run.frame_interval_fs == 4.0
        assert run.temperature_K == 900.0
        assert run.symbols.tolist() == ["Na"] * 4 + ["O"]
        assert run.sites[0] == "Na1"
        assert run.regions[0] == "glass"
        assert run.manifest["summary"] == {"answer": 1.5}
        rng, positions = np.random.default_rng(7), a_cell().positions_A.copy()
        for step in range(STEPS + 1):
            positions += rng.normal(size=positions.shape) if step else 0
            if step % FRAME_EVERY == 0:
                index = step // FRAME_EVERY
                np.testing.assert_allclose(run.positions_A(index, index + 1)[0], positions, rtol=0, atol=1e-5)
        np.testing.assert_array_equal(run.positions_A(3, 9, [4, 0, 2]), run.positions_A(3, 9)[:, [4, 0, 2]])
        mask = run.symbols == "Na"
        np.testing.assert_array_equal(run.positions_A(0, 2, mask), run.positions_A(0, 2)[:, :4])
        assert len(run.thermo()["temperature_K"]) == STEPS + 1
        assert run.initial_cell().sha256 == a_cell().sha256
        with pytest.raises(IndexError):
            run.positions_A(0, run.n_frames + 1)


def test_a_running_run_can_be_read_and_names_its_writer(tmp_path):
    folder = tmp_path / "run"
    child = in_child(walk, folder, 100_000, 1e-3)
    while not (folder / "segments" / "000001.h5").exists():
        time.sleep(0.01)
    assert runs.open_run(folder).state == "running"
    assert runs.open_run(folder).positions_A(0, 10).shape == (10, 5, 3)
    with pytest.raises(InputError, match=f"process {child.pid} on "):
        runs.RunWriter.resume(folder)
    child.kill()
    child.join()
    assert runs.open_run(folder).state == "killed"
    writer, state = runs.RunWriter.resume(folder)
    assert state["step"] >= 20
    writer.finish("stopped")


def test_resume_gives_the_checkpoint_back_exactly_and_drops_what_came_after(tmp_path):
    stopped(tmp_path)
    writer, state = runs.RunWriter.resume(tmp_path)
    assert {key: state[key] for key in ("step", "text", "big", "inf")} == {
        "step": 2, "text": "ä", "big": 2**100, "inf": float("inf")}
    assert state["x"].tolist() == [0, 1, 2]
    writer.finish("stopped")
    assert runs.open_run(tmp_path).n_frames == 2


def test_a_folder_with_a_run_is_never_overwritten(tmp_path):
    walk(tmp_path / "run")
    with pytest.raises(InputError, match="already holds a run"):
        runs.RunWriter.create(tmp_path / "run", {}, a_cell(), {})
    with pytest.raises(InputError, match="is done"):
        runs.RunWriter.resume(tmp_path / "run")
    with pytest.raises(InputError, match="not a run folder"):
        runs.open_run(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot make the run folder"):
        runs.RunWriter.create(tmp_path / "file", {}, a_cell(), {})
    (tmp_path / "run" / "run.json").write_text("{")
    with pytest.raises(InputError, match="not valid JSON"):
        runs.open_run(tmp_path / "run")


def test_an_exception_inside_the_run_is_recorded(tmp_path):
    with pytest.raises(ZeroDivisionError), runs.RunWriter.create(tmp_path / "run", {}, a_cell(), {}):
        1 / 0  # noqa: B018
    manifest = runs.open_run(tmp_path / "run").manifest
    assert (manifest["state"], manifest["reason"]) == ("failed", "division by zero")


def test_far_positions_are_kept_in_double_precision(tmp_path):
    writer = runs.RunWriter.create(tmp_path / "run", {}, a_cell(), {})
    far = a_cell().positions_A + 123456.789
    writer.frame(0, 0.0, far, LATTICE)
    writer.finish("done")
    np.testing.assert_array_equal(runs.open_run(tmp_path / "run").positions_A(0, 1)[0], far)


def test_a_breathing_cell_moves_no_atom(tmp_path):
    """Atoms far from home at fixed fractional coordinates: raw positions swing by ångströms, positions_A stay."""
    writer = runs.RunWriter.create(tmp_path / "run", {}, a_cell(), {})
    fractional = a_cell().fractional + 10
    for frame in range(20):
        lattice = LATTICE * (1 + 0.02 * np.sin(frame))
        writer.frame(frame, frame * 1.0, fractional @ lattice, lattice)
    writer.finish("done")
    run = runs.open_run(tmp_path / "run")
    assert run.variable_cell
    assert np.ptp(run.raw_positions_A(0, 20), axis=0).max() > 2
    assert np.ptp(run.positions_A(0, 20), axis=0).max() < 1e-4
    np.testing.assert_allclose(run.positions_A(3, 4)[0] @ np.linalg.inv(run.mean_lattice_A), fractional, atol=1e-5)


def test_memory_is_bounded_by_a_setting_not_by_the_run(tmp_path):
    """120 MB of frames are written, merged and read in a process that grows by far less."""

    def work():
        n, frames = 2000, 5000
        cell = Cell([11] * n, np.zeros((n, 3)), np.eye(3) * 9)
        noise = np.random.default_rng(0).random((n, 3))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        writer = runs.RunWriter.create(tmp_path / "run", {}, cell, {})
        for frame in range(frames):
            writer.frame(frame, frame * 1.0, noise + frame / 100, LATTICE)
            if frame % 100 == 99:
                writer.commit({"frame": frame}, {})
        writer.finish("done")
        run = runs.open_run(tmp_path / "run")
        last = run.positions_A(0, frames, [1999, 0])
        assert abs(last[-1, 1] - noise[0] - 49.99).max() < 1e-4
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        assert os.path.getsize(tmp_path / "run" / "trajectory.h5") > 120e6
        os._exit(0 if grown < 90 else int(min(grown / 10, 255)))

    child = in_child(work)
    child.join()
    assert child.exitcode == 0, f"grew by about {child.exitcode * 10} MB"


def test_a_reader_that_is_put_to_sleep_while_it_asks_keeps_no_writer_out(tmp_path):
    """What `status` does for an instant took a second: nobody is named in the file, so nobody is writing."""
    handle = os.open(tmp_path / "lock", os.O_RDONLY | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_SH)
    slow = threading.Timer(1.0, lambda: os.close(handle))
    slow.start()
    FolderLock(tmp_path / "lock").release()
    slow.join()


def test_without_locks_the_process_in_the_file_decides(tmp_path, monkeypatch):
    """As on a network disk that knows no locks: a live writer is respected, a dead one is not."""
    import fcntl

    def no_locks(handle, operation):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    writer = runs.RunWriter.create(tmp_path, {}, a_cell(), {})
    assert runs.open_run(tmp_path).state == "prepared"
    with pytest.raises(InputError, match=f"process {os.getpid()} on"):
        runs.RunWriter.resume(tmp_path)
    dead = subprocess.Popen(["true"])
    dead.wait()
    owner = json.loads((tmp_path / "lock").read_text())
    (tmp_path / "lock").write_text(json.dumps({**owner, "pid": dead.pid}))
    assert runs.open_run(tmp_path).state == "killed"
    second, _ = runs.RunWriter.resume(tmp_path)
    second.finish("stopped")
    writer._lock.release()


def test_the_trajectory_opens_in_mdanalysis(tmp_path):
    pytest.importorskip("MDAnalysis")
    from MDAnalysis.coordinates.H5MD import H5MDReader

    walk(tmp_path / "run")
    run = runs.open_run(tmp_path / "run")
    with H5MDReader(str(tmp_path / "run" / "trajectory.h5")) as reader:
        assert (reader.n_frames, reader.n_atoms) == (run.n_frames, 5)
        frame = reader[7]
        np.testing.assert_allclose(frame.positions, run.raw_positions_A(7, 8)[0], atol=1e-5)
        np.testing.assert_allclose(frame.dimensions, [9, 8, np.sqrt(58), 90, 113.1986, 90], atol=1e-3)
        assert frame.time == pytest.approx(7 * 4.0 / 1000)  # ps there
