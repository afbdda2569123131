"""Gather what a report shows. Whatever is missing or broken becomes a sentence in ``problems``, never an exception.

Reads the campaign's or the run's manifests and thermo traces, and asks :mod:`atomflow.transport` and
:mod:`atomflow.compare` for the numbers. Nothing is computed here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from atomflow.errors import AtomflowError, InputError

#: Where the paper measured, and where lines are extrapolated to.
ROOM_TEMPERATURE_K = 298.15


@dataclass(frozen=True)
class RunRecord:
    """One run folder: its manifest, its thermo trace, and what kept it from being read, if anything did."""

    name: str
    folder: Path
    manifest: dict[str, Any] = field(default_factory=dict)
    thermo: dict[str, np.ndarray] = field(default_factory=dict)
    state: str = "unreadable"
    problem: str | None = None

    @property
    def structure(self) -> str:
        return str((self.manifest.get("labels") or {}).get("structure") or "unnamed")

    @property
    def target_K(self) -> float | None:
        value = (self.manifest.get("config") or {}).get("temperature_K")
        return float(value) if isinstance(value, (int, float)) else None

    @property
    def n_atoms(self) -> int:
        return int((self.manifest.get("cell") or {}).get("n_atoms") or 0)


@dataclass(frozen=True)
class ReportData:
    """Everything the page is made of.

    Attributes:
        kind: ``campaign`` or ``run``.
        result: a campaign result's JSON; of a single run, one group and no Arrhenius line.
        comparison: the comparison's JSON, ``None`` when there is none.
        paper_points: the paper's Nernst–Einstein diffusivities for the Arrhenius figure.
        problems: what could not be read or computed, in words.
    """

    folder: Path
    kind: str
    name: str
    campaign: dict[str, Any]
    result: dict[str, Any]
    comparison: dict[str, Any] | None
    paper_points: list[dict[str, Any]]
    runs: list[RunRecord]
    problems: list[str]

    @property
    def waiting(self) -> list[str]:
        """Tasks of the campaign that have no run folder yet."""
        tasks = self.campaign.get("tasks")
        ids = [str(task["id"]) for task in tasks if "id" in task] if isinstance(tasks, list) else []
        begun = {run.name for run in self.runs}
        return [name for name in ids if name not in begun]

    @property
    def structures(self) -> list[str]:
        """Structures in the order of the results, then those that only appear among the runs."""
        names = [group["structure"] for group in self.result.get("groups", [])]
        return list(dict.fromkeys([*names, *(run.structure for run in self.runs if run.manifest)]))


def collect(folder: str | Path) -> ReportData:
    """Read ``folder`` as a campaign, a run, or a folder of runs.

    Raises:
        InputError: it is none of these.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; give a campaign folder or a run folder")
    single = (folder / "run.json").is_file()
    folders = [folder] if single else find_runs(folder)
    if not folders and not (folder / "campaign.json").is_file():
        raise InputError(f"{folder} holds no campaign and no run (no campaign.json, no run.json in it or below it)")
    problems: list[str] = []
    campaign = _read_json(folder / "campaign.json", problems)
    runs = [_read_run(path, folder) for path in folders]
    problems += [f"run {run.name}: {run.problem}" for run in runs if run.problem]
    result = _run_result(folder, runs[0], problems) if single else _campaign_result(folder, problems)
    name = str(result.get("name") or campaign.get("name") or folder.resolve().name)
    points = _paper_points(problems)
    return ReportData(
        folder,
        "run" if single else "campaign",
        name,
        campaign,
        result,
        _comparison(result, problems),
        points,
        runs,
        problems,
    )


def find_runs(folder: Path) -> list[Path]:
    """Run folders of a campaign (``runs/*``) or straight below ``folder``, by name."""
    return sorted({path.parent for pattern in ("runs/*/run.json", "*/run.json") for path in folder.glob(pattern)})


def _read_json(path: Path, problems: list[str]) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        problems.append(f"{path.name} cannot be read ({type(error).__name__})")
        return {}
    return data if isinstance(data, dict) else {}


