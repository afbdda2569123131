"""The cell as the page's 3D view needs it: atoms and their images across the box, bonds, and the paths of the ions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from atomflow.errors import AtomflowError

if TYPE_CHECKING:
    from atomflow.cell import Cell
    from atomflow.report.collect import RunRecord

#: Longest bond drawn, Å: cation to oxygen only.
BONDS_A = {
    "Zr": 2.65,
    "Si": 2.0,
    "P": 1.95,
    "B": 1.85,
    "Zn": 2.45,
    "Al": 2.2,
    "Sc": 2.5,
    "V": 2.4,
    "Hf": 2.6,
    "Ti": 2.4,
}
#: Most frames of the ions' paths, and most ion positions over all frames, that travel in the page.
MOST_FRAMES = 60
MOST_POINTS = 20_000
#: Cells beyond this size are shown without the images that complete their polyhedra.
MOST_ATOMS = 1500


def views(records: list[RunRecord], structures: list[str], mobile: str = "Na") -> list[dict[str, Any]]:
    """One view for each structure, from the hottest of its runs that can be read."""
    found = []
    for structure in structures:
        candidates = [r for r in records if r.structure == structure and r.manifest and r.problem is None]
        for record in sorted(candidates, key=lambda r: -(r.target_K or 0.0)):
            view = _view_of_run(record, mobile)
            if view is not None:
                found.append({"name": structure, **view})
                break
    return found


def _view_of_run(record: RunRecord, mobile: str) -> dict[str, Any] | None:
    from atomflow import runs

    try:
        run = runs.open_run(record.folder)
        view = view_of_cell(run.initial_cell())
        paths = _paths(run, mobile)
    except (AtomflowError, OSError, ValueError, KeyError, IndexError):
        return None
    if paths:
        view |= {"mobile": mobile, "frames": paths[0], "frame_times_ps": paths[1], "source": _source(record)}
    return view


def _source(record: RunRecord) -> str:
    at = f" at {record.target_K:.0f} K" if record.target_K else ""
    return f"run {record.name}{at}"


def view_of_cell(cell: Cell) -> dict[str, Any]:
    """Atoms wrapped into the box, oxygen images that complete the polyhedra, and the bonds between them.

    Returns:
        ``elements`` (E,), ``kinds`` (M,) index into elements, ``positions`` (M, 3) Å, ``images`` how many of the last
        atoms are images, ``bonds`` (B, 2), ``lattice`` (3, 3) rows in Å.
    """
    symbols = cell.symbols
    wrapped = wrap(cell.fractional) @ cell.lattice_A
    bonds, images = _bonds(symbols, wrapped, cell.lattice_A) if len(cell) <= MOST_ATOMS else ([], [])
    extra = [wrapped[index] + np.array(shift) @ cell.lattice_A for index, shift in images]
    positions = np.vstack([wrapped, *extra]) if extra else wrapped
    elements = list(dict.fromkeys(symbols.tolist()))
    kinds = [elements.index(s) for s in [*symbols.tolist(), *(str(symbols[index]) for index, _ in images)]]
    return {
        "elements": elements,
        "kinds": kinds,
        "positions": np.round(positions, 3).tolist(),
        "images": len(images),
        "bonds": bonds,
        "lattice": np.round(cell.lattice_A, 4).tolist(),
    }


def wrap(fractional: np.ndarray) -> np.ndarray:
    """Into [0, 1), with atoms a hair below 1 at 0, so that a face of the box is not drawn twice or torn."""
    inside = fractional - np.floor(fractional)
    return np.where(inside > 1.0 - 1e-6, 0.0, inside)


def _bonds(symbols: np.ndarray, positions: np.ndarray, lattice: np.ndarray) -> tuple[list[list[int]], list[Any]]:
    """Bonds from every cation in the box to its oxygens, and the oxygen images that takes."""
    from ase import Atoms
    from ase.neighborlist import neighbor_list

    pairs = {(cation, "O"): reach for cation, reach in BONDS_A.items() if cation in symbols}
    if not pairs or "O" not in symbols:
        return [], []
    atoms = Atoms(symbols.tolist(), positions=positions, cell=lattice, pbc=True)
    bonds: list[list[int]] = []
    images: dict[tuple[int, tuple[int, ...]], int] = {}
    for i, j, shift in zip(*neighbor_list("ijS", atoms, pairs), strict=True):
        if symbols[i] == "O":
            continue
        key = (int(j), tuple(int(s) for s in shift))
        inside = not any(key[1])
        end = int(j) if inside else images.setdefault(key, len(symbols) + len(images))
        bonds.append([int(i), end])
    return bonds, list(images)


def _paths(run: Any, mobile: str) -> tuple[list[list[int]], list[float]] | None:
    """Wrapped fractional positions × 10,000 of the mobile ions in up to ``MOST_FRAMES`` frames, drift removed.

    Each frame is one flat list x, y, z, x, ... The framework's mean displacement since the first frame is taken off.
    """
    ions = np.flatnonzero(np.asarray(run.symbols) == mobile)
    frame_count = min(MOST_FRAMES, run.n_frames, MOST_POINTS // max(len(ions), 1))
    if len(ions) == 0 or frame_count < 2:
        return None
    rest = np.flatnonzero(np.asarray(run.symbols) != mobile)
    frames, times = [], []
    first = None
    to_fractional = np.linalg.inv(run.mean_lattice_A)
    for index in np.unique(np.linspace(0, run.n_frames - 1, frame_count).round().astype(int)):
        positions = np.asarray(run.positions_A(int(index), int(index) + 1))[0]
        fractional = positions @ to_fractional
        first = fractional if first is None else first
        drift = (fractional - first)[rest].mean(axis=0) if len(rest) else np.zeros(3)
        frames.append(np.floor(10_000 * wrap(fractional[ions] - drift)).astype(int).ravel().tolist())
        times.append(round(float(run.times_fs[int(index)]) / 1000.0, 4))
    return frames, times
