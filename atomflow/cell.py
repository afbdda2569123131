"""The cell: species, positions, lattice, a region for every atom, and where it all came from.

A :class:`Cell` is immutable. Arrays inside it are read-only; "changing" a cell makes a new one, with
:meth:`Cell.with_`. ASE and pymatgen objects appear only at the edges.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from atomflow.errors import InputError, check_place, path_of, said
from atomflow.units import G_PER_CM3_PER_AMU_PER_A3

if TYPE_CHECKING:
    import ase
    import pymatgen.core

#: Regions that builders may name. "bulk" is the default of a single crystal.
REGIONS = ("bulk", "grain_a", "grain_b", "boundary", "glass", "metal", "vacuum")

#: A folder with a file of this name can be given where a cell is asked for.
FINAL_CELL = "final.extxyz"


def _frozen(array: Any, dtype: Any) -> np.ndarray:
    copy = np.array(array, dtype=dtype)
    copy.setflags(write=False)
    return copy


@dataclass(frozen=True, eq=False)
class Cell:
    """Atoms in a periodic box.

    Attributes:
        numbers: (N,) atomic numbers.
        positions_A: (N, 3) Cartesian positions in Å, as given (not wrapped).
        lattice_A: (3, 3) lattice vectors **a**, **b**, **c** as rows, in Å; right-handed, all three periodic.
        regions: (N,) region name of each atom, e.g. ``grain_a`` or ``glass``; ``bulk`` when not given.
        sites: (N,) crystallographic site of each atom, e.g. ``Na1``; empty strings when not known.
        provenance: JSON-able facts on where the cell came from (builder, parameters, source files, checksums).
    """

    numbers: np.ndarray
    positions_A: np.ndarray = None  # type: ignore[assignment]
    lattice_A: np.ndarray = None  # type: ignore[assignment]
    regions: np.ndarray = None  # type: ignore[assignment]
    sites: np.ndarray = None  # type: ignore[assignment]
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        if self.positions_A is None or self.lattice_A is None:
            raise InputError(f"Cell(...) needs atomic numbers, positions_A and lattice_A{_made_by(self.numbers)}")
        try:
            set_(self, "numbers", _frozen(self.numbers, np.int64))
        except (TypeError, ValueError):
            raise InputError("the cell needs atomic numbers, like 11 for Na; Cell.from_ase(...) takes the symbols of "
                             "ASE atoms") from None
        n = len(self.numbers)
        set_(self, "positions_A", _frozen(self.positions_A, np.float64))
        set_(self, "lattice_A", _frozen(self.lattice_A, np.float64))
        set_(self, "regions", _frozen(["bulk"] * n if self.regions is None else self.regions, np.str_))
        set_(self, "sites", _frozen([""] * n if self.sites is None else self.sites, np.str_))
        set_(self, "provenance", json.loads(json.dumps(self.provenance)))
        self._validate()

    def _validate(self) -> None:
        n = len(self.numbers)
        if n == 0:
            raise InputError("the cell has no atoms")
        if self.positions_A.shape != (n, 3) or self.lattice_A.shape != (3, 3):
            raise InputError(f"the cell needs positions ({n}, 3) and lattice (3, 3), not "
                             f"{self.positions_A.shape} and {self.lattice_A.shape}")
        if self.regions.shape != (n,) or self.sites.shape != (n,):
            raise InputError("the cell needs one region and one site for every atom")
        if not (np.isfinite(self.positions_A).all() and np.isfinite(self.lattice_A).all()):
            raise InputError("the cell holds a position or lattice vector that is not a finite number")
        if (self.numbers < 1).any() or (self.numbers > 118).any():
            raise InputError("the cell holds an atom that is not an element (atomic number outside 1-118)")
        volume = float(np.linalg.det(self.lattice_A))
        if abs(volume) < 1e-3:
            raise InputError("the cell has no volume: give three lattice vectors that span a box")
        if volume < 0:
            raise InputError("the lattice vectors are left-handed: exchange two of them")

    # --- what it is -------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.numbers)

    def __repr__(self) -> str:
        regions = ", ".join(f"{name} {count}" for name, count in Counter(self.regions.tolist()).items())
        return (f"<Cell {self.formula}: {len(self)} atoms, {self.volume_A3:.1f} Å³, "
                f"{self.density_g_per_cm3:.3f} g/cm³; regions: {regions}>")

    def with_(self, **changes: Any) -> Cell:
        """A changed copy, checked as every cell is: ``cell.with_(positions_A=cell.positions_A + shift)``.

        Raises:
            InputError: a cell has no such part, or what is given does not make a cell.
        """
        if unknown := [name for name in changes if name not in self.__dataclass_fields__]:
            raise InputError(f"a cell has no {', '.join(unknown)}; it has {', '.join(self.__dataclass_fields__)}")
        return replace(self, **changes)

    @property
    def symbols(self) -> np.ndarray:
        """(N,) chemical symbols."""
        from ase.data import chemical_symbols

        return np.array([chemical_symbols[z] for z in self.numbers])

    @property
    def masses_amu(self) -> np.ndarray:
        """(N,) standard atomic masses (ASE's table)."""
        from ase.data import atomic_masses

        return atomic_masses[self.numbers]

    @property
    def volume_A3(self) -> float:
        return float(np.linalg.det(self.lattice_A))

    @property
    def density_g_per_cm3(self) -> float:
        return float(self.masses_amu.sum() / self.volume_A3 * G_PER_CM3_PER_AMU_PER_A3)

    @property
    def composition(self) -> dict[str, int]:
        """Atoms of each element, in order of first appearance."""
        return dict(Counter(str(s) for s in self.symbols))

    @property
    def formula(self) -> str:
        return "".join(f"{symbol}{count if count > 1 else ''}" for symbol, count in self.composition.items())

    @property
    def fractional(self) -> np.ndarray:
        """(N, 3) fractional coordinates, not wrapped."""
        return np.linalg.solve(self.lattice_A.T, self.positions_A.T).T

    @property
    def sha256(self) -> str:
        """Checksum of what physics sees: numbers, positions (to 1e-8 Å), lattice, regions."""
        digest = hashlib.sha256()
        digest.update(self.numbers.tobytes())
        digest.update((np.round(self.positions_A, 8) + 0.0).tobytes())
        digest.update((np.round(self.lattice_A, 8) + 0.0).tobytes())
        digest.update("\n".join(self.regions).encode())
        return digest.hexdigest()

    def summary(self) -> dict[str, Any]:
        """What a manifest records of the cell."""
        lengths = np.linalg.norm(self.lattice_A, axis=1)
        return {
            "formula": self.formula,
            "n_atoms": len(self),
            "volume_A3": self.volume_A3,
            "density_g_per_cm3": self.density_g_per_cm3,
            "lengths_A": lengths.tolist(),
            "angles_deg": self.angles_deg.tolist(),
            "lattice_A": self.lattice_A.tolist(),
            "regions": dict(Counter(self.regions.tolist())),
            "sha256": self.sha256,
            "provenance": self.provenance,
        }

    @property
    def angles_deg(self) -> np.ndarray:
        """(3,) α, β, γ in degrees."""
        a, b, c = self.lattice_A
        pairs = ((b, c), (a, c), (a, b))
        return np.array([np.degrees(np.arccos(u @ v / np.linalg.norm(u) / np.linalg.norm(v))) for u, v in pairs])

    # --- edges: ASE, pymatgen, files --------------------------------------------------------------------------

    @classmethod
    def from_ase(cls, atoms: ase.Atoms, provenance: dict[str, Any] | None = None) -> Cell:
        """A cell from ASE atoms; reads what :meth:`to_ase` wrote (regions, sites, provenance)."""
        if not hasattr(atoms, "pbc") or hasattr(atoms, "is_ordered"):
            raise InputError(f"Cell.from_ase takes ASE atoms, not {said(atoms)}{_made_by(atoms)}")
        if not np.all(atoms.pbc) and np.abs(np.linalg.det(atoms.cell.array)) < 1e-3:
            raise InputError("the structure has no periodic cell; atomflow needs three lattice vectors")
        stored = atoms.info.get("atomflow_provenance")
        if provenance is None:
            provenance = json.loads(stored) if isinstance(stored, str) else (stored or {})
        return cls(
            atoms.numbers,
            atoms.positions,
            atoms.cell.array,
            regions=_labels(atoms.arrays.get("region"), len(atoms), "bulk"),
            sites=_labels(atoms.arrays.get("site"), len(atoms), ""),
            provenance=provenance,
        )

    def to_ase(self) -> ase.Atoms:
        """New ASE atoms with ``region`` and ``site`` arrays and the provenance in ``info``."""
        import ase

        atoms = ase.Atoms(numbers=self.numbers, positions=self.positions_A, cell=self.lattice_A, pbc=True)
        atoms.set_array("region", np.array(self.regions))
        if any(self.sites):
            atoms.set_array("site", np.where(self.sites == "", "-", self.sites))
        atoms.info["atomflow_provenance"] = json.dumps(self.provenance)
        return atoms

    @classmethod
    def from_pymatgen(cls, structure: pymatgen.core.Structure, provenance: dict[str, Any] | None = None) -> Cell:
        """A cell from an ordered pymatgen structure; site properties ``region`` and ``site`` are kept."""
        if not hasattr(structure, "is_ordered"):
            raise InputError(f"Cell.from_pymatgen takes a Structure, not {said(structure)}{_made_by(structure)}")
        if not structure.is_ordered:
            raise InputError("the structure has partly occupied sites; order it first (atomflow build nzsp)")
        properties = structure.site_properties
        return cls(
            np.array([site.specie.Z for site in structure]),
            structure.cart_coords,
            structure.lattice.matrix,
            regions=_labels(properties.get("region"), len(structure), "bulk"),
            sites=_labels(properties.get("site"), len(structure), ""),
            provenance=provenance or {},
        )

    def to_pymatgen(self) -> pymatgen.core.Structure:
        from pymatgen.core import Lattice, Structure

        return Structure(
            Lattice(self.lattice_A),
            [str(s) for s in self.symbols],
            self.positions_A,
            coords_are_cartesian=True,
            site_properties={"region": [str(r) for r in self.regions], "site": [str(s) for s in self.sites]},
        )


def _refuse(cell: Cell, name: str, value: object) -> None:
    """As a configuration does it: with the way to what is wanted."""
    raise InputError(f"Cell cannot be changed; make another: cell = cell.with_({name}=...)")


setattr(Cell, "__setattr__", _refuse)  # noqa: B010  (a frozen dataclass makes its own, which names the field only)


def check_cell_given(value: object) -> None:
    """Raise :class:`InputError` that says how to make a cell of what was given in its place."""
    if not isinstance(value, Cell):
        raise InputError(f"a Cell is wanted, not {said(value)}{_made_by(value)}")


def _made_by(value: object) -> str:
    """How a cell is made of what was given in its place, in words; empty where it cannot be."""
    if isinstance(value, (str, os.PathLike)):
        return f"; atomflow.cell.read_cell({str(value)!r}) reads one"
    for way, mark in (("from_pymatgen", "is_ordered"), ("from_ase", "pbc")):  # a Structure has a pbc, too
        if hasattr(value, mark):
            return f"; Cell.{way}(...) makes one of it"
    if isinstance(value, tuple) and value and isinstance(value[0], Cell):
        return "; its first item is one: cell, result = md.relax(...)"
    return ""


def _labels(values: Any, n: int, default: str) -> np.ndarray:
    """(n,) strings; the default where there is none (``-`` stands for empty in files)."""
    if values is None:
        return np.full(n, default)
    return np.array([default if value in (None, "-") else str(value) for value in values])


def read_cell(path: str | Path, index: int = -1) -> Cell:
    """Read one cell from any file ASE reads (extxyz, CIF, POSCAR, ...); by default the last frame.

    The folder of a finished quench stands for its final cell.

    Raises:
        InputError: the file is missing, unreadable, has no lattice, or has partly occupied sites.
    """
    import warnings

    if hasattr(path, "pbc"):
        raise InputError(f"read_cell reads a file, not {said(path)}{_made_by(path)}")
    path = path_of(path, "a structure file")
    if (path / FINAL_CELL).is_file():
        path = path / FINAL_CELL
    if not path.is_file():
        raise InputError(_no_structure(path))
    try:
        import ase.io

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            atoms: Any = ase.io.read(path, index=index)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        reason = f"there is no element {reason}" if isinstance(error, KeyError) else reason
        raise InputError(f"cannot read a structure from {path}: {reason}") from None
    occupancy = atoms.info.get("occupancy")
    if occupancy and any(abs(sum(site.values()) - 1) > 1e-3 or len(site) > 1 for site in occupancy.values()):
        raise InputError(f"{path} has partly occupied sites; order it first, e.g. atomflow build nzsp --order random")
    open_axes = [axis for axis, periodic in zip("abc", atoms.pbc, strict=True) if not periodic]
    if open_axes and np.abs(np.linalg.det(atoms.cell.array)) > 1e-3:
        raise InputError(f"{path} says that it is not periodic along {', '.join(open_axes)}, and every cell is here: "
                         "leave 15 Å or so of vacuum there and say pbc=\"T T T\"")
    try:
        cell = Cell.from_ase(atoms)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if not cell.provenance:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        cell = Cell(cell.numbers, cell.positions_A, cell.lattice_A, cell.regions, cell.sites,
                    {"source": path.name, "source_sha256": digest})
    return cell


def _no_structure(path: Path) -> str:
    """Why there is no cell to read, in words."""
    if (path / "run.json").is_file():
        return (f"{path} is a run folder, not a structure; atomflow export {path} --format extxyz -o FILE writes its "
                "frames, of which the last one is then read")
    if path.is_dir():
        return f"{path} is a folder; name the structure in it (extxyz, CIF, POSCAR)"
    return f"there is no file {path}; give a structure (extxyz, CIF, POSCAR)"


def check_writable(path: str | Path) -> None:
    """Ask before anything is computed whether a cell can be written there.

    Raises:
        InputError: there is no such folder, or the name shows no format that ASE writes.
    """
    from ase.io.formats import UnknownFileTypeError, filetype, ioformats

    path = Path(path)
    check_place(path)
    try:
        format_ = ioformats.get(filetype(path.name, read=False))
    except UnknownFileTypeError:
        format_ = None
    if format_ is None or not format_.can_write or path.is_dir():
        why = "it is a folder" if path.is_dir() else "the name shows no format"
        raise InputError(f"cannot write {path}: {why}; end the name in .extxyz, .cif or .vasp")


def for_extxyz(cell: Cell) -> ase.Atoms:
    """ASE atoms for an extxyz file, with quotes, é and Å in the provenance kept (see :func:`escaped`)."""
    return escaped(cell.to_ase())


def escaped(atoms: ase.Atoms) -> ase.Atoms:
    """A copy whose texts come back from an extxyz file as they are: its reader takes one level of backslashes off."""
    copy = atoms.copy()
    copy.calc = atoms.calc
    for name, value in atoms.info.items():
        if isinstance(value, str):
            copy.info[name] = value.replace("\\", "\\\\")
    return copy


def write_cell(cell: Cell, path: str | Path) -> Path:
    """Write the cell (extxyz keeps regions, sites and provenance); whole or not at all."""
    import ase.io

    check_cell_given(cell)
    path = path_of(path, "the file of a cell")
    check_writable(path)
    format_ = "extxyz" if path.suffix in (".extxyz", ".xyz") else None
    partial = path.with_name(f".{path.name}.partial{path.suffix}")
    try:
        ase.io.write(partial, for_extxyz(cell) if format_ == "extxyz" else cell.to_ase(), format=format_)
        os.replace(partial, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None
    except ValueError as error:
        raise InputError(f"cannot write {path}: {error}; use .extxyz, .cif or .vasp") from None
    finally:
        partial.unlink(missing_ok=True)
    return path
