"""``atomflow analyze``: diffusivities, conductivity, activation energy of runs, campaigns, foreign trajectories."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atomflow.cli.options import Json
from atomflow.errors import InputError

if TYPE_CHECKING:
    from atomflow.transport import CampaignResult, TransportResult

app = typer.Typer(rich_markup_mode=None, add_completion=False,
                  help="Diffusivities, conductivity and activation energy, with intervals.")


@app.command()
def analyze(
    where: Annotated[list[Path], typer.Argument(
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
    along: Annotated[str, typer.Option(help="With --by region: lattice vector across the planes, x, y or z.")] = "z",
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

    check_by(by, out, sites or van_hove, framework)
    options = {"species": species, "discard_ps": discard_ps, "memory_MB": memory_mb, "level": level,
               "hop_length_A": hop_length_a, "charge_e": charge}
    for path in where:
        if not path.exists():
            raise InputError(f"there is no {path}; give a run folder, a folder of runs, or a trajectory file")
    folders = [path for path in where if path.is_dir() and folder_of(path) is None and find_runs(path) != [path]]
    if folders:
        _check_folder(where, folders[0], sites or van_hove, out, temperature, frame_interval_fs)
        if by:
            show_region_campaign(folders[0], along, json_, options)
            return
        result = analyze_campaign(folders[0], progress=output.say, framework=_framework(framework),
                                  **options)  # type: ignore[arg-type]
        if json_:
            output.emit_json(result)
        else:
            output.show(campaign_text(result))
        return
    from atomflow import runs

    opened = [runs.open_trajectory(path, frame_interval_fs, temperature, format,
                                   elements=elements.split(",") if elements else None) for path in where]
    if by:
        show_regions(opened, along, out, json_, options)
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
    output.show(result_text(result))
    for item in extra.values():
        output.show("\n" + item.text())


def _framework(text: str) -> str | list[str]:
    return text if text in ("auto", "cell", "none") else text.split(",")


def result_text(result: TransportResult) -> str:
    """One run for people."""
    temperature = f"{result.temperature_K:.4g} K" if result.temperature_K else "unknown temperature"
    if result.temperature_mean_K:
        temperature += f" (measured {result.temperature_mean_K:.0f} K)"
    level = f"{100 * result.tracer_diffusivity_cm2_per_s.level:g} %"
    lines = [
        f"{result.n_ions} {result.species} at {temperature}; {result.n_runs} run(s), {result.total_time_ps:.4g} ps, "
        f"{result.n_frames} frames",
        f"verdict      {result.verdict}",
        f"fit window   {result.fit_window_reason}",
        f"reference    {result.reference}; it drifted {result.drift_A:.2g} Å",
        "",
        f"{'quantity':<32}value [{level} interval]",
        f"{'tracer diffusivity, cm²/s':<32}{result.tracer_diffusivity_cm2_per_s:.3g}",
        f"{'charge diffusivity, cm²/s':<32}{result.charge_diffusivity_cm2_per_s:.3g}",
        f"{'Haven ratio':<32}{result.haven_ratio:.2g}",
        f"{'conductivity, S/cm':<32}{result.conductivity_S_per_cm:.3g}",
        f"{'  Nernst-Einstein, S/cm':<32}{result.nernst_einstein_conductivity_S_per_cm:.3g}",
        *(f"{f'  tracer along {axis}, cm²/s':<32}{estimate:.3g}" for axis, estimate in result.directions.items()),
    ]
    return "\n".join(lines + [f"warning: {text}" for text in result.warnings])


def campaign_text(result: CampaignResult) -> str:
    """A campaign for people: a table of groups, the lines, what was left out."""
    from atomflow.plain import table

    rows = []
    for group in result.groups:
        one = group.result
        rows.append([group.structure, f"{one.temperature_K or 0:g}", str(one.n_runs), f"{one.total_time_ps:.3g}",
                     f"{one.tracer_diffusivity_cm2_per_s:.2g}", f"{one.conductivity_S_per_cm:.2g}",
                     f"{one.haven_ratio:.2g}", f"{one.fit_window_ps[0]:.2g}-{one.fit_window_ps[1]:.3g}"])
    header = ["structure", "T/K", "runs", "ps", "tracer D, cm²/s", "σ, S/cm", "Haven ratio", "window/ps"]
    lines = [f"campaign {result.name}", table(rows, header) if rows else "no group could be analyzed"]
    lines += _replica_text(result)
    for line in result.arrhenius:
        lines += [
            "",
            f"{line.structure}: Ea {line.line.activation_energy_eV:.3f} eV from ln D; "
            f"{line.sigma_line.activation_energy_eV:.3f} eV from ln σT",
            f"  D at 298.15 K: {line.extrapolation:.2g} cm²/s, {line.distance}",
        ]
        if line.kink:
            lines.append(f"  kink at {line.kink.temperature_K:.0f} K: p = {line.kink.p_value:.2g}"
                         f" ({'two branches' if line.kink.significant else 'one line is enough'})")
        lines += [f"  note: {text}" for text in line.warnings]
    notes = {text: group for group in result.groups for text in group.result.warnings}
    lines += [f"warning ({group.structure}, {group.result.temperature_K:g} K): {text}" for text, group in notes.items()]
    lines += [f"left out: {item['run']}: {item['reason']}" for item in result.excluded]
    return "\n".join(lines + [f"warning: {text}" for text in result.warnings])


def _replica_text(result: CampaignResult) -> list[str]:
    """Sets of replicas, each as one structure."""
    from math import exp

    from atomflow.plain import table

    if not result.replicas:
        return []
    rows = [[one.name, f"{one.temperature_K:.0f}", ", ".join(one.structures), f"{one.tracer_diffusivity_cm2_per_s:.2g}",
             "-" if one.between is None else f"× {exp(one.between):.2g}"] for one in result.replicas]
    lines = ["", "replicas (structures that differ in nothing but seeds) as one",
             table(rows, ["set", "T/K", "replicas", "tracer D, cm²/s", "scatter between them"])]
    return lines + [f"{name}: Ea {line.activation_energy_eV:.3f} eV from ln D"
                    for name, line in result.replica_lines.items()]
