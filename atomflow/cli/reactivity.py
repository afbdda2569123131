"""``atomflow reactivity``: what sodium, NZSP and zinc borate form with one another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from atomflow.cli.options import Device, Dtype, Json, Threads, Trust
from atomflow.errors import InputError

app = typer.Typer(rich_markup_mode=None, add_completion=False,
                  help="Reaction energies, stability windows and reductions from relaxed crystals.")


@app.command()
def reactivity(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder: reactivity.json, .png, and relaxed/.")],
    pair: Annotated[tuple[str, str] | None, typer.Option(help="Two materials: Na, NZSP, ZBO or formulas.")] = None,
    potential: Annotated[list[str] | None, typer.Option(
        "-p", "--potential", help="Name or model file; repeat to show potentials side by side.")] = None,
    zbo: Annotated[Path | None, typer.Option(help="Quenched ZBO glass; its energy is used for ZBO.")] = None,
    fmax: Annotated[float, typer.Option(help="Largest force left on atoms and cell, eV/Å.")] = 0.02,
    max_steps: Annotated[int, typer.Option(help="Steps at most for a crystal.")] = 400,
    device: Device = "auto",
    dtype: Dtype = "float32",
    trust_model: Trust = False,
    threads: Threads = None,
    json_: Json = False,
) -> None:
    """Relax all competing crystals with one potential, build the hull, and say what reacts, into what, by how much.

    Materials are Na, NZSP, ZBO or any formula of Na, Zr, Si, P, O, B, Zn. Without --pair: Na with NZSP, Na with ZBO,
    NZSP with ZBO. What was relaxed is kept: the same command goes on after a stop.

    \b
    Example:
      atomflow reactivity --pair Na NZSP -p chgnet -o reactivity/
    """
    from atomflow.cell import read_cell
    from atomflow.cli import output
    from atomflow.cli.files import write_json
    from atomflow.cli.loading import load_potential, set_threads
    from atomflow.config import parse

    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; name a folder")
    glass = None if zbo is None else read_cell(zbo)
    set_threads(threads)
    from atomflow import potentials
    from atomflow.reactivity.figure import draw_reactivity
    from atomflow.reactivity.relaxing import RelaxSettings
    from atomflow.reactivity.study import study
    from atomflow.reactivity.system import PAIRS, check_pairs
    from atomflow.reactivity.words import text

    pairs = PAIRS if pair is None else (pair,)
    check_pairs(pairs)
    settings = parse(RelaxSettings, {"fmax_eV_per_A": fmax, "max_steps": max_steps}, "reactivity")
    loaded = [load_potential(name, device, dtype, trust_model)
              for name in dict.fromkeys(potential or [potentials.DEFAULT])]
    result = study(loaded, out, pairs, settings, output.say, glass)
    write_json(out / "reactivity.json", result)
    draw_reactivity(result, out / "reactivity.png")
    if json_:
        output.emit_json(result)
        return
    output.show(text(result))
