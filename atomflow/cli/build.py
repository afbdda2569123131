"""``atomflow build``: cells from facts, and checks of any cell file."""

from __future__ import annotations

from pathlib import Path

import typer

from atomflow.cli import build_parts
from atomflow.cli.options import Group, Json
from atomflow.errors import InputError

app = typer.Typer(cls=Group, rich_markup_mode=None, add_completion=False, no_args_is_help=True,
                  help="Build a cell, or check one.")


@app.command()
def nzsp(
    out: Path = typer.Option(..., "-o", "--out", help="File to write: .extxyz (keeps all), .cif or .vasp."),
    order: str = typer.Option("ordered", help="ordered, random (site occupancies) or ewald (low energy)."),
    supercell: tuple[int, int, int] = typer.Option((1, 1, 1), help="Repeats along a, b and c.", metavar="A B C"),
    cell: str = typer.Option("experimental", help="Lattice of the monoclinic phase: experimental or dft."),
    phase: str = typer.Option("monoclinic", help="monoclinic (C2/c) or rhombohedral (R-3c)."),
    si: float = typer.Option(2.0, help="Si per formula unit, x of Na1+xZr2SixP3-xO12 (0 to 3)."),
    zn: float = typer.Option(0.0, help="Zn on Zr per formula unit; each Zn brings two Na."),
    seed: int = typer.Option(0, help="Seed of the random draw or the annealing."),
    primitive: bool = typer.Option(False, "--primitive", help="Start from the primitive cell (40 atoms)."),
    json_: Json = False,
) -> None:
    """Build a NASICON cell, Na1+x+2yZr2-yZnySixP3-xO12, check it and write it.

    \b
    Example:
      atomflow build nzsp --order random --supercell 2 1 1 --si 2.0 --seed 7 -o cell.extxyz
    """
    from atomflow.build.nzsp import build_nzsp
    from atomflow.cli.build_output import require_writable, write_and_describe

    require_writable(out)
    built = build_nzsp(order, supercell, cell, phase, si, zn, seed, primitive)
    write_and_describe(built, out, json_)


@app.command()
def check(
    path: Path = typer.Argument(..., metavar="CELL", help="Any structure file ASE reads."),
    json_: Json = False,
) -> None:
    """Check any cell: charge, contacts, density, coordination. Exit code 2 when it fails.

    \b
    Example:
      atomflow build check cell.extxyz
    """
    from atomflow.build.checks import check_cell
    from atomflow.cell import read_cell
    from atomflow.cli.build_output import describe

    cell = read_cell(path)
    found = check_cell(cell)
    describe(cell, found, str(path), json_)
    if not found.ok:
        raise InputError(f"{path} fails its checks: {'; '.join(found.problems)}")


build_parts.mount(app)
