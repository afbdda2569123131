"""``atomflow build``: cells from facts, and checks of any cell file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from atomflow.errors import InputError

if TYPE_CHECKING:
    from atomflow.build.checks import CellCheck
    from atomflow.cell import Cell

app = typer.Typer(rich_markup_mode=None, add_completion=False, help="Build a cell, or check one.", no_args_is_help=True)

WRITABLE = (".extxyz", ".xyz", ".cif", ".vasp")


@app.command()
def nzsp(
    output: Path = typer.Option(..., "-o", "--output", help="File to write: .extxyz (keeps all), .cif or .vasp."),
    order: str = typer.Option("ordered", help="ordered, random (site occupancies) or ewald (low energy)."),
    supercell: tuple[int, int, int] = typer.Option((1, 1, 1), help="Repeats along a, b and c.", metavar="A B C"),
    cell: str = typer.Option("experimental", help="Lattice of the monoclinic phase: experimental or dft."),
    phase: str = typer.Option("monoclinic", help="monoclinic (C2/c) or rhombohedral (R-3c)."),
    si: float = typer.Option(2.0, help="Si per formula unit, x of Na1+xZr2SixP3-xO12 (0 to 3)."),
    zn: float = typer.Option(0.0, help="Zn on Zr per formula unit; each Zn brings two Na."),
    seed: int = typer.Option(0, help="Seed of the random draw or the annealing."),
    primitive: bool = typer.Option(False, "--primitive", help="Start from the primitive cell (40 atoms)."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Build a NASICON cell, Na1+x+2yZr2-yZnySixP3-xO12, check it and write it.

    \b
    Example:
      atomflow build nzsp --order random --supercell 2 1 1 --si 2.0 --seed 7 -o cell.extxyz
    """
    from atomflow.build.checks import check_cell
    from atomflow.build.nzsp import build_nzsp
    from atomflow.cell import write_cell
    from atomflow.cli.output import say

    if output.suffix not in WRITABLE:
        raise InputError(f"cannot write {output}: the name must end in {', '.join(WRITABLE)}")
    if not output.parent.is_dir():
        raise InputError(f"the folder {output.parent} does not exist; make it first")
    built = build_nzsp(order, supercell, cell, phase, si, zn, seed, primitive)
    write_cell(built, output)
    if built.provenance["note"]:
        say(built.provenance["note"])
    _print(built, check_cell(built), str(output), as_json)


@app.command()
def check(
    path: Path = typer.Argument(..., metavar="CELL", help="Any structure file ASE reads."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Check any cell: charge, contacts, density, coordination. Exit code 2 when it fails.

    \b
    Example:
      atomflow build check cell.extxyz
    """
    from atomflow.build.checks import check_cell
    from atomflow.cell import read_cell

    cell = read_cell(path)
    found = check_cell(cell)
    _print(cell, found, str(path), as_json)
    if not found.ok:
        raise InputError(f"{path} fails its checks: {'; '.join(found.problems)}")


def _print(cell: Cell, found: CellCheck, path: str, as_json: bool) -> None:
    from atomflow.cli import output

    space_group = _space_group(cell)
    if as_json:
        output.emit_json({**found.to_json(), "space_group": space_group, "file": path, "cell": cell.summary()})
        return
    lengths = " ".join(f"{x:.4f}" for x in cell.summary()["lengths_A"])
    angles = " ".join(f"{x:.3f}" for x in cell.angles_deg)
    shortest = ", ".join(f"{pair} {d:.2f}" for pair, d in sorted(found.shortest_A.items(), key=lambda item: item[1]))
    rows: list[tuple[str, Any]] = [
        ("file", path),
        ("formula", f"{found.formula} ({found.n_atoms} atoms)"),
        ("cell", f"{lengths} Å, {angles}°"),
        ("density", f"{found.density_g_per_cm3:.3f} g/cm³"),
        ("charge", _charge(found.charge)),
        ("space group", f"{space_group} at 0.05 Å" if space_group else "not determined (pip install spglib)"),
        ("shortest contacts", f"{shortest} Å"),
    ]
    for element, histogram in found.coordination.items():
        rows.append((f"O around {element}", ", ".join(f"{n} for {count} atoms" for n, count in histogram.items())))
    rows.append(("checks", "all passed" if found.ok else "; ".join(found.problems)))
    for name, value in rows:
        output.show(f"{name + ':':<19}{value}")


def _charge(charge: int | None) -> str:
    if charge is None:
        return "no formal charges known for these elements"
    return f"{charge:+d}" if charge else "neutral"


def _space_group(cell: Cell) -> str | None:
    """The space group spglib finds at 0.05 Å; None without spglib or when it finds none."""
    try:
        import spglib
    except ImportError:
        return None
    spacegroup: str | None = spglib.get_spacegroup(
        (cell.lattice_A.tolist(), cell.fractional.tolist(), cell.numbers.tolist()), symprec=0.05
    )
    return spacegroup
