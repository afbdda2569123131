"""``atomflow phonon``: bands, density of states and imaginary modes of a relaxed cell."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atomflow.cli.options import Device, Dtype, Json, Potential, Threads, Trust

if TYPE_CHECKING:
    from atomflow.lattice import PhononResult

app = typer.Typer(rich_markup_mode=None, add_completion=False, help="Phonons of a relaxed cell.")


@app.command()
def phonon(
    cell: Annotated[Path, typer.Argument(help="Cell relaxed with the same potential (atomflow relax --fmax 0.001).")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for phonons.json, bands.png, dos.csv.")],
    potential: Potential = None,
    supercell: Annotated[tuple[int, int, int] | None, typer.Option(
        metavar="A B C", help="Repeats along a, b and c; up to 10 Å if not given.")] = None,
    displacement_a: Annotated[float, typer.Option(help="Displacement in Å.")] = 0.01,
    temperature: Annotated[float, typer.Option("--temperature", "-T", help="For the heat capacity, K.")] = 298.15,
    device: Device = "auto",
    dtype: Dtype = "float64",
    trust_model: Trust = False,
    threads: Threads = None,
    json_: Json = False,
) -> None:
    """Finite displacements by phonopy; imaginary modes are named by who moves.

    \b
    Example:
      atomflow relax cell.extxyz -p chgnet --cell-too --fmax 0.001 -o relaxed.extxyz
      atomflow phonon relaxed.extxyz -p chgnet -o phonons/
    """
    from atomflow.cell import read_cell
    from atomflow.cli import output
    from atomflow.cli.files import make_folder
    from atomflow.cli.loading import load_potential, set_threads

    start = read_cell(cell)
    make_folder(out)
    set_threads(threads)
    from atomflow.lattice import phonons

    chosen = load_potential(potential, device, dtype, trust_model)

    def progress(done: int, of: int) -> None:
        if done == of or done % 10 == 0:
            output.say(f"displacement {done} of {of}")

    result = phonons(start, chosen, supercell, displacement_a, temperature_K=temperature, progress=progress)
    _write(result, out)
    if json_:
        output.emit_json(result)
        return
    output.show(result.text())


def _write(result: PhononResult, out: Path) -> None:
    from atomflow.cli.files import draw, write_csv, write_json

    write_json(out / "phonons.json", result)
    write_csv(out / "dos.csv", result.dos)

    def paint(axis: Any) -> None:
        ticks: dict[float, str] = {}
        for segment in result.bands:
            axis.plot(segment["distance"], segment["frequency_THz"], color="black", lw=0.5)
            for label, place in zip(segment["labels"], segment["distance"][[0, -1]], strict=True):
                previous = ticks.get(round(float(place), 6))
                same = previous is None or label in previous.split("|")
                ticks[round(float(place), 6)] = (previous or label) if same else f"{previous}|{label}"
        axis.set_xticks(list(ticks), list(ticks.values()))
        for place in ticks:
            axis.axvline(place, color="0.8", lw=0.5, zorder=0)
        axis.axhline(0.0, color="0.5", lw=0.5)
        axis.set(ylabel="frequency / THz (imaginary below 0)", xlim=(min(ticks), max(ticks)))

    draw(out / "bands.png", paint)

