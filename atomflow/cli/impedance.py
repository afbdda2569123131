"""``atomflow impedance``: grain, boundary and film conductivities to R_b, R_gb and a Nyquist plot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atomflow.errors import InputError

if TYPE_CHECKING:
    from atomflow.impedance import Layer, Spectrum

app = typer.Typer(rich_markup_mode=None, add_completion=False,
                  help="Cell resistance and Nyquist plot from grain, boundary and film conductivities.")


@app.command()
def impedance(
    grain_sigma: Annotated[float, typer.Option(help="Conductivity of the grain, S/cm.")],
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
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Turn conductivities of atoms' models into the resistances of a disc, beside the publication's.

    \b
    Example:
      atomflow impedance --grain-sigma 9.1e-4 --boundary-sigma 2e-6 --grain-size-um 1 --boundary-nm 1.6 -o nyquist.png
    """
    from atomflow.cli import output
    from atomflow.cli.files import check_ending
    from atomflow.impedance import Layer, Microstructure, beside_paper, spectrum
    from atomflow.impedance.beside_paper import default_thickness_cm, needed_boundary_S_per_cm

    if out is not None:
        check_ending(out)
    ceramic = Microstructure(
        Layer(grain_sigma, grain_ea), _layer("boundary", boundary_sigma, boundary_ea),
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
