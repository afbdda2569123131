"""Slabs of NZSP with two surfaces and a vacuum, on any plane, cut as the grains of a boundary are."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field

from atomflow.build.boundary import crystal_of, primitive_of
from atomflow.build.checks import require_sound
from atomflow.build.coincidence import Match, reduced
from atomflow.build.grains import first_grain
from atomflow.build.planes import lattice_plane
from atomflow.build.slab import MAX_POLARISATION_E_PER_A2
from atomflow.cell import Cell
from atomflow.config import StrictModel, parse
from atomflow.version import __version__


class SlabRequest(StrictModel):
    """What to build; see :func:`build_slab`."""

    plane: tuple[int, int, int]
    setting: Literal["primitive", "conventional"] = "primitive"
    thickness: float = Field(12.0, gt=0, le=500)
    vacuum: float = Field(15.0, ge=5, le=200)
    max_dipole: float = Field(MAX_POLARISATION_E_PER_A2, gt=0)
    cut: int = Field(0, ge=0)
    cell: Literal["experimental", "dft"] = "experimental"


def build_slab(plane: tuple[int, int, int], crystal: Cell | None = None, **options: Any) -> Cell:
    """A slab of whole formula units between two surfaces, normal along z, atoms of region ``grain_a``.

    Args:
        plane: Miller indices of the surfaces.
        crystal: cut from this NZSP cell, its axes taken as they are, in place of the ordered crystal.
        options: ``setting``, ``thickness`` (Å, rounded to whole layers), ``vacuum`` (Å), ``max_dipole``, ``cut``,
            ``cell`` as in :func:`atomflow.build.boundary.build_boundary`.

    Raises:
        InputError: the plane cannot be cut well, or a value is out of range.
    """
    request = parse(SlabRequest, {"plane": plane, **options}, "build slab")
    source = crystal_of(crystal, request.cell)
    indices = primitive_of(request.plane, request.setting == "primitive" or crystal is not None)
    found = lattice_plane(source.lattice_A, indices)
    one = np.eye(2, dtype=int)
    grain = first_grain(source, found, Match(one, one, np.eye(2), 0.0, 0.0, found.area_A2), request.thickness,
                        request.max_dipole, request.cut)  # fmt: skip
    in_plane = reduced(one, found.in_plane_A) @ found.in_plane_A
    lattice = np.zeros((3, 3))
    lattice[:2, :2], lattice[2, 2] = in_plane, grain.height_A + request.vacuum
    provenance = {
        "builder": "slab",
        "atomflow": __version__,
        "parameters": request.model_dump(mode="json"),
        "plane_primitive": list(found.indices),
        "layers": grain.layers,
        "grain_thickness_A": [grain.height_A],
        "crystal_periods_A": [grain.period_A.tolist()],
        "broken_Zr_O_per_nm2": grain.cut.broken_per_nm2,
        "excess": "none: whole formula units",
        "crystal": "ordered NZSP, " + request.cell if crystal is None else crystal.provenance,
        "note": "geometry only: relax it before dynamics or energies",
    }
    positions = grain.groups.positions_A
    fractional = positions @ np.linalg.inv(lattice)
    fractional[:, :2] %= 1.0
    built = Cell(grain.groups.numbers, fractional @ lattice, lattice, np.full(len(positions), "grain_a"),
                 grain.groups.sites, provenance)  # fmt: skip
    require_sound(built, "the slab")
    return built
