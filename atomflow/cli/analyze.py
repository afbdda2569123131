"""``atomflow analyze``: diffusivities, conductivity, activation energy of runs, campaigns, foreign trajectories."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from atomflow.cli.options import Json, names
from atomflow.errors import InputError
from atomflow.runs.chain import CHAIN

app = typer.Typer(rich_markup_mode=None, add_completion=False,
                  help="Diffusivities, conductivity and activation energy, with intervals.")


@app.command()
def analyze(
    where: Annotated[list[Path], typer.Argument(
        metavar="RUN...",
        help="A run folder, a folder of runs (campaign), or any trajectory file; several: seeds to be pooled.")],
    species: Annotated[str, typer.Option(help="Element that moves.")] = "Na",
    temperature: Annotated[float | None, typer.Option("--temperature", "-T", help="K, if the file lacks it.")] = None,
    frame_interval_fs: Annotated[float | None, typer.Option(help="Between frames, if the file lacks it.")] = None,
    discard_ps: Annotated[float, typer.Option(help="Time left out at the start of every run.")] = 0.0,
    memory_mb: Annotated[float, typer.Option(help="Working memory; longer trajectories are read in pieces.")] = 500.0,
    hop_length_a: Annotated[float, typer.Option(help="Length of one hop in Å.")] = 3.5,
    charge: Annotated[float, typer.Option(help="Charge of the ion in e, for the conductivity.")] = 1.0,
    framework: Annotated[str, typer.Option(help="What is at rest: auto, cell, none, or elements: Zr,P.")] = "auto",
    level: Annotated[float, typer.Option(help="Probability of the intervals.")] = 0.95,
    format: Annotated[str | None, typer.Option(help="File format in ASE's name, where it cannot be told.")] = None,
    elements: Annotated[str | None, typer.Option(help="Elements of LAMMPS types 1, 2, ..., like Na,Zr,O.")] = None,
    sites: Annotated[bool, typer.Option("--sites", help="Add occupancies and hops of the named sites.")] = False,
    van_hove: Annotated[bool, typer.Option("--van-hove", help="Add the self van Hove function.")] = False,
    by: Annotated[str | None, typer.Option("--by", help="region: resolve by the regions of the cell.")] = None,
    along: Annotated[str | None, typer.Option(
        help="With --by region: lattice vector across the planes, x, y or z (the default).")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="With --by region: profile, .csv or figure.")] = None,
    json_: Json = False,
) -> None:
    """Analyze a run, a folder of runs, or a trajectory of another program.

    \b
    Example:
      atomflow analyze runs/quickstart
      atomflow analyze RUN1 RUN2 --by region --along z -o profile.png
      atomflow analyze XDATCAR --species Na --temperature 1000 --frame-interval-fs 20 --json
    """
    from atomflow.cli import output
    from atomflow.cli.analyze_regions import check_by, show_region_campaign, show_regions
    from atomflow.runs.lammps import folder_of
    from atomflow.transport.campaign import analyze_campaign, find_runs

    check_by(by, along, out, sites or van_hove, framework)
    options = {"species": species, "discard_ps": discard_ps, "memory_MB": memory_mb, "level": level,
               "hop_length_A": hop_length_a, "charge_e": charge}
    for path in where:
        if not path.exists():
            raise InputError(f"there is no {path}; give a run folder, a folder of runs, or a trajectory file")
    folders = [path for path in where if path.is_dir() and folder_of(path) is None
               and not (path / CHAIN).is_file() and find_runs(path) != [path]]
    if folders:
        _check_folder(where, folders[0], sites or van_hove, out, temperature, frame_interval_fs)
        if by:
            show_region_campaign(folders[0], along or "z", json_, options)
            return
        result = analyze_campaign(folders[0], progress=output.say, framework=_framework(framework),
                                  **options)  # type: ignore[arg-type]
        if json_:
            output.emit_json(result)
        else:
            output.show(result.text())
        return
    from atomflow import runs

    opened = [runs.open_trajectory(path, frame_interval_fs, temperature, format,
                                   elements=names(elements) if elements else None) for path in where]
    if by:
        show_regions(opened, along or "z", out, json_, options)
        return
    _runs(opened, json_, sites, van_hove, {**options, "framework": _framework(framework)})


def _check_folder(where: list[Path], folder: Path, one_run: bool, out: Path | None, temperature: float | None,
                  frame_interval_fs: float | None) -> None:
    if len(where) > 1:
        raise InputError(f"{folder} is a folder of runs: analyze it by itself; several paths are seeds of one run")
    if one_run:
        raise InputError("--sites and --van-hove are for one run; name one of the folders in it")
    if out is not None:
        raise InputError("-o writes the profile of one group of seeds; name its run folders")
    if temperature is not None or frame_interval_fs is not None:
        raise InputError("--temperature and --frame-interval-fs are for foreign trajectories, not a folder of runs")


def _runs(opened: list[Any], json_: bool, sites: bool, van_hove: bool, options: dict[str, Any]) -> None:
    from atomflow import transport
    from atomflow.cli import output

    if len(opened) > 1 and (sites or van_hove):
        raise InputError("--sites and --van-hove are for one run; name one")
    result = transport.analyze(opened, **options)
    trajectory = opened[0]
    extra: dict[str, Any] = {}
    if sites:
        from atomflow.transport.sites import site_statistics

        extra["sites"] = site_statistics(trajectory, options["species"], options["discard_ps"],
                                         options["framework"], options["memory_MB"])
    if van_hove:
        from atomflow.transport.van_hove import van_hove_self

        extra["van_hove"] = van_hove_self(trajectory, options["species"], discard_ps=options["discard_ps"],
                                          framework=options["framework"], memory_MB=options["memory_MB"])
    if json_:
        output.emit_json({**result.to_json(), **{name: item.to_json() for name, item in extra.items()}})
        return
    output.show(result.text())
    for item in extra.values():
        output.show("\n" + item.text())


def _framework(text: str) -> str | list[str]:
    return text if text in ("auto", "cell", "none") else names(text)
