"""The template of a NASICON cell: the sites on which an ordering places atoms, before anything is placed.

A NASICON is [Zr2(TO4)3] with Na in its cavities. Every oxygen belongs to one T (Si or P), so a template keeps it as a
direction from that T; the T-O length follows from what occupies T. Hong's averaged coordinates have Si-O 1.56 Å, too
short by 0.07 Å, and the DFT framework fits one Na order only. Keeping the measured average directions and setting
Si-O 1.63 and P-O 1.53 Å (the lengths of the relaxed ordered cell) moves no oxygen by more than 0.07 Å, suits every
Si/P order, and leaves Zr-O between 1.98 and 2.13 Å. It is a starting point: relax every such cell before running it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from atomflow import crystals

if TYPE_CHECKING:
    from pymatgen.core import PeriodicSite, Structure

#: T-O bond lengths set by the builder, in Å: those of the ordered cell with experimental lattice constants.
T_O_LENGTH_A = {"Si": 1.63, "P": 1.53}
#: Hong's coordinates plus this are Xie's: both use C2/c, with origins on different inversion centres.
HONG_TO_XIE = np.array([0.0, 0.5, 0.5])
CRYSTAL_OF_CELL = {
    "experimental": "NZSP_C2c_ordered_DFTcoords_PDF84-1200cell",
    "dft": "NZSP_C2c_ordered_DFT_Xie2023",
}
HONG = "NZSP_C2c_HongCoords_PDF84-1200cell_disordered"
BOILOT = "NZSP_R-3c_Boilot1988_443K"
#: Rows: primitive lattice vectors in terms of the conventional ones (C centring; obverse R centring).
PRIMITIVE = {
    "monoclinic": np.array([[0.5, -0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]),
    "rhombohedral": np.array([[2, 1, 1], [-1, 1, 1], [-1, -2, 1]]) / 3.0,
}


@dataclass(frozen=True, eq=False)
class Template:
    """Candidate sites of one cell; all fractional coordinates refer to ``lattice_A`` (rows).

    Attributes:
        phase: ``monoclinic`` or ``rhombohedral``.
        lattice_A: (3, 3) lattice vectors as rows, Å.
        na, zr, t: (n, 3) fractional coordinates of the Na, Zr and T sites.
        na_names, zr_names, t_names, o_names: the site name of each.
        o_parent: (n_o,) index of the T site to which each oxygen is bonded.
        o_direction: (n_o, 3) Cartesian unit vector from that T to the oxygen.
        sources: provenance of the crystals used.
        repeats: how often the base cell is repeated along its vectors; site i of copy k has index k·n_base + i.
    """

    phase: str
    lattice_A: np.ndarray
    na: np.ndarray
    zr: np.ndarray
    t: np.ndarray
    na_names: np.ndarray
    zr_names: np.ndarray
    t_names: np.ndarray
    o_names: np.ndarray
    o_parent: np.ndarray
    o_direction: np.ndarray
    sources: tuple[dict[str, str], ...]
    repeats: tuple[int, int, int] = (1, 1, 1)

    def __post_init__(self) -> None:
        for value in self.__dict__.values():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)

    @property
    def formula_units(self) -> int:
        return len(self.zr) // 2

    def oxygen_A(self, length_A: np.ndarray) -> np.ndarray:
        """(n_o, 3) Cartesian oxygen positions when the T site i has T-O bonds of ``length_A[i]``."""
        return (self.t @ self.lattice_A)[self.o_parent] + length_A[self.o_parent, None] * self.o_direction


@cache
def load_template(phase: str, cell: str = "experimental") -> Template:
    """The conventional cell of a phase; ``cell`` chooses the lattice of the monoclinic one. Read once a process."""
    if phase == "rhombohedral":
        structure = crystals.load(BOILOT)
        names = {"Na1": "M1", "Na2": "M2", "midNa": "mid", "T1b": "T1"}
        return _from_structure(structure, phase, names, structure.lattice.matrix, np.zeros(3), (BOILOT,))
    structure = crystals.load(HONG)
    lattice = crystals.load(CRYSTAL_OF_CELL[cell]).lattice.matrix
    sources = (HONG, CRYSTAL_OF_CELL[cell])
    template = _from_structure(structure, phase, {"Si1": "T1", "P1": "T2"}, lattice, HONG_TO_XIE, sources)
    return _with_mid_sites(template, crystals.load(CRYSTAL_OF_CELL[cell]))


def _with_mid_sites(template: Template, ordered: Structure) -> Template:
    """Add ``mid``, where the DFT crystal keeps two thirds of its Na: its 8f site, labelled Na2 in that CIF."""
    mid = np.array([site.frac_coords for site in ordered if site.label == "Na2"]) % 1.0
    names = np.concatenate([template.na_names, np.full(len(mid), "mid")])
    return replace(template, na=np.concatenate([template.na, mid]), na_names=names)


def with_lattice(template: Template, lattice_A: np.ndarray) -> Template:
    """The same fractional coordinates of Na, Zr and T in another lattice; bond directions strained with it."""
    strain = np.linalg.solve(template.lattice_A, lattice_A)
    direction = template.o_direction @ strain
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return replace(template, lattice_A=np.array(lattice_A), o_direction=direction)


def name_sites(template: Template, symbols: np.ndarray, fractional: np.ndarray) -> np.ndarray:
    """(n,) name of the template site of the same kind (Na, Zr, T, O) nearest to each atom."""
    from ase.geometry import get_distances

    kinds = np.where(np.isin(symbols, ("Si", "P")), "T", symbols)
    mean_length = np.full(len(template.t), np.mean(list(T_O_LENGTH_A.values())))
    known = {
        "Na": (template.na @ template.lattice_A, template.na_names),
        "Zr": (template.zr @ template.lattice_A, template.zr_names),
        "T": (template.t @ template.lattice_A, template.t_names),
        "O": (template.oxygen_A(mean_length), template.o_names),
    }
    sites = np.empty(len(symbols), dtype="U8")
    for kind, (positions_A, names) in known.items():
        atoms = np.flatnonzero(kinds == kind)
        _, distance = get_distances(fractional[atoms] @ template.lattice_A, positions_A, template.lattice_A, pbc=True)
        sites[atoms] = names[distance.argmin(axis=1)]
    return sites


def _from_structure(
    structure: Structure,
    phase: str,
    rename: dict[str, str],
    lattice: np.ndarray,
    shift: np.ndarray,
    names: tuple[str, ...],
) -> Template:
    kinds = np.array([_kind(site) for site in structure])
    labels = np.array([rename.get(site.label, site.label) for site in structure])
    fractional = (structure.frac_coords + shift) % 1.0
    parent, direction = _bonds(fractional[kinds == "O"], fractional[kinds == "T"], lattice)
    return Template(
        phase=phase,
        lattice_A=np.array(lattice),
        na=fractional[kinds == "Na"],
        zr=fractional[kinds == "Zr"],
        t=fractional[kinds == "T"],
        na_names=labels[kinds == "Na"],
        zr_names=labels[kinds == "Zr"],
        t_names=labels[kinds == "T"],
        o_names=labels[kinds == "O"],
        o_parent=parent,
        o_direction=direction,
        sources=tuple(crystals.provenance(name) for name in names),
    )


def _kind(site: PeriodicSite) -> str:
    elements = {element.symbol for element in site.species}
    return "T" if elements & {"Si", "P"} else elements.pop()


def _bonds(oxygen: np.ndarray, t: np.ndarray, lattice: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The T nearest to each oxygen, and the Cartesian unit vector from that T to the oxygen."""
    images = np.array(list(product((-1, 0, 1), repeat=3)))
    vectors = (oxygen[:, None, None] - t[None, :, None] + images) @ lattice
    distance = np.linalg.norm(vectors, axis=-1)
    flat = distance.reshape(len(oxygen), -1).argmin(axis=1)
    parent, image = np.divmod(flat, len(images))
    bond = vectors[np.arange(len(oxygen)), parent, image]
    return parent, bond / np.linalg.norm(bond, axis=1, keepdims=True)


