"""The run folder under kills, damage and full disks: whatever happens, resuming ends in the same bytes."""

import os
import random
import signal
import subprocess
import sys
import textwrap
import time

import h5py
import numpy as np
import pytest
from run_walks import in_child, stopped, walk

from atomflow import runs
from atomflow.cell import Cell
from atomflow.errors import InputError, RunFailed


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference") / "run"
    walk(folder)
    return (folder / "trajectory.h5").read_bytes()


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


@pytest.mark.parametrize("in_memory", [True, False])
def test_no_room_to_finish_is_one_clear_line_too(tmp_path, in_memory):
    """Segments of 8 kB fit below the limit, the trajectory made of them does not. HDF5 would end the process."""
    code = textwrap.dedent("""
        import sys, numpy as np, resource
        from atomflow import runs
        from atomflow.cell import Cell
        from atomflow.errors import RunFailed
        from atomflow.runs import h5md
        if sys.argv[2] == "False":
            h5md._IN_MEMORY_BYTES = 0
        cell = Cell([11] * 50, np.random.default_rng(0).random((50, 3)), np.eye(3) * 9)
        writer = runs.RunWriter.create(sys.argv[1], {}, cell, {})
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, resource.RLIM_INFINITY))
        for step in range(40):
            writer.frame(step, 1.0 * step, cell.positions_A, cell.lattice_A)
            if step % 4 == 3:
                writer.commit({"step": step}, {"step": step})
        try:
            writer.finish("done")
        except RunFailed as error:
            print(error)
            sys.exit(error.exit_code)
    """)
    words = [sys.executable, "-c", code, tmp_path / "run", str(in_memory)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1
    assert "File too large" in done.stdout
    assert "all 40 frames are kept; free some space, then resume this run" in done.stdout
    assert runs.open_run(tmp_path / "run").manifest["reason"].count("\n") == 0
    writer, _ = runs.RunWriter.resume(tmp_path / "run")
    writer.finish("done")
    assert runs.open_run(tmp_path / "run").n_frames == 40


def test_no_room_to_begin_asks_for_the_same_command(tmp_path, monkeypatch):
    import atomflow.runs.files as files

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(RunFailed, match="has not begun; free some space, then give the same command again"):
        walk(tmp_path / "run")


def test_the_size_is_known_before_a_trajectory_is_written(tmp_path):
    from atomflow.runs import h5md
    from atomflow.runs.segments import read_headers

    for name, atoms in (("small", 40), ("large", 300)):
        cell = Cell([11] * atoms, np.random.default_rng(0).random((atoms, 3)), np.eye(3) * 9)
        writer = runs.RunWriter.create(tmp_path / name, {}, cell, {})
        for step in range(60):
            writer.frame(step, 1.0 * step, cell.positions_A, cell.lattice_A)
            if step % 20 == 19:
                writer.commit({"step": step}, {"step": step})
        headers = read_headers(tmp_path / name, writer._segments)
        most = h5md._at_most_bytes(tmp_path / name, headers)
        writer.finish("done")
        assert 0 < (tmp_path / name / "trajectory.h5").stat().st_size <= most


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
