"""Decorated NZSP in its 40-atom primitive cell: Na and vacancies, Si and P, Zn on Zr, drawn at random on the sites.

A primitive cell holds Zr4 and six tetrahedra, so silicon comes in steps of one half: Na(1+x)Zr2Si(x)P(3-x)O12 with
x = 0, 0.5, ... 3. It costs half of what the conventional cell costs a teacher.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Literal

import numpy as np

from atomflow.errors import InputError

Framework = Literal["monoclinic", "rhombohedral"]

#: Crystal that gives every framework its sites (all Na sites present).
CRYSTALS = {
    "monoclinic": "NZSP_C2c_HongCoords_PDF84-1200cell_disordered",
    "rhombohedral": "Na4Zr2Si3O12_R-3c_TranQui1981_RT",
}
#: Volume of the primitive cell at x = 2, Å³ (between experiment, 543, and PBE, 559), and its change per unit of x.
VOLUME_A3 = 545.0
VOLUME_SLOPE = 0.02
TETRAHEDRON_A = {"Si": 1.64, "P": 1.54}
TETRAHEDRA = 6
ZIRCONIUM = 4


@cache
def sites(framework: Framework) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels (``Na``, ``Zr``, ``T``, ``O``), positions (N, 3) and lattice (3, 3) of a framework, all sites filled."""
    from atomflow import crystals

    primitive = crystals.load(CRYSTALS[framework]).get_primitive_structure()
    labels = []
    for site in primitive:
        elements = {element.symbol for element in site.species.elements}
        labels.append("T" if elements & {"Si", "P"} else min(elements))
    return np.array(labels), np.array(primitive.cart_coords), np.array(primitive.lattice.matrix)


def occupation(framework: Framework, silicon: float, zinc: int, rng: np.random.Generator) -> np.ndarray:
    """(N,) what sits on every site of a random, charge-neutral decoration: an element, or "" on an empty Na site.

    Args:
        silicon: x of Na(1+x)Zr2Si(x)P(3-x)O12, a multiple of one half.
        zinc: number of Zr replaced by Zn; every Zn brings two Na.

    Raises:
        InputError: a composition that this cell cannot hold.
    """
    labels = sites(framework)[0]
    where = {label: np.flatnonzero(labels == label) for label in ("Na", "Zr", "T")}
    n_silicon, n_sodium = 2 * silicon, 2 * (1 + silicon) + 2 * zinc
    if n_silicon != int(n_silicon) or not 0 <= n_silicon <= TETRAHEDRA:
        raise InputError(f"x = {silicon:g} does not fit the primitive cell; use a multiple of 0.5 from 0 to 3")
    if not 0 <= zinc <= ZIRCONIUM or n_sodium > len(where["Na"]):
        raise InputError(f"x = {silicon:g} with {zinc} Zn needs {n_sodium:g} Na; the primitive cell has "
                         f"{len(where['Na'])} sites")
    symbols = labels.astype("<U2")
    symbols[where["T"]] = "P"
    symbols[rng.choice(where["T"], int(n_silicon), replace=False)] = "Si"
    symbols[rng.choice(where["Zr"], zinc, replace=False)] = "Zn"
    symbols[rng.choice(where["Na"], len(where["Na"]) - int(n_sodium), replace=False)] = ""
    return symbols


def placed(framework: Framework, occupied: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Symbols (N,), positions (N, 3) and lattice (3, 3) of what sits on the sites; the volume is that of its x."""
    _, positions, lattice = sites(framework)
    keep = occupied != ""
    symbols, positions = occupied[keep], _with_bond_lengths(occupied[keep], positions[keep], lattice)
    scale = edge_scale(framework, occupied)
    return symbols, positions * scale, lattice * scale


def edge_scale(framework: Framework, occupied: np.ndarray) -> float:
    """How much longer the edges of a decoration are than those of the crystal that gives its sites."""
    volume_A3 = VOLUME_A3 * (1 - VOLUME_SLOPE * (2 - _silicon(occupied)))
    return float((volume_A3 / np.linalg.det(sites(framework)[2])) ** (1 / 3))


def decorated(
    framework: Framework, silicon: float, zinc: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Symbols (N,), positions (N, 3) and lattice (3, 3) of one random decoration; see :func:`occupation`."""
    return placed(framework, occupation(framework, silicon, zinc, rng))


def name_of(framework: Framework, occupied: np.ndarray) -> str:
    """Framework, x, Zn and eight hex digits that say which decoration it is, whatever drew it.

    Decorations that a symmetry operation of the framework turns into one another have one name: they are one system,
    and cannot stand in both splits.
    """
    alike = min("".join(f"{symbol:2}" for symbol in occupied[moved]) for moved in _symmetries(framework))
    digest = hashlib.sha256(alike.encode()).hexdigest()[:8]
    return f"nzsp-{framework}-x{_silicon(occupied):g}-zn{int((occupied == 'Zn').sum())}-{digest}"


def _silicon(occupied: np.ndarray) -> float:
    return float((occupied == "Si").sum()) / 2


@cache
def _symmetries(framework: Framework) -> np.ndarray:
    """(operations, N) for every symmetry operation of the framework, which site comes to lie on each."""
    import spglib

    labels, positions, lattice = sites(framework)
    fraction, kinds = positions @ np.linalg.inv(lattice), np.unique(labels, return_inverse=True)[1]
    found = spglib.get_symmetry((lattice.tolist(), fraction.tolist(), kinds.tolist()), symprec=0.01)
    if found is None:
        raise InputError(f"{CRYSTALS[framework]} has no symmetry that spglib can see")
    permutations = []
    for rotation, shift in zip(found["rotations"], found["translations"], strict=True):
        apart = (fraction @ rotation.T + shift)[:, None] - fraction[None]
        permutations.append(np.linalg.norm((apart - np.round(apart)) @ lattice, axis=2).argmin(axis=0))
    return np.array(permutations)


def _with_bond_lengths(symbols: np.ndarray, positions_A: np.ndarray, lattice_A: np.ndarray) -> np.ndarray:
    """Oxygen moved along its T–O bond to nine tenths of the way to the length that Si or P wants."""
    from ase.neighborlist import primitive_neighbor_list

    i, j, vectors, distances = primitive_neighbor_list(
        "ijDd", (True, True, True), lattice_A, positions_A, 2.0, numbers=np.ones(len(symbols), int)
    )
    bonded = np.isin(symbols[i], list(TETRAHEDRON_A)) & (symbols[j] == "O")
    i, j, vectors, distances = i[bonded], j[bonded], vectors[bonded], distances[bonded]
    wanted = np.array([TETRAHEDRON_A[symbol] for symbol in symbols[i]])
    shift = np.zeros_like(positions_A)
    np.add.at(shift, j, vectors / distances[:, None] * ((wanted - distances) * 0.9)[:, None])
    return positions_A + shift
