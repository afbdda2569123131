"""The student against CHGNet in one run: 80-atom NZSP, one CPU thread, everybody in turns.

    python workflows/benchmarks/potentials.py [-p atomflow-nzsp-0] [--rounds 9] [--calls 5] [--json]

Each contestant has a process of its own, and they take turns, so that a busy machine slows everybody alike. Ratios are
of processor time, turn by turn: the median, and the span of the middle half of the turns.

* ``student, calculator``: energy, forces and stress as an ASE calculator, neighbour list made anew;
* ``student, engine``: a step of atomflow's dynamics with it (NVT), guards and list rebuilds included;
* ``chgnet, own calculator``: ``CHGNetCalculator`` of the package: energy, forces, stress and moments;
* ``chgnet, forces only``: the package's model asked for energy and forces alone;
* ``chgnet, own dynamics``: a step of ``chgnet.model.dynamics.MolecularDynamics``: the quickstart of before;
* ``chgnet, atomflow``: the same weights through atomflow's own evaluation, forces only.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import multiprocessing
import time
import warnings
from collections.abc import Callable
from typing import Any

import md_step
import numpy as np
import torch

from atomflow import potentials
from atomflow.build.nzsp import build_nzsp
from atomflow.cell import Cell

STUDENT, ENGINE = "student, calculator", "student, engine"
CHGNET, FORCES, DYNAMICS, REWRITTEN = (
    "chgnet, own calculator",
    "chgnet, forces only",
    "chgnet, own dynamics",
    "chgnet, atomflow",
)
CONTESTANTS = (STUDENT, ENGINE, CHGNET, FORCES, DYNAMICS, REWRITTEN)
#: (slower, faster, wanted ratio, what it says)
GOALS = (
    (CHGNET, STUDENT, 8.0, "energy, forces and stress, both as ASE calculators"),
    (CHGNET, ENGINE, 8.0, "a step of dynamics against a call of CHGNet's calculator"),
    (FORCES, ENGINE, 4.0, "a step of dynamics against CHGNet's forces alone"),
    (DYNAMICS, ENGINE, 10.0, "the quickstart's dynamics before and now: simulated time per processor time"),
    (REWRITTEN, ENGINE, 0.0, "against CHGNet as atomflow evaluates it (no goal)"),
)


def make(name: str, cell: Cell, student: str) -> Callable[[int], Any]:
    """What the contestant does with a number: so many evaluations, or steps."""
    if name == ENGINE:
        return md_step.Engine([cell], potentials.load(student, device="cpu"), ensemble="nvt").run
    if name == DYNAMICS:
        return md_step.theirs("chgnet nvt", cell, "")
    if name == FORCES:
        return _forces_only(cell)
    if name == CHGNET:
        return _calls(cell, potentials.load("chgnet", device="cpu").calculator(), stress=True)
    from atomflow.potentials.ase_calculator import BatchCalculator

    potential = potentials.load("chgnet" if name == REWRITTEN else student, device="cpu")
    return _calls(cell, BatchCalculator(potential), stress=name == STUDENT)


def _calls(cell: Cell, calculator: Any, stress: bool) -> Callable[[int], None]:
    """Evaluations of moving atoms, so that nothing is answered from memory."""
    atoms, random = cell.to_ase(), np.random.default_rng(1)
    atoms.calc = calculator

    def run(calls: int) -> None:
        for _ in range(calls):
            atoms.positions += random.normal(0, 0.005, atoms.positions.shape)
            calculator.calculate(atoms, ["energy", "forces", *(["stress"] if stress else [])])

    return run


def _forces_only(cell: Cell) -> Callable[[int], None]:
    from chgnet.model import CHGNet
    from pymatgen.io.ase import AseAtomsAdaptor

    model = CHGNet.load(use_device="cpu", verbose=False)
    atoms, random = cell.to_ase(), np.random.default_rng(1)

    def run(calls: int) -> None:
        for _ in range(calls):
            atoms.positions += random.normal(0, 0.005, atoms.positions.shape)
            graph = model.graph_converter(AseAtomsAdaptor.get_structure(atoms))
            model.predict_graph(graph, task="ef")

    return run


def contestant(pipe: Any, name: str, cell: Cell, student: str) -> None:
    """A process that does as many calls as it is told and answers with (wall, processor) seconds a call."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    os.dup2(2, 1)  # what the packages print goes to standard error
    run = make(name, cell, student)
    run(2)
    pipe.send("ready")
    while calls := pipe.recv():
        clock, processor = time.perf_counter(), time.process_time()
        run(calls)
        pipe.send(((time.perf_counter() - clock) / calls, (time.process_time() - processor) / calls))


