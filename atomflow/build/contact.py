"""Sodium metal on NZSP, on glass and on sealed boundaries: two slabs that share a plane cell.

The solid keeps its lattice; the metal, which is soft, takes the strain, and the strain is stated. Without a vacuum the
metal touches the solid on both sides, with one it lies on top only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from pydantic import Field

from atomflow import crystals
from atomflow.build.boundary import nzsp_crystal
from atomflow.build.checks import require_sound
from atomflow.build.coincidence import Match, matches, reduced
from atomflow.build.grains import cosets
from atomflow.build.planes import lattice_plane, primitive_indices, without_divisor
from atomflow.build.slab import best_cut, in_plane_frame, slab
from atomflow.build.stacking import needed_gaps, translations
from atomflow.cell import Cell
from atomflow.config import StrictModel, parse
from atomflow.errors import InputError
from atomflow.version import __version__

METALS = {"Na": "Na_bcc"}
#: Primitive vectors of a body-centred cubic cell in terms of the cubic ones.
BCC_PRIMITIVE = np.array([[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]])
#: Bonds that an opened cell should not lose: element with oxygen → length up to which it is a bond, Å.
BOND_A = {"Si": 2.0, "P": 2.0, "B": 1.9, "Zn": 2.4, "Zr": 2.6}
MAX_ATOMS = 50_000
#: Twice the distance between the heights at which an opened cell is tried, Å.
STEP_A = 0.2


class ContactRequest(StrictModel):
    """What to build; see :func:`build_contact`."""

    metal: str = "Na"
    metal_plane: tuple[int, int, int] = (1, 1, 0)
    metal_thickness: float = Field(12.0, gt=0, le=500)
    plane: tuple[int, int, int] = (1, 1, 0)
    setting: Literal["primitive", "conventional"] = "primitive"
    thickness: float = Field(12.0, gt=0, le=500)
    face: Literal["a", "b", "c"] | None = None
    max_strain: float = Field(0.04, ge=0, le=0.2)
    max_area: float = Field(600.0, gt=0, le=5000)
    vacuum: float | None = Field(None, ge=5, le=200)


@dataclass(frozen=True, eq=False)
class _Slab:
    """A solid with its normal along z: faces at z = 0 and ``height_A``; ``in_plane_A`` (2, 2) is right-handed."""

    numbers: np.ndarray
    positions_A: np.ndarray
    regions: np.ndarray
    sites: np.ndarray
    in_plane_A: np.ndarray
    height_A: float
    facts: dict[str, Any]


def build_contact(on: Cell | None = None, **options: Any) -> Cell:
    """A slab of sodium on a slab of solid; the metal's atoms are of region ``metal``.

    Args:
        on: the solid, a periodic cell (glass, sealed boundary, ...) that is opened along one of its axes; None for a
            slab of ordered NZSP cut on ``plane``.
        options: ``metal`` and its ``metal_plane`` and ``metal_thickness`` (Å); ``plane``, ``setting`` and
            ``thickness`` of the NZSP slab; ``face``, the axis along which ``on`` is opened (c; of a cell with grains
            a, so that the film meets the metal edge on); ``max_strain`` of the metal and ``max_area`` (Å²) of the
            shared plane cell; ``vacuum`` in Å above the metal (none: metal on both faces of the solid).

    Raises:
        InputError: no shared cell within the limits, an unknown metal, or a value out of range.
    """
    request = parse(ContactRequest, options, "build contact")
    if request.metal not in METALS:
        raise InputError(f"build contact: there is no metal '{request.metal}' here; known: {', '.join(METALS)}")
    below = _nzsp_slab(request) if on is None else _opened(on, request.face)
    cubic = crystals.load(METALS[request.metal]).lattice.matrix
    indices = np.round(2 * BCC_PRIMITIVE @ np.array(without_divisor(request.metal_plane))).astype(int)
    plane = lattice_plane(BCC_PRIMITIVE @ cubic, without_divisor(indices))
    found = matches(below.in_plane_A, plane.in_plane_A, request.max_area, request.max_strain, smallest=True)
    if not found:
        name = " ".join(map(str, request.metal_plane))
        raise InputError(f"build contact: {request.metal} ({name}) and the solid share no plane cell up to "
                         f"{request.max_area:g} Å² with a strain up to {request.max_strain:g}; "
                         "raise --max-strain or --max-area, or take another plane")  # fmt: skip
    match = found[0]
    layers = max(1, round(request.metal_thickness / plane.spacing_A))
    metal = _metal(plane.vectors_A, plane.in_plane_A, match, layers)
    below = _repeated(below, match)
    if len(below.numbers) + len(metal) > MAX_ATOMS:
        raise InputError(f"build contact: more than {MAX_ATOMS:,} atoms; take thinner slabs")
    facts = {
        "builder": "contact",
        "atomflow": __version__,
        "parameters": request.model_dump(mode="json"),
        "solid": below.facts,
        "strain": match.strain,
        "metal_atoms": len(metal),
        "metal_layers": layers,
        "shared_area_A2": match.area_A2,
        "sources": [crystals.provenance(METALS[request.metal])],
        "note": "geometry only: relax it before dynamics; the metal carries the strain",
    }
    built = _joined(below, metal, layers * plane.spacing_A, request, facts)
    require_sound(built, "the contact")
    return built


def _nzsp_slab(request: ContactRequest) -> _Slab:
    crystal = nzsp_crystal()
    asked = without_divisor(request.plane)
    plane = lattice_plane(crystal.lattice_A, asked if request.setting == "primitive" else primitive_indices(asked))
    groups = in_plane_frame(crystal.groups, plane)
    cut = best_cut(groups, plane)
    layers = max(1, round(request.thickness / plane.spacing_A))
    built = slab(groups, plane, cut, layers)
    n = len(built.numbers)
    facts = {"solid": "ordered NZSP", "plane_primitive": list(plane.indices), "layers": layers,
             "broken_Zr_O_per_nm2": cut.broken_per_nm2}  # fmt: skip
    return _Slab(built.numbers, built.positions_A, np.full(n, "grain_a"), built.sites, plane.in_plane_A,
                 layers * plane.spacing_A, facts)  # fmt: skip


def _opened(cell: Cell, face: str | None) -> _Slab:
    """A periodic cell opened at the height that cuts the fewest bonds; a Si or P takes its oxygen along."""
    grains = bool(set(cell.regions) & {"grain_a", "grain_b"})
    axis = "abc".index(face or ("a" if grains else "c"))
    vectors = cell.lattice_A[[(axis + 1) % 3, (axis + 2) % 3, axis]]
    x = vectors[0] / np.linalg.norm(vectors[0])
    z = np.cross(vectors[0], vectors[1])
    z /= np.linalg.norm(z)
    frame = np.stack([x, np.cross(z, x), z], axis=1)
    turned, vectors = cell.positions_A @ frame, vectors @ frame
    period = float(vectors[2, 2])
    cation, oxygen, bond = _bonds(cell, frame)
    centre, offset = _owners(cell, cation, oxygen, bond)
    height = turned[centre, 2] / period
    far_end = (turned[cation, 2] + bond[:, 2] - offset[oxygen, 2]) / period
    starts = np.arange(0.0, 1.0, 0.5 * STEP_A / period)
    cut = [int((np.floor(height[cation] - s) != np.floor(far_end - s)).sum()) for s in starts]
    start = starts[int(np.argmin(cut))]
    positions = turned[centre] + offset - np.floor(height - start)[:, None] * vectors[2]
    positions[:, 2] -= start * period
    facts = {"solid": cell.formula, "cell_sha256": cell.sha256, "opened_along": "abc"[axis], "bonds_cut": min(cut),
             "from": cell.provenance}  # fmt: skip
    return _Slab(cell.numbers, positions, cell.regions, cell.sites, vectors[:2, :2], period, facts)


def _bonds(cell: Cell, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every cation-oxygen bond: the cation, the oxygen, and the vector from the one to the other in the frame."""
    from ase.neighborlist import neighbor_list

    i, j, vectors = neighbor_list("ijD", cell.to_ase(), {(element, "O"): length for element, length in BOND_A.items()})
    towards = cell.symbols[j] == "O"
    return i[towards], j[towards], vectors[towards] @ frame


