"""``atomflow build glass | phase | slab | boundary | sealed | contact``: what lies beside and between crystals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from atomflow.cli.options import Json
from atomflow.errors import InputError

if TYPE_CHECKING:
    from atomflow.cell import Cell

OUT = typer.Option(..., "-o", "--out", help="File to write; .extxyz keeps regions and provenance.")


def glass(
    out: Path = OUT,
    units: int = typer.Option(8, help="(ZnO)2(B2O3)3 units of 19 atoms."),
    na: float = typer.Option(0.0, help="Na2O taken up per unit; a whole number of Na2O in all."),
    density: float = typer.Option(2.85, help="g/cm³. 2.85 ± 0.15 is an estimate: none was measured."),
    seed: int = typer.Option(1, help="Seed of the packing."),
    json_: Json = False,
) -> None:
    """Pack zinc borate units at random, without close contacts: the start of a melt.

    \b
    Example:
      atomflow build glass --units 8 --na 0.25 --seed 1 -o melt.extxyz
    """
    from atomflow.build.glass import build_glass
    from atomflow.cli.build_output import require_writable, write_and_describe

    require_writable(out)
    write_and_describe(build_glass(units, na, density, seed), out, json_)


def phase(
    name: str = typer.Argument(..., help="ZrO2, ZrSiO4, Na, NVCP, ZnO, B2O3, ZnB4O7, ... (? lists all)."),
    out: Path = OUT,
    supercell: tuple[int, int, int] = typer.Option((1, 1, 1), help="Repeats along a, b and c.", metavar="A B C"),
    seed: int = typer.Option(0, help="Seed of the Cr/V and Na order of NVCP."),
    json_: Json = False,
) -> None:
    """Build a verified crystal of another phase: impurity, electrode, borate, oxide.

    \b
    Example:
      atomflow build phase NVCP --supercell 1 1 1 --seed 3 -o nvcp.extxyz
    """
    from atomflow.build.phases import build_phase
    from atomflow.cli.build_output import require_writable, write_and_describe

    require_writable(out)
    write_and_describe(build_phase(name, supercell, seed), out, json_)


def slab(
    out: Path = OUT,
    plane: tuple[int, int, int] = typer.Option(..., help="Miller indices of the surfaces.", metavar="H K L"),
    setting: str = typer.Option("primitive", help="Cell of the indices: primitive (Xie et al. 2023) or conventional."),
    thickness: float = typer.Option(12.0, help="Å; rounded to whole layers."),
    vacuum: float = typer.Option(15.0, help="Å between the surfaces."),
    cut: int = typer.Option(0, help="0: the cut that breaks fewest Zr-O bonds; 1: the next without a dipole; ..."),
    cell: str = typer.Option("experimental", help="Lattice constants: experimental or dft."),
    crystal: Path | None = typer.Option(None, help="Cut from this NZSP cell; the plane in its own axes."),
    json_: Json = False,
) -> None:
    """Cut a slab of NZSP with two surfaces: every SiO4 and PO4 whole, whole formula units, no dipole.

    \b
    Example:
      atomflow build slab --plane 1 0 1 --thickness 13 -o slab.extxyz
    """
    from atomflow.build.surface import build_slab
    from atomflow.cell import read_cell
    from atomflow.cli.build_output import require_writable, write_and_describe

    require_writable(out)
    options = {"setting": setting, "thickness": thickness, "vacuum": vacuum, "cut": cut, "cell": cell}
    built = build_slab(plane, None if crystal is None else read_cell(crystal), **options)
    facts = built.provenance
    rows = [
        ("slab", f"{facts['layers']} layers, {facts['grain_thickness_A'][0]:.1f} Å thick"),
        ("surface cut", f"{facts['broken_Zr_O_per_nm2']:.1f} Zr-O bonds per nm², no Si-O, no P-O"),
        ("excess", facts["excess"]),
    ]
    write_and_describe(built, out, json_, rows)


def boundary(
    out: Path = OUT,
    plane: tuple[int, int, int] = typer.Option(..., help="Miller indices of the boundary plane.", metavar="H K L"),
    kind: str = typer.Option("mirror", help="mirror, tilt, twist or shift."),
    setting: str = typer.Option("primitive", help="Cell of the indices: primitive (Xie et al. 2023) or conventional."),
    grain_thickness: float = typer.Option(12.0, help="Of each grain, Å; rounded to whole layers."),
    vacuum: float | None = typer.Option(None, help="Å: one boundary and two surfaces. Without: two boundaries."),
    plane_b: tuple[int, int, int] | None = typer.Option(None, help="Of the second grain (tilt).", metavar="H K L"),
    angle: float | None = typer.Option(None, help="Of a twist or tilt about the normal, degrees."),
    shift: tuple[float, float] | None = typer.Option(None, help="In fractions of the plane cell.", metavar="F G"),
    gap: float | None = typer.Option(None, help="Between the faces, Å; default: the least possible."),
    repeat: tuple[int, int] = typer.Option((1, 1), help="Repeats of the plane cell.", metavar="M N"),
    width: float = typer.Option(6.0, help="Of the region called boundary, Å."),
    max_strain: float = typer.Option(0.04, help="Of the second grain, to share a plane cell."),
    max_area: float = typer.Option(400.0, help="Of the plane cell, Å²."),
    cut: int = typer.Option(0, help="0: the cut that breaks fewest Zr-O bonds; 1: the next without a dipole; ..."),
    cell: str = typer.Option("experimental", help="Lattice constants: experimental or dft."),
    crystal: Path | None = typer.Option(None, help="Cut the grains from this NZSP cell; planes in its own axes."),
    json_: Json = False,
) -> None:
    """Build a bicrystal of NZSP: two slabs of any plane that meet, every SiO4 and PO4 whole.

    \b
    Example:
      atomflow build boundary --plane 1 1 0 --kind mirror --grain-thickness 12 -o gb.extxyz
    """
    from atomflow.build.boundary import build_boundary
    from atomflow.cell import read_cell
    from atomflow.cli.build_output import require_writable, write_and_describe

    require_writable(out)
    options = {"setting": setting, "grain_thickness": grain_thickness, "vacuum": vacuum, "plane_b": plane_b,
               "angle": angle, "shift": shift, "gap": gap, "repeat": repeat, "width": width, "max_strain": max_strain,
               "max_area": max_area, "cut": cut, "cell": cell}  # fmt: skip
    built = build_boundary(plane, kind, None if crystal is None else read_cell(crystal), **options)
    facts = built.provenance
    rows = [
        ("grains", " and ".join(f"{t:.1f}" for t in facts["grain_thickness_A"]) + " Å thick"),
        ("second grain", f"turned by {facts['misorientation_deg']:.1f}°, strained by {100 * facts['strain']:.1f} %"),
        ("gaps", " and ".join(f"{g:.2f}" for g in facts["excess_volume_A"]) + " Å (excess volume per area, as built)"),
        ("surface cut", f"{facts['cuts'][0]['broken_Zr_O_per_nm2']:.1f} Zr-O bonds per nm², no Si-O, no P-O"),
        ("excess", facts["excess"]),
        ("regions", _regions(built)),
    ]
    write_and_describe(built, out, json_, rows)


def sealed(
    out: Path = OUT,
    boundary: Path = typer.Option(..., help="Cell of a boundary, from atomflow build boundary."),
    glass: Path | None = typer.Option(None, help="Glass whose density and Na uptake to take: a cell or a run folder."),
    film: float | None = typer.Option(None, help="Film thickness, Å; 8 when neither this nor --x is given."),
    x: float | None = typer.Option(None, help="In place of --film: mol ZBO per mol NZSP, with --grain-size-um."),
    grain_size_um: float = typer.Option(1.0, help="Assumed grain size that ties the film's thickness to x, µm."),
    na_uptake: float | None = typer.Option(None, help="Na2O per (ZnO)2(B2O3)3 unit of the film."),
    density: float | None = typer.Option(None, help="Of the film, g/cm³; 2.85 is an estimate."),
    gap: float | None = typer.Option(None, help="Between the grains, Å; default: what the film needs."),
    seed: int = typer.Option(1, help="Seed of the packing."),
    json_: Json = False,
) -> None:
    """Seal a boundary: grain, zinc borate film, grain. No grain atom is lost; the film holds whole units.

    \b
    Example:
      atomflow build sealed --boundary gb.extxyz --film 8 --na-uptake 0.3 -o gbs.extxyz
    """
    from atomflow.build.sealed import build_sealed
    from atomflow.cell import read_cell
    from atomflow.cli.build_output import require_writable, write_and_describe

    require_writable(out)
    taken = None if glass is None else cell_of(glass)
    built = build_sealed(read_cell(boundary), taken, film, na_uptake, density, gap, seed, grain_size_um, x)
    facts = built.provenance
    one = facts["films"][0]
    rows = [
        ("films", f"{len(facts['films'])} of {one['units']} (ZnO)2(B2O3)3 and {one['Na2O']} Na2O"),
        ("film thickness", f"{facts['film_thickness_A']:.2f} Å at {facts['film_density_g_per_cm3']:.3f} g/cm³"),
        ("Na uptake", f"{facts['na_uptake']:.3g} Na2O per unit"),
        ("as the paper's x", f"{facts['x']:.4g} for grains of {facts['x_is_for_grain_size_um']:g} µm"),
        ("regions", _regions(built)),
    ]
    write_and_describe(built, out, json_, rows)


def contact(
    out: Path = OUT,
    cell: Path | None = typer.Argument(None, metavar="CELL", help="The solid, for --on glass and --on sealed."),
    on: str = typer.Option("nzsp", help="nzsp (a slab is cut), or glass or sealed (give CELL)."),
    metal: str = typer.Option("Na", help="The metal."),
    metal_plane: tuple[int, int, int] = typer.Option((1, 1, 0), help="Its face, cubic indices.", metavar="H K L"),
    metal_thickness: float = typer.Option(12.0, help="Of the metal, Å; rounded to whole layers."),
    plane: tuple[int, int, int] = typer.Option((1, 1, 0), help="Face of the NZSP slab.", metavar="H K L"),
    setting: str = typer.Option("primitive", help="Cell of that plane's indices: primitive or conventional."),
    thickness: float = typer.Option(12.0, help="Of the NZSP slab, Å; rounded to whole layers."),
    face: str | None = typer.Option(None, help="Axis along which CELL is opened: a, b or c."),
    max_strain: float = typer.Option(0.04, help="Of the metal, to share a plane cell."),
    max_area: float = typer.Option(600.0, help="Of the plane cell, Å²."),
    vacuum: float | None = typer.Option(None, help="Å above the metal. Without: metal on both faces."),
    json_: Json = False,
) -> None:
    """Put sodium metal on NZSP, on glass or on a sealed boundary by matching their plane lattices.

    \b
    Example:
      atomflow build contact --metal Na --on nzsp --max-strain 0.04 -o contact.extxyz
    """
    from atomflow.build.contact import build_contact
    from atomflow.cli.build_output import require_writable, write_and_describe

    require_writable(out)
    if on not in ("nzsp", "glass", "sealed"):
        raise InputError(f"--on {on}: the metal lies on nzsp, glass or sealed")
    if (on == "nzsp") != (cell is None):
        raise InputError(f"--on {on} {'cuts its own slab: give no CELL' if cell else 'needs the CELL of the solid'}")
    options = {"metal": metal, "metal_plane": metal_plane, "metal_thickness": metal_thickness, "plane": plane,
               "setting": setting, "thickness": thickness, "face": face, "max_strain": max_strain,
               "max_area": max_area, "vacuum": vacuum}  # fmt: skip
    solid = None if cell is None else cell_of(cell)
    if solid is not None and "glass" not in set(solid.regions):
        raise InputError(f"{cell} holds no glass; build it with atomflow build glass or build sealed")
    built = build_contact(solid, **options)
    facts = built.provenance
    rows = [
        ("metal", f"{facts['metal_atoms']} {metal} in {facts['metal_layers']} layers, strained by "
                  f"{100 * facts['strain']:.1f} %"),
        ("shared plane cell", f"{facts['shared_area_A2']:.1f} Å²"),
        ("gaps", " and ".join(f"{g:.2f}" for g in facts["gaps_A"]) + " Å"),
        ("regions", _regions(built)),
    ]  # fmt: skip
    if "bonds_cut" in facts["solid"]:
        solid_facts = facts["solid"]
        rows.append(("solid", f"opened along {solid_facts['opened_along']}, {solid_facts['bonds_cut']} bonds cut"))
    write_and_describe(built, out, json_, rows)


def cell_of(path: Path) -> Cell:
    """A cell file, the final cell of a quench, or the last frame of a run folder."""
    from atomflow import runs
    from atomflow.cell import FINAL_CELL, read_cell

    ended = (path / FINAL_CELL).is_file()
    return runs.open_run(path).cell() if path.is_dir() and not ended else read_cell(path)


def _regions(cell: Cell) -> str:
    return ", ".join(f"{name} {count}" for name, count in cell.summary()["regions"].items())


def mount(app: typer.Typer) -> None:
    """Add these commands to ``atomflow build``."""
    for command in (glass, phase, slab, boundary, sealed, contact):
        app.command()(command)
