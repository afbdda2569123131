"""``atomflow impedance``: grain, boundary and film conductivities to R_b, R_gb and a Nyquist plot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atomflow.cli.options import Json
from atomflow.errors import InputError

if TYPE_CHECKING:
    from atomflow.impedance import CeramicsResult, Layer, Spectrum

app = typer.Typer(rich_markup_mode=None, add_completion=False,
                  help="Cell resistance and Nyquist plot from grain, boundary and film conductivities.")


@app.command()
def impedance(
    grain_sigma: Annotated[float | None, typer.Option(help="Conductivity of the grain, S/cm.")] = None,
    campaign: Annotated[Path | None, typer.Option(
        "--from", help="Campaign folder: all its grains with all its layers, intervals carried through.")] = None,
    along: Annotated[str, typer.Option(help="With --from: lattice vector across the layers, x, y or z.")] = "z",
    grain_size_um: Annotated[float, typer.Option(help="Edge of a grain, µm.")] = 1.0,
    boundary_sigma: Annotated[float | None, typer.Option(help="Conductivity across a boundary, S/cm.")] = None,
    boundary_nm: Annotated[float, typer.Option(help="Thickness of a boundary, nm.")] = 0.0,
    film_sigma: Annotated[float | None, typer.Option(help="Conductivity of the film in the boundary, S/cm.")] = None,
    film_nm: Annotated[float, typer.Option(help="Thickness of the film, nm.")] = 0.0,
    film_coverage: Annotated[float, typer.Option(help="Share of the boundaries that hold the film.")] = 1.0,
    grain_ea: Annotated[float | None, typer.Option(help="Activation energy of the grain's σ, eV.")] = None,
    boundary_ea: Annotated[float | None, typer.Option(help="The same of the boundary.")] = None,
    film_ea: Annotated[float | None, typer.Option(help="The same of the film.")] = None,
    relative_density: Annotated[float, typer.Option(help="1 without pores.")] = 1.0,
    thickness_cm: Annotated[float | None, typer.Option(help="Of the disc; the publication's if not given.")] = None,
    temperature: Annotated[float, typer.Option("--temperature", "-T", help="Of the conductivities, K.")] = 298.15,
    interface_ohm_cm2: Annotated[float, typer.Option(help="Interface resistance to draw, both sides.")] = 0.0,
    exponent: Annotated[float, typer.Option(help="CPE exponent of the arcs; 1 is a capacitor.")] = 0.9,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Nyquist plot (.png, .pdf), or .csv.")] = None,
    json_: Json = False,
) -> None:
    """Turn conductivities of atoms' models into the resistances of a disc, beside the publication's.

    \b
    Example:
      atomflow impedance --grain-sigma 9.1e-4 --boundary-sigma 2e-6 --grain-size-um 1 --boundary-nm 1.6 -o nyquist.png
      atomflow impedance --from runs/control -T 700 --relative-density 0.74 -o control.png
    """
    from atomflow.cli import output
    from atomflow.cli.files import check_ending
    from atomflow.impedance import Layer, Microstructure, beside_paper, spectrum
    from atomflow.impedance.beside_paper import default_thickness_cm, needed_boundary_S_per_cm

    if out is not None:
        check_ending(out)
    if (campaign is None) == (grain_sigma is None):
        raise InputError("give either --grain-sigma (and what else is known) or --from with a campaign folder")
    if campaign is not None:
        given = [boundary_sigma, film_sigma, grain_ea, boundary_ea, film_ea]
        if any(value is not None for value in given) or boundary_nm or film_nm or interface_ohm_cm2:
            raise InputError("with --from, conductivities, energies and thicknesses come from the runs: leave them out")
        _campaign(campaign, temperature, grain_size_um, relative_density, thickness_cm, along, out, json_)
        return
    ceramic = Microstructure(
        Layer(grain_sigma or 0.0, grain_ea), _layer("boundary", boundary_sigma, boundary_ea),
        _layer("film", film_sigma, film_ea), grain_size_um, boundary_nm, film_nm, film_coverage, relative_density,
        temperature)
    thickness = default_thickness_cm() if thickness_cm is None else thickness_cm
    grain, boundary = ceramic.resistances_ohm_cm2(thickness)
    curve = spectrum(ceramic, thickness, interface_ohm_cm2, exponent=exponent)
    rows = beside_paper(ceramic, thickness, interface_ohm_cm2)
    result = {"microstructure": ceramic, "thickness_cm": thickness, "R_b_ohm_cm2": grain, "R_gb_ohm_cm2": boundary,
              "conductivity_S_per_cm": ceramic.conductivities_S_per_cm(), "paper": rows,
              "boundary_conductivity_for_printed_R_gb_S_per_cm": needed_boundary_S_per_cm(ceramic, thickness),
              "warnings": curve.warnings}
    if out is not None:
        _write(curve, out)
    if json_:
        output.emit_json({**result, "spectrum": curve})
        return
    output.show(_text(result))


def _campaign(folder: Path, temperature: float, grain_size_um: float, relative_density: float,
              thickness_cm: float | None, along: str, out: Path | None, json_: bool) -> None:
    from atomflow.cli import output
    from atomflow.impedance.ceramics import ceramics

    if out is not None and out.suffix == ".csv":
        raise InputError("with --from, -o is a figure (.png, .pdf, .svg); --json has the numbers")
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}")
    result = ceramics(folder, temperature, grain_size_um, relative_density, thickness_cm, along)
    if out is not None:
        _draw_ceramics(result, out)
    if json_:
        output.emit_json(result)
        return
    output.show(result.text())


#: Farther from 25 °C the publication's conductivities are not drawn beside.
_NEAR_ROOM_K = 5.0


def _draw_ceramics(result: CeramicsResult, out: Path) -> None:
    """Every total with its interval; the publication's beside where the temperature is near its own."""
    from atomflow.cli.files import draw
    from atomflow.transport.arrhenius import ROOM_TEMPERATURE_K

    def paint(axis: Any) -> None:
        for place, row in enumerate(result.ceramics):
            total = row.total_S_per_cm
            if total.value is not None and total.low is not None and total.high is not None:
                axis.errorbar(total.value, place, xerr=[[total.value - total.low], [total.high - total.value]], fmt="o",
                              color="black", ms=4, capsize=2)
            elif total.high is not None:
                axis.plot(total.high, place, "<", color="black", ms=5)
        if abs(result.temperature_K - ROOM_TEMPERATURE_K) < _NEAR_ROOM_K:
            for key, colour, name in (("total_bare_S_per_cm", "#0072B2", "bare"),
                                      ("total_x0.2_S_per_cm", "#D55E00", "x = 0.2")):
                axis.axvline(result.publication[key], color=colour, lw=0.8, label=f"publication, 25 °C, {name}")
            axis.legend(frameon=False, fontsize=7)
        axis.set_yticks(range(len(result.ceramics)), [f"{row.grain} | {row.layer}" for row in result.ceramics])
        axis.set_xscale("log")
        axis.set_xlabel(f"total σ at {result.temperature_K:g} K / S cm⁻¹")

    draw(out, paint, (6.0, 1.2 + 0.35 * len(result.ceramics)))


