"""``atomflow xrd``: powder patterns of cells and mixtures, against the publication's lines or a measured pattern."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atomflow.cli.options import Json
from atomflow.errors import InputError

if TYPE_CHECKING:
    from atomflow.cell import Cell
    from atomflow.order.xray import Phase, Profile
    from atomflow.order.xray_paper import PaperLine

app = typer.Typer(rich_markup_mode=None, add_completion=False, help="X-ray powder patterns of cells and mixtures.")


@app.command()
def xrd(
    cell: Annotated[str, typer.Argument(help="Structure file, or the name of a crystal that atomflow knows.")],
    compare_paper: Annotated[bool, typer.Option("--compare-paper", help="Beside the publication's lines.")] = False,
    mixture: Annotated[list[str] | None, typer.Option(help="CELL:weight fraction of an admixture (repeat).")] = None,
    measured: Annotated[Path | None, typer.Option(help="Measured pattern to draw over: 2θ and counts.")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Broadened pattern: .csv, .png, .pdf.")] = None,
    from_deg: Annotated[float, typer.Option("--from", help="Smallest 2θ in degrees.")] = 10.0,
    to_deg: Annotated[float, typer.Option("--to", help="Largest 2θ in degrees.")] = 60.0,
    fwhm_deg: Annotated[float, typer.Option(help="Width of the drawn lines in degrees.")] = 0.12,
    min_intensity: Annotated[float, typer.Option(help="List lines from this % of the strongest.")] = 3.0,
    json_: Json = False,
) -> None:
    """Lines of CELL for Cu Kα1 (1.54056 Å) and the Kα mean (1.54184 Å); a mixture's broadened pattern with -o.

    \b
    Example:
      atomflow xrd ZrO2_baddeleyite_P21c --compare-paper
      atomflow xrd nzsp.extxyz --mixture ZrO2_baddeleyite_P21c:0.05 --measured lab.xy -o pattern.png
    """
    from atomflow.cli import output
    from atomflow.cli.files import check_ending
    from atomflow.order import xray
    from atomflow.order.measured import read_pattern
    from atomflow.order.xray_paper import compare_paper as against_paper

    if out is not None:
        check_ending(out)
    elif measured is not None:
        raise InputError("--measured is drawn over the pattern: say where with -o pattern.png")
    phases = xray.check_weights(_phases(cell, mixture or []))
    points = read_pattern(measured) if measured is not None else None
    printed = [line for phase in phases for line in _printed(phase, against_paper)] if compare_paper else []
    if compare_paper and not printed:
        against_paper(phases[0].cell)  # raises, saying what the publication has
    tables = {phase.name: _lines(phase, from_deg, to_deg, min_intensity) for phase in phases}
    if out is not None:
        _write(xray.profile(phases, fwhm_deg=fwhm_deg, low_deg=from_deg, high_deg=to_deg), points, out)
    if json_:
        output.emit_json({"wavelengths_A": xray.WAVELENGTHS_A, "lines": tables, "paper": printed,
                          "weights": {phase.name: phase.weight for phase in phases}, "out": out})
        return
    output.show(_text(phases, tables, printed))


def _phases(cell: str, mixture: list[str]) -> list[Phase]:
    from atomflow.order.xray import Phase

    phases = [Phase(Path(cell).stem, _load(cell), 1.0)]
    for text in mixture:
        where, _, weight = text.rpartition(":")
        try:
            fraction = float(weight)
        except ValueError:
            fraction = float("nan")
        if not where or fraction != fraction:
            raise InputError(f"--mixture {text} is not a cell and a weight fraction; write it like zro2.cif:0.1")
        phases.append(Phase(Path(where).stem, _load(where), fraction))
    return phases


def _load(where: str) -> Cell:
    """A structure file, or a crystal by its name."""
    from atomflow import crystals
    from atomflow.cell import Cell, read_cell

    if not Path(where).exists() and "." not in where and "/" not in where:
        return Cell.from_pymatgen(crystals.load(where), crystals.provenance(where))
    return read_cell(where)


def _printed(phase: Phase, against_paper: Any) -> list[PaperLine]:
    try:
        return against_paper(phase.cell)
    except InputError:
        return []


def _lines(phase: Phase, low: float, high: float, faintest: float) -> list[dict[str, Any]]:
    """Visible lines; the angles for Kα mean follow from those of Kα1 by Bragg's law."""
    import numpy as np

    from atomflow.order.xray import WAVELENGTHS_A, lines

    found = lines(phase.cell, WAVELENGTHS_A["CuKa1"], low, high)
    sine = np.sin(np.radians(found.two_theta_deg / 2)) * WAVELENGTHS_A["CuKa"] / WAVELENGTHS_A["CuKa1"]
    mean = 2.0 * np.degrees(np.arcsin(np.minimum(sine, 1.0)))
    rows = zip(found.two_theta_deg, mean, found.hkl, found.relative, strict=True)
    return [{"two_theta_CuKa1_deg": a, "two_theta_CuKa_deg": b, "hkl": hkl, "relative": r}
            for a, b, hkl, r in rows if r >= faintest]


