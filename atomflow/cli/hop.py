"""``atomflow hop``: the barrier and harmonic rate of one Na hop between named sites."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atomflow.errors import InputError

if TYPE_CHECKING:
    from atomflow.lattice import HopResult

app = typer.Typer(rich_markup_mode=None, add_completion=False, help="Barrier and rate of one hop between named sites.")


@app.command()
def hop(
    cell: Annotated[Path, typer.Argument(help="Cell of atomflow build nzsp (it names its Na sites), relaxed.")],
    start: Annotated[str, typer.Option("--from", help="Kind of site that the ion leaves, like Na2.")],
    end: Annotated[str, typer.Option("--to", help="Kind of site that it goes to, vacant: Na1.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for hop.json, path.extxyz, barrier.png.")],
    potential: Annotated[str | None, typer.Option("-p", "--potential", help="Name or model file.")] = None,
    vacancy: Annotated[bool, typer.Option("--vacancy", help="Take out the ion on the target site first.")] = False,
    rank: Annotated[int, typer.Option(help="0: the shortest such hop, 1: the next, ...")] = 0,
    images: Annotated[int, typer.Option(help="Images between the ends.")] = 5,
    fmax: Annotated[float, typer.Option(help="Largest force left on the band, eV/Å.")] = 0.05,
    max_steps: Annotated[int, typer.Option(help="Steps at most, for each end and for the band.")] = 300,
    vibrating_a: Annotated[float, typer.Option(help="Atoms this near, Å, vibrate in ν*; 0: no rate.")] = 4.0,
    temperature: Annotated[list[float] | None, typer.Option("--temperature", "-T", help="K, repeat for more.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    dtype: Annotated[str, typer.Option(help="Precision of the model: float32 or float64.")] = "float64",
    trust_model: Annotated[bool, typer.Option("--trust-model", help="Load a pickled model.")] = False,
    threads: Annotated[int | None, typer.Option(help="CPU threads; OMP_NUM_THREADS, else 1.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Climbing nudged elastic band by ASE, Vineyard's attempt frequency, rate and the D of such hops alone.

    \b
    Example:
      atomflow hop relaxed.extxyz -p atomflow-nzsp-0 --from mid --to Na2 --vacancy -o hop/
    """
    from atomflow.cell import read_cell
    from atomflow.cli import output
    from atomflow.cli.md import _set_threads
    from atomflow.cli.phonon import _folder

    if vibrating_a < 0:
        raise InputError(f"--vibrating-a must be zero or more, not {vibrating_a:g}")
    relaxed = read_cell(cell)
    _folder(out)
    _set_threads(threads)
    from atomflow import lattice, potentials

    chosen = potentials.load(potential or potentials.DEFAULT, device=device, dtype=dtype, trust_model=trust_model)
    result = lattice.hop(relaxed, chosen, start, end, rank, images, fmax, max_steps, vibrating_a or None,
                         tuple(temperature or (300.0, 600.0, 900.0)), vacancy, output.say)
    _write(result, out)
    if json_:
        output.emit_json(result)
        return
    output.show(_text(result))


def _write(result: HopResult, out: Path) -> None:
    import json

    import ase.io

    from atomflow.cli.files import draw
    from atomflow.plain import to_jsonable

    (out / "hop.json").write_text(json.dumps(to_jsonable(result), allow_nan=False))
    ase.io.write(out / "path.extxyz", [image.to_ase() for image in result.images], format="extxyz")

    def paint(axis: Any) -> None:
        axis.plot(result.path_A, result.energy_eV, "o-", color="black", ms=4, lw=0.9)
        axis.set(xlabel=f"path of the ion from {result.names[0]} to {result.names[1]} / Å", ylabel="energy / eV")

    draw(out / "barrier.png", paint)


def _text(result: HopResult) -> str:
    from atomflow.plain import table

    start, end = result.names
    lines = [f"{start} → {end}, {result.length_A:.2f} Å, {result.targets} such vacant sites: barrier "
             f"{result.barrier_eV:.3f} eV, back {result.reverse_eV:.3f} eV"]
    if result.attempt_THz is not None:
        lines.append(f"attempt frequency {result.attempt_THz:.3g} THz ({result.n_vibrating} atoms vibrate)")
        rows = [[f"{r['temperature_K']:g}", f"{r['rate_per_ps']:.3g}", f"{r['diffusivity_cm2_per_s']:.3g}"]
                for r in result.rates]
        lines.append(table(rows, ["T/K", "rate, 1/ps", "D of such hops alone, cm²/s"]))
    return "\n".join(lines + [f"warning: {text}" for text in result.warnings])
