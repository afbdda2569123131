"""The control study: its file is sound, and its smoke variant runs from nothing to R_b and R_gb."""

import json
import shlex
from pathlib import Path

import pytest
from test_workflows import in_comments, parse

from atomflow import campaign, potentials
from atomflow.cli.main import run

CONTROL = Path(__file__).resolve().parent.parent / "workflows" / "control"


def test_the_control_campaign_is_sound():
    """Doped and bare grains, the same boundary bare and sealed; the potential knows every element."""
    config = campaign.load(CONTROL / "control.yaml")
    cells = {name: config.build(name) for name in config.structures}
    known = set(potentials.registry.entry(config.potential.name).elements.replace(",", " ").split())
    assert all(set(cell.composition) <= known for cell in cells.values())
    assert cells["zn-0.125"].composition["Zn"] / cells["zn-0.125"].composition["P"] == pytest.approx(0.125)
    assert cells["zn-0.25"].composition["Na"] / cells["zn-0.25"].composition["P"] == pytest.approx(3.5)
    assert set(cells["bare"].regions) == {"grain_a", "boundary", "grain_b"}
    assert {"grain_a", "glass", "grain_b"} <= set(cells["sealed"].regions)
    grains = {symbol: sum(cells[name].symbols[cells[name].regions != "glass"] == symbol) for name in ("bare", "sealed")
              for symbol in ("Zr", "Si", "P")}
    assert grains == {symbol: int((cells["bare"].symbols == symbol).sum()) for symbol in ("Zr", "Si", "P")}
    assert max(map(len, cells.values())) < 1000


def test_the_small_study_is_one_script_of_commands():
    """What the head of its file shows is what the script does; grains with and without zinc, a boundary twice."""
    config = campaign.load(CONTROL / "quickstart.yaml")
    cells = {name: config.build(name) for name in config.structures}
    assert [cells[name].composition.get("Zn", 0) for name in ("bulk", "zn-0.25", "bare")] == [0, 1, 0]
    assert (cells["sealed"].regions != "glass").sum() == len(cells["bare"])
    shown = in_comments(CONTROL / "quickstart.yaml")
    lines = (CONTROL / "quickstart.sh").read_text().replace("$OUT", "runs/control-quickstart").splitlines()
    done = [shlex.split(line.split(" | ")[0])[1:] for line in lines if line.startswith("atomflow")]
    for words in done:
        parse(words)
    assert [words[0] for words in done] == [words[0] for words in shown]


@pytest.mark.slow
def test_the_smoke_variant_ends_in_resistances(tmp_path, capsys):
    out = tmp_path / "out"
    assert run(["campaign", "run", str(CONTROL / "smoke.yaml"), "-o", str(out)]) == 0
    capsys.readouterr()
    assert run(["impedance", "--from", str(out), "-T", "250", "-o", str(tmp_path / "c.png"), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    rows = {(row["grain"], row["layer"]): row for row in data["ceramics"]}
    assert set(rows) == {("bulk", "none"), ("bulk", "bare")}
    assert rows["bulk", "none"]["R_b_ohm_cm2"]["value"] > 0
    assert rows["bulk", "bare"]["layer_S_per_cm2"]["high"] > 0
    assert (tmp_path / "c.png").is_file()
