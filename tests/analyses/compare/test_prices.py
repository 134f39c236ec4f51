"""Costs of pairs: latency only where the interval shows it, then parameters, then operations; sessions are not mixed."""

import numpy as np
import pytest

from microtome.analyses.compare.prices import gather_prices, price_label
from microtome.finding import Finding, array
from microtome.key_numbers import KeyNumber


def cost(name: str, runs: list[float], session: str = "s", parameters: float = 1e6) -> dict[str, Finding]:
    numbers = (
        KeyNumber(name="parameters", value=parameters),
        KeyNumber(name="multiply-adds", value=1e7, unit="per image"),
        KeyNumber(name="latency per image in a batch", value=float(np.median(runs)), unit="ms"),
    )
    arrays = {"runs": array(np.array([runs, runs]), ("measure", "rank"), "ms")}
    origin = {"specimen": {"name": name}, "facts": {"session": session}}
    return {"cost": Finding(analysis="cost", arrays=arrays, key_numbers=numbers, origin=origin)}


def test_latency_decides_within_a_session_only() -> None:
    byname = {"a": cost("a", [1.0] * 9), "b": cost("b", [2.0] * 9), "c": cost("c", [1.0] * 9, "t", 2e6), "d": {}}
    prices = gather_prices(byname, "time")
    assert prices.difference(0, 1) == (pytest.approx(0.5), "lower latency")
    assert prices.difference(1, 0) == (pytest.approx(2.0), "lower latency")
    assert prices.difference(0, 2) == (0.5, "fewer parameters"), "timed in another session"
    assert prices.difference(0, 3) == prices.difference(3, 0) == (1.0, ""), "not measured"
    assert prices.cheaper().tolist() == [[False, True, True, False], [False, False, True, False], [False] * 4, [False] * 4]
    assert prices.take(np.array([1, 0])).difference(1, 0).ratio == pytest.approx(0.5)
    assert price_label(byname, "time") == ("latency per image in a batch", "ms")


def test_without_a_session_latencies_say_nothing() -> None:
    byname = {"a": cost("a", [1.0] * 9, ""), "b": cost("b", [2.0] * 9, "", 5e5)}
    assert gather_prices(byname, "time").difference(1, 0) == (0.5, "fewer parameters")
    assert gather_prices(byname, "operations").difference(1, 0) == (0.5, "fewer parameters")
    assert gather_prices(byname, "size").values.tolist() == [1e6, 5e5]
