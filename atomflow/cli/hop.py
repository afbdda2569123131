"""``atomflow hop``: the barrier and harmonic rate of one Na hop between named sites."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atomflow.cli.options import Device, Dtype, Json, Potential, Threads, Trust
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
    potential: Potential = None,
    vacancy: Annotated[bool, typer.Option("--vacancy", help="Take out the ion on the target site first.")] = False,
    rank: Annotated[int, typer.Option(help="0: the shortest such hop, 1: the next, ...")] = 0,
    length: Annotated[float | None, typer.Option(help="Å: --rank counts from the hop nearest to this long.")] = None,
    images: Annotated[int, typer.Option(help="Images between the ends.")] = 5,
    fmax: Annotated[float, typer.Option(help="Largest force left on the band, eV/Å.")] = 0.05,
    max_steps: Annotated[int, typer.Option(help="Steps at most, for each end and for the band.")] = 300,
    vibrating_a: Annotated[float, typer.Option(help="Atoms this near, Å, vibrate in ν*; 0: no rate.")] = 4.0,
    also: Annotated[list[Path] | None, typer.Option(
        help="Folder of another hop for the network of D; repeat for more.")] = None,
    beside: Annotated[Path | None, typer.Option(help="Campaign folder whose D stands beside the harmonic one.")] = None,
    barrier_error: Annotated[float, typer.Option(help="Standard error of a barrier, eV, for intervals of D.")] = 0.03,
    temperature: Annotated[list[float] | None, typer.Option("--temperature", "-T", help="K, repeat for more.")] = None,
    device: Device = "auto",
    dtype: Dtype = "float64",
    trust_model: Trust = False,
    threads: Threads = None,
    json_: Json = False,
) -> None:
    """Climbing nudged elastic band by ASE, Vineyard's attempt frequency, rate, and D on the network of such hops.

    A finished hop is read back from its folder, so that other temperatures or another campaign beside it cost nothing.

    \b
    Example:
      atomflow hop relaxed.extxyz -p atomflow-nzsp-0 --from mid --to Na2 --vacancy -o hop/
      atomflow hop relaxed.extxyz --from mid --to mid --vacancy --also hop/ --beside runs/bulk -o hop2/
    """
    from atomflow.cell import read_cell
    from atomflow.cli import output
    from atomflow.cli.files import make_folder
    from atomflow.cli.loading import load_potential, set_threads
    from atomflow.lattice.choice import check_kinds

    for name, value in (("--vibrating-a", vibrating_a), ("--barrier-error", barrier_error)):
        if not value >= 0:
            raise InputError(f"{name} must be zero or more, not {value:g}")
    relaxed = read_cell(cell)
    check_kinds(relaxed, start, end)
    make_folder(out)
    set_threads(threads)
    from atomflow import lattice
    from atomflow.lattice.kept import kept, question
    from atomflow.lattice.network import HopKind, network, read_hop

    others = [read_hop(place) for place in also or []]
    if beside is not None:
        _check_campaign(beside)

    chosen = load_potential(potential, device, dtype, trust_model)
    settings: dict[str, Any] = {"start": start, "end": end, "rank": rank, "length_A": length,
                                "n_images": images, "fmax_eV_per_A": fmax, "max_steps": max_steps,
                                "vibrating_A": vibrating_a or None, "vacancy": vacancy}  # fmt: skip
    asked, kelvins = question(relaxed, chosen, settings), tuple(temperature or (300.0, 600.0, 900.0))
    result = kept(out, asked, kelvins)
    if result is None:
        result = lattice.hop(relaxed, chosen, temperatures_K=kelvins, say=output.say, **settings)
    extra: dict[str, Any] = {"asked": asked, "network": None, "beside": None}
    _write(result, extra, out)  # the band is kept whatever comes after it
    if result.attempt_THz is not None:
        kinds = [HopKind.of(result.to_json()), *others]
        extra["network"] = network(relaxed, kinds, kelvins, barrier_error or None)
        if beside is not None:
            from atomflow.lattice.beside import beside as compare

            extra["beside"] = compare(relaxed, kinds, chosen.identity.name, beside, say=output.say,
                                      barrier_error_eV=barrier_error or None)
    _write(result, extra, out)
    if json_:
        output.emit_json({**result.to_json(), **extra})
        return
    parts = [result, extra["network"], extra["beside"]]
    output.show("\n\n".join(part.text() for part in parts if part is not None))


def _check_campaign(folder: Path) -> None:
    from atomflow.transport.campaign import find_runs

    if not folder.is_dir() or not find_runs(folder):
        raise InputError(f"--beside {folder}: no run is there; give the folder of a campaign")


def _write(result: HopResult, extra: dict[str, Any], out: Path) -> None:
    import ase.io

    from atomflow.cell import for_extxyz
    from atomflow.cli.files import draw, write_json

    write_json(out / "hop.json", {**result.to_json(), **extra})
    if result.images:
        ase.io.write(out / "path.extxyz", [for_extxyz(image) for image in result.images], format="extxyz")

    def paint(axis: Any) -> None:
        axis.plot(result.path_A, result.energy_eV, "o-", color="black", ms=4, lw=0.9)
        axis.set(xlabel=f"path of the ion from {result.names[0]} to {result.names[1]} / Å", ylabel="energy / eV")

    draw(out / "barrier.png", paint)

