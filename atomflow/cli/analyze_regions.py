"""``atomflow analyze --by region``: the numbers of each region, and the profile across them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atomflow.errors import InputError, nearest

if TYPE_CHECKING:
    from atomflow.transport.region_profile import Profile


def check_by(by: str | None, along: str | None, out: Path | None, others: bool, framework: str) -> None:
    """Refuse what does not go together, before anything is read."""
    from atomflow.cli.files import check_ending

    if by is None:
        if out is not None:
            raise InputError("-o writes the profile of --by region; add it, or leave -o away")
        if along is not None:
            raise InputError("--along goes with --by region; add it, or leave --along away")
        return
    if by != "region":
        raise InputError(f"a run is not resolved by {by}{nearest(by, ['region']) or '; only by region'}")
    if others:
        raise InputError("--sites and --van-hove do not go with --by region; run analyze twice")
    if framework != "auto":
        raise InputError("with --by region every region has its own framework: leave --framework away")
    if out is not None:
        check_ending(out)


def show_regions(opened: list[Any], along: str, out: Path | None, json_: bool, options: dict[str, Any]) -> None:
    """Resolve seeds of one run by region and print it; the profile goes to ``out``."""
    from atomflow.cli import output
    from atomflow.transport.regions import analyze_regions

    result = analyze_regions(opened, along=along, **options)
    if out is not None:
        _write(result.profile, out)
    if json_:
        output.emit_json(result)
        return
    output.show(result.text())


def show_region_campaign(folder: Path, along: str, json_: bool, options: dict[str, Any]) -> None:
    """Resolve a folder of runs by region and print it."""
    from atomflow.cli import output
    from atomflow.transport.region_campaign import analyze_region_campaign

    result = analyze_region_campaign(folder, along=along, progress=output.say, **options)
    if json_:
        output.emit_json(result)
        return
    output.show(result.text())


def _write(profile: Profile, out: Path) -> None:
    from atomflow.cli.files import draw, write_csv

    if out.suffix == ".csv":
        write_csv(out, {name: getattr(profile, name) for name in (
            "place_A", "density_per_A3", "density_error", "diffusivity_cm2_per_s", "diffusivity_error",
            "resolution_A")})
        return

    def paint(axis: Any) -> None:
        half = 0.5 * (profile.place_A[1] - profile.place_A[0])
        edges = [0, *(k for k in range(1, len(profile.region)) if profile.region[k] != profile.region[k - 1]),
                 len(profile.region)]
        for first, last in pairwise(edges):
            axis.axvline(profile.place_A[first] - half, color="0.8", lw=0.6)
            axis.text(profile.place_A[first:last].mean(), 1.01, profile.region[first], ha="center", va="bottom",
                      fontsize=7, transform=axis.get_xaxis_transform())
        axis.errorbar(profile.place_A, profile.density_per_A3, 2 * profile.density_error, fmt="-", color="#0072B2",
                      lw=0.9)
        axis.set_xlabel("place across the boundary / Å")
        axis.set_ylabel("ions per Å³", color="#0072B2")
        other = axis.twinx()
        other.errorbar(profile.place_A, profile.diffusivity_cm2_per_s, 2 * profile.diffusivity_error, fmt=".",
                       color="#D55E00", ms=3, lw=0.7)
        other.set_ylabel("D in the plane / cm² s⁻¹", color="#D55E00")

    draw(out, paint)
