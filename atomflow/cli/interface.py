"""``atomflow interface search | energy | adhesion | compare-dft``: what interfaces cost, with a potential."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atomflow.errors import InputError

if TYPE_CHECKING:
    from atomflow.interfaces.dft import Comparison
    from atomflow.interfaces.energy import InterfaceEnergy
    from atomflow.interfaces.separation import Adhesion
    from atomflow.interfaces.translation import SearchResult

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True,
                  help="Energies of boundaries, surfaces and contacts with a potential.")

Potential = Annotated[str | None, typer.Option("-p", "--potential", help="Name or model file; see potential list.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Dtype = Annotated[str, typer.Option(help="Precision of the model: float32 or float64.")]
Trust = Annotated[bool, typer.Option("--trust-model", help="Load a pickled model.")]
Threads = Annotated[int | None, typer.Option(help="CPU threads; OMP_NUM_THREADS, else 1.")]
Fmax = Annotated[float, typer.Option(help="Largest force left, eV/Å.")]
MaxSteps = Annotated[int, typer.Option(help="Steps of a relaxation at most.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command()
def search(
    cell: Annotated[Path, typer.Argument(help="Boundary, from atomflow build boundary (.extxyz).")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder: best.extxyz, search.json, the journal.")],
    potential: Potential = None,
    grid_a: Annotated[float, typer.Option(help="Distance of translations, Å.")] = 1.0,
    shortlist: Annotated[int, typer.Option(help="How many are relaxed a little.")] = 8,
    short_steps: Annotated[int, typer.Option(help="Steps of that.")] = 12,
    finalists: Annotated[int, typer.Option(help="How many are relaxed to the end.")] = 3,
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
    from atomflow.config import parse
    from atomflow.md.signals import StopRequest

    built, chosen = read_cell(cell), _load(potential, device, dtype, trust_model, threads)
    crystal = None if bulk is None else read_cell(bulk)
    from atomflow import interfaces
    from atomflow.interfaces.translation import SearchConfig

    settings = parse(SearchConfig, {"grid_A": grid_a, "shortlist": shortlist, "short_steps": short_steps,
                                    "finalists": finalists, "fmax_eV_per_A": fmax, "max_steps": max_steps},
                     "interface search")  # fmt: skip
    _warn(chosen, built)
    with StopRequest() as stop:
        found = interfaces.search(built, chosen, out, settings, output.say, lambda: stop.received is not None)
    energy = None
    if found.n_boundaries == 2:
        energy = interfaces.boundary_energy(found.cell, chosen, crystal, fmax, max_steps, None, output.say, found.built)
    result = {**found.to_json(), "best": out / "best.extxyz", "energy": energy}
    _write_json(out / "search.json", result)
    if json_:
        output.emit_json(result)
        return
    output.show(search_text(found))
    if energy is not None:
        output.show(energy_text(energy))
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
    from atomflow.cell import read_cell, write_cell
    from atomflow.cli import output

    start, crystal = read_cell(cell), None if bulk is None else read_cell(bulk)
    prices = _prices(mu or [])
    chosen = _load(potential, device, dtype, trust_model, threads)
    from atomflow.interfaces.energy import boundary_energy, is_slab, surface_energy, with_thicker

    _warn(chosen, start)
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
    output.show(energy_text(found))


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
    from atomflow.cell import write_cell
    from atomflow.cli import output
    from atomflow.cli.build_parts import cell_of

    start, chosen = cell_of(cell), _load(potential, device, dtype, trust_model, threads)
    from atomflow import interfaces

    _warn(chosen, start)
    found = interfaces.adhesion(start, chosen, not rigid, not as_is, fmax, max_steps, output.say)
    if out is not None:
        write_cell(found.cell, out)
    if json_:
        output.emit_json(found)
        return
    output.show(adhesion_text(found))


@app.command("compare-dft")
def compare_dft(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder: comparison.json, searches, relaxed cells.")],
    potential: Potential = None,
    plane: Annotated[list[str] | None, typer.Option(help='A published plane: "1 0 -1" (repeat).')] = None,
    thickness: Annotated[float, typer.Option(help="Of a grain, Å; rounded to whole layers.")] = 13.0,
    thicker: Annotated[bool, typer.Option(help="Also with grains twice as thick.")] = True,
    cuts: Annotated[int, typer.Option(help="How many cuts of each plane are searched.", min=1)] = 2,
    surfaces: Annotated[bool, typer.Option(help="Also the published surfaces.")] = True,
    grid_a: Annotated[float, typer.Option(help="Distance of translations, Å.")] = 1.0,
    shortlist: Annotated[int, typer.Option(help="How many are relaxed a little.")] = 8,
    short_steps: Annotated[int, typer.Option(help="Steps of that.")] = 12,
    finalists: Annotated[int, typer.Option(help="How many are relaxed to the end.")] = 3,
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
    """
    from atomflow.cli import output
    from atomflow.config import parse
    from atomflow.md.signals import StopRequest

    planes = [_plane(text) for text in plane] if plane else None
    chosen = _load(potential, device, dtype, trust_model, threads)
    from atomflow import interfaces
    from atomflow.interfaces.translation import SearchConfig

    settings = parse(SearchConfig, {"grid_A": grid_a, "shortlist": shortlist, "short_steps": short_steps,
                                    "finalists": finalists, "fmax_eV_per_A": fmax, "max_steps": max_steps},
                     "interface compare-dft")  # fmt: skip
    with StopRequest() as stop:
        found = interfaces.compare_dft(chosen, out, planes, surfaces, thicker, cuts, thickness, settings, output.say,
                                       lambda: stop.received is not None)  # fmt: skip
    _write_json(out / "comparison.json", found)
    if json_:
        output.emit_json(found)
        return
    output.show(comparison_text(found))


