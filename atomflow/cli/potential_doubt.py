"""``atomflow potential doubt``: how far a committee disagrees on given frames, and what that is worth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from atomflow.cli.options import Device, Json
from atomflow.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from atomflow.cell import Cell


def doubt(
    source: Path | None = typer.Argument(None, help="A cell, a run folder, or any trajectory that ASE reads."),
    potential: str | None = typer.Option(None, "-p", "--potential", help="Name, model file, or folder of `train`."),
    committee: str | None = typer.Option(None, help="Model files, separated by commas, in place of its own committee."),
    frames: int = typer.Option(50, min=1, help="So many frames at most, evenly spaced."),
    labelled: Path | None = typer.Option(None, help="Labelled set (.npz): how well doubt ranks the true errors."),
    split: str = typer.Option("test", help="With --labelled: test, train or all frames."),
    family: list[str] = typer.Option([], help="With --labelled: only frames of this family; may be repeated."),
    limit: list[float] = typer.Option([], help="With --labelled: limits to try, eV/Å; may be repeated."),
    set_limit: bool = typer.Option(False, "--set-limit", help="Keep the suggested limit in the folder given by -p."),
    device: Device = "auto",
    json_: Json = False,
) -> None:
    """How far the members of a committee disagree about forces, by frame and element; or what that is worth.

    The spread of an atom is the standard deviation of its force vector over the members, in eV/Å.

    \b
    Example:
      atomflow potential doubt run/ -p model/
      atomflow potential doubt --labelled labelled/labelled.npz -p model/ --set-limit
    """
    from atomflow import potentials

    if (source is None) == (labelled is None):
        raise InputError("give either a cell or trajectory, or --labelled FILE.npz")
    if split not in ("test", "train", "all"):
        raise InputError(f"--split is test, train or all, not '{split}'")
    files = [part for part in (committee or "").split(",") if part]
    chosen = potentials.load(potential or potentials.DEFAULT, device=device, committee=files)
    if source is not None:
        _of_frames(source, chosen, frames, json_)
    elif labelled is not None:
        _of_labels(labelled, chosen, (split, family, limit), Path(potential or "") if set_limit else None, json_)


@dataclass(frozen=True)
class _Shot:
    """A frame of a trajectory and what it is called."""

    name: str
    cell: Cell


def _of_frames(source: Path, potential: Any, most: int, as_json: bool) -> None:
    import numpy as np

    from atomflow import plain
    from atomflow.cli import output
    from atomflow.potentials.committee import force_spread, members_or_refuse

    others = members_or_refuse(potential)
    limit = potential.identity.doubt_warn_eV_per_A
    rows: list[dict[str, Any]] = []
    by_element: dict[str, list[np.ndarray]] = {}
    for shot in _shots(source, most):
        spread = force_spread(potential, shot.cell, others)
        worst, symbols = int(spread.argmax()), shot.cell.symbols
        rows.append({"frame": shot.name, "force_spread_max_eV_per_A": float(spread[worst]),
                     "force_spread_mean_eV_per_A": float(spread.mean()), "worst_atom": worst,
                     "worst_element": str(symbols[worst]), "worst_region": str(shot.cell.regions[worst])})
        for symbol in np.unique(symbols):
            by_element.setdefault(str(symbol), []).append(spread[symbols == symbol])
    elements = _elements(by_element)
    if as_json:
        output.emit_json({"potential": potential.identity.model_dump(mode="json"), "members": len(others) + 1,
                          "doubt_warn_eV_per_A": limit, "frames": rows, "elements": elements})
        return
    table = [[row["frame"], f"{row['force_spread_max_eV_per_A']:.3f}", f"{row['force_spread_mean_eV_per_A']:.3f}",
              f"{row['worst_atom']} ({row['worst_element']}, {row['worst_region']})"] for row in rows]
    output.show(plain.table(table, ["frame", "largest spread eV/Å", "mean eV/Å", "worst atom"]))
    output.show()
    output.show(plain.table([[row["element"], f"{row['max_eV_per_A']:.3f}", f"{row['mean_eV_per_A']:.3f}"]
                             for row in elements], ["element", "largest spread eV/Å", "mean eV/Å"]))
    if limit is not None:
        above = sum(row["force_spread_max_eV_per_A"] > limit for row in rows)
        output.show(f"\n{above} of {len(rows)} frames are above the potential's limit of {limit:g} eV/Å")


def _elements(by_element: dict[str, list[np.ndarray]]) -> list[dict[str, Any]]:
    import numpy as np

    joined = {symbol: np.concatenate(parts) for symbol, parts in by_element.items()}
    return [{"element": symbol, "max_eV_per_A": float(values.max()), "mean_eV_per_A": float(values.mean())}
            for symbol, values in sorted(joined.items(), key=lambda item: -item[1].max())]


def _shots(source: Path, most: int) -> Iterator[_Shot]:
    """Frames of a run folder, or of a file; at most so many, evenly spaced, the last one among them."""
    import numpy as np

    from atomflow.cell import Cell

    if not source.exists():
        raise InputError(f"there is no cell, run folder or trajectory {source}")
    if source.is_dir():
        from atomflow.runs import open_run

        run = open_run(source)
        cell = run.initial_cell()
        for k in _spaced(run.n_frames, most):
            lattice = run.lattices_A(k, k + 1)[0]
            fractional = run.positions_A(k, k + 1)[0] @ np.linalg.inv(run.mean_lattice_A)
            moved = Cell(cell.numbers, fractional @ lattice, lattice, cell.regions, cell.sites)
            yield _Shot(f"{run.times_fs[k] / 1000:.3f} ps", moved)
        return
    import ase.io

    try:
        atoms: list[Any] = list(ase.io.read(source, index=":"))
    except Exception as error:  # ASE's readers raise anything
        raise InputError(f"cannot read frames from {source}: {str(error).splitlines()[0] or type(error).__name__}"
                         ) from None
    for k in _spaced(len(atoms), most):
        yield _Shot(str(k), Cell.from_ase(atoms[k]))


def _spaced(count: int, most: int) -> list[int]:
    import numpy as np

    if count == 0:
        raise InputError("there are no frames yet")
    return sorted({round(k) for k in np.linspace(0, count - 1, min(count, most))}) if most > 1 else [count - 1]


def _of_labels(
    labelled: Path, potential: Any, choice: tuple[str, list[str], list[float]], keep_in: Path | None, as_json: bool
) -> None:
    from atomflow.cli import output
    from atomflow.distill.doubt import doubt_quality, doubted
    from atomflow.distill.frames import read_frames
    from atomflow.potentials.committee import COMMITTEE_FILE, set_limit

    split, families, limits = choice
    if keep_in is not None and not (keep_in / COMMITTEE_FILE).exists():
        raise InputError("--set-limit needs -p FOLDER, a folder in which `train` put a committee")
    wanted = [frame for frame in read_frames(labelled) if split in ("all", frame.split)
              and (not families or frame.family in families)]
    if not wanted:
        raise InputError(f"{labelled} holds no frame of split {split} and family {', '.join(families) or 'any'}")

    def show(done: int) -> None:
        if done % 50 == 0:
            output.say(f"{done} of {len(wanted)} frames")

    data = doubt_quality(doubted(wanted, potential, show), limits)
    data |= {"potential": potential.identity.model_dump(mode="json"), "labelled": str(labelled), "split": split}
    if keep_in is not None:
        set_limit(keep_in, round(data["suggested_limit_eV_per_A"], 3))
    if as_json:
        output.emit_json(data)
        return
    _show_quality(data)
    if keep_in is not None:
        output.show(f"kept in {keep_in / COMMITTEE_FILE}: runs with this potential warn beyond it")


def _show_quality(data: dict[str, Any]) -> None:
    from atomflow import plain
    from atomflow.cli import output
    from atomflow.estimate import Estimate

    groups = [[row["group"], str(row["frames"]), str(row["systems"]), f"{row['median_spread_eV_per_A']:.3f}",
               f"{row['median_error_eV_per_A']:.3f}", format(Estimate.from_json(row["spearman_atoms"]), ".2f"),
               format(Estimate.from_json(row["spearman_frames"]), ".2f"), f"{100 * row['frames_above']:.0f} %"]
              for row in data["groups"]]
    output.show(plain.table(groups, ["family", "frames", "systems", "median spread eV/Å", "median error eV/Å",
                                     "rank correlation, atoms", "frames", "frames above the limit suggested"]))
    output.show()
    columns = ("frames_above", "worst_frames_caught", "other_frames_above", "atoms_above", "worst_atoms_caught")
    limits = [[f"{row['limit_eV_per_A']:.3f}", *(f"{100 * row[key]:.0f} %" for key in columns)]
              for row in data["limits"]]
    output.show(plain.table(limits, ["limit eV/Å", "frames above", "of the worst 10 % of frames", "of the other frames",
                                     "atoms above", "of the worst 10 % of atoms"]))
    output.show(f"\nsuggested limit: {data['suggested_limit_eV_per_A']:.3f} eV/Å, the highest that flags 90 % of the "
                f"worst 10 % of these frames")
    if data["halves"] is None:
        output.show("too few systems to choose a limit on one half of them and judge it on the other")
        return
    part = {name: Estimate.from_json(data["halves"][name]) for name in
            ("limit_eV_per_A", "caught", "false_alarms", "right_when_flagged", "spearman_frames")}
    output.show(f"chosen so on one half of the systems and judged on the other ({data['halves']['halvings']} halvings, "
                f"both ways; middle 95 %):\n"
                f"  limit {part['limit_eV_per_A']:.2f} eV/Å; flagged of the worst 10 % of frames {part['caught']:.2f}, "
                f"of the others {part['false_alarms']:.2f}\n"
                f"  among the worst when flagged {part['right_when_flagged']:.2f}; rank correlation "
                f"{part['spearman_frames']:.2f}")
