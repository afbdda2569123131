"""One force call of a MACE, 80-atom NZSP, on a CPU: compiled loops against autograd.

    python workflows/benchmarks/force_call.py [-p NAME] [--dtype float32] [--repeat 1] [--threads 1]

Both ways take turns in one process, so that a busy machine slows both alike. With one thread processor time is
counted, with more the clock. ``--repeat`` puts so many cells in a row.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from atomflow import potentials
from atomflow.build.nzsp import build_nzsp
from atomflow.errors import InputError
from atomflow.potentials.allocator import keep_freed_memory
from atomflow.potentials.edges import build_edges

TURNS = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-p", "--potential", default="atomflow-nzsp-zbo")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    keep_freed_memory()
    try:
        potential = potentials.load(given.potential, device="cpu", dtype=given.dtype)
    except InputError as error:
        parser.error(str(error))
    if getattr(potential, "arrays", None) is None:
        parser.error(f"{given.potential} has no compiled way: it takes numba, and a MACE such as 64x0e or 64x0e+64x1o")
    without = replace(potential)
    without.__dict__["arrays"] = None
    atoms = build_nzsp(order="ordered").to_ase().repeat((given.repeat, 1, 1))
    atoms.rattle(0.05)
    clock = time.thread_time if given.threads == 1 else time.perf_counter
    calls = {"compiled": force_call(potential, atoms), "autograd": force_call(without, atoms)}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(TURNS + 5):
        for name, call in calls.items():
            start = clock()
            call()
            if turn >= 5:
                times[name].append(clock() - start)
    print(f"{atoms.get_chemical_formula()}, ordered C2/c; {potential}")
    for name, own in times.items():
        low, middle, high = 1e3 * np.percentile(own, (5, 50, 95))
        print(f"{name}: {middle:.2f} ms a force call of {len(atoms)} atoms (5 to 95 %: {low:.2f} to {high:.2f})")


def force_call(potential: potentials.Potential, atoms: object) -> Callable[[], object]:
    """The engine's call: a list with a skin of 1 Å, no stress."""
    positions, lattices = np.array(atoms.positions), np.array(atoms.cell.array)[None]  # type: ignore[attr-defined]
    owner = np.zeros(len(positions), dtype=int)
    model = potential.batch_model(atoms.numbers, owner, 1)  # type: ignore[attr-defined]
    edges = build_edges(positions, lattices, owner, model.cutoff_A + 1.0, model.device)
    here, there = torch.from_numpy(positions), torch.from_numpy(lattices)
    return lambda: model(here, there, edges, False)


if __name__ == "__main__":
    main()
