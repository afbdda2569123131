"""Times a potential in a process of its own: one JSON line with milliseconds a step and the memory it took.

python -m atomflow.distill.card_checks.speed_probe POTENTIAL ATOMS DEVICE
"""

from __future__ import annotations

import json
import resource
import sys
import time

import numpy as np


def main(name: str, atoms: int, device: str) -> None:
    import torch

    from atomflow import potentials
    from atomflow.build.nzsp import build_nzsp
    from atomflow.potentials.edges import build_edges

    torch.set_num_threads(1)
    potential = potentials.load(name, device=device)
    side = max(1, round((atoms / 80) ** (1 / 3)))
    cell = build_nzsp(order="ordered", supercell=(side, side, side))
    owner = np.zeros(len(cell), dtype=int)
    model = potential.batch_model(cell.numbers, owner, 1)
    positions = cell.positions_A + np.random.default_rng(1).normal(0, 0.05, cell.positions_A.shape)
    lattices = np.array(cell.lattice_A)[None]
    edges = build_edges(positions, lattices, owner, model.cutoff_A, model.device)
    x, box = (torch.as_tensor(a, dtype=torch.float64, device=model.device) for a in (positions, lattices))
    times = []
    for _ in range(12):
        begun = time.perf_counter()
        model(x, box, edges, False)
        if model.device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    memory = (
        torch.cuda.max_memory_allocated()
        if device == "cuda"
        else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    )
    low, middle, high = np.quantile(times[2:], [0.25, 0.5, 0.75])
    print(
        json.dumps(
            {
                "atoms": len(cell),
                "device": device,
                "seconds": middle,
                "quartiles": [low, high],
                "memory_MB": memory / 1e6,
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
