"""What a quench gives back: its manifest, with the folder, that prints in a few lines."""

from __future__ import annotations

from atomflow.plain import named
from atomflow.runs.result import Manifest


class QuenchResult(Manifest):
    """The manifest (quench.json) of a quench or of its replicas."""

    @property
    def acceptance(self) -> str:
        """The lines of the glass beside the literature, as a table; empty where it is no zinc borate."""
        from atomflow.order.glass import text

        found = self.summary.get("acceptance")
        return f"{text(found['lines'])}\n{found['sentence']}" if found else ""

    def lines(self) -> list[str]:
        """As ``atomflow quench`` prints it, above its acceptance."""
        what = f"{self['cell']['formula']} with {named(self['potential'])}"
        if self["replicas"]:
            what += f", {len(self['replicas'])} replicas"
        summary = self.summary
        if not summary:
            return [f"{self.state}: {what}"]
        drift = summary["energy_drift_meV_per_atom_per_ps"]
        rows = [
            (self.state, what),
            ("cooled at", f"{summary['rate_K_per_ps']:.4g} K/ps ({summary['rate_K_per_s']:.2g} K/s)"),
            ("held", ", ".join(summary["held_regions"]) or "nothing"),
            ("simulated", f"{summary['simulated_ps']:.4g} ps in {summary['seconds']:.0f} s of dynamics"),
            ("energy drift", "-" if drift is None else f"{drift:+.3f} meV/atom/ps, mean over all stages"),
            ("checks", "; ".join(summary["problems"]) or "all passed"),
        ]
        if summary.get("acceptance"):
            rows.append(("glass", f"{summary['acceptance']['sentence']}; each line of it: .acceptance"))
        return [f"{name + ':':<14}{value}" for name, value in rows]
