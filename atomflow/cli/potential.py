"""``atomflow potential``: what there is, whether it suits a cell, and what it says of given frames."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from atomflow.cli import (
    potential_along,
    potential_card,
    potential_distill,
    potential_doubt,
    potential_loops,
    potential_repulsion,
    potential_stability,
)
from atomflow.cli.options import Device, Dtype, Group, Json, Trust
from atomflow.errors import InputError

app = typer.Typer(
    cls=Group,
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="List, show, check and evaluate machine-learned potentials; distil one of your own.",
)

Name = Annotated[str, typer.Argument(help="A name of `atomflow potential list`, or a model file.", show_default=False)]


@app.command("list")
def list_(json_: Json = False) -> None:
    """Every potential that atomflow knows by name, and whether its file is here.

    \b
    Example:
      atomflow potential list
    """
    from atomflow import plain
    from atomflow.cli import output
    from atomflow.potentials.loading import availability
    from atomflow.potentials.registry import entries

    rows = [{"name": name, "here": availability(name), **entry.model_dump()} for name, entry in entries().items()]
    if json_:
        output.emit_json({"potentials": rows})
        return
    table = [[row["name"], row["here"], row["elements"].partition(" (")[0], row["licence"], row["trained_for"]]
             for row in rows]
    output.show(plain.table(table, ["name", "here", "elements", "licence", "trained for"], output.width()))
    output.show("\nYour own MACE model: give its file in place of a name. `atomflow potential show NAME` says more.")


@app.command()
def show(name: Name, trust_model: Trust = False, json_: Json = False) -> None:
    """What is known of a potential: source, citation, licence, checksum; a model file is opened for it.

    \b
    Example:
      atomflow potential show chgnet
    """
    from atomflow.cli import output
    from atomflow.distill.closest import radii_in
    from atomflow.potentials import load, registry
    from atomflow.potentials.loading import availability

    if name not in registry.entries() and Path(name.partition("#")[0]).expanduser().exists():
        loaded: Any = load(name, device="cpu", trust_model=trust_model)
        facts: dict[str, Any] = loaded.identity.model_dump()
        from atomflow.potentials.repulsion import repulsion_radii_A

        radii = repulsion_radii_A(loaded.model)
    else:
        known = registry.entry(name)
        facts = {"name": name, **known.model_dump(), "here": availability(name)}
        radii = radii_in(known.shipped) if known.shipped else None
    if json_:
        output.emit_json(facts | ({"repulsion_radii_A": radii} if radii else {}))
        return
    facts["repulsion"] = radii and potential_repulsion.in_words(radii)
    facts["committee"] = [member["file"] for member in facts.get("committee", ())]
    for key, value in facts.items():
        if value not in (None, (), []):
            shown = ", ".join(value) if isinstance(value, (list, tuple)) else value
            output.show(f"{key.replace('_', ' ') + ':':<14} {shown}")


@app.command()
def check(
    name: Name,
    cell: Annotated[Path, typer.Argument(help="The cell to try it on (extxyz, CIF, POSCAR).", show_default=False)],
    device: Device = "auto",
    dtype: Dtype = "float32",
    trust_model: Trust = False,
    json_: Json = False,
) -> None:
    """Try a potential on a cell: elements, precision, forces and stress against the energy's slope, time a call.

    Exit code 0 if all is well, 1 if something is wrong.

    \b
    Example:
      atomflow potential check chgnet cell.extxyz
    """
    from atomflow.cell import read_cell
    from atomflow.cli import output
    from atomflow.potentials import load
    from atomflow.potentials.check import check as run_check

    structure = read_cell(cell)
    loaded = load(name, device=device, dtype="float64", trust_model=trust_model)
    report = run_check(loaded, structure, dtype=dtype)
    if json_:
        output.emit_json(report.model_dump())
    else:
        for label, value in report.lines():
            output.show(f"{label + ':':<44} {value}")
    if report.problems:
        raise typer.Exit(1)


@app.command()
def evaluate(
    name: Name,
    frames: Annotated[Path, typer.Argument(help="Any trajectory or structure file ASE reads.", show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", help="Extended XYZ file to write.", show_default=False)],
    device: Device = "auto",
    dtype: Dtype = "float32",
    trust_model: Trust = False,
    json_: Json = False,
) -> None:
    """Energy, forces and stress of every frame, as extended XYZ that ASE and OVITO read.

    \b
    Example:
      atomflow potential evaluate chgnet frames.extxyz -o evaluated.extxyz
    """
    from atomflow.cli import output
    from atomflow.potentials import load
    from atomflow.potentials.evaluate import evaluate_file

    if not frames.exists():
        raise InputError(f"there is no file {frames}")
    loaded = load(name, device=device, dtype=dtype, trust_model=trust_model)

    def progress(count: int) -> None:
        if count % 100 == 0:
            output.say(f"{count} frames")

    count = evaluate_file(loaded, frames, out, progress)
    if json_:
        output.emit_json({"frames": count, "output": out, "potential": loaded.identity.model_dump()})
    else:
        output.show(f"{count} frame{'s' if count != 1 else ''} evaluated with {loaded.identity.name}: {out}")


@app.command()
def convert(
    model: Annotated[Path, typer.Argument(help="A pickled MACE model.", show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", help="File to write: NAME.mace.npz.", show_default=False)],
    trust_model: Trust = False,
    json_: Json = False,
) -> None:
    """Write a MACE model in the portable form, which runs no code of its author's and needs no trust to open.

    \b
    Example:
      atomflow potential convert my.model -o my.mace.npz --trust-model
    """
    from atomflow.cli import output
    from atomflow.potentials.mace.files import open_module, save_portable

    if not model.is_file():
        raise InputError(f"there is no model file {model}")
    save_portable(open_module(model, trust_model=trust_model), out)
    output.emit_json({"model": out, "from": model}) if json_ else output.show(f"{model} written as {out}")


potential_distill.mount(app)
potential_repulsion.mount(app)
app.command()(potential_along.along)
app.command()(potential_doubt.doubt)
app.command()(potential_stability.stability)
potential_card.mount(app)
potential_loops.mount(app)