def _write(profile: Profile, points: Any, out: Path) -> None:
    import numpy as np

    from atomflow.cli.files import draw, write_csv

    scaled = None
    if points is not None:
        inside = (points[0] >= profile.two_theta_deg[0]) & (points[0] <= profile.two_theta_deg[-1])
        if not inside.any():
            raise InputError("the measured pattern has no point in the range of 2θ that is drawn")
        angle, counts = points[0][inside], points[1][inside] - points[1][inside].min()
        scaled = angle, 100.0 * counts / max(counts.max(), 1e-300)
    if out.suffix == ".csv":
        columns = {"two_theta_deg": profile.two_theta_deg, "total": profile.total,
                   **{f"part_{name}": curve for name, curve in profile.parts.items()}}
        if scaled is not None:
            columns["measured"] = np.interp(profile.two_theta_deg, *scaled, left=np.nan, right=np.nan)
        write_csv(out, columns)
        return

    def paint(axis: Any) -> None:
        if scaled is not None:
            axis.plot(*scaled, ".", ms=1.5, color="0.5", label="measured")
        axis.plot(profile.two_theta_deg, profile.total, lw=0.9, color="black", label="calculated")
        for name, curve in profile.parts.items():
            if len(profile.parts) > 1:
                axis.fill_between(profile.two_theta_deg, curve, alpha=0.5, lw=0, label=name)
        axis.set(xlabel="2θ / ° (Cu Kα doublet)", ylabel="intensity / % of the strongest",
                 xlim=(profile.two_theta_deg[0], profile.two_theta_deg[-1]))
        axis.legend(frameon=False, fontsize=8)

    draw(out, paint, (6.5, 3.6))


def _text(phases: Any, tables: dict[str, list[dict[str, Any]]], printed: list[PaperLine]) -> str:
    from atomflow.plain import table

    parts = []
    for phase in phases:
        rows = [[f"{line['two_theta_CuKa1_deg']:.3f}", f"{line['two_theta_CuKa_deg']:.3f}", f"{line['relative']:.1f}",
                 line["hkl"]] for line in tables[phase.name]]
        parts.append(f"{phase.name}: {100 * phase.weight:.3g} % by weight\n"
                     + table(rows, ["2θ/° Kα1", "2θ/° Kα mean", "%", "hkl"]))
    if printed:
        def cell_of(line: PaperLine, radiation: str) -> str:
            angle, difference = line.two_theta_deg[radiation], line.difference_deg(radiation)
            return "none near" if angle is None or difference is None else f"{angle:.3f} ({difference:+.3f})"

        rows = [[line.id, f"{line.printed_deg:.2f}", cell_of(line, "CuKa1"), cell_of(line, "CuKa"), line.hkl or "-",
                 "-" if line.relative is None else f"{line.relative:.0f}", line.nearer or "-"] for line in printed]
        parts.append("the publication states no wavelength; computed minus printed in brackets\n" + table(
            rows, ["printed line", "2θ/°", "Kα1 1.54056 Å", "Kα mean 1.54184 Å", "hkl", "%", "nearer"]))
    return "\n\n".join(parts)
