"""The students of a loop of active learning: where the first committee comes from, and how the others are trained.

The first may be a shipped student: its files are copied into ``first/``, so that a later version of the package does
not change a loop that is on its way. Members that it does not bring along begin with nothing and may be small, since
they only have to doubt. Every committee is a folder ``member-1/``, ``member-2/``, ... with ``committee.json`` beside
them, written last.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from atomflow.distill import train as training
from atomflow.distill.active_config import ActiveConfig, ActiveStudent, Further
from atomflow.distill.active_stages import some_of, write_json
from atomflow.distill.beginnings import portable_student, read_json, shape_of_portable, zero_of_energy_eV
from atomflow.distill.config import StudentConfig
from atomflow.errors import InputError, RunStopped

Say = Callable[[str], None]

#: what of a student's configuration its weights decide
SHAPE = ("elements", "channels", "message_degree", "max_ell", "correlation", "layers", "cutoff_A", "average_neighbours")
#: a member that only doubts and begins with nothing, where the configuration says nothing else
SMALL = {"channels": 32, "max_ell": 1, "correlation": 2}


def first_committee(config: ActiveConfig, folder: Path, say: Say) -> Path:
    """The folder of the committee that the first round begins with; made in ``folder/first`` where it must be.

    Raises:
        InputError: there is nothing to train the missing members on.
    """
    from atomflow.potentials.committee import COMMITTEE_FILE

    home = folder / "first"
    if (home / COMMITTEE_FILE).exists():
        return home
    if config.start_from is None:
        members = [_from_nothing(config, member, {}) for member in range(1, config.student.committee + 1)]
        return train_committee(members, home, config.labelled, say)
    start = Path(config.start_from)
    if (start / COMMITTEE_FILE).exists() and (start / "member-1" / "checkpoints").is_dir():
        return start
    return _brought_along(config, home, say)


def check_start(config: ActiveConfig) -> None:
    """:class:`InputError` where ``start_from`` is no student that ``config.student`` can go on from."""
    start = Path(str(config.start_from))
    if (start / "member-1" / "checkpoints").is_dir():
        beginning = _beginning(start, 1)
        member = _member(config.student, 1, beginning)
        asked = member.model_dump(mode="json")
        for key in SHAPE:
            if asked[key] != beginning[key]:
                raise InputError(f"start_from: {key} is {beginning[key]} in {start}, {asked[key]} in student; leave it "
                                 "out there")
        return _enough(config, sorted(start.glob("member-*")))
    leader, *others = files_of(str(config.start_from))
    if others:
        _enough(config, [leader, *others])
    zero_of_energy_eV(_member(config.student, 1, {"grow_from": str(leader), **shape_of_portable(leader)}), [])


def _brought_along(config: ActiveConfig, home: Path, say: Say) -> Path:
    """``home`` with copies of a student's portable files, and the members that it does not bring along."""
    from atomflow.potentials.committee import write_committee

    leader, *others = files_of(str(config.start_from))
    home.mkdir(parents=True, exist_ok=True)
    names = [leader.name, *(other.name for other in others[: config.student.committee - 1])]
    for file in (leader, *others[: config.student.committee - 1]):
        shutil.copyfile(file, home / file.name)
    if not others:
        if not config.labelled:
            raise InputError(f"start_from: {config.start_from} brings no committee, and without labelled there is "
                             "nothing to train one on")
        shape = shape_of_portable(leader)
        further = config.student.further or Further()
        old = some_of(config.labelled, further.first_frames, [config.seed], home / "old.npz")
        for number in range(2, config.student.committee + 1):
            member = _from_nothing(config, number, shape).model_copy(update={"labelled": tuple(old)})
            names.append(_trained(member, home, number, config.student.committee, say).name)
    write_committee(home, names[0], names[1:])
    return home


def _enough(config: ActiveConfig, members: Sequence[Path]) -> None:
    if len(members) < config.student.committee:
        raise InputError(f"start_from: {config.start_from} is a committee of {len(members)}; student.committee asks "
                         f"for {config.student.committee}")


def files_of(start: str) -> list[Path]:
    """The portable files of a student: its own first, then those of its committee, if it has one.

    Args:
        start: a shipped name, a ``.mace.npz`` file, or a folder with ``committee.json`` or with one such file.
    """
    from atomflow.potentials import registry
    from atomflow.potentials.committee import COMMITTEE_FILE

    folder = Path(start).expanduser()
    known = registry.entries().get(start)
    if known is not None and known.shipped:
        return [known.shipped, *(known.shipped.with_name(member.file) for member in known.committee)]
    if not folder.is_dir():
        return [portable_student(start, "start_from")]
    if (folder / COMMITTEE_FILE).exists():
        data = read_json(folder / COMMITTEE_FILE)
        return [folder / each["file"] for each in (data["leader"], *data["members"])]
    files = sorted(folder.glob("*.mace.npz"))
    if len(files) != 1:
        raise InputError(f"start_from: {folder} is not the folder of a trained student (no {COMMITTEE_FILE}, and "
                         f"{len(files) or 'no'} .mace.npz files)")
    return files


