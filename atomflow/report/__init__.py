"""One self-contained HTML report of a campaign or a run, with its figures as files for a paper.

    >>> from atomflow import report
    >>> report.build("runs/quickstart")          # doctest: +SKIP
    PosixPath('runs/quickstart/report.html')

No torch, no request to anywhere: the page carries its figures, its numbers and the code that turns the cell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["build"]


def build(folder: str | Path, output: str | Path | None = None) -> Path:
    """Write the report of a campaign folder, of one run folder, or of a folder of run folders.

    Args:
        folder: a campaign (``campaign.json``), a run (``run.json``), or any folder whose children are runs.
        output: the HTML file; ``folder/report.html`` when not given. Figures go to ``figures/`` beside it.

    Returns:
        The path of the HTML file. Both it and the figures are replaced whole.

    Raises:
        InputError: ``folder`` holds no run, or the report cannot be written.
    """
    from atomflow.errors import path_of
    from atomflow.report.compose import write_report

    return write_report(path_of(folder, "the folder of a report"), output)