def _owners(cell: Cell, cation: np.ndarray, oxygen: np.ndarray, bond: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The atom with which each atom moves (itself, or the nearest Si or P of an oxygen), and the vector from it."""
    centre, offset = np.arange(len(cell)), np.zeros((len(cell), 3))
    tetrahedral = np.flatnonzero(np.isin(cell.symbols[cation], ("Si", "P")))
    for k in tetrahedral[np.argsort(-np.linalg.norm(bond[tetrahedral], axis=1))]:  # the nearest comes last
        centre[oxygen[k]], offset[oxygen[k]] = cation[k], bond[k]
    return centre, offset


def _repeated(solid: _Slab, match: Match) -> _Slab:
    """The solid over the shared plane cell."""
    shifts = np.pad(cosets(match.first) @ solid.in_plane_A, ((0, 0), (0, 1)))
    n = len(shifts)
    positions = (solid.positions_A[None] + shifts[:, None]).reshape(-1, 3)
    return replace(solid, numbers=np.tile(solid.numbers, n), positions_A=positions, regions=np.tile(solid.regions, n),
                   sites=np.tile(solid.sites, n), in_plane_A=match.first @ solid.in_plane_A)  # fmt: skip


def _metal(vectors_A: np.ndarray, in_plane_A: np.ndarray, match: Match, layers: int) -> np.ndarray:
    """(n, 3) atoms of the metal, one a lattice point, strained into the shared cell; faces half a layer out."""
    points = cosets(match.second) @ in_plane_A
    positions = np.concatenate([np.pad(points, ((0, 0), (0, 1))) + k * vectors_A[2] for k in range(layers)])
    positions[:, :2] = positions[:, :2] @ match.deformation
    positions[:, 2] += vectors_A[2, 2] / 2
    return positions


def _joined(
    solid: _Slab, metal_A: np.ndarray, metal_height_A: float, request: ContactRequest, facts: dict[str, Any]
) -> Cell:
    """Solid below, metal above at the translation that lets them come nearest; another contact or a vacuum on top."""
    from ase.data import atomic_numbers, chemical_symbols

    in_plane = reduced(np.eye(2, dtype=int), solid.in_plane_A) @ solid.in_plane_A
    names = np.array([chemical_symbols[z] for z in solid.numbers])
    metal_names = np.full(len(metal_A), request.metal)
    shifts = translations(in_plane)
    low = (names, solid.positions_A, solid.height_A), (metal_names, metal_A, 0.0)
    gaps = needed_gaps(*low, in_plane, shifts) + 1e-3
    best = int(gaps.argmin())
    lift = np.array([*shifts[best], solid.height_A + gaps[best]])
    c = np.array([*shifts[best], lift[2] + metal_height_A])
    facts["gaps_A"] = [float(gaps[best])]
    if request.vacuum is None:
        high = (metal_names, metal_A, metal_height_A), (names, solid.positions_A, 0.0)
        upper = needed_gaps(*high, in_plane, shifts) + 1e-3
        c += [*shifts[int(upper.argmin())], upper.min()]
        facts["gaps_A"].append(float(upper.min()))
    else:
        c = np.array([0.0, 0.0, c[2] + request.vacuum])
    c[:2] -= np.round(c[:2] @ np.linalg.inv(in_plane)) @ in_plane
    lattice = np.vstack([np.pad(in_plane, ((0, 0), (0, 1))), c])
    fractional = np.concatenate([solid.positions_A, metal_A + lift]) @ np.linalg.inv(lattice)
    fractional[:, :2] %= 1.0
    n = len(metal_A)
    return Cell(
        np.concatenate([solid.numbers, np.full(n, atomic_numbers[request.metal])]),
        fractional @ lattice,
        lattice,
        np.concatenate([solid.regions, np.full(n, "metal")]),
        np.concatenate([solid.sites, np.full(n, "")]),
        facts,
    )