def primitive(template: Template) -> Template:
    """The same crystal in its primitive cell (40 atoms C2/c, two formula units R-3c)."""
    moved: dict[str, np.ndarray] = {}
    keep: dict[str, np.ndarray] = {}
    for kind in ("na", "zr", "t"):
        moved[kind], keep[kind] = into_primitive(getattr(template, kind), template.phase)
    new_index = {old: new for new, old in enumerate(keep["t"])}
    o_keep = [i for i, parent in enumerate(template.o_parent) if parent in new_index]
    return replace(
        template,
        lattice_A=PRIMITIVE[template.phase] @ template.lattice_A,
        na=moved["na"],
        zr=moved["zr"],
        t=moved["t"],
        na_names=template.na_names[keep["na"]],
        zr_names=template.zr_names[keep["zr"]],
        t_names=template.t_names[keep["t"]],
        o_names=template.o_names[o_keep],
        o_parent=np.array([new_index[template.o_parent[i]] for i in o_keep]),
        o_direction=template.o_direction[o_keep],
    )


def into_primitive(fractional: np.ndarray, phase: str) -> tuple[np.ndarray, np.ndarray]:
    """Fractional coordinates in the primitive cell of the sites that differ there, and their indices in the input."""
    moved = (fractional @ np.linalg.inv(PRIMITIVE[phase]) + 1e-9) % 1.0 - 1e-9
    difference = moved[:, None] - moved[None]
    same = (np.abs(difference - np.round(difference)) < 1e-4).all(axis=-1)
    keep = np.flatnonzero(same.argmax(axis=1) == np.arange(len(fractional)))
    return moved[keep], keep


def repeat(template: Template, repeats: tuple[int, int, int]) -> Template:
    """The template repeated along its lattice vectors; copy after copy, c fastest."""
    copies = np.array(list(product(*(range(n) for n in repeats))))
    size = np.array(repeats)
    n_copies, n_t = len(copies), len(template.t)

    def tiled(fractional: np.ndarray) -> np.ndarray:
        return ((fractional[None] + copies[:, None]) / size).reshape(-1, 3)

    return replace(
        template,
        lattice_A=template.lattice_A * size[:, None],
        na=tiled(template.na),
        zr=tiled(template.zr),
        t=tiled(template.t),
        na_names=np.tile(template.na_names, n_copies),
        zr_names=np.tile(template.zr_names, n_copies),
        t_names=np.tile(template.t_names, n_copies),
        o_names=np.tile(template.o_names, n_copies),
        o_parent=(template.o_parent[None] + n_t * np.arange(n_copies)[:, None]).ravel(),
        o_direction=np.tile(template.o_direction, (n_copies, 1)),
        repeats=repeats,
    )
