"""Where the ions sit and how often they hop, run by run, for cells that name their sites."""

from __future__ import annotations

from typing import Any

from atomflow.errors import AtomflowError
from atomflow.report.collect import ReportData, RunRecord
from atomflow.report.html import Html, join, table, tag
from atomflow.report.numbers import NOTHING, number_cell

#: Ion positions (frames × ions) beyond which a run is left to ``atomflow analyze --sites``.
MOST_POSITIONS = 2_000_000


def section(data: ReportData) -> Html:
    """A table of occupancies and hops; nothing when no cell names its sites."""
    named = [run for run in data.runs if _names_sites(run) and run.problem is None]
    rows = [(run, statistics) for run in named if (statistics := _statistics(run)) is not None]
    if not rows:
        return Html("")
    kinds = list(dict.fromkeys(name for _, statistics in rows for name in statistics.names))
    header = ["run", "T (K)", *(f"{kind} occupancy" for kind in kinds), "hops", "hops per ion and ps",
              "mean hop (Å)", "most hops", "too short to count"]  # fmt: skip
    caption = (
        "Named Na sites, one row a run. Occupancy: ions per site over the run. A hop counts once the ion has stayed "
        f"{rows[0][1].residence_ps:g} ps on the new site. How far rows of one temperature differ is their uncertainty."
    )
    body = [_row(run, statistics, kinds) for run, statistics in rows]
    left_out = len(named) - len(rows)
    note = tag("p", f"{left_out} runs are too long for this table or could not be read: atomflow analyze RUN --sites.")
    return join([tag("h2", "Sites and hops", id="sites"), table(caption, header, body), note if left_out else None])


def _names_sites(run: RunRecord) -> bool:
    provenance = (run.manifest.get("cell") or {}).get("provenance") or {}
    return isinstance(provenance.get("na_sites"), dict)


def _statistics(run: RunRecord) -> Any:
    """Site statistics of the run; ``None`` when it has too few or too many frames, or cannot be read."""
    from atomflow import runs
    from atomflow.transport.sites import site_statistics

    try:
        with runs.open_run(run.folder) as trajectory:
            ions = int((trajectory.symbols == "Na").sum())
            if ions == 0 or not 2 <= trajectory.n_frames <= MOST_POSITIONS // ions:
                return None
            return site_statistics(trajectory)
    except (AtomflowError, OSError, ValueError, KeyError):
        return None


def _row(run: RunRecord, statistics: Any, kinds: list[str]) -> list[Any]:
    pairs = sorted(statistics.hops.items(), key=lambda item: -item[1])[:3]
    return [
        tag("code", run.name[:40]),
        number_cell(run.target_K, "{:.0f}"),
        *(number_cell(statistics.occupancy.get(kind), "{:.2f}") for kind in kinds),
        number_cell(sum(statistics.hops.values()), "{:,}"),
        number_cell(statistics.hop_rate_per_ion_per_ps, "{:.3g}"),
        number_cell(statistics.mean_hop_A, "{:.2f}"),
        ", ".join(f"{start} → {end}: {count}" for (start, end), count in pairs) or NOTHING,
        number_cell(statistics.recrossings, "{:,}"),
    ]
