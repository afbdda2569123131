"""``atomflow interface search | energy | adhesion | compare-dft``: what interfaces cost, with a potential."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from atomflow.cli.options import Device, Dtype, Group, Json, Potential, Threads, Trust
from atomflow.errors import InputError

if TYPE_CHECKING:
    from atomflow.interfaces.translation import SearchConfig

app = typer.Typer(cls=Group, rich_markup_mode=None, add_completion=False, no_args_is_help=True,
                  help="Energies of boundaries, surfaces and contacts with a potential.")

Fmax = Annotated[float, typer.Option(help="Largest force left, eV/Å.")]
GridA = Annotated[float, typer.Option(help="Distance of translations, Å.")]
Shortlist = Annotated[int, typer.Option(help="How many are relaxed a little.")]
ShortSteps = Annotated[int, typer.Option(help="Steps of that.")]
Finalists = Annotated[int, typer.Option(help="How many are relaxed to the end.")]
MaxSteps = Annotated[int, typer.Option(help="Steps of a relaxation at most.")]


@app.command()
def search(
    cell: Annotated[Path, typer.Argument(help="Boundary, from atomflow build boundary (.extxyz).")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder: best.extxyz, search.json, the journal.")],
    potential: Potential = None,
    grid_a: GridA = 1.0,
    shortlist: Shortlist = 8,
    short_steps: ShortSteps = 12,
    finalists: Finalists = 3,
    fmax: Fmax = 0.03,
    max_steps: MaxSteps = 250,
    bulk: Annotated[Path | None, typer.Option(help="Crystal that the grains were cut from, if it was yours.")] = None,
    device: Device = "auto",
    dtype: Dtype = "float32",
    trust_model: Trust = False,
    threads: Threads = None,
    json_: Json = False,
) -> None:
    """Search the translation and gap of lowest energy between the grains; killed, the same command goes on.

    \b
    Example:
      atomflow interface search gb.extxyz -p atomflow-nzsp-0 -o search/
    """
    from atomflow.cell import read_cell
    from atomflow.cli import output
    from atomflow.cli.files import write_json
    from atomflow.cli.loading import load_potential, set_threads, warn_of
    from atomflow.md.signals import StopRequest

    built, crystal = read_cell(cell), None if bulk is None else read_cell(bulk)
    set_threads(threads)
    from atomflow import interfaces

    chosen = load_potential(potential, device, dtype, trust_model)

    settings = _search_settings("interface search", grid_a, shortlist, short_steps, finalists, fmax, max_steps)
    warn_of(chosen, built)
    with StopRequest() as stop:
        found = interfaces.search(built, chosen, out, settings, output.say, lambda: stop.received is not None)
    energy = None
    if found.n_boundaries == 2:
        energy = interfaces.boundary_energy(found.cell, chosen, crystal, fmax, max_steps, None, output.say, found.built)
    result = {**found.to_json(), "best": out / "best.extxyz", "energy": energy}
    write_json(out / "search.json", result)
    if json_:
        output.emit_json(result)
        return
    output.show(found.text())
    if energy is not None:
        output.show(energy.text())
    output.show(f"lowest: {out / 'best.extxyz'}")


@app.command()
def energy(
    cell: Annotated[Path, typer.Argument(help="Boundary or slab of atomflow build, of a search, or any with --bulk.")],
    potential: Potential = None,
    bulk: Annotated[Path | None, typer.Option(help="Crystal it was cut from, if not the ordered NZSP.")] = None,
    thicker: Annotated[bool, typer.Option("--thicker", help="Again with grains twice as thick.")] = False,
    mu: Annotated[list[str] | None, typer.Option(help="Na=-1.31: eV of an atom beyond whole units (repeat).")] = None,
    fmax: Fmax = 0.03,
    max_steps: MaxSteps = 300,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The relaxed cell.")] = None,
    device: Device = "auto",
    dtype: Dtype = "float32",
    trust_model: Trust = False,
    threads: Threads = None,
    json_: Json = False,
) -> None:
    """Boundary energy and excess volume, or the surface energy of a slab, in J/m² and eV/Å².

    \b
    Example:
      atomflow interface energy search/best.extxyz -p atomflow-nzsp-0
      atomflow interface energy slab.extxyz -p atomflow-nzsp-0 --thicker
    """
    from atomflow.cell import check_writable, read_cell, write_cell
    from atomflow.cli import output
    from atomflow.cli.loading import load_potential, set_threads, warn_of

    start, crystal = read_cell(cell), None if bulk is None else read_cell(bulk)
    prices = _prices(mu or [])
    if out is not None:
        check_writable(out)
    set_threads(threads)
    from atomflow.interfaces.energy import boundary_energy, is_slab, surface_energy, with_thicker

    chosen = load_potential(potential, device, dtype, trust_model)
    warn_of(chosen, start)
    if is_slab(start):
        found = surface_energy(start, chosen, crystal, fmax, max_steps, output.say)
    else:
        found = boundary_energy(start, chosen, crystal, fmax, max_steps, prices, output.say)
    if thicker:
        found = with_thicker(found, start, chosen, fmax, max_steps, output.say)
    if out is not None:
        write_cell(found.cell, out)
    if json_:
        output.emit_json(found)
        return
    output.show(found.text())


@app.command()
def adhesion(
    cell: Annotated[Path, typer.Argument(help="Contact, sealed or bare boundary of atomflow build; or a run folder.")],
    potential: Potential = None,
    rigid: Annotated[bool, typer.Option("--rigid", help="Do not relax the parts alone.")] = False,
    as_is: Annotated[bool, typer.Option("--as-is", help="Do not relax the interface first.")] = False,
    fmax: Fmax = 0.03,
    max_steps: MaxSteps = 300,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The relaxed interface.")] = None,
    device: Device = "auto",
    dtype: Dtype = "float32",
    trust_model: Trust = False,
    threads: Threads = None,
    json_: Json = False,
) -> None:
    """Work of adhesion of metal on a solid, of a film on its grains, of one grain on another, in J/m².

    \b
    Example:
      atomflow interface adhesion contact.extxyz -p atomflow-nzsp-zbo
    """
    from atomflow.cell import check_writable, write_cell
    from atomflow.cli import output
    from atomflow.cli.build_parts import cell_of
    from atomflow.cli.loading import load_potential, set_threads, warn_of

    start = cell_of(cell)
    if out is not None:
        check_writable(out)
    set_threads(threads)
    from atomflow import interfaces

    chosen = load_potential(potential, device, dtype, trust_model)
    warn_of(chosen, start)
    found = interfaces.adhesion(start, chosen, not rigid, not as_is, fmax, max_steps, output.say)
    if out is not None:
        write_cell(found.cell, out)
    if json_:
        output.emit_json(found)
        return
    output.show(found.text())


@app.command("compare-dft")
def compare_dft(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder: comparison.json, searches, relaxed cells.")],
    potential: Potential = None,
    plane: Annotated[list[str] | None, typer.Option(help='A published plane: "1 0 -1" (repeat).')] = None,
    thickness: Annotated[float, typer.Option(help="Of a grain, Å; rounded to whole layers.")] = 13.0,
    thicker: Annotated[bool, typer.Option(help="Also with grains twice as thick.")] = True,
    cuts: Annotated[int, typer.Option(help="How many cuts of each plane are searched.", min=1)] = 2,
    surfaces: Annotated[bool, typer.Option(help="Also the published surfaces.")] = True,
    searches: Annotated[bool, typer.Option(help="Search; without, only relax the published cells on.")] = True,
    grid_a: GridA = 1.0,
    shortlist: Shortlist = 8,
    short_steps: ShortSteps = 12,
    finalists: Finalists = 3,
    fmax: Fmax = 0.03,
    max_steps: MaxSteps = 300,
    device: Device = "auto",
    dtype: Dtype = "float32",
    trust_model: Trust = False,
    threads: Threads = None,
    json_: Json = False,
) -> None:
    """Boundary and surface energies of NZSP beside published DFT: order, mean error. Killed, the same command goes on.

    \b
    Example:
      atomflow interface compare-dft -p atomflow-nzsp-0 -o beside-dft/
      atomflow interface compare-dft -p atomflow-nzsp-0 -o beside-dft/ --no-searches
    """
    from atomflow.cli import output
    from atomflow.cli.files import write_json
    from atomflow.cli.loading import load_potential, set_threads
    from atomflow.md.signals import StopRequest

    planes = [_plane(text) for text in plane] if plane else None
    if not thickness > 0:
        raise InputError(f"--thickness must be positive, not {thickness:g}")
    set_threads(threads)
    from atomflow import interfaces

    chosen = load_potential(potential, device, dtype, trust_model)
    settings = _search_settings("interface compare-dft", grid_a, shortlist, short_steps, finalists, fmax, max_steps)
    with StopRequest() as stop:
        found = interfaces.compare_dft(chosen, out, planes, surfaces, thicker, cuts, thickness, settings, output.say,
                                       lambda: stop.received is not None, searches)  # fmt: skip
    write_json(out / "comparison.json", found)
    if json_:
        output.emit_json(found)
        return
    output.show(found.text())


def _plane(text: str) -> tuple[int, int, int]:
    try:
        h, k, l = (int(part) for part in text.split())  # noqa: E741
    except ValueError:
        raise InputError(f'--plane "{text}" is no plane; write it like "1 0 -1"') from None
    return h, k, l


def _search_settings(where: str, grid_a: float, shortlist: int, short_steps: int, finalists: int, fmax: float,
                     max_steps: int) -> SearchConfig:
    from atomflow.config import parse
    from atomflow.interfaces.translation import SearchConfig

    return parse(SearchConfig, {"grid_A": grid_a, "shortlist": shortlist, "short_steps": short_steps,
                                "finalists": finalists, "fmax_eV_per_A": fmax, "max_steps": max_steps}, where)


def _prices(texts: list[str]) -> dict[str, float]:
    table = {}
    for text in texts:
        symbol, _, value = text.partition("=")
        try:
            table[symbol.strip()] = float(value)
        except ValueError:
            raise InputError(f"--mu {text} is not an element and an energy; write it like Na=-1.31") from None
    return table
