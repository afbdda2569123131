"""Sealed boundaries: grain | zinc borate film | grain. The grains moved apart, whole units packed between them.

The grains keep every atom. The film holds a whole number of (ZnO)₂(B₂O₃)₃ units and of Na₂O; its thickness is what
these fill at the film's density. The packing has no chemistry: melt and quench the film between held grains.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field

from atomflow.build.checks import require_sound
from atomflow.build.film import film_thickness_from_x, x_from_film_thickness
from atomflow.build.glass import DENSITY_G_PER_CM3, ESTIMATE, FLOOR, SWEEPS, glass_symbols, glass_units
from atomflow.build.packing import box_of_density, contact_ratio, push_apart
from atomflow.cell import Cell
from atomflow.config import StrictModel, parse
from atomflow.errors import InputError
from atomflow.version import __version__

#: Film oxygen stays this far from Si and P of the grains: none gains a fifth oxygen, Å.
DISTANCES_A = {("O", "Si"): 2.5, ("O", "P"): 2.5}
#: Film atoms may go this far beyond the faces, into the hollows of the surfaces, Å.
HOLLOW_A = 1.0
#: When a film does not fit into its thickness, the grains give way in steps of this, Å, and at most so many.
ROOM_STEP_A, ROOM_STEPS = 0.25, 12
MAX_ATOMS = 50_000
ANGSTROM_PER_UM = 1e4
DEFAULT_FILM_A = 8.0


class SealedRequest(StrictModel):
    """What to build; see :func:`build_sealed`."""

    film: float | None = Field(None, gt=0, le=500)
    x: float | None = Field(None, gt=0)
    na_uptake: float | None = Field(None, ge=0, le=10)
    density: float | None = Field(None, gt=0.5, le=8)
    gap: float | None = Field(None, gt=0)
    seed: int = Field(1, ge=0)
    grain_size_um: float = Field(1.0, gt=0)


@dataclass(frozen=True)
class _Film:
    units: int
    sodium_oxides: int
    thickness_A: float
    density: float

    @property
    def symbols(self) -> np.ndarray:
        return glass_symbols(self.units, self.sodium_oxides)


def build_sealed(
    boundary: Cell,
    glass: Cell | None = None,
    film: float | None = None,
    na_uptake: float | None = None,
    density: float | None = None,
    gap: float | None = None,
    seed: int = 1,
    grain_size_um: float = 1.0,
    x: float | None = None,
) -> Cell:
    """Put a film into every boundary of a bicrystal.

    Args:
        boundary: from :func:`atomflow.build.boundary.build_boundary`, as built or relaxed.
        glass: take density and Na uptake from this glass, unless they are given.
        film: thickness in Å, rounded to whole units; 8 when neither this nor ``x`` is given.
        na_uptake: Na₂O per (ZnO)₂(B₂O₃)₃ unit, rounded to whole Na₂O; 0 when neither this nor a glass is given.
        density: of the film, g/cm³; 2.85 (an estimate) when neither this nor a glass is given.
        gap: between the faces of the grains, Å; the film's thickness when not given, a little more if it must be.
        seed: of the packing.
        grain_size_um: ties the film's thickness to x, the publication's mol of zinc borate per mol of NZSP.
        x: in place of ``film``.

    Raises:
        InputError: not a boundary, a film of less than one unit or thicker than the gap, or one that does not fit.
    """
    data = {"film": film, "na_uptake": na_uptake, "density": density, "gap": gap, "seed": seed,
            "grain_size_um": grain_size_um, "x": x}  # fmt: skip
    request = parse(SealedRequest, data, "build sealed")
    film = _thickness(request, glass)
    request = parse(SealedRequest, {**data, "film": film}, "build sealed")
    facts = boundary_facts(boundary)
    area = float(np.linalg.norm(np.cross(boundary.lattice_A[0], boundary.lattice_A[1])))
    made = _film_of(request, glass, area, film)
    if request.gap is not None and made.thickness_A > request.gap + 0.5:
        raise InputError(f"build sealed: a film of {made.thickness_A:.1f} Å is thicker than the gap of "
                         f"{request.gap:g} Å between the grains")  # fmt: skip
    n_films = len(facts["boundaries"])
    if len(boundary) + n_films * len(made.symbols) > MAX_ATOMS:
        raise InputError(f"build sealed: more than {MAX_ATOMS:,} atoms; take a thinner film")
    for step in range(1 if request.gap is not None else ROOM_STEPS + 1):
        room = request.gap if request.gap is not None else made.thickness_A + step * ROOM_STEP_A
        built = _packed(boundary, facts, made, room, request, glass)
        if built is not None:
            require_sound(built, "the sealed boundary")
            return built
    raise InputError("build sealed: the film does not fit between the grains without close contacts; take a lower "
                     "density, another seed or a wider gap")  # fmt: skip


def _thickness(request: SealedRequest, glass: Cell | None) -> float:
    """What was asked for in Å, be it as a thickness or as x."""
    if request.film is not None and request.x is not None:
        raise InputError("build sealed: give film or x, not both: one follows from the other")
    if request.x is None:
        return DEFAULT_FILM_A if request.film is None else request.film
    density, uptake = _material(request, glass)
    return film_thickness_from_x(request.x, request.grain_size_um * ANGSTROM_PER_UM, uptake, density)


def _material(request: SealedRequest, glass: Cell | None) -> tuple[float, float]:
    """Density in g/cm³ and Na₂O per unit: as given, else of the glass, else the estimate and none."""
    density, uptake = request.density, request.na_uptake
    if glass is not None:
        known = glass_units(glass.composition)
        if known is None:
            raise InputError(f"build sealed: {glass.formula} is not a whole number of (ZnO)2(B2O3)3 units and Na2O")
        density = glass.density_g_per_cm3 if density is None else density
        uptake = known[1] / known[0] if uptake is None else uptake
    return density or DENSITY_G_PER_CM3, uptake or 0.0


def boundary_facts(cell: Cell) -> dict[str, Any]:
    """What the builder of a boundary noted; heights follow the cell when it was relaxed since."""
    found = holding("atoms_of_grain_a", cell.provenance)
    if found is None or "glass" in set(cell.regions):
        raise InputError("this is not a bare boundary; build one with atomflow build boundary (extxyz keeps its facts)")
    if np.abs(cell.lattice_A[:2, 2]).max() > 1e-3:
        raise InputError("the plane of this boundary no longer lies in xy; seal it before its cell is turned")
    stretch = cell.lattice_A[2, 2] / found["height_A"]  # of a boundary whose cell was relaxed since
    places = [{**p, "z_A": p["z_A"] * stretch, "gap_A": p["gap_A"] * stretch} for p in found["boundaries"]]
    return {**found, "boundaries": places, "height_A": float(cell.lattice_A[2, 2])}


def holding(key: str, facts: Any) -> dict[str, Any] | None:
    """The first dict in nested facts that has the key."""
    if not isinstance(facts, dict):
        return None
    if key in facts:
        return facts
    return next((found for value in facts.values() if (found := holding(key, value)) is not None), None)


def _film_of(request: SealedRequest, glass: Cell | None, area_A2: float, film_A: float) -> _Film:
    """Whole units and oxides nearest to the thickness and uptake asked for, and the thickness that they fill."""
    density, uptake = _material(request, glass)

    def thickness(units: float, oxides: float) -> float:
        volumes_A3 = [box_of_density(glass_symbols(*counts), density) for counts in ((1, 0), (0, 1))]
        return (units * volumes_A3[0] + oxides * volumes_A3[1]) / area_A2

    one = thickness(1, uptake)
    units = round(film_A / one)
    oxides = round(units * uptake)
    if units < 1:
        raise InputError(f"build sealed: a film of {film_A:g} Å over {area_A2:.0f} Å² is less than half a unit "
                         f"of (ZnO)2(B2O3)3; take at least {one:.1f} Å, or repeat the plane cell")  # fmt: skip
    if uptake and not oxides:
        raise InputError(f"build sealed: an uptake of {uptake:g} is less than half an Na2O in the {units} units of "
                         "this film; take a thicker film or repeat the plane cell")  # fmt: skip
    return _Film(units, oxides, thickness(units, oxides), density)


def _packed(
    boundary: Cell, facts: dict[str, Any], film: _Film, room_A: float, request: SealedRequest, glass: Cell | None
) -> Cell | None:
    """The grains ``room_A`` apart with the film between; None when close contacts remain."""
    n_a, places = facts["atoms_of_grain_a"], facts["boundaries"]
    positions, lattice, faces = _opened(boundary, n_a, places, room_A)
    symbols = boundary.symbols
    rng = np.random.default_rng(request.seed)
    for low in faces:
        inside = rng.random((len(film.symbols), 3)) * [1, 1, 0] @ lattice
        inside[:, 2] = low + room_A * rng.random(len(inside))
        symbols, positions = np.concatenate([symbols, film.symbols]), np.vstack([positions, inside])
        movable = np.arange(len(symbols)) >= len(symbols) - len(inside)
        between = (low - HOLLOW_A, low + room_A + HOLLOW_A)
        positions = push_apart(symbols, positions, lattice, 1.0, SWEEPS, movable, between, DISTANCES_A)
        if contact_ratio(symbols, positions, lattice, movable, DISTANCES_A) < FLOOR:
            return None
    return _cell(boundary, facts, film, room_A, request, glass, (symbols, positions, lattice, faces))


def _opened(
    boundary: Cell, n_a: int, places: list[dict[str, Any]], room_A: float
) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Positions and lattice with the faces ``room_A`` apart, and the lower face of every film."""
    lattice = boundary.lattice_A.copy()
    first = places[0]["z_A"]
    above = np.arange(len(boundary)) >= n_a
    middle = np.where(above, first + 0.25 * lattice[2, 2], first - 0.25 * lattice[2, 2])
    turns = np.round((boundary.positions_A[:, 2] - middle) / lattice[2, 2])
    positions = boundary.positions_A - turns[:, None] * lattice[2]
    widen = [room_A - place["gap_A"] for place in places]
    positions[above, 2] += widen[0]
    lattice[2, 2] += sum(widen)
    faces = [first - places[0]["gap_A"] / 2]
    if len(places) > 1:
        faces.append(places[1]["z_A"] - places[1]["gap_A"] / 2 + widen[0])
    return positions, lattice, faces


