"""All sections of a card: which there are, what they will cost, measuring one by one, each kept when done."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from atomflow.distill.card_checks import (
    boundary,
    close,
    dft,
    diffusion,
    doubt,
    drift,
    energies,
    eos,
    hops,
    lattice,
    order,
    phonons,
    speed,
    stability,
)
from atomflow.distill.card_checks.kept import Kept, TeacherSilent
from atomflow.distill.card_checks.section import Context, Section
from atomflow.distill.sides import task
from atomflow.errors import AtomflowError, InputError, RunStopped, nearest
from atomflow.plain import to_jsonable

#: In the order of the card; each module has TITLE, work(context) and run(context).
CHECKS: dict[str, ModuleType] = {
    "lattice": lattice,
    "energies": energies,
    "eos": eos,
    "phonons": phonons,
    "hops": hops,
    "boundary": boundary,
    "dft": dft,
    "drift": drift,
    "close": close,
    "order": order,
    "diffusion": diffusion,
    "stability": stability,
    "doubt": doubt,
    "speed": speed,
}
#: Sections that follow from the model alone in minutes; the others run dynamics or ask the teacher at length.
QUICK = ("lattice", "energies", "boundary", "dft", "drift", "close", "doubt", "speed")
#: CHGNet on one CPU thread, seconds an atom and step, before it was timed here.
CHGNET_S_PER_ATOM = 1.2e-3


@dataclass(frozen=True)
class Price:
    """Seconds that each check will take, as far as can be told beforehand."""

    seconds: dict[str, float]

    @property
    def total_s(self) -> float:
        return sum(self.seconds.values())


def choose(text: str) -> tuple[str, ...]:
    """Names of checks from ``all``, ``quick``, ``none`` or a comma-separated list; unknown ones are an error."""
    words = {"all": tuple(CHECKS), "quick": QUICK, "none": ()}
    if text in words:
        return words[text]
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in CHECKS:
            raise InputError(
                f"there is no check '{name}'{nearest(name, set(CHECKS))}; there are {', '.join(CHECKS)}, all, quick, "
                "none"
            )
    return tuple(name for name in CHECKS if name in names)


def price(context: Context, names: Sequence[str]) -> Price:
    """Time both sides on one 40-atom cell, then count what each check not yet kept will ask of them."""
    todo = [name for name in names if kept_section(path_of(context, name)) is None]
    costs = {name: CHECKS[name].work(context) for name in todo}
    own = _seconds_per_atom(context, context.student) if todo else 0.0
    told = 0.0
    if context.teacher and not isinstance(context.teacher, Kept) and any(cost.teacher for cost in costs.values()):
        told = _seconds_per_atom(context, context.teacher)
    return Price(
        {
            name: min(cost.student * own + cost.teacher * told + cost.chgnet * CHGNET_S_PER_ATOM, cost.at_most_s)
            for name, cost in costs.items()
        }
    )


def _seconds_per_atom(context: Context, side: Any) -> float:
    from atomflow.distill.card_checks.crystal import NZSP, primitive

    cell = primitive(NZSP).cell
    shifted = [cell.with_(positions_A=cell.positions_A + 0.1 * number) for number in range(4)]  # each is evaluated anew
    [found] = side.perform([task("single", shifted)], context.say)
    return float(found["seconds_per_atom"])


def measure(context: Context, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Every check's section as JSON; those kept are read, a check that fails says why in one line and the rest goes on.

    Raises:
        RunStopped: a signal stopped a run; call again to go on.
    """
    sections = {}
    for name in names:
        path = path_of(context, name)
        if kept_section(path) is None:
            context.say(f"{name}: {CHECKS[name].TITLE}")
            begun = time.monotonic()
            try:
                section = _run(context, name)
            except RunStopped:
                raise
            except (AtomflowError, ValueError, np.linalg.LinAlgError) as error:
                context.say(f"{name}: not measured: {error}")
                sections[name] = _record(context, name, Section(missing=[f"not measured: {error}"]), 0.0)
                continue
            _keep(path, _record(context, name, section, time.monotonic() - begun))
        sections[name] = json.loads(path.read_text())
    return sections


def _run(context: Context, name: str) -> Section:
    """The section; without the teacher, and to be finished, where only its kept answers are used and one is missing."""
    try:
        return CHECKS[name].run(context)  # type: ignore[no-any-return]
    except TeacherSilent as error:
        context.say(f"{name}: {error}")
        section: Section = CHECKS[name].run(replace(context, teacher=None, no_teacher=str(error)))
        section.unfinished = True
        return section


def kept_section(path: Path) -> dict[str, Any] | None:
    """The section in this file; None where there is none, or where more of it is to be measured."""
    if not path.exists():
        return None
    record: dict[str, Any] = json.loads(path.read_text())
    return None if record["section"].get("unfinished") else record


def others(context: Context, present: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The newest kept section, of any model, for each check that was not measured now; each names its own model."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((context.folder / "sections").glob("*.json"), key=lambda path: path.stat().st_mtime):
        record = json.loads(path.read_text())
        if record["check"] not in present and record["check"] in CHECKS:
            own = record["model"]["sha256"] == context.potential.identity.sha256
            kept = found.get(record["check"])
            if own or kept is None or kept["model"]["sha256"] != context.potential.identity.sha256:
                found[record["check"]] = record
    return {name: found[name] for name in CHECKS if name in found}


def path_of(context: Context, name: str) -> Path:
    """Where a section is kept: named by check, model, teacher, settings and what else it was given."""
    given = [context.teacher.name if context.teacher else "", context.settings.model_dump_json(), name]
    if name == "boundary" and context.boundary_energies is not None and context.boundary_energies.is_file():
        given.append(context.boundary_energies.read_text())
    if name == "dft" and context.dft_points is not None:
        given += [file.read_text() for file in sorted(context.dft_points.glob("**/*.json"))]
    if name in ("doubt", "close"):
        given.append(f"{len(context.frames)} {context.potential.identity.committee}")
    digest = hashlib.sha256("\n".join(given).encode()).hexdigest()[:8]
    return context.folder / "sections" / f"{name}-{context.potential.identity.sha256[:12]}-{digest}.json"


def _record(context: Context, name: str, section: Section, seconds: float) -> dict[str, Any]:
    identity = context.potential.identity
    return {
        "check": name,
        "title": CHECKS[name].TITLE,
        "model": {"name": identity.name, "sha256": identity.sha256},
        "teacher": context.teacher.name if context.teacher else None,
        "seconds": seconds,
        "measured": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "settings": context.settings.model_dump(mode="json"),
        "section": to_jsonable(section),
    }


def _keep(path: Path, record: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(record, allow_nan=False))
    os.replace(partial, path)
