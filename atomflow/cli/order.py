"""``atomflow order``: radial distributions, coordination, bond lengths, and whether a glass is the glass."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from atomflow.cli.options import Json, names
from atomflow.errors import InputError

app = typer.Typer(rich_markup_mode=None, add_completion=False,
                  help="Radial distributions, coordination, bond lengths and angles; glass acceptance.")


@app.command()
def order(
    where: Annotated[list[Path], typer.Argument(help="Cell, run folder or trajectory; several are replicas.")],
    pairs: Annotated[str | None, typer.Option(help="Pairs, centre first: B-O,Zn-O; else all known.")] = None,
    cutoff: Annotated[list[str] | None, typer.Option(help="Other bond length, like B-O=1.85 (repeat).")] = None,
    r_max_a: Annotated[float, typer.Option(help="Range of g(r) in Å.")] = 8.0,
    bin_a: Annotated[float, typer.Option(help="Bin of g(r) in Å.")] = 0.05,
    frames: Annotated[int, typer.Option(help="Frames of a run that are looked at, evenly spaced.")] = 50,
    discard_ps: Annotated[float, typer.Option(help="Time left out at the start of a run.")] = 0.0,
    region: Annotated[str | None, typer.Option(help="Only atoms of this region are centres.")] = None,
    glass: Annotated[bool, typer.Option("--glass", help="Hold the zinc borate glass against the literature.")] = False,
    contact: Annotated[bool, typer.Option("--contact", help="What formed at a metal contact, over time.")] = False,
    frame_interval_fs: Annotated[float | None, typer.Option(help="Between frames, if the file lacks it.")] = None,
    format: Annotated[str | None, typer.Option(help="File format in ASE's name, where it cannot be told.")] = None,
    elements: Annotated[str | None, typer.Option(help="Elements of LAMMPS types 1, 2, ..., like Na,Zr,O.")] = None,
    along: Annotated[str, typer.Option(help="With --contact: across the regions, x, y or z (a, b or c).")] = "z",
    out: Annotated[Path | None, typer.Option("-o", "--out", help="g(r), or depths, as .csv or drawn (.png).")] = None,
    json_: Json = False,
) -> None:
    """Short-range order with intervals, over frames and replicas.

    \b
    Example:
      atomflow order glass.extxyz --pairs B-O,Zn-O
      atomflow order GLASS_RUN --glass
      atomflow order dump.lammpstrj --elements Na,Zr,Si,O --frame-interval-fs 20 --discard-ps 5
      atomflow order CONTACT_RUN --contact
    """
    from atomflow.cli import output
    from atomflow.cli.files import check_ending, write_rdf
    from atomflow.order import accept, measure
    from atomflow.order.frames import open_frames
    from atomflow.order.glass import film_region

    if out is not None:
        check_ending(out)
    if contact and (glass or pairs or region):
        raise InputError("--contact has its own pairs, in all regions: leave --glass, --pairs and --region away")
    wanted = names(pairs) if pairs else None
    if glass and wanted is not None and not {"B-O", "Zn-O"} <= set(wanted):
        raise InputError("--glass judges B-O and Zn-O: name both in --pairs, or leave --pairs away")
    opened = [one for path in where
              for one in open_frames(path, frame_interval_fs, format, names(elements) if elements else None)]
    if contact:
        from atomflow.cli.order_contact import show_contact

        show_contact(opened, along, frames, discard_ps, _cutoffs(cutoff or []), out, json_)
        return
    if glass and region is None:
        region = film_region(opened)
    result = measure(opened, wanted, _cutoffs(cutoff or []), r_max_a, bin_a, frames, discard_ps,
                     region)
    verdict = accept(result) if glass else None
    if out is not None:
        write_rdf(result, out)
    if json_:
        output.emit_json({**result.to_json(), **({"glass": verdict} if verdict else {})})
        return
    output.show(result.text())
    if verdict:
        from atomflow.order.glass import text

        output.show("\n" + text(verdict.lines) + "\n" + verdict.sentence)


def _cutoffs(texts: list[str]) -> dict[str, float]:
    table = {}
    for text in texts:
        pair, _, length = text.partition("=")
        try:
            table[pair.strip()] = float(length)
        except ValueError:
            raise InputError(f"--cutoff {text} is not a pair and a length; write it like B-O=1.85") from None
    return table
