"""The plan as text: every number comes from the plan's rows."""

import json

import pytest

from microtome.cli.plan_table import announcer, plan_text
from microtome.planning.plan import PlanRow, RunPlan

PLAN = RunPlan(
    (
        PlanRow("a", "weights", 10.0, 3 * 2**20), PlanRow("b", "weights", 14.4, 2**30), PlanRow("a", "audit", 0.4, 0.0),
        PlanRow("b", "cost", 1.0, 5e6),
    ),
    {"invariance": "it would take about 2.0 min and the budget is 60 s"},
    ("weights",),
)  # fmt: skip


def test_large_analyses_have_a_row_and_small_ones_share_one() -> None:
    lines = plan_text(PLAN).splitlines()
    weights = next(line for line in lines if "weights" in line)
    assert "weights (quick sizes)" in weights and "24 s" in weights and "1.0 GB" in weights
    small = next(line for line in lines if "audit" in line)
    assert "cost" in small and " 1 s" in small and "5 MB" in small
    assert "About 35 s in all" in plan_text(PLAN)  # 25.8 s, and 9 for opening and report
    assert lines[-1] == "Left out: invariance, it would take about 2.0 min and the budget is 60 s."
    assert "2 networks" in lines[0]


def test_one_object_per_line_for_machines_and_silence_when_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    announcer({"as_json": True, "quiet": False})(PLAN)
    event = json.loads(capsys.readouterr().out)
    assert (event["event"], event["seconds"], event["quick"]) == ("plan", 34.8, ["weights"])
    assert event["rows"][1] == {"specimen": "b", "analysis": "weights", "seconds": 14.4, "bytes": 2**30}
    announcer({"as_json": False, "quiet": True})(PLAN)
    assert capsys.readouterr().out == ""
