"""What verbs write besides cells and runs: folders, JSON, and tables or figures by the ending of the name."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from atomflow.errors import InputError, check_place

if TYPE_CHECKING:
    from atomflow.order import OrderResult

FIGURES = (".png", ".pdf", ".svg")


def write_rdf(result: OrderResult, path: Path) -> None:
    """g(r) of every pair: columns of a table, or curves."""
    if path.suffix == ".csv":
        columns: dict[str, np.ndarray] = {"r_A": next(iter(result.rdfs.values())).r_A}
        for pair, rdf in result.rdfs.items():
            columns |= {f"g_{pair}": rdf.g, f"error_{pair}": rdf.error, f"running_{pair}": rdf.running}
        write_csv(path, columns)
        return

    def paint(axis: Any) -> None:
        for index, (pair, rdf) in enumerate(result.rdfs.items()):
            axis.plot(rdf.r_A, rdf.g + index, lw=0.9, label=pair)
        axis.set(xlabel="r / Å", ylabel="g(r), each pair one higher")
        axis.legend(frameon=False)

    draw(path, paint)


def make_folder(out: Path) -> None:
    """Make the folder before anything is computed; :class:`InputError` where it cannot be made."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {out}: {error.strerror or error}") from None


def write_json(path: Path, value: Any) -> None:
    """One JSON object as a file, whole or not at all."""
    from atomflow.plain import to_jsonable
    from atomflow.runs.files import write_whole

    write_whole(path, json.dumps(to_jsonable(value), indent=1, allow_nan=False).encode())


def check_ending(path: Path) -> None:
    """:class:`InputError` unless the name ends as a table or a figure does, in a folder that is there."""
    if path.suffix not in (".csv", *FIGURES):
        raise InputError(f"cannot write {path}: end the name in .csv, .png, .pdf or .svg")
    check_place(path)


def write_csv(path: Path, columns: Mapping[str, Sequence[float] | np.ndarray]) -> None:
    """Columns of equal length with a header, whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    table = np.column_stack([np.asarray(column) for column in columns.values()])
    np.savetxt(partial, table, fmt="%.8g", delimiter=",", header=",".join(columns), comments="")
    os.replace(partial, path)


def draw(path: Path, paint: Callable[[Any], None], size_inch: tuple[float, float] = (5.0, 3.4)) -> None:
    """One axis painted by ``paint``, saved whole or not at all; no display is needed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size_inch, layout="constrained")
    FigureCanvasAgg(figure)
    paint(figure.add_subplot())
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    figure.savefig(partial, dpi=200)
    os.replace(partial, path)