def _read_run(path: Path, base: Path) -> RunRecord:
    """A record of the run; its manifest alone when the trajectory or the trace cannot be read."""
    name = path.name if path != base else path.resolve().name
    problems: list[str] = []
    manifest = _read_json(path / "run.json", problems)
    if problems:
        return RunRecord(name, path, problem=problems[0])
    state = str(manifest.get("state") or "unreadable")
    try:
        from atomflow import runs

        with runs.open_run(path) as run:
            thermo = {key: np.asarray(value, dtype=float) for key, value in run.thermo().items()}
            return RunRecord(name, path, manifest, thermo, run.state)
    except (AtomflowError, OSError, KeyError, ValueError) as error:
        return RunRecord(name, path, manifest, state=state, problem=_line(error))


def _campaign_result(folder: Path, problems: list[str]) -> dict[str, Any]:
    from atomflow import transport
    from atomflow.plain import to_jsonable

    try:
        result = transport.analyze_campaign(folder)
        data = dict(to_jsonable(result))
        for fit, arrhenius in zip(data["arrhenius"], result.arrhenius, strict=True):
            fit["band"] = _band(arrhenius.line, fit["used"])
        return data
    except (AtomflowError, OSError, ValueError, KeyError) as error:
        problems.append(f"no transport numbers: {_line(error)}")
        return {}


def _band(line: Any, used_K: list[float], points: int = 25) -> list[dict[str, Any]]:
    """The fitted line with its interval from the hottest temperature down to 298 K, even steps in 1/T."""
    from atomflow.plain import to_jsonable

    if not used_K or line.activation_energy_eV.value is None:
        return []
    inverse = np.linspace(1.0 / max(used_K), 1.0 / min(ROOM_TEMPERATURE_K, *used_K), points)
    return [{"temperature_K": float(1 / x), **to_jsonable(line.at(float(1 / x)))} for x in inverse]


def _run_result(folder: Path, run: RunRecord, problems: list[str]) -> dict[str, Any]:
    """A single run in the shape of a campaign: one group, no Arrhenius line."""
    from atomflow import transport
    from atomflow.plain import to_jsonable

    try:
        group = dict(to_jsonable(transport.analyze(folder)))
    except (AtomflowError, OSError, ValueError, KeyError) as error:
        problems.append(f"no transport numbers: {_line(error)}")
        return {}
    group["structure"] = run.structure
    return {"kind": "campaign", "name": run.name, "groups": [group], "arrhenius": [], "excluded": [], "warnings": []}


def _comparison(result: dict[str, Any], problems: list[str]) -> dict[str, Any] | None:
    """Our numbers beside the paper's; the paper's stand there even when we have none."""
    from atomflow import compare
    from atomflow.plain import to_jsonable

    empty = {"kind": "campaign", "name": "", "groups": [], "arrhenius": [], "excluded": [], "warnings": []}
    try:
        return dict(to_jsonable(compare.compare({**empty, **result})))
    except (AtomflowError, ValueError, KeyError) as error:
        problems.append(f"no comparison with the paper: {_line(error)}")
        return None


def _paper_points(problems: list[str]) -> list[dict[str, Any]]:
    """The paper's total conductivities at 25 °C, every sample, as charge diffusivities."""
    from atomflow import paper

    try:
        found = [value for name, value in paper.derived().items() if name.startswith("d.Dsig_x")]
        return [
            {"label": item.quantity, "temperature_K": ROOM_TEMPERATURE_K, "diffusivity_cm2_per_s": item.value}
            for item in found
            if item.value
        ]
    except (AtomflowError, AttributeError) as error:
        problems.append(f"the paper's values cannot be read: {_line(error)}")
        return []


def _line(error: Exception) -> str:
    """The error in one line; the names of those that were not raised on purpose are shown."""
    message = " ".join(str(error).split())
    if isinstance(error, AtomflowError):
        return message
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
