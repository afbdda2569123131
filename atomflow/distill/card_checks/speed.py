"""Speed and memory: force evaluations of NZSP, one CPU thread, and a GPU where there is one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from atomflow.distill.card_checks.section import Context, Section, Work
from atomflow.errors import RunFailed

TITLE = "Speed and memory"
MODULE = "atomflow.distill.card_checks.speed_probe"


def work(context: Context) -> Work:
    return Work(student=20.0 * sum(context.settings.speed_atoms))


def run(context: Context) -> Section:
    import torch

    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    section = Section(
        columns=["device", "atoms", "ms a force evaluation (quartiles)", "million atom-steps an hour", "memory, MB"]
    )
    for device in devices:
        for atoms in context.settings.speed_atoms:
            context.say(f"speed: {atoms} atoms on {device}")
            found = probe(context.name, atoms, device)
            low, high = found["quartiles"]
            section.rows.append(
                [
                    device,
                    str(found["atoms"]),
                    f"{1e3 * found['seconds']:.1f} ({1e3 * low:.1f}-{1e3 * high:.1f})",
                    f"{3600e-6 * found['atoms'] / found['seconds']:.1f}",
                    f"{found['memory_MB']:.0f}",
                ]
            )
            section.facts[f"{device}-{found['atoms']}"] = found
    section.lines.append(
        f"Energies and forces without stress, {context.potential.identity.dtype}, one CPU thread, on the machine "
        "that made this card (other work on it slows it). CPU memory is the whole process with its libraries."
    )
    if "cuda" not in devices:
        section.missing.append("GPU: this machine has none that torch can use")
    return section


def probe(name: str, atoms: int, device: str) -> dict[str, Any]:
    """Time and memory from a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", MODULE, name, str(atoms), device],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise RunFailed(f"the timing of {name} failed: {last}")
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))
