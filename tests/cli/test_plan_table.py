"""The plan of a run: one row for each analysis, small ones together, and the same as JSON."""

import json

import pytest

from microtome.cli.plan_table import announcer, plan_text
from microtome.planning.plan import PlanRow, RunPlan

PLAN = RunPlan(
    rows=(
        PlanRow("a", "erf", 60.0, 3 * 2**30),
        PlanRow("b", "erf", 90.0, 2**30),
        PlanRow("a", "cam", 30.0, 2**20),
        PlanRow("a", "weights", 0.5, 5 * 2**20),
        PlanRow("a", "cost", 0.7, 2**10),
    ),
    left_out={"evolution": "the budget of 2 min does not hold it"},
    quick=("cam",),
)


def rows(text: str) -> list[list[str]]:
    return [[part.strip() for part in line.strip("│").split("│")] for line in text.splitlines() if line.startswith("│")]


def test_time_adds_over_networks_and_memory_is_the_largest() -> None:
    text = plan_text(PLAN)
    assert "Plan for 2 networks" in text
    assert rows(text) == [
        ["erf", "2.5 min", "3.0 GB"],
        ["cam (quick sizes)", "30 s", "1 MB"],
        ["weights, cost", "1 s", "5 MB"],
        ["opening and report", "9 s", ""],
    ]
    assert text.splitlines()[-2:] == [
        "About 3.2 min in all, on top of the weights 3.0 GB.",
        "Left out: evolution, the budget of 2 min does not hold it.",
    ]


def test_as_json_it_is_one_event_and_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    announcer({"as_json": True, "quiet": True})(PLAN)
    event = json.loads(capsys.readouterr().out)
    assert (event["event"], event["seconds"], event["quick"]) == ("plan", 190.2, ["cam"])
    assert event["rows"][0] == {"specimen": "a", "analysis": "erf", "seconds": 60.0, "bytes": 3 * 2**30}
    assert event["left_out"] == {"evolution": "the budget of 2 min does not hold it"}
    announcer({"as_json": False, "quiet": True})(PLAN)
    assert capsys.readouterr().out == ""
    announcer({"as_json": False, "quiet": False})(PLAN)
    assert capsys.readouterr().out == plan_text(PLAN) + "\n"
