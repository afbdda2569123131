"""The run folder under kills, damage, full disks and second writers."""

import json
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
import textwrap
import time

import h5py
import numpy as np
import pytest

from atomflow import runs
from atomflow.cell import Cell
from atomflow.errors import InputError, RunFailed

STEPS, FRAME_EVERY, COMMIT_EVERY = 40, 2, 10
LATTICE = np.array([[9.0, 0, 0], [0, 8.0, 0], [-3.0, 0, 7.0]])


def a_cell(n=5):
    rng = np.random.default_rng(1)
    return Cell([11] * (n - 1) + [8], rng.random((n, 3)) * 7, LATTICE, regions=["glass"] * n, sites=["Na1"] * n)


def walk(folder, steps=STEPS, pause=0.0):
    """A random walk as an engine would run it: create or resume, frames, commits, finish."""
    rng = np.random.default_rng(7)
    if (folder / "run.json").exists():
        writer, state = runs.RunWriter.resume(folder)
    else:
        config = {"ensemble": "nvt", "temperature_K": 900.0, "frame_interval_fs": 4.0}
        writer, state = runs.RunWriter.create(folder, config, a_cell(), {"name": "walk"}, steps_total=steps), None
    with writer:
        positions, first = a_cell().positions_A.copy(), 0
        if state is not None:
            positions, first = state["positions"].copy(), state["step"]
            rng.bit_generator.state = json.loads(state["rng"])
        else:
            record(writer, 0, positions)
        for step in range(first + 1, steps + 1):
            positions += rng.normal(size=positions.shape)
            record(writer, step, positions)
            if step % COMMIT_EVERY == 0:
                writer.commit({"positions": positions, "step": step, "rng": json.dumps(rng.bit_generator.state)},
                              {"step": step})
            time.sleep(pause)
        writer.finish("done", summary={"answer": 1.5})


def record(writer, step, positions):
    if step % FRAME_EVERY == 0:
        writer.frame(step, step * 2.0, positions, LATTICE)
    writer.thermo(step, step * 2.0, {"temperature_K": float(positions[0, 0])})


def in_child(work, *arguments):
    """Run ``work`` in a forked process; the exit code (negative: the signal that ended it)."""
    child = multiprocessing.get_context("fork").Process(target=work, args=arguments)
    child.start()
    return child


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference") / "run"
    walk(folder)
    return (folder / "trajectory.h5").read_bytes()


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


def test_every_instant_between_two_file_operations_is_safe_to_die_at(tmp_path, reference):
    """Kill -9 before the n-th file operation, for every n there is; then resume."""

    def doomed(folder, die_at):
        count = 0

        def deadly(call):
            def wrapped(*args, **kwargs):
                nonlocal count
                count += 1
                if count == die_at:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*args, **kwargs)

            return wrapped

        for name in ("replace", "fsync", "unlink", "rmdir", "ftruncate"):
            setattr(os, name, deadly(getattr(os, name)))
        walk(folder)

    for die_at in range(1, 200):
        folder = tmp_path / f"run{die_at}"
        child = in_child(doomed, folder, die_at)
        child.join()
        if child.exitcode == 0:
            break
        assert child.exitcode == -signal.SIGKILL
        finished = (folder / "run.json").exists() and runs.open_run(folder).state == "done"
        if finished:
            with pytest.raises(InputError, match="is done"):
                walk(folder)
        else:
            walk(folder)
        assert (folder / "trajectory.h5").read_bytes() == reference, f"killed before file operation {die_at}"
        assert not (folder / "segments").exists()
    assert die_at > 40  # as many instants as the run has file operations


def test_twenty_random_kills_change_nothing(tmp_path):
    steps = 2000
    walk(tmp_path / "whole", steps)
    random.seed(3)
    kills = 0
    while kills < 20:
        child = in_child(walk, tmp_path / "run", steps, 2e-4)
        time.sleep(random.uniform(0.02, 0.12))
        child.kill()
        child.join()
        if child.exitcode == 0:
            break
        kills += 1
    assert kills >= 5
    if child.exitcode != 0:
        walk(tmp_path / "run", steps)
    assert (tmp_path / "run" / "trajectory.h5").read_bytes() == (tmp_path / "whole" / "trajectory.h5").read_bytes()


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


def stopped(folder):
    """A run stopped after two commits, with a third segment past the checkpoint."""
    writer = runs.RunWriter.create(folder, {}, a_cell(), {})
    for step in (1, 2):
        writer.frame(step, step * 1.0, a_cell().positions_A + step, LATTICE)
        writer.commit({"step": step, "text": "ä", "big": 2**100, "x": np.arange(3.0), "inf": float("inf")}, {})
    writer.frame(3, 3.0, a_cell().positions_A, LATTICE)
    writer.finish("stopped")
    assert runs.open_run(folder).n_frames == 3


