"""Grain boundaries of NZSP: two slabs of any plane, mirrored, tilted, twisted or shifted against each other.

``build_boundary`` goes from a request to a checked cell: plane → cut → two grains that share a plane cell → the
translation and gap at which no atoms are too close → regions. No atom is ever deleted: the composition is that of whole
formula units. It is geometry only: relax the cell, and search translations with a potential, before quoting energies.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field

from atomflow.build.checks import require_sound
from atomflow.build.coincidence import reduced
from atomflow.build.grains import KINDS, Crystal, Grain, first_grain, fit, second_grain
from atomflow.build.nzsp import build_nzsp
from atomflow.build.planes import XIE_PRIMITIVE, Plane, lattice_plane, primitive_indices, without_divisor
from atomflow.build.slab import MAX_POLARISATION_E_PER_A2, grouped
from atomflow.build.stacking import needed_gaps, translations
from atomflow.cell import Cell
from atomflow.config import StrictModel, parse
from atomflow.errors import InputError
from atomflow.version import __version__

MAX_ATOMS = 20_000
#: A boundary that needs more room than this between the faces of its grains is refused, Å.
MAX_GAP_A = 3.0
#: A searched shift of kind ``shift`` differs from the crystal's own stacking by at least this, Å.
MIN_SHIFT_A = 2.0
#: C2/c is centrosymmetric: a reflected grain is the same substance, turned by 180° about the normal.
HANDEDNESS = "C2/c is centrosymmetric: the mirror image is the same crystal turned by 180° about the normal"


class BoundaryRequest(StrictModel):
    """What to build; see :func:`build_boundary`."""

    plane: tuple[int, int, int]
    kind: Literal["mirror", "tilt", "twist", "shift"] = "mirror"
    setting: Literal["primitive", "conventional"] = "primitive"
    grain_thickness: float = Field(12.0, gt=0, le=500)
    vacuum: float | None = Field(None, ge=5, le=200)
    plane_b: tuple[int, int, int] | None = None
    angle: float | None = Field(None, ge=-360, le=360)
    shift: tuple[float, float] | None = None
    gap: float | None = Field(None, ge=0)
    repeat: tuple[int, int] = (1, 1)
    width: float = Field(6.0, gt=0)
    max_strain: float = Field(0.04, ge=0, le=0.15)
    max_area: float = Field(400.0, gt=0, le=3000)
    max_dipole: float = Field(MAX_POLARISATION_E_PER_A2, gt=0)
    cut: int = Field(0, ge=0)
    cell: Literal["experimental", "dft"] = "experimental"


def build_boundary(
    plane: tuple[int, int, int], kind: str = "mirror", crystal: Cell | None = None, **options: Any
) -> Cell:
    """A bicrystal of NZSP, normal along z, grain a below grain b; every atom of region grain_a, grain_b or boundary.

    Args:
        plane: Miller indices of the boundary plane of the first grain.
        kind: ``mirror`` (second grain reflected in the plane), ``tilt`` (turned by 180° about an axis in the plane;
            with ``plane_b`` another plane of the crystal), ``twist`` (turned about the normal), ``shift`` (same
            orientation, translated: a stacking fault).
        crystal: cut the grains from this NZSP cell, its axes taken as they are, in place of the ordered crystal.
        options: ``setting`` of the indices, ``primitive`` (the 40-atom cell of Xie et al. 2023) or ``conventional``;
            ``grain_thickness`` in Å, rounded to whole layers; ``vacuum`` in Å (one boundary and two surfaces; without
            it two boundaries and no surface); ``plane_b``; ``angle`` of a twist or tilt about the normal, degrees;
            ``shift`` of the second grain in fractions of the plane cell (searched for the smallest gap when not
            given); ``gap`` between the faces in Å (the smallest without close contacts when not given); ``repeat`` of
            the plane cell; ``width`` of the region called boundary, Å; ``max_strain`` of the second grain;
            ``max_area`` of the plane cell, Å²; ``max_dipole`` a cut may leave, e/Å² per height; ``cut``, 0 the best
            without a dipole, 1 the next; ``cell`` experimental or dft.

    Raises:
        InputError: the plane cannot be cut well, the grains do not fit, or a value is out of range; with the reason.
    """
    request = parse(BoundaryRequest, {"plane": plane, "kind": kind, **options}, "build boundary")
    if request.plane_b is not None and request.kind != "tilt":
        raise InputError("build boundary: plane_b belongs to kind tilt: two different planes meet")
    if request.angle is not None and request.kind not in ("twist", "tilt"):
        raise InputError("build boundary: angle belongs to the kinds twist and tilt")
    if min(request.repeat) < 1:
        raise InputError("build boundary: repeat needs two whole numbers from 1 up")
    source = crystal_of(crystal, request.cell)
    own_axes = request.setting == "primitive" or crystal is not None
    first = lattice_plane(source.lattice_A, primitive_of(request.plane, own_axes))
    second = first
    if request.plane_b is not None:
        second = lattice_plane(source.lattice_A, primitive_of(request.plane_b, own_axes))
    match, angle = fit(source, first, second, request.kind, request.max_strain, request.max_area, request.angle)
    _require_size(request, match.area_A2, len(source.groups.numbers) / abs(np.linalg.det(source.lattice_A)))
    limits = request.grain_thickness, request.max_dipole, request.cut
    below = first_grain(source, first, match, *limits)
    above = second_grain(source, second, request.kind, match, *limits)
    in_plane = reduced(np.eye(2, dtype=int), match.first @ first.in_plane_A) @ (match.first @ first.in_plane_A)
    stacked = _stack(request, first, below, above, in_plane)
    provenance = _provenance(request, first, second, below, above, stacked)
    provenance |= {"misorientation_deg": angle, "strain": match.strain, "angle_deg": match.angle_deg}
    provenance["crystal"] = "ordered NZSP, " + request.cell if crystal is None else crystal.provenance
    built = _assemble(request, below, above, in_plane, stacked, provenance)
    require_sound(built, "the boundary")
    return built


def nzsp_crystal(cell: str = "experimental") -> Crystal:
    """Ordered NZSP, indexed on Xie's primitive cell, with the point group 2/m."""
    conventional = build_nzsp(cell=cell)
    axis = conventional.lattice_A[1] / np.linalg.norm(conventional.lattice_A[1])
    half_turn = 2 * np.outer(axis, axis) - np.eye(3)
    operations = np.array([np.eye(3), -np.eye(3), half_turn, -half_turn])
    return Crystal(XIE_PRIMITIVE @ conventional.lattice_A, grouped(build_nzsp(cell=cell, primitive=True)), operations)


