"""``atomflow order --contact``: what formed at a metal contact, and how deep metal went."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def show_contact(
    where: list[Any], along: str, frames: int, discard_ps: float, cutoffs_A: dict[str, float], out: Path | None,
    json_: bool,
) -> None:  # fmt: skip
    """Measure and print; the depth profile goes to ``out``."""
    from atomflow.cli import output
    from atomflow.order.contact import contact, text

    found = contact(where, along, frames, discard_ps, cutoffs_A)
    if out is not None:
        _write(found, out)
    if json_:
        output.emit_json(found)
        return
    output.show(text(found))


def _write(found: Any, out: Path) -> None:
    from atomflow.cli.files import draw, write_csv

    if out.suffix == ".csv":
        write_csv(out, {"depth_A": found.depth_A, "metal_atoms": found.depth_count})
        return

    def paint(axis: Any) -> None:
        axis.bar(found.depth_A, found.depth_count, width=1.0, align="edge", color="#0072B2")
        axis.set(xlabel="depth in the solid / Å", ylabel="metal atoms, last block",
                 xlim=(0, max(10.0, (found.deepest_A or 0.0) + 2.0)))  # fmt: skip

    draw(out, paint)
