"""``atomflow potential add-repulsion``: a model that exists, kept from falling into itself at short distance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from atomflow.cli.options import Json
from atomflow.errors import InputError


def add_repulsion(
    model: str = typer.Argument(..., help="A portable MACE model (.mace.npz), or the name of one that is shipped."),
    labelled: list[Path] = typer.Argument(..., help="The labelled frames that it was trained on (.npz)."),
    out: Path = typer.Option(..., "-o", "--out", help="File to write: NAME.mace.npz."),
    largest_force: float = typer.Option(25.0, min=0, help="Frames with a larger force, eV/Å, were not trained on."),
    json_: Json = False,
) -> None:
    """Write a model that repels atoms closer than any it was trained on; all else it says is as before.

    The repulsion of nuclei (Ziegler, Biersack, Littmark 1985) is added below the sum of two radii, one an element,
    chosen as large as can be without touching a frame of the training split.

    \b
    Example:
      atomflow potential add-repulsion my.mace.npz labelled/labelled.npz -o safe.mace.npz
    """
    from atomflow import plain
    from atomflow.cli import output
    from atomflow.distill import closest as distances
    from atomflow.distill.beginnings import portable_student
    from atomflow.distill.frames import read_frames
    from atomflow.potentials.mace.files import load_portable, save_portable
    from atomflow.potentials.registry import PORTABLE_SUFFIX
    from atomflow.potentials.repulsion import repulsion_radii_A

    path = portable_student(model, "MODEL")
    if not out.name.endswith(PORTABLE_SUFFIX) or not out.absolute().parent.is_dir():
        raise InputError(f"cannot write {out}: name a file that ends in {PORTABLE_SUFFIX}, in a folder that is there")
    frames = distances.shown([frame for file in labelled for frame in read_frames(file)], largest_force)
    if not frames:
        raise InputError(f"{labelled[0]} holds no frame of the training split below {largest_force:g} eV/Å")
    closest = distances.closest_distances_A(frames)
    repelling = distances.with_radii(load_portable(path), closest)
    save_portable(repelling, out)
    radii = repulsion_radii_A(repelling) or {}
    rows = [{"pair": f"{a}-{b}", "closest_A": closest.get((a, b)), "reach_A": radii[a] + radii[b]}
            for a, b in distances.pairs_of(radii)]  # fmt: skip
    if json_:
        output.emit_json({"model": out, "from": path, "frames": len(frames), "radii_A": radii, "pairs": rows})
        return
    output.show(plain.table([[symbol, f"{radius:.3f}"] for symbol, radius in radii.items()], ["element", "radius (Å)"]))
    output.show()
    output.show(plain.table([_row(row) for row in rows], ["pair", "closest of the frames (Å)", "repulsion below (Å)"]))
    output.show(f"\n{path.name} with a repulsion that touches none of {len(frames)} frames: {out}")


def _row(row: dict[str, Any]) -> list[str]:
    closest = row["closest_A"]
    return [row["pair"], "never close" if closest is None else f"{closest:.3f}", f"{row['reach_A']:.3f}"]


def in_words(radii_A: dict[str, float]) -> str:
    """The reach of a repulsion."""
    listed = ", ".join(f"{symbol} {radius:.2f}" for symbol, radius in radii_A.items())
    return f"of two atoms closer than the sum of their radii: {listed} Å"


def mount(app: typer.Typer) -> None:
    """Add the verb to ``atomflow potential``."""
    app.command("add-repulsion")(add_repulsion)