def _layer(name: str, sigma: float | None, energy: float | None) -> Layer | None:
    from atomflow.impedance import Layer

    if sigma is None and energy is not None:
        raise InputError(f"the {name} has an activation energy but no conductivity: add --{name}-sigma")
    return None if sigma is None else Layer(sigma, energy)


def _write(curve: Spectrum, out: Path) -> None:
    from atomflow.cli.files import draw, write_csv

    real, minus = curve.impedance_ohm_cm2.real, -curve.impedance_ohm_cm2.imag
    if out.suffix == ".csv":
        write_csv(out, {"frequency_Hz": curve.frequency_Hz, "real_ohm_cm2": real, "minus_imaginary_ohm_cm2": minus})
        return

    def paint(axis: Any) -> None:
        axis.plot(real, minus, color="black", lw=1.0)
        for arc in sorted(curve.arcs, key=lambda arc: -arc.peak_Hz):
            top = sum(other.impedance_ohm_cm2(arc.peak_Hz) for other in curve.arcs)
            axis.plot(top.real, -top.imag, "o", ms=3.5,
                      label=f"{arc.name}: {arc.resistance_ohm_cm2:.3g} Ω cm², top at {arc.peak_Hz:.1e} Hz")
        axis.legend(frameon=False, fontsize=7, loc="upper left")
        axis.set(xlabel="Z′ / Ω cm²", ylabel="−Z″ / Ω cm²", xlim=(0, None))
        axis.set_ylim(0, 1.5 * minus.max())
        axis.set_aspect("equal")

    draw(out, paint)


def _text(result: dict[str, Any]) -> str:
    from atomflow.plain import table

    lines = [f"disc of {result['thickness_cm']:.4g} cm: R_b {result['R_b_ohm_cm2']:.4g}, "
             f"R_gb {result['R_gb_ohm_cm2']:.4g} Ω cm² (series brick layer)"]
    rows = [[name, f"{value:.3g}"] for name, value in result["conductivity_S_per_cm"].items()]
    lines.append(table(rows, ["model", "σ total, S/cm"]))
    rows = [[row.id, row.quantity, f"{row.printed:.4g}", "-" if row.ours is None else f"{row.ours:.4g}", row.unit,
             "-" if row.ratio is None else f"{row.ratio:.3g}", row.note] for row in result["paper"]]
    lines.append("\n" + table(rows, ["publication", "quantity", "printed", "here", "unit", "ratio", "note"]))
    needed = result["boundary_conductivity_for_printed_R_gb_S_per_cm"]
    if needed is not None:
        lines.append(f"the printed R_gb needs {needed:.2g} S/cm across the layers of this microstructure")
    return "\n".join(lines + [f"warning: {text}" for text in result["warnings"]])