def test_resume_gives_the_checkpoint_back_exactly_and_drops_what_came_after(tmp_path):
    stopped(tmp_path)
    writer, state = runs.RunWriter.resume(tmp_path)
    assert {key: state[key] for key in ("step", "text", "big", "inf")} == {
        "step": 2, "text": "ä", "big": 2**100, "inf": float("inf")}
    assert state["x"].tolist() == [0, 1, 2]
    writer.finish("stopped")
    assert runs.open_run(tmp_path).n_frames == 2


def newest_checkpoint(folder):
    return max(folder.glob("checkpoint.*.h5"), key=lambda path: path.stat().st_mtime_ns)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path):
    """Flip each of many bytes of the newest checkpoint: never a wrong state, always the one before, or itself."""
    stopped(tmp_path)
    path = newest_checkpoint(tmp_path)
    good = path.read_bytes()
    fallen = 0
    for place in range(0, len(good), max(1, len(good) // 40)):
        path.write_bytes(good[:place] + bytes([good[place] ^ 0xFF]) + good[place + 1 :])
        writer, state = runs.RunWriter.resume(tmp_path)
        assert state["step"] in (1, 2)
        assert state["x"].tolist() == [0, 1, 2]
        fallen += state["step"] == 1
        if state["step"] == 1:
            assert "damaged" in writer.manifest["warnings"][0]
            break  # segment 1 is gone now
        writer.finish("stopped")
    assert fallen
    assert runs.open_run(tmp_path).n_frames == 1
    writer.finish("stopped")


def test_a_flipped_byte_of_state_is_noticed(tmp_path):
    stopped(tmp_path)
    path = newest_checkpoint(tmp_path)
    with h5py.File(path, "r+") as handle:
        handle["arrays/x"][1] = 5.0
    writer, state = runs.RunWriter.resume(tmp_path)
    writer.finish("stopped")
    assert state["step"] == 1


def test_a_truncated_segment_falls_back_or_says_so(tmp_path):
    stopped(tmp_path)
    segment = tmp_path / "segments" / "000001.h5"
    segment.write_bytes(segment.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"000001\.h5 is damaged"):
        runs.open_run(tmp_path)
    writer, state = runs.RunWriter.resume(tmp_path)
    writer.finish("stopped")
    assert state["step"] == 1
    (tmp_path / "segments" / "000000.h5").write_bytes(b"nothing")
    with pytest.raises(InputError, match="no earlier checkpoint is whole"):
        runs.RunWriter.resume(tmp_path)


def test_a_full_disk_is_one_clear_line_and_costs_nothing(tmp_path):
    """In a process that may write no file over 40 kB: EFBIG, as a quota would."""
    code = textwrap.dedent("""
        import sys, numpy as np, resource
        from atomflow import runs
        from atomflow.cell import Cell
        from atomflow.errors import RunFailed
        cell = Cell([11] * 50, np.random.default_rng(0).random((50, 3)), np.eye(3) * 9)
        writer = runs.RunWriter.create(sys.argv[1], {}, cell, {})
        writer.frame(0, 0.0, cell.positions_A, cell.lattice_A)
        writer.commit({"step": 0}, {"step": 0})
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, resource.RLIM_INFINITY))
        for step in range(1, 200):
            writer.frame(step, 1.0 * step, cell.positions_A, cell.lattice_A)
        try:
            writer.commit({"step": 199}, {"step": 199})
        except RunFailed as error:
            print(error)
            sys.exit(error.exit_code)
    """)
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "run"], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "no room left" in done.stdout
    assert "1 frames are kept" in done.stdout
    writer, state = runs.RunWriter.resume(tmp_path / "run")
    writer.finish("stopped")
    assert state["step"] == 0
    assert runs.open_run(tmp_path / "run").n_frames == 1


@pytest.mark.parametrize("nth", range(1, 9))
def test_no_room_at_any_write_leaves_a_run_that_resumes(tmp_path, monkeypatch, reference, nth):
    import atomflow.runs.files as files

    real, count = os.fsync, 0

    def failing(handle):
        nonlocal count
        count += 1
        if count >= nth + 4:  # let the creation pass
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(files.os, "fsync", failing)
    with pytest.raises(RunFailed, match=r"no room left.*then resume"):
        walk(tmp_path / "run")
    monkeypatch.undo()
    walk(tmp_path / "run")
    assert (tmp_path / "run" / "trajectory.h5").read_bytes() == reference


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
