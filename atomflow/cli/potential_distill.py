"""``atomflow potential sample | label | train``: a fast student from a slow teacher."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from atomflow.cli.options import Json
from atomflow.errors import InputError

if TYPE_CHECKING:
    from atomflow.distill.label import LabelProgress


def sample(
    config: Path = typer.Argument(..., help="Sampling configuration (YAML)."),
    out: Path = typer.Option(..., "-o", "--out", help="Folder of the pool; pool.npz is written into it."),
    json_: Json = False,
) -> None:
    """Sample configurations of a material for labelling: seeded, split into training and test by system.

    \b
    Example:
      atomflow potential sample workflows/potential/sample.yaml -o pool/
    """
    from atomflow.cli import output
    from atomflow.config import parse, read_yaml
    from atomflow.distill import sample as sampling
    from atomflow.distill.config import SampleConfig

    wanted = parse(SampleConfig, read_yaml(config), str(config))
    if (out / "pool.npz").exists():
        raise InputError(f"{out} already holds a pool; choose another folder")
    frames = sampling.sample(wanted, output.say)
    path = sampling.write_pool(frames, out, wanted)
    facts = {"pool": path, "frames": len(frames), "atoms": sum(frame.n_atoms for frame in frames),
             "test_frames": sum(frame.split == "test" for frame in frames)}
    if json_:
        output.emit_json(facts)
    else:
        output.show(f"{facts['frames']} frames ({facts['test_frames']} held out), {facts['atoms']} atoms, in {path}")


def show_labelling(state: LabelProgress) -> None:
    """Every tenth frame and the last, as a line of progress."""
    from atomflow.cli import output

    if state.done % 10 == 0 or state.done == state.total:
        output.say(f"{state.done}/{state.total} frames, {state.seconds_per_frame:.2f} s each, "
                   f"{state.seconds_left / 60:.1f} min left")


def label(
    pool: Path = typer.Argument(..., help="Pool written by `sample`."),
    teacher: str = typer.Option("7net-l3i5", help="7net-l3i5, 7net-0, chgnet, mace:FILE."),
    out: Path = typer.Option(..., "-o", "--out", help="Folder of the labels; run again to resume."),
    python: str = typer.Option(
        None, help="Interpreter of the teacher's environment; one is made (needs the network) when not given."
    ),
    json_: Json = False,
) -> None:
    """Label a pool with a teacher's energies, forces and stresses, in the teacher's own environment. Resumable.

    \b
    Example:
      atomflow potential label pool/ --teacher 7net-l3i5 -o labelled/
    """
    from atomflow.cli import output
    from atomflow.distill.label import label as label_pool

    path = label_pool(pool, out, teacher, python, show_labelling)
    if json_:
        output.emit_json({"labelled": path, "teacher": teacher})
    else:
        output.show(f"labelled set in {path}")


def train(
    config: Path = typer.Argument(..., help="Student configuration (YAML)."),
    out: Path = typer.Option(..., "-o", "--out", help="Folder of the model; run again to resume."),
    json_: Json = False,
) -> None:
    """Train a student with mace-torch on a labelled set, and write it in the portable format. Resumable.

    \b
    Example:
      atomflow potential train workflows/potential/student.yaml -o model/
    """
    from atomflow.cli import output
    from atomflow.config import parse, read_yaml
    from atomflow.distill import train as training
    from atomflow.distill.config import StudentConfig

    def show(state: training.TrainProgress) -> None:
        member = f"member {state.member} of {state.members}, " if state.members > 1 else ""
        output.say(f"{member}epoch {state.epoch}/{state.epochs}: force {state.force_meV_per_A:.0f} meV/Å, energy "
                   f"{state.energy_meV_per_atom:.1f} meV/atom (validation), {state.seconds_left / 60:.0f} min left")

    wanted = parse(StudentConfig, read_yaml(config), str(config))
    training.train(wanted, out, show)
    path = training.export(out, wanted)
    if json_:
        output.emit_json({"model": path})
    else:
        output.show(f"student in {path}; measure it with: atomflow potential card {out} -o card.html")


def mount(app: typer.Typer) -> None:
    """Add the verbs to ``atomflow potential``."""
    for command in (sample, label, train):
        app.command()(command)
