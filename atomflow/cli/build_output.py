"""What every ``atomflow build`` command does with its cell: write it, and say what it is and whether it is sound."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from atomflow.errors import InputError, check_place

if TYPE_CHECKING:
    from atomflow.build.checks import CellCheck
    from atomflow.cell import Cell

WRITABLE = (".extxyz", ".xyz", ".cif", ".vasp")


def require_writable(output: Path) -> None:
    """Before anything is computed: can the result be written there?"""
    if output.suffix not in WRITABLE:
        raise InputError(f"cannot write {output}: the name must end in {', '.join(WRITABLE)}")
    check_place(output)


def write_and_describe(
    built: Cell, output: Path, as_json: bool, rows: list[tuple[str, str]] | None = None, facts: Any = None
) -> None:
    """Write the cell, then print its facts; ``rows`` for people and ``facts`` for the JSON object are the builder's."""
    from atomflow.build.checks import check_cell
    from atomflow.cell import write_cell
    from atomflow.cli.output import say

    write_cell(built, output)
    if built.provenance.get("note"):
        say(built.provenance["note"])
    describe(built, check_cell(built), str(output), as_json, rows, facts)


def describe(
    cell: Cell,
    found: CellCheck,
    path: str,
    as_json: bool,
    more_rows: list[tuple[str, str]] | None = None,
    facts: Any = None,
) -> None:
    """Print what the checks found: a table for people, or one JSON object."""
    from atomflow.cli import output

    space_group = _space_group(cell)
    if as_json:
        summary = {**found.to_json(), "space_group": space_group, "file": path, "cell": cell.summary()}
        output.emit_json(summary if facts is None else {**summary, "built": facts})
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
    rows += more_rows or []
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
