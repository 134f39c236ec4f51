"""Tables for the terminal: a comparison in the order of ranks, and the layers of a specimen."""

import numpy as np
import pytest

import microtome as mt
from microtome.cli.tables import collation_table, comparison_table, layer_table
from microtome.finding import Finding, array
from microtome.panels import Table


def rows(text: str) -> list[list[str]]:
    return [
        [part.strip() for part in line.strip("│┃").replace("┃", "│").split("│")]
        for line in text.splitlines()
        if line[:1] in "│┃"
    ]


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")


def test_a_comparison_is_sorted_by_rank_and_what_is_not_known_is_a_dash() -> None:
    nets, criteria = ["b", "a", "none"], ["top-1 accuracy (fraction)", "latency per image (ms)"]
    specimens, values = {"specimen": nets}, np.array([[0.5, 2.0], [0.91, np.nan], [np.nan, 1.0]])
    arrays = {
        "table": array(values, ("specimen", "criterion"), "1", specimens | {"criterion": criteria}),
        "rank": array([2.0, 1.0, np.nan], ("specimen",), "1", specimens),
        "family": array(np.array(["deeper", "wider", "attention"], dtype=object), ("specimen",), "text", specimens),
    }  # fmt: skip
    text = comparison_table(Finding(analysis="compare", arrays=arrays, headline="Choose a."))
    assert rows(text) == [
        ["rank", "specimen", "family", "top-1 accuracy", "latency per image"],
        ["1", "a", "wider", "91.0%", "–"],
        ["2", "b", "deeper", "50.0%", "2 ms"],
        ["–", "none", "attention", "–", "1 ms"],
    ]
    assert text.splitlines()[-1] == "Choose a."


def test_layers_without_weights_are_left_out_of_a_bare_star_only(net: mt.Specimen) -> None:
    bare, every, some = (layer_table(net, *given) for given in (("*", False), ("*", True), ("blocks.0*,head", False)))
    names = [row[0] for row in rows(bare)[1:]]
    assert names == [layer.name for layer in net.layers if layer.parameters or layer.kind == "block"]
    assert f"{len(names)} of {len(net.layers)} layers." in bare
    assert [row[0] for row in rows(every)[1:]] == [layer.name for layer in net.layers]
    assert [row[0] for row in rows(some)[1:]] == ["blocks.0.conv1", "blocks.0.conv2", "blocks.0", "head"]
    head = rows(some)[-1]
    assert head[1:] == ["head", "Linear", "10", "vector", "90"]  # 8 · 10 + 10
    assert "   last3: " + ", ".join(net.find("last3")) in bare.splitlines()


def test_any_other_finding_over_findings_shows_its_first_table() -> None:
    rows_of = {"claim": ["H1", "H2"]}
    arrays = {
        "verdict": array(np.array(["supports", "not measurable"], dtype=object), ("claim",), "text", rows_of, "verdict"),
        "effect": array([1.234, np.nan], ("claim",), "points", rows_of, "effect"),
    }
    panel = Table(title="Claims", rows="claim", columns=("verdict", "effect"))
    text = collation_table(Finding(analysis="traits", arrays=arrays, panels=(panel,), headline="One of two."))
    assert [row for row in rows(text) if any(row)] == [
        ["", "verdict", "effect"], ["H1", "supports", "1.23"], ["H2", "not measurable", "–"]
    ]  # fmt: skip
    assert text.splitlines()[-1] == "One of two."
