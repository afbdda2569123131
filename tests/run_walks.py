"""Random walks written through the public run-folder API as an engine would: for the tests of the run folder."""

import json
import multiprocessing
import time

import numpy as np

from atomflow import runs
from atomflow.cell import Cell

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


def stopped(folder):
    """A run stopped after two commits, with a third segment past the checkpoint."""
    writer = runs.RunWriter.create(folder, {}, a_cell(), {})
    for step in (1, 2):
        writer.frame(step, step * 1.0, a_cell().positions_A + step, LATTICE)
        writer.commit({"step": step, "text": "ä", "big": 2**100, "x": np.arange(3.0), "inf": float("inf")}, {})
    writer.frame(3, 3.0, a_cell().positions_A, LATTICE)
    writer.finish("stopped")
    assert runs.open_run(folder).n_frames == 3
