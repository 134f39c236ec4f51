"""Panels: every kind survives being written down, and names the arrays it needs."""

import pytest

from microtome.panels import (
    PANEL_KINDS,
    Bars,
    Curve,
    Grid,
    Heat,
    Hist,
    Overlay,
    Panel,
    Scatter,
    Table,
    panel_from_json,
    panel_to_json,
)

EXAMPLES: list[tuple[Panel, tuple[str, ...]]] = [
    (Curve(title="t", y=("a", "b"), x="layer", low="l", high="h", null=("n",), log="y"), ("a", "b", "l", "h", "n")),
    (Bars(title="t", y=("a",), x="layer"), ("a",)),
    (Hist(title="t", density="d", value="v", null="n", null_value="w", only=("x",)), ("d", "v", "n", "w")),
    (Heat(title="t", z="z", low=0.0, high=1.0), ("z",)),
    (Grid(title="t", z="z", across="unit", groups="g"), ("z", "g")),
    (Scatter(title="t", x="x", y="y", front="f", question="slim"), ("x", "y", "f")),
    (Table(title="t", columns=("a", "b"), rows="layer"), ("a", "b")),
    (Overlay(title="t", base="i", heat="h", mask="m"), ("i", "h", "m")),
]


@pytest.mark.parametrize(("panel", "arrays"), EXAMPLES, ids=lambda one: getattr(one, "kind", ""))
def test_round_trip(panel: Panel, arrays: tuple[str, ...]) -> None:
    assert panel.arrays() == arrays
    assert panel_from_json(panel_to_json(panel)) == panel
    assert panel_from_json(panel_to_json(panel) | {"of a newer version": 1}) == panel


def test_all_kinds_are_tried_here() -> None:
    assert {panel.kind for panel, _ in EXAMPLES} == set(PANEL_KINDS)