def _plane(text: str) -> tuple[int, int, int]:
    try:
        h, k, l = (int(part) for part in text.split())  # noqa: E741
    except ValueError:
        raise InputError(f'--plane "{text}" is no plane; write it like "1 0 -1"') from None
    return h, k, l


def _load(potential: str | None, device: str, dtype: str, trust_model: bool, threads: int | None) -> Any:
    from atomflow.cli.md import _set_threads

    _set_threads(threads)
    from atomflow import potentials

    return potentials.load(potential or potentials.DEFAULT, device=device, dtype=dtype, trust_model=trust_model)


def _warn(chosen: Any, cell: Any) -> None:
    from atomflow.cli import output

    chosen.check_elements(cell.numbers)
    caution = chosen.identity.caution(cell.numbers)
    if caution:
        output.say(f"warning: {caution}")


def _prices(texts: list[str]) -> dict[str, float]:
    table = {}
    for text in texts:
        symbol, _, value = text.partition("=")
        try:
            table[symbol.strip()] = float(value)
        except ValueError:
            raise InputError(f"--mu {text} is not an element and an energy; write it like Na=-1.31") from None
    return table


def _write_json(path: Path, value: Any) -> None:
    import json

    from atomflow.plain import to_jsonable

    path.write_text(json.dumps(to_jsonable(value), indent=2, allow_nan=False))


def search_text(found: SearchResult) -> str:
    """What a search found, for people."""
    from atomflow.plain import table
    from atomflow.units import EV_PER_A2_IN_J_PER_M2

    alike = "both boundaries alike, moved together" if found.alike else f"{found.n_boundaries} boundaries on their own"
    lines = [f"{found.n_scanned} translations and gaps scanned, {found.n_short} relaxed a little, "
             f"{len(found.finalists)} to the end; {alike}"]
    lowest = found.finalists[0]["energy_eV"]
    per = found.n_boundaries * found.area_A2
    rows = [[" ".join(f"{x:.2f},{y:.2f}" for x, y in one["translations_A"]), f"{one['energy_eV']:.3f}",
             f"{(one['energy_eV'] - lowest) / per * EV_PER_A2_IN_J_PER_M2:.3f}",
             "yes" if one["converged"] else f"no, {one['fmax_eV_per_A']:.3f} eV/Å left",
             "; ".join(one["problems"]) or "-"] for one in found.finalists]  # fmt: skip
    header = ["translation/Å", "energy/eV", "above lowest, J/m²", "converged", "problems"]
    return "\n".join([*lines, table(rows, header)])


