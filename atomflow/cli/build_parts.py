"""``atomflow build glass | phase | boundary | sealed | contact``: what lies beside and between crystals."""

from __future__ import annotations

from pathlib import Path

import typer

OUTPUT = typer.Option(..., "-o", "--output", help="File to write; .extxyz keeps regions and provenance.")
JSON = typer.Option(False, "--json", help="Print one JSON object.")


def glass(
    output: Path = OUTPUT,
    units: int = typer.Option(8, help="(ZnO)2(B2O3)3 units of 19 atoms."),
    na: float = typer.Option(0.0, help="Na2O taken up per unit; a whole number of Na2O in all."),
    density: float = typer.Option(2.85, help="g/cm³. 2.85 ± 0.15 is an estimate: none was measured."),
    seed: int = typer.Option(1, help="Seed of the packing."),
    as_json: bool = JSON,
) -> None:
    """Pack zinc borate units at random, without close contacts: the start of a melt.

    \b
    Example:
      atomflow build glass --units 8 --na 0.25 --seed 1 -o melt.extxyz
    """
    from atomflow.build.glass import build_glass
    from atomflow.cli.build_output import require_writable, write_and_describe

    require_writable(output)
    write_and_describe(build_glass(units, na, density, seed), output, as_json)


def phase(
    name: str = typer.Argument(..., help="ZrO2, ZrSiO4, Na, NVCP, ZnO, B2O3, ZnB4O7, ... (? lists all)."),
    output: Path = OUTPUT,
    supercell: tuple[int, int, int] = typer.Option((1, 1, 1), help="Repeats along a, b and c.", metavar="A B C"),
    seed: int = typer.Option(0, help="Seed of the Cr/V and Na order of NVCP."),
    as_json: bool = JSON,
) -> None:
    """Build a verified crystal of another phase: impurity, electrode, borate, oxide.

    \b
    Example:
      atomflow build phase NVCP --supercell 1 1 1 --seed 3 -o nvcp.extxyz
    """
    from atomflow.build.phases import build_phase
    from atomflow.cli.build_output import require_writable, write_and_describe

    require_writable(output)
    write_and_describe(build_phase(name, supercell, seed), output, as_json)


def mount(app: typer.Typer) -> None:
    """Add these commands to ``atomflow build``."""
    for command in (glass, phase):
        app.command()(command)
