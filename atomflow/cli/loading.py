"""What verbs do before they compute with a potential: set the threads, load it, and say what it was not made for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from atomflow.errors import InputError

if TYPE_CHECKING:
    from atomflow.cell import Cell
    from atomflow.potentials import Potential


def set_threads(threads: int | None) -> None:
    """Torch's CPU threads, on purpose: on a busy machine two are far slower than one."""
    text = os.environ.get("OMP_NUM_THREADS") or "1"
    if threads is None and not text.isdigit():
        raise InputError(f"OMP_NUM_THREADS={text} is not one number; set it, or give --threads")
    wanted = int(text) if threads is None else threads
    if wanted < 1:
        raise InputError("--threads must be at least 1")
    os.environ["OMP_NUM_THREADS"] = str(wanted)
    import torch

    torch.set_num_threads(wanted)


def load_potential(
    name: str | None, device: str, dtype: str, trust_model: bool, committee: Sequence[str | Path] = ()
) -> Potential:
    """The potential of that name or file; atomflow's own where none is named."""
    from atomflow import potentials

    return potentials.load(name or potentials.DEFAULT, device=device, dtype=dtype, trust_model=trust_model,
                           committee=committee)  # fmt: skip


def warn_of(potential: Potential, cell: Cell) -> None:
    """Refuse elements that the potential does not know; warn of those that it was not validated for."""
    from atomflow.cli import output

    potential.check_elements(cell.numbers)
    caution = potential.identity.caution(cell.numbers)
    if caution:
        output.say(f"warning: {caution}")
