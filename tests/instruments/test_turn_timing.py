"""Times in turn, by a clock that only the networks move: no load on the machine can favour one of them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import microtome as mt
from microtome.analyses.compare.compare import Compare
from microtome.analyses.cost.cost import Cost
from microtome.finding import Finding
from microtome.instruments import turn_timing as timing
from microtome.numerics.statistics.paired_ratios import paired_ratios, rounds_needed
from microtome.runner import analyze
from microtome.scan import Pace


class Clock:
    """A time that passes only while a network runs, faster or slower under a load that depends on the time."""

    def __init__(self) -> None:
        self.now, self.load = 0.0, lambda now: 1.0

    def work(self, seconds: float) -> None:
        self.now += seconds * self.load(self.now)


CLOCK = Clock()


class Timed(nn.Module):
    """A network that takes `seconds` for an image, and has as many weights as asked for."""

    def __init__(self, seconds: float, weights: int = 4) -> None:
        super().__init__()
        self.seconds = seconds
        self.conv = nn.Conv2d(3, weights, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        CLOCK.work(self.seconds * len(x))
        return self.conv(x).mean((2, 3))


def bursts(period: float) -> Callable[[float], float]:
    return lambda now: 8.0 if int(now / period) % 2 else 1.0


def noise(seed: int) -> Callable[[float], float]:
    rng = np.random.default_rng(seed)
    return lambda now: float(np.exp(rng.normal(0, 0.4)))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(timing, "perf_counter", lambda: CLOCK.now)
    CLOCK.now, CLOCK.load = 0.0, lambda now: 1.0
    return CLOCK


def specimens(*seconds: float) -> list[mt.Specimen]:
    return [mt.open(Timed(each).eval(), recipe={"size": 8}) for each in seconds]


def named(*seconds: float) -> list[mt.Specimen]:
    return [replace(one, name=name) for one, name in zip(specimens(*seconds), "abc", strict=False)]


def times(opened: list[mt.Specimen], rounds: int) -> np.ndarray:
    inputs = [[torch.zeros(count, 3, 8, 8) for count in (1, 4)] for _ in opened]
    return timing.times_in_turn(opened, inputs, rounds)


def test_on_a_quiet_machine_the_times_are_exact(clock: Clock) -> None:
    found = times(specimens(0.002, 0.003), 5)
    assert found.shape == (2, 2, 5)
    assert found[0] == pytest.approx(np.array([[2.0] * 5, [8.0] * 5]))
    assert found[1] == pytest.approx(np.array([[3.0] * 5, [12.0] * 5]))


class Batched(nn.Module):
    """3 ms, and 1 ms for each image up to four, 5 ms for each above: four images at once take the least for each."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        CLOCK.work(0.003 + 0.001 * min(len(x), 4) + 0.005 * max(len(x) - 4, 0))
        return self.conv(x).mean((2, 3))


def test_the_fastest_batch_is_found_and_timed(clock: Clock) -> None:
    assert timing.batch_sizes(1) == [1] and timing.batch_sizes(8) == [1, 2, 4, 8] and timing.batch_sizes(6) == [1, 2, 4, 6]
    specimen = mt.open(Batched().eval(), recipe={"size": 8})
    assert (
        timing.fastest_size([1, 2, 4], np.array([4.0, 1.0, 1.09])) == 4
        and timing.fastest_size([1, 2, 4], np.array([4.0, 1.0, 1.2])) == 2
    )
    by_size = timing.times_by_batch(specimen, [1, 2, 4, 8])
    assert by_size == pytest.approx([4, 2.5, 1.75, 27 / 8])
    found = Cost(batch=8, repeats=7)(specimen)
    assert found.facts["batch"] == 4
    single, batched = found.key("latency of one image"), found.key("latency per image in a batch")
    assert (single.value, batched.value) == pytest.approx((4, 1.75)) and batched.at == "batch 4"
    assert (single.low, single.high) == pytest.approx((4, 4))