def crystal_of(given: Cell | None, cell: str = "experimental") -> Crystal:
    """What grains are cut from: the cell given, of which no symmetry is assumed, or ordered NZSP."""
    if given is None:
        return nzsp_crystal(cell)
    return Crystal(given.lattice_A, grouped(given), np.array([np.eye(3)]))


def primitive_of(plane: tuple[int, int, int], own_axes: bool) -> tuple[int, int, int]:
    """The plane without common divisor, indexed on the cell that grains are cut from."""
    reduced_indices = without_divisor(plane)
    return reduced_indices if own_axes else primitive_indices(reduced_indices)


def _require_size(request: BoundaryRequest, area_A2: float, atoms_per_A3: float) -> None:
    if request.grain_thickness < request.width:
        raise InputError(f"build boundary: grains of {request.grain_thickness:g} Å are thinner than the boundary "
                         f"region of {request.width:g} Å; take thicker grains")  # fmt: skip
    n_atoms = 2 * area_A2 * np.prod(request.repeat) * request.grain_thickness * atoms_per_A3
    if n_atoms > MAX_ATOMS:
        raise InputError(f"build boundary: about {n_atoms:,.0f} atoms; {MAX_ATOMS:,} is the most")


def _stack(
    request: BoundaryRequest, plane: Plane, below: Grain, above: Grain, in_plane_A: np.ndarray
) -> list[dict[str, Any]]:
    """Translation and gap of the boundary between a and b, and of that between b and the next a (without a vacuum)."""
    a = (_symbols(below), below.groups.positions_A)
    b = (_symbols(above), above.groups.positions_A)
    same = request.kind == "shift"
    natural = below.layers * plane.vectors_A[2, :2] if same else np.zeros(2)
    if request.shift is not None:
        shifts = (natural + np.array(request.shift) @ in_plane_A)[None]
    else:
        shifts = translations(in_plane_A)
        shifts = natural + shifts[_from_origin(shifts, in_plane_A) > MIN_SHIFT_A] if same else shifts
    stacked = [_place((*a, below.height_A), (*b, 0.0), in_plane_A, shifts, request.gap)]
    if request.vacuum is None:
        back = (2 * natural - stacked[0]["translation"])[None] if same else translations(in_plane_A)
        stacked.append(_place((*b, above.height_A), (*a, 0.0), in_plane_A, back, request.gap))
    return stacked


def _from_origin(shifts_A: np.ndarray, in_plane_A: np.ndarray) -> np.ndarray:
    """(S,) distance of each translation from the nearest lattice point."""
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) @ in_plane_A
    return np.linalg.norm(shifts_A[:, None] - corners, axis=2).min(axis=1)


def _place(
    below: tuple[np.ndarray, np.ndarray, float], above: tuple[np.ndarray, np.ndarray, float],
    in_plane_A: np.ndarray, shifts: np.ndarray, gap_A: float | None,
) -> dict[str, Any]:  # fmt: skip
    needed = np.round(needed_gaps(below, above, in_plane_A, shifts), 3) + 1e-3
    best = int(needed.argmin())
    least = float(needed[best]) if needed[best] > 2e-3 else 0.0
    if least > MAX_GAP_A:
        raise InputError(f"build boundary: these faces need a gap of {least:.2f} Å, more than {MAX_GAP_A:g} Å; "
                         "try another shift, kind or plane")  # fmt: skip
    if gap_A is not None and gap_A < least:
        raise InputError(f"build boundary: a gap of {gap_A:g} Å brings atoms too close; {least:.2f} Å is the least")
    return {"translation": shifts[best], "gap": least if gap_A is None else gap_A}