def tournament(cell: Cell, student: str, rounds: int, calls: int) -> dict[str, np.ndarray]:
    """(rounds, 2) seconds a call of everybody, wall and processor; the order of turns is reversed every other round."""
    context = multiprocessing.get_context("spawn")
    pipes, times = {}, {name: [] for name in CONTESTANTS}
    for name in CONTESTANTS:
        pipes[name], far = context.Pipe()
        context.Process(target=contestant, args=(far, name, cell, student), daemon=True).start()
        pipes[name].recv()
    for turn in range(rounds):
        for name in CONTESTANTS[:: 1 if turn % 2 == 0 else -1]:
            pipes[name].send(calls)
            times[name].append(pipes[name].recv())
    for pipe in pipes.values():
        pipe.send(0)
    return {name: np.array(values) for name, values in times.items()}


def quartiles(values: np.ndarray) -> list[float]:
    """Median, then the ends of the middle half."""
    return [float(x) for x in np.quantile(values, [0.5, 0.25, 0.75])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("-p", "--potential", default=potentials.DEFAULT)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--calls", type=int, default=5, help="calls a turn")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    cell = build_nzsp(order="ordered", cell="experimental")
    times = tournament(cell, chosen.potential, chosen.rounds, chosen.calls)
    ms = {name: {"cpu_ms": quartiles(1e3 * t[:, 1]), "wall_ms": quartiles(1e3 * t[:, 0])} for name, t in times.items()}
    ratios = [
        {
            "slower": slow,
            "faster": fast,
            "what": what,
            "goal": goal,
            "ratio": quartiles(times[slow][:, 1] / times[fast][:, 1]),
        }
        for slow, fast, goal, what in GOALS
    ]
    timestep_ps = md_step.TIMESTEP_FS / 1000
    minutes = {name: timestep_ps * 60e3 / ms[name]["cpu_ms"][0] for name in (ENGINE, DYNAMICS)}
    if chosen.json:
        print(
            json.dumps(
                {
                    "potential": potentials.load(chosen.potential).identity.model_dump(),
                    "atoms": len(cell),
                    "threads": 1,
                    "calls": ms,
                    "ratios": ratios,
                    "ps_per_cpu_minute": minutes,
                },
                indent=2,
            )
        )
        return
    print(f"{len(cell)} atoms, one thread, {chosen.potential}, {chosen.rounds} turns of {chosen.calls} calls each")
    for name, t in ms.items():
        print(f"{name:24s} {t['cpu_ms'][0]:7.1f} ms ({t['cpu_ms'][1]:.1f}-{t['cpu_ms'][2]:.1f}) of processor")
    for r in ratios:
        goal = f", goal {r['goal']:g}" if r["goal"] else ""
        print(
            f"{r['slower']} / {r['faster']}: {r['ratio'][0]:.2f} x "
            f"({r['ratio'][1]:.2f}-{r['ratio'][2]:.2f}{goal}): {r['what']}"
        )
    print(", ".join(f"{name}: {ps:.2f} ps a minute of processor" for name, ps in minutes.items()))


if __name__ == "__main__":
    main()