@pytest.mark.parametrize("period", [0.003, 0.01, 0.02, 0.05, 0.11, 0.3, 1.0])
def test_load_that_comes_and_goes_does_not_turn_the_order(clock: Clock, period: float) -> None:
    """One after the other, a burst of 8 times the load would hit whichever is measured then; b takes 1.5 times as long as a."""
    clock.load = bursts(period)
    ratios = paired_ratios(times(specimens(0.002, 0.003), rounds_needed(2))[:, 1])
    assert not ratios.high[1, 0] < 1, "b is never found faster"
    clock.load = lambda now: 1.0 + 40 * now  # a machine that is loaded more and more
    drifting = paired_ratios(times(specimens(0.002, 0.002), 18)[:, 1])
    assert drifting.low[0, 1] < 1 < drifting.high[0, 1]


def test_3_percent_more_operations_on_a_noisy_machine_are_not_faster(clock: Clock) -> None:
    wrong = 0
    for seed in range(60):
        clock.load = noise(seed)
        ratios = paired_ratios(times(specimens(0.00200, 0.00206), rounds_needed(2))[:, 1])
        wrong += bool(ratios.high[1, 0] < 1)
    assert wrong <= 2, "the dearer one is called faster in at most 2.5% of runs"


def joint(
    folder: Path, opened: list[mt.Specimen], load: Callable[[float], float]
) -> tuple[list[Finding], list[tuple[str, str]]]:
    CLOCK.load = load
    outcome = analyze(opened, None, folder, only=["cost"], settings={"cost": {"batch": 4}}, pace=Pace(device="cpu"))
    return outcome.of("cost"), outcome.reused


def test_a_run_times_its_networks_in_one_session_and_reuses_it_whole(clock: Clock, tmp_path: Path) -> None:
    three = named(0.001, 0.002, 0.004)
    found, _ = joint(tmp_path, three[:2], bursts(0.02))
    assert len({finding.facts["session"] for finding in found}) == 1
    assert found[0]["runs"].shape == found[1]["runs"].shape == (2, 9)
    assert "timed in turn with 1 other network" in found[0].caveats[0]
    again, reused = joint(tmp_path, three[:2], bursts(0.02))
    assert len(reused) == 2 and [one.facts["session"] for one in again] == [one.facts["session"] for one in found]
    more, reused = joint(tmp_path, three, bursts(0.02))
    assert not reused, "times of another session cannot be paired with these"
    assert len({finding.facts["session"] for finding in more}) == 1 and [one.facts["in_turn"] for one in more] == [3, 3, 3]
    prices = Compare().of(more)["latency_ratio"]
    assert prices.sel(specimen="c", specimen_="a").item() == pytest.approx(4.0, rel=0.5)
    (alone,) = joint(tmp_path / "alone", three[:1], bursts(0.02))[0]
    assert "session" not in alone.facts and "in turn" not in alone.caveats[0]


def test_a_network_that_fails_does_not_cost_the_others_theirs(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Cost.measure_in_turn

    def fail(self: Cost, given: list[mt.Specimen], *rest: object) -> object:
        if any(specimen.name == "b" for specimen in given):
            raise RuntimeError("broken")
        return original(self, given, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Cost, "measure_in_turn", fail)
    pair = named(0.001, 0.001)
    outcome = analyze(pair, None, tmp_path, only=["cost"], pace=Pace(device="cpu"))
    assert list(outcome.findings) == [("a", "cost")]
    assert [one["specimen"] for one in outcome.failed] == ["b"]
    monkeypatch.setattr("microtome.runner.run.MAX_BYTES_IN_TURN", 1)
    monkeypatch.setattr(Cost, "measure_in_turn", original)
    large = analyze(pair, None, tmp_path / "large", only=["cost"], pace=Pace(device="cpu")).of("cost")
    assert len(large) == 2 and all("session" not in one.facts for one in large), "too large to be kept, each is timed alone"