def _assemble(
    request: BoundaryRequest, below: Grain, above: Grain, in_plane_A: np.ndarray, stacked: list[dict[str, Any]],
    provenance: dict[str, Any],
) -> Cell:  # fmt: skip
    lift = np.array([*stacked[0]["translation"], below.height_A + stacked[0]["gap"]])
    top = lift[2] + above.height_A
    if request.vacuum is None:
        c = np.array([*(stacked[0]["translation"] + stacked[1]["translation"]), top + stacked[1]["gap"]])
        levels = [lift[2] - stacked[0]["gap"] / 2, c[2] - stacked[1]["gap"] / 2]
    else:
        c, levels = np.array([0.0, 0.0, top + request.vacuum]), [lift[2] - stacked[0]["gap"] / 2]
    c[:2] -= np.round(c[:2] @ np.linalg.inv(in_plane_A)) @ in_plane_A
    lattice = np.vstack([np.pad(in_plane_A, ((0, 0), (0, 1))), c])
    regions = np.concatenate([_regions(below, np.zeros(3), "grain_a", levels, c[2], request.width),
                              _regions(above, lift, "grain_b", levels, c[2], request.width)])  # fmt: skip
    positions = np.concatenate([below.groups.positions_A, above.groups.positions_A + lift])
    fractional = positions @ np.linalg.inv(lattice)
    fractional[:, :2] %= 1.0
    numbers = np.concatenate([below.groups.numbers, above.groups.numbers])
    sites = np.concatenate([below.groups.sites, above.groups.sites])
    provenance["height_A"] = float(c[2])
    provenance["boundaries"] = [
        {"z_A": float(z), "gap_A": float(s["gap"]), "translation_A": np.round(s["translation"], 4).tolist()}
        for z, s in zip(levels, stacked, strict=True)
    ]
    cell = Cell(numbers, fractional @ lattice, lattice, regions, sites, provenance)
    return cell if request.repeat == (1, 1) else _repeated(cell, request.repeat)


def _regions(
    grain: Grain, lift_A: np.ndarray, name: str, levels: list[float], period_A: float, width_A: float
) -> np.ndarray:
    """Whole groups: what lies within half the width of a boundary is boundary, the rest grain."""
    z = grain.groups.centres_A[:, 2] + lift_A[2]
    away = np.min([np.abs((z - level + period_A / 2) % period_A - period_A / 2) for level in levels], axis=0)
    return np.where(away <= width_A / 2, "boundary", name)[grain.groups.member]


def _repeated(cell: Cell, repeat: tuple[int, int]) -> Cell:
    """In the plane; all copies of grain a stay before those of grain b."""
    a, b, _ = cell.lattice_A
    shifts = np.array([i * a + j * b for i in range(repeat[0]) for j in range(repeat[1])])
    n, n_a = len(shifts), cell.provenance["atoms_of_grain_a"] // (repeat[0] * repeat[1])
    order = np.argsort(np.tile(np.arange(len(cell)) >= n_a, n), kind="stable")
    positions = (cell.positions_A[None] + shifts[:, None]).reshape(-1, 3)[order]
    lattice = cell.lattice_A * np.array([[repeat[0]], [repeat[1]], [1]])
    tiled = [np.tile(values, n)[order] for values in (cell.numbers, cell.regions, cell.sites)]
    return Cell(tiled[0], positions, lattice, tiled[1], tiled[2], cell.provenance)


def _symbols(grain: Grain) -> np.ndarray:
    from ase.data import chemical_symbols

    return np.array([chemical_symbols[z] for z in grain.groups.numbers])


def _provenance(
    request: BoundaryRequest, first: Plane, second: Plane, below: Grain, above: Grain, stacked: list[dict[str, Any]]
) -> dict[str, Any]:
    cuts = [{"starts": [round(s, 6) for s in grain.cut.starts], "broken_Zr_O_per_nm2": grain.cut.broken_per_nm2,
             "polarisation_e_per_A2": grain.cut.polarisation_e_per_A2} for grain in (below, above)]  # fmt: skip
    return {
        "builder": "boundary",
        "atomflow": __version__,
        "parameters": request.model_dump(mode="json"),
        "planes_primitive": [list(first.indices), list(second.indices)],
        "atoms_of_grain_a": len(below.groups.numbers) * request.repeat[0] * request.repeat[1],
        "layers": [below.layers, above.layers],
        "grain_thickness_A": [below.height_A, above.height_A],
        "crystal_periods_A": [grain.period_A.tolist() for grain in (below, above)],
        "cuts": cuts,
        "excess": "none: whole formula units",
        "excess_volume_A": [float(s["gap"]) for s in stacked],
        "handedness": HANDEDNESS if request.kind == "mirror" else None,
        "boundary_width_A": request.width,
        "note": "geometry only: relax it (atomflow relax) before dynamics or energies",
    }


__all__ = ["KINDS", "BoundaryRequest", "build_boundary", "nzsp_crystal"]
