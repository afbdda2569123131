"""``atomflow reactivity``: what sodium, NZSP and zinc borate form with one another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    dtype: Annotated[str, typer.Option(help="Precision of the model: float32 or float64.")] = "float32",
    trust_model: Annotated[bool, typer.Option("--trust-model", help="Load a pickled model.")] = False,
    threads: Annotated[int | None, typer.Option(help="CPU threads; OMP_NUM_THREADS, else 1.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
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
    from atomflow.cli.md import _set_threads
    from atomflow.config import parse

    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; name a folder")
    glass = None if zbo is None else read_cell(zbo)
    _set_threads(threads)
    from atomflow import potentials
    from atomflow.reactivity.figure import draw_reactivity
    from atomflow.reactivity.relaxing import RelaxSettings
    from atomflow.reactivity.study import study
    from atomflow.reactivity.system import PAIRS, check_pairs
    from atomflow.reactivity.words import text

    pairs = PAIRS if pair is None else (pair,)
    check_pairs(pairs)
    settings = parse(RelaxSettings, {"fmax_eV_per_A": fmax, "max_steps": max_steps}, "reactivity")
    loaded = [potentials.load(name, device=device, dtype=dtype, trust_model=trust_model)
              for name in dict.fromkeys(potential or [potentials.DEFAULT])]
    result = study(loaded, out, pairs, settings, output.say, glass)
    _write(result, out)
    draw_reactivity(result, out / "reactivity.png")
    if json_:
        output.emit_json(result)
        return
    output.show(text(result))


def _write(result: object, out: Path) -> None:
    import json

    from atomflow.plain import to_jsonable
    from atomflow.runs.files import write_whole

    write_whole(out / "reactivity.json", json.dumps(to_jsonable(result), indent=1, allow_nan=False).encode())