def next_committee(
    config: ActiveConfig, number: int, labelled: Sequence[str], before: Path, members: int
) -> list[StudentConfig]:
    """The trainings of round ``number``, each going on from the same member of the committee in ``before``."""
    return [_member(config.student, member, _beginning(before, member), labelled=tuple(labelled),
                    seed=config.student.seed + 100 * number + member - 1)
            for member in range(1, members + 1)]


def _beginning(before: Path, member: int) -> dict[str, Any]:
    """Weights and shape that a member goes on with: of its training, optimiser included, or of a portable file."""
    own = before / f"member-{member}"
    if (own / "checkpoints").is_dir():
        earlier = read_json(own / "student.json")
        return {"start_from": str(own), **{key: earlier[key] for key in SHAPE}}
    file = files_of(str(before))[member - 1]
    return {"grow_from": str(file), **shape_of_portable(file)}


def _from_nothing(config: ActiveConfig, member: int, shape: dict[str, Any]) -> StudentConfig:
    """The training of a member that begins with nothing, on ``labelled`` alone.

    Args:
        shape: that of the student whose doubt it joins; it is smaller itself. Empty where that begins with nothing too.
    """
    student, further = config.student, config.student.further or Further()
    own: dict[str, Any] = {"epochs": student.first_epochs or student.epochs}
    if shape or (member > 1 and student.further is not None):
        own = {"epochs": further.first_epochs, "learning_rate": further.first_learning_rate}
        shape = {**shape, **SMALL}
    return _member(student, member, shape, labelled=config.labelled, seed=student.seed + member - 1, **own)


def _member(student: ActiveStudent, member: int, beginning: dict[str, Any], **settings: Any) -> StudentConfig:
    """A member's training: the student's, with the shape of its beginning unless another one is asked for."""
    plain = student.model_dump(exclude={"further", "first_epochs"})
    given = {key: plain[key] for key in SHAPE if key in student.model_fields_set}
    if member > 1 and student.further is not None:
        asked = student.further.model_dump(include={"channels", "max_ell", "correlation", "epochs"}, exclude_none=True)
        given = {**{key: value for key, value in given.items() if key not in SMALL}, **asked}
    name = student.name if member == 1 else f"{student.name}-{member}"
    return StudentConfig.model_validate({**plain, **beginning, **given, **settings, "name": name, "committee": 1})


def train_committee(members: Sequence[StudentConfig], home: Path, judged_on: Sequence[str], say: Say) -> Path:
    """Train the members one after another into ``home``, unless they are there whole; the folder.

    Args:
        judged_on: labelled sets that ``atomflow potential card`` is to take the held-out frames from.
    """
    from atomflow.potentials.committee import COMMITTEE_FILE, write_committee

    if (home / COMMITTEE_FILE).exists():
        return home
    names = [_trained(member, home, number, len(members), say).name for number, member in enumerate(members, start=1)]
    for name in ("set.json", "reference_energies.json"):
        shutil.copyfile(home / "member-1" / name, home / name)
    own = members[0].model_dump(mode="json")
    write_json(home / "student.json", {**own, "labelled": list(judged_on), "committee": len(members)})
    write_committee(home, names[0], names[1:])
    return home


def _trained(member: StudentConfig, home: Path, number: int, members: int, say: Say) -> Path:
    """The portable file of one member in ``home``, trained now unless it is."""
    own = home / f"member-{number}"
    own.mkdir(parents=True, exist_ok=True)
    end_left_over(own, say)

    def show(state: training.TrainProgress) -> None:
        say(f"training member {number} of {members} ({member.channels} channels), epoch {state.epoch}/{state.epochs}: "
            f"force {state.force_meV_per_A:.0f} meV/Å (validation), {state.seconds_left / 60:.1f} min left for it")

    try:
        training.train(member, own, show)
    except RunStopped:
        raise RunStopped("stopped while training; the same command goes on with the loop") from None
    exported = training.export(own, member)
    shutil.copyfile(exported, home / exported.name)
    return home / exported.name


def end_left_over(home: Path, say: Say, patience_s: float = 20.0) -> None:
    """End a training that a killed loop left behind: it would write the same checkpoints as the one to come."""
    for process in _trainings_in(home):
        say(f"a training that was left behind is ended (process {process})")
        os.kill(process, signal.SIGTERM)
        until = time.monotonic() + patience_s
        while process in _trainings_in(home) and time.monotonic() < until:
            time.sleep(0.2)


def _trainings_in(home: Path) -> Iterator[int]:
    """Processes of mace_run_train that work in ``home``, as Linux tells; none elsewhere."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            where = next((word.partition("=")[2] for word in words if word.startswith("--work_dir=")), None)
            if where is not None and ((process / "cwd").resolve() / where).resolve() == home.resolve():
                yield int(process.name)
        except OSError:  # it ended, or is another user's
            continue
