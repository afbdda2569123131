"""One look for every figure, and its two forms: files for a paper (PNG, PDF) and markup for the page (SVG).

The page's SVG carries no colour of its own for lines of axes and letters: they take the page's text colour, so that a
figure reads as well on a dark page as on a light one.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atomflow.report.html import Html

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MplFigure

#: Width of one journal column.
COLUMN_INCHES = 3.3
#: Okabe and Ito's colours, without the yellow that vanishes on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
#: Ink of axes and letters; no series uses it, so that the page may replace it.
INK = "#16191d"
MUTED = "#7d848c"

_RC: Any = {
    "font.size": 7.5,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "legend.fontsize": 6.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.1,
    "lines.markersize": 4,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.fonttype": "path",
    "svg.hashsalt": "atomflow",
    "pdf.fonttype": 42,
    "savefig.dpi": 300,
}


@dataclass(frozen=True)
class Figure:
    """A finished figure.

    Attributes:
        name: file stem, e.g. ``arrhenius``.
        alt: what the figure shows, in a sentence, for who cannot see it.
        caption: what stands under it.
        svg: inline markup for the page.
        files: the files written.
    """

    name: str
    alt: str
    caption: str
    svg: Html
    files: tuple[Path, ...]


@contextmanager
def canvas(height_inches: float, rows: int = 1, columns: int = 1, **options: Any) -> Iterator[tuple[MplFigure, Any]]:
    """A figure one column wide with its axes (always an array), drawn off screen in the house style."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as MplFigure

    with matplotlib.rc_context(_RC):
        figure = MplFigure(figsize=(COLUMN_INCHES, height_inches), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, squeeze=False, **options)
        yield figure, axes


def finish(figure: MplFigure, folder: Path, name: str, alt: str, caption: str) -> Figure:
    """Write ``name.png`` and ``name.pdf`` whole, and make the page's SVG. Call inside :func:`canvas`."""
    files = []
    folder.mkdir(parents=True, exist_ok=True)
    figure.canvas.draw()  # lays the figure out, once for all three forms
    figure.set_layout_engine("none")
    for suffix, metadata in ((".png", {"Software": None}), (".pdf", {"CreationDate": None})):
        partial = folder / f".{name}.partial{suffix}"
        figure.savefig(partial, metadata=metadata, facecolor="white")
        os.replace(partial, folder / f"{name}{suffix}")
        files.append(folder / f"{name}{suffix}")
    buffer = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    return Figure(name, alt, caption, _for_page(buffer.getvalue(), name, alt), tuple(files))


def _for_page(svg: str, name: str, alt: str) -> Html:
    """Matplotlib's SVG as an element of the page: own names, the page's ink, an accessible label."""
    from html import escape

    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<style type=\"text/css\">.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'xlink:href="#', f'href="#{name}-', body)
    body = body.replace("url(#", f"url(#{name}-").replace(INK, "currentColor")
    body = re.sub(r'<svg (.*?)width="[^"]*"', r"<svg \1", body, count=1, flags=re.DOTALL)
    body = re.sub(r'<svg (.*?)height="[^"]*"', r"<svg \1", body, count=1, flags=re.DOTALL)
    return Html(body.replace("<svg", f'<svg role="img" aria-label="{escape(alt)}"', 1))


def stem(text: str) -> str:
    """``text`` as part of a file name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:60] or "unnamed"


def ramp(temperatures_K: Sequence[float]) -> dict[float, Any]:
    """A colour for each temperature, cold dark to hot bright, told apart in grey as well."""
    import matplotlib

    ordered = sorted(set(temperatures_K))
    colours = matplotlib.colormaps["cividis"]
    return {t: colours(0.1 + 0.75 * i / max(len(ordered) - 1, 1)) for i, t in enumerate(ordered)}