def energy_text(found: InterfaceEnergy) -> str:
    """One energy per area, for people."""
    lines = [f"{found.what} energy {found.energy_J_per_m2:.4f} J/m² = {found.energy_eV_per_A2:.6f} eV/Å² "
             f"(mean of {found.n}, {found.area_A2:.2f} Å² each, {found.n_atoms} atoms)"]
    if found.excess_volume_A is not None:
        lines.append(f"excess volume {found.excess_volume_A:.3f} Å per area")
    if found.thicker_J_per_m2 is not None:
        lines.append(f"grains twice as thick: {found.thicker_J_per_m2:.4f} J/m² "
                     f"(differs by {found.thickness_error_J_per_m2:.4f})")
    lines += [f"reference: {found.reference}", f"stoichiometry excess: {found.excess}",
              f"potential: {found.potential['name']} ({found.potential['sha256'][:12]})"]
    return "\n".join(lines + [f"warning: {text}" for text in found.warnings])


def adhesion_text(found: Adhesion) -> str:
    """Work of adhesion, for people."""
    parts = ", ".join(f"{name} {count} atoms" for name, count in found.parts.items())
    lines = [f"work of adhesion, mean of {found.n_interfaces} interface(s) of {found.area_A2:.2f} Å² ({parts})",
             f"rigid parts    {found.rigid_J_per_m2:.4f} J/m² = {found.rigid_eV_per_A2:.6f} eV/Å²"]
    if found.relaxed_J_per_m2 is not None:
        lines.append(f"relaxed parts  {found.relaxed_J_per_m2:.4f} J/m² = {found.relaxed_eV_per_A2:.6f} eV/Å²")
    lines += [f"reference: {found.reference}; opened by {found.opening_A:g} Å",
              f"potential: {found.potential['name']} ({found.potential['sha256'][:12]})"]
    return "\n".join(lines + [f"warning: {text}" for text in found.warnings])


def comparison_text(found: Comparison) -> str:
    """Ours beside theirs, for people."""
    from atomflow.plain import table

    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f}"

    rows = []
    for row in found.rows:
        name = [row.what, " ".join(map(str, row.plane)), "-" if row.cut is None else str(row.cut)]
        numbers = [row.ours_J_per_m2, row.thicker_J_per_m2, row.runner_up_J_per_m2, row.excess_volume_A]
        ours, thick, runner, excess = map(number, numbers)
        name += [f"{row.theirs_J_per_m2:.2f}", ours, f"{row.difference_J_per_m2:+.3f}"]
        rows.append([*name, thick, runner, excess, "yes" if row.converged else "no"])
    header = ["what", "plane", "cut", "DFT, J/m²", "ours, J/m²", "difference", "twice as thick", "next finalist above",
              "excess volume, Å", "converged"]  # fmt: skip
    percent = 100 * (found.volume_A3 / found.dft_volume_A3 - 1)
    lines = [table(rows, header),
             f"{found.potential['name']} ({found.potential['sha256'][:12]}); the volume of its crystal is DFT's "
             f"{percent:+.1f} %"]
    if found.kendall is not None:
        same = "the order is DFT's" if found.kendall == 1.0 else "the order is NOT DFT's"
        lines.append(f"{same}: Spearman {found.spearman:.2f}, Kendall {found.kendall:.2f}")
    lines.append(f"mean absolute error of the boundaries {found.mean_abs_error_J_per_m2:.3f} J/m² "
                 f"(goal: the order, and at most 0.08: {'met' if found.goal_met else 'not met'})")
    if found.same_cell_error_J_per_m2 is not None:
        lines.append(f"mean absolute error in their own cells {found.same_cell_error_J_per_m2:.3f} J/m²: that of the "
                     "potential alone; a boundary below DFT's is a translation that was not tried there")
    lines.append(f"DFT: {found.source}")
    notes = {text for row in found.rows for text in row.warnings}
    return "\n".join(lines + [f"warning: {text}" for text in sorted(notes)])
