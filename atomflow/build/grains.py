"""The two grains of a boundary: which way the second is turned, and the plane cell that both share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from atomflow.build.coincidence import Match, matches
from atomflow.build.planes import Plane
from atomflow.build.slab import Cut, Groups, best_cut, in_plane_frame, slab
from atomflow.errors import InputError

KINDS = ("mirror", "tilt", "twist", "shift")
#: What is done to the second grain before it is turned about the normal; for row vectors in the frame of the plane.
OPERATION = {
    "mirror": np.diag([1.0, 1.0, -1.0]),
    "tilt": np.diag([1.0, -1.0, -1.0]),
    "twist": np.eye(3),
    "shift": np.eye(3),
}
#: Orientations nearer than this to one of the crystal's own are no boundary, degrees.
MIN_MISORIENTATION_DEG = 3.0


@dataclass(frozen=True, eq=False)
class Grain:
    """One grain in the frame of the boundary: its faces lie at z = 0 and z = ``height_A``.

    ``period_A`` (3,) is the vector, upwards, by which the crystal goes on where the grain ends.
    """

    groups: Groups
    height_A: float
    layers: int
    cut: Cut
    period_A: np.ndarray


@dataclass(frozen=True, eq=False)
class Crystal:
    """What grains are cut from.

    Attributes:
        lattice_A: (3, 3) lattice in whose basis planes are indexed.
        groups: the contents of one such cell.
        point_group: (n, 3, 3) Cartesian operations for row vectors that leave the crystal as it is.
    """

    lattice_A: np.ndarray
    groups: Groups
    point_group: np.ndarray


def misorientation_deg(crystal: Crystal, first: Plane, second: Plane, turn: np.ndarray) -> float:
    """The smallest rotation that takes the first grain's orientation into the second's, in degrees.

    Args:
        turn: (3, 3) what was done to the second grain in the frame of the plane, for row vectors.
    """
    relative = second.rotation @ turn @ first.rotation.T
    angles = []
    for operation in crystal.point_group:
        total = operation @ relative
        if np.linalg.det(total) > 0:
            angles.append(np.degrees(np.arccos(np.clip((np.trace(total) - 1) / 2, -1, 1))))
    return float(min(angles, default=180.0))


def fit(
    crystal: Crystal, first: Plane, second: Plane, kind: str, max_strain: float, max_area_A2: float,
    angle_deg: float | None = None,
) -> tuple[Match, float]:
    """The smallest common plane cell of both grains and the misorientation in degrees.

    Raises:
        InputError: no cell within strain and area, or the second grain would have the first's own orientation.
    """  # fmt: skip
    operation = OPERATION[kind]
    candidates = matches(first.in_plane_A, turned_plane(second, operation), max_area_A2, max_strain)
    same_plane = first.indices == second.indices
    if kind == "shift" or (kind == "mirror" and same_plane):
        candidates = [m for m in candidates if m.strain < 1e-9 and abs(m.angle_deg) < 1e-6]
    if angle_deg is None and kind == "twist":
        turned = MIN_MISORIENTATION_DEG, 180 - MIN_MISORIENTATION_DEG  # 180° is the mirror's
        candidates = [m for m in candidates if turned[0] < abs(m.angle_deg) < turned[1]]
    elif angle_deg is not None:
        candidates = [m for m in candidates if abs((m.angle_deg - angle_deg + 180) % 360 - 180) < 2.0]
    for match in candidates:
        turn = operation @ _about_normal(match.rotation)
        angle = misorientation_deg(crystal, first, second, turn)
        if kind == "shift" or angle > MIN_MISORIENTATION_DEG:
            return match, angle
    name = " ".join(map(str, first.indices))
    if candidates:
        raise InputError(f"{kind} on the plane {name} (primitive cell) gives the second grain the orientation of the "
                         "first, by the crystal's own symmetry: no boundary; take another kind, or shift")  # fmt: skip
    at = "" if angle_deg is None else f" at {angle_deg:g}°"
    raise InputError(f"{kind} on the plane {name} (primitive cell){at}: the grains share no plane cell up to "
                     f"{max_area_A2:g} Å² with a strain up to {max_strain:g}")  # fmt: skip


def turned_plane(plane: Plane, operation: np.ndarray) -> np.ndarray:
    """(2, 2) right-handed basis of the plane lattice after the operation."""
    basis = plane.in_plane_A @ operation[:2, :2]
    return basis if np.linalg.det(basis) > 0 else basis * np.array([[1.0], [-1.0]])


def first_grain(
    crystal: Crystal, plane: Plane, match: Match, thickness_A: float, max_dipole: float, cut: int = 0
) -> Grain:
    """The grain below: as it is, over the shared plane cell. ``cut`` counts the good ones, best first."""
    return _grain(crystal, plane, match.first, plane.in_plane_A, np.eye(3), np.eye(2), thickness_A, max_dipole, cut)


def second_grain(
    crystal: Crystal, plane: Plane, kind: str, match: Match, thickness_A: float, max_dipole: float, cut: int = 0
) -> Grain:
    """The grain above: turned, and strained in the plane to fit the first. Its TO4 are turned but not strained."""
    operation = OPERATION[kind]
    basis = turned_plane(plane, operation)
    return _grain(crystal, plane, match.second, basis, operation, match.deformation, thickness_A, max_dipole, cut)


def _grain(
    crystal: Crystal, plane: Plane, cell: np.ndarray, basis_A: np.ndarray, operation: np.ndarray,
    deformation: np.ndarray, thickness_A: float, max_dipole: float, rank: int,
) -> Grain:  # fmt: skip
    groups = in_plane_frame(crystal.groups, plane)
    cut = best_cut(groups, plane, max_dipole, rank)
    layers = max(1, round(thickness_A / plane.spacing_A))
    built = slab(groups, plane, cut, layers)
    height = layers * plane.spacing_A
    left, _, right = np.linalg.svd(deformation)
    centres, offsets = built.centres_A @ operation, built.offsets_A @ operation
    built = replace(built, centres_A=centres, offsets_A=offsets @ _about_normal(left @ right))
    built = built.copies(np.pad(cosets(cell) @ basis_A, ((0, 0), (0, 1))))
    centres = built.centres_A.copy()
    centres[:, :2] = centres[:, :2] @ deformation
    period = layers * plane.vectors_A[2] @ operation
    period[:2] = period[:2] @ deformation
    if operation[2, 2] < 0:
        centres[:, 2] += height
        period = -period
    return Grain(replace(built, centres_A=centres), height, layers, cut, period)


def cosets(cell: np.ndarray) -> np.ndarray:
    """(n, 2) lattice points inside a supercell given by integer rows."""
    reach = int(np.abs(cell).sum())
    points = np.array(list(product(range(-reach, reach + 1), repeat=2)))
    inside = points @ np.linalg.inv(cell)
    return points[((inside > -1e-9) & (inside < 1 - 1e-9)).all(axis=1)]


def _about_normal(rotation: np.ndarray) -> np.ndarray:
    """(2, 2) → (3, 3), z unchanged."""
    full = np.eye(3)
    full[:2, :2] = rotation
    return full