def _cell(
    boundary: Cell, facts: dict[str, Any], film: _Film, room_A: float, request: SealedRequest, glass: Cell | None,
    atoms: tuple[np.ndarray, np.ndarray, np.ndarray, list[float]],
) -> Cell:  # fmt: skip
    from ase.data import atomic_numbers

    symbols, positions, lattice, faces = atoms
    n, added = len(boundary), len(symbols) - len(boundary)
    uptake = film.sodium_oxides / film.units
    size_A = request.grain_size_um * ANGSTROM_PER_UM
    provenance = {
        "builder": "sealed",
        "atomflow": __version__,
        "parameters": request.model_dump(mode="json"),
        "films": [{"z_A": [low, low + room_A], "units": film.units, "Na2O": film.sodium_oxides} for low in faces],
        "film_thickness_A": film.thickness_A,
        "room_A": room_A,
        "film_density_g_per_cm3": film.density,
        "density": "as given" if request.density else "of the glass" if glass is not None else ESTIMATE,
        "na_uptake": uptake,
        "composition": {"grains": boundary.composition, "films": dict(Counter(symbols[n:].tolist()))},
        "x": x_from_film_thickness(film.thickness_A, size_A, uptake, film.density),
        "x_is_for_grain_size_um": request.grain_size_um,
        "glass_sha256": None if glass is None else glass.sha256,
        "boundary": facts,
        "note": "the film is a random packing: melt and quench it between held grains, then relax all",
    }
    fractional = positions @ np.linalg.inv(lattice)
    fractional[:, :2] %= 1.0
    numbers = np.array([atomic_numbers[str(symbol)] for symbol in symbols])
    regions = np.concatenate([boundary.regions, np.full(added, "glass")])
    sites = np.concatenate([boundary.sites, np.full(added, "")])
    return Cell(numbers, fractional @ lattice, lattice, regions, sites, provenance)
