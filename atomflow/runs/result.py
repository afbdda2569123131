"""What a run gives back: its manifest, with a folder, that prints in a few lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from atomflow.plain import Shown, named, with_error
from atomflow.runs.means import is_held
from atomflow.runs.reader import Run, open_run

#: Warnings that are shown; the others stand in the manifest.
_SHOWN_WARNINGS = 3


class Manifest(Shown, dict[str, Any]):
    """A manifest as it stands in its folder's JSON file: a dict, and what every such dict is asked for.

    Attributes:
        folder: where it lies, and everything else of it.
    """

    def __init__(self, data: dict[str, Any], folder: str | Path) -> None:
        super().__init__(data)
        self.folder = Path(folder)

    @property
    def state(self) -> str:
        """As in the file: ``done``, ``stopped``, ..."""
        state: str = self["state"]
        return state

    @property
    def summary(self) -> dict[str, Any]:
        """What was found: means, errors, drifts; empty before the end."""
        return self["summary"]

    @property
    def warnings(self) -> list[str]:
        return self["warnings"]

    def __fspath__(self) -> str:
        """The folder: a result goes wherever a path to one does."""
        return str(self.folder)

    def to_json(self) -> dict[str, Any]:
        return dict(self)

    def lines(self) -> list[str]:
        """For people, without the warnings."""
        raise NotImplementedError

    def text(self) -> str:
        """For people, with the folder and what was warned of."""
        more = len(self.warnings) - _SHOWN_WARNINGS
        return "\n".join([*self.lines(), f"folder: {self.folder}",
                          *(f"warning: {text}" for text in self.warnings[:_SHOWN_WARNINGS]),
                          *([f"and {more} more warnings, in ['warnings']"] if more > 0 else [])])


class RunResult(Manifest):
    """The manifest (run.json) of a run of molecular dynamics."""

    def open(self) -> Run:
        """The run with its frames, as :func:`atomflow.runs.open_run` gives it."""
        return open_run(self.folder)

    def lines(self) -> list[str]:
        """As ``atomflow md`` prints it: what it is, means with their standard errors, drift, doubt, speed."""
        summary, config = self.summary, self["config"]
        to = "" if is_held(config) else f" to {config['temperature_end_K']:g}"
        lines = [f"{self.state}: {self['progress']['frames']} frames, {config['time_ps']:g} ps of "
                 f"{self['cell']['formula']} at {config['temperature_K']:g}{to} K with {named(self['potential'])}"]
        lines += _means(summary)
        if summary.get("energy_drift_meV_per_atom_per_ps") is not None:
            lines.append(f"energy drift: {summary['energy_drift_meV_per_atom_per_ps']:+.4f} meV/atom/ps")
        if summary.get("doubt_looks"):
            lines.append(f"committee's force spread: {summary['force_spread_mean_eV_per_A']:.3f} eV/Å mean, "
                         f"{summary['force_spread_max_eV_per_A']:.3f} eV/Å largest, of {summary['doubt_looks']} looks")
        if summary.get("ns_per_day") is not None:
            lines.append(f"speed: {summary['steps_per_s']:.2f} steps/s, {summary['ns_per_day']:.3g} ns/day")
        return lines


def _means(summary: dict[str, Any]) -> list[str]:
    """Means over production with their standard errors, a line each."""
    lines = []
    for label, name, unit in (("temperature", "temperature", "K"), ("potential energy", "potential_energy", "eV"),
                              ("volume", "volume", "Å³"), ("pressure", "pressure", "GPa")):
        mean, error, scatter = (summary.get(f"{name}_{what}_{unit.replace('Å³', 'A3')}")
                                for what in ("mean", "error", "std"))
        if mean is None:
            continue
        instants = "" if scatter is None else f"; instants scatter by {scatter:.3g} {unit}"
        lines.append(f"{label}: {with_error(mean, error)} {unit}{instants}")
    if any(" ± " in line for line in lines):
        lines.append("± is one standard error of the mean, over blocks and with the memory of the thermostat")
    return lines
