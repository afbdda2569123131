"""Energy, forces and stress of every frame of a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from atomflow.cell import escaped
from atomflow.errors import InputError, check_place
from atomflow.potentials.base import Evaluation, Potential
from atomflow.potentials.edges import build_edges

#: On a GPU frames are evaluated together up to this many atoms; on a CPU one by one, which is faster there.
_ATOMS_AT_ONCE_ON_GPU = 4000


def evaluate_cells(
    potential: Potential, numbers: list[np.ndarray], positions_A: list[np.ndarray], lattices_A: list[np.ndarray],
    stress: bool = True,
) -> Evaluation:
    """Evaluate several systems as one flat batch.

    Args:
        potential: what to evaluate with.
        numbers: atomic numbers (n,) of each system.
        positions_A: positions (n, 3) of each system.
        lattices_A: lattice (3, 3) of each system, rows.
        stress: whether to compute the stress.
    """
    import torch

    owner = np.repeat(np.arange(len(numbers)), [len(each) for each in numbers])
    model = potential.batch_model(np.concatenate(numbers), owner, len(numbers))
    positions, lattices = np.concatenate(positions_A), np.array(lattices_A)
    edges = build_edges(positions, lattices, owner, model.cutoff_A, model.device) if model.needs_edges else None
    return model(
        torch.as_tensor(positions, dtype=torch.float64, device=model.device),
        torch.as_tensor(lattices, dtype=torch.float64, device=model.device),
        edges,
        stress,
    )


def evaluate_frames(potential: Potential, frames: Iterable[Any]) -> Iterator[Any]:
    """Copies of ASE frames that carry the potential's energy, forces and stress (ASE's sign and Voigt order).

    Raises:
        InputError: a frame is not periodic, or holds an element that the potential does not know.
    """
    at_once = _ATOMS_AT_ONCE_ON_GPU if potential.device.type == "cuda" else 1
    group: list[Any] = []
    for index, frame in enumerate(frames):
        if not frame.pbc.all() or abs(frame.cell.volume) < 1e-3:
            raise InputError(f"frame {index} has no cell that is periodic in all three directions; potentials need one")
        if group and sum(map(len, group)) + len(frame) > at_once:
            yield from _evaluate_group(potential, group)
            group = []
        group.append(frame)
    if group:
        yield from _evaluate_group(potential, group)


def _evaluate_group(potential: Potential, frames: list[Any]) -> Iterator[Any]:
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.stress import full_3x3_to_voigt_6_stress

    answer = evaluate_cells(
        potential, [f.numbers for f in frames], [f.positions for f in frames], [f.cell.array for f in frames]
    )
    if answer.stress_eV_per_A3 is None:
        raise RuntimeError("the model was asked for the stress and gave none")
    energies, forces = answer.energy_eV.cpu().numpy(), answer.forces_eV_per_A.cpu().numpy()
    stresses = answer.stress_eV_per_A3.cpu().numpy()
    start = 0
    for index, frame in enumerate(frames):
        copy = frame.copy()
        copy.info["potential"] = f"{potential.identity.name} {potential.identity.sha256[:16]}"
        copy.calc = SinglePointCalculator(
            copy,
            energy=float(energies[index]),
            forces=forces[start : start + len(frame)],
            stress=full_3x3_to_voigt_6_stress(stresses[index]),
        )
        start += len(frame)
        yield copy


def evaluate_file(
    potential: Potential, source: str | Path, target: str | Path, progress: Callable[[int], None] | None = None
) -> int:
    """Evaluate every frame of any file that ASE reads and write extended XYZ; returns the number of frames.

    The output appears whole or not at all.

    Raises:
        InputError: unreadable frames, an unknown element, or an output that cannot be written.
    """
    import ase.io

    source, target = Path(source), Path(target)
    if source.is_dir():
        raise InputError(f"{source} is a folder; write its frames first: atomflow export {source} --format extxyz")
    if not source.is_file():
        raise InputError(f"there is no file {source}")
    if target.suffix not in (".extxyz", ".xyz"):
        raise InputError(f"the output is extended XYZ: name it {target.with_suffix('.extxyz').name}")
    check_place(target)
    partial = target.with_name(f".{target.name}.partial")
    count = 0
    try:
        with partial.open("w", encoding="utf-8") as file:
            for frame in evaluate_frames(potential, _frames(source)):
                ase.io.write(file, escaped(frame), format="extxyz")
                count += 1
                if progress is not None:
                    progress(count)
        if count == 0:
            raise InputError(f"{source} holds no frame")
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return count


def _frames(source: Path) -> Iterator[Any]:
    """Frames of a file, one at a time; any failure to read is one line."""
    import ase.io

    try:
        yield from ase.io.iread(source, index=":")
    except InputError:
        raise
    except Exception as error:  # ASE's readers raise anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"cannot read frames from {source}: {reason}") from None
