"""Verdicts on a first layer: each fault by the one number that makes it, and just not."""

import pytest

from microtome.analyses.frontend.wording import judge_filters, smaller_kernel


def test_the_verdict_needs_more_than_the_twin_shows() -> None:
    even = dict.fromkeys(("dead filters", "largest filter", "above Nyquist", "above, natural images"), 0.5)
    even |= dict.fromkeys(("above at half the stride", "middle to extremes", "inner kernel", "grey filters"), 0.5)
    told = judge_filters(even, even, even, [1, 2], 4, 11, 4, True)
    assert not any(flagged for flagged, _ in told.values())
    better = even | {"dead filters": 0.1, "largest filter": 0.1}
    assert judge_filters(even, even, better, [1, 2], 4, 11, 4, True)["dead filters"][0], "more than in the worst of the twins"
    assert not judge_filters(even, better, even, [1, 2], 4, 11, 4, True)["dead filters"][0], "one twin has as many"
    assert [smaller_kernel(side) for side in (11, 7, 5, 3, 1)] == [7, 5, 3, 1, 1]


EVEN = {
    "dead filters": 0.0, "largest filter": 1.5, "above Nyquist": 0.4, "above, natural images": 0.1, "above at half the stride": 0.2,
    "middle to extremes": 1.0, "inner kernel": 0.6, "grey filters": 0.5,
}  # fmt: skip


def faults(twin=EVEN, dead=(), side=7, stride=4, **changed):
    value = EVEN | {name.replace("_", " "): number for name, number in changed.items()}
    told = judge_filters(value, dict(twin), dict(twin), list(dead), 8, side, stride, True)
    return [name for name, (fault, _) in told.items() if fault]


@pytest.mark.parametrize(
    ("name", "number", "just_not"),
    [
        ("largest_filter", 4.1, 4.0),  # four times the mean, and twice the twin's 1.5
        ("above_Nyquist", 0.35, 0.37),  # below 0.9 of the twin's 0.4
        ("middle_to_extremes", 0.79, 0.8),
        ("inner_kernel", 0.96, 0.95),
    ],
)
def test_each_number_alone_makes_its_fault(name: str, number: float, just_not: float) -> None:
    assert faults(**{name: number}) == [name.replace("_", " ")]
    assert faults(**{name: just_not}) == []


def test_the_twin_excuses_what_it_shows_as_well() -> None:
    assert faults({**EVEN, "largest filter": 2.1}, largest_filter=4.1) == []
    assert faults({**EVEN, "middle to extremes": 0.9}, middle_to_extremes=0.73) == []
    assert faults({**EVEN, "inner kernel": 0.96}, inner_kernel=0.97) == []
    assert faults(dead=(3,), dead_filters=0.125) == ["dead filters"]
    assert faults({**EVEN, "dead filters": 0.125}, dead=(3,), dead_filters=0.125) == []


@pytest.mark.parametrize(("side", "stride"), [(7, 1), (4, 4), (7, 2)])
def test_aliasing_is_a_fault_only_of_overlapping_windows_at_large_strides(side: int, stride: int) -> None:
    assert faults(side=side, stride=stride, above_Nyquist=0.35) == []


def test_small_kernels_have_no_rim_to_leave_out() -> None:
    assert faults(side=3, stride=2, inner_kernel=0.99) == []


def test_the_dead_are_listed_up_to_six_and_a_dead_layer_is_not_judged_further() -> None:
    told = judge_filters(EVEN | {"dead filters": 1.0, "largest filter": 9.0}, EVEN, EVEN, range(8), 8, 7, 2, True)
    assert told["dead filters"][1].startswith("8 of 8 filters are dead (0, 1, 2, 3, 4, 5, …)")
    assert told["largest filter"] == (False, "")
    assert set(judge_filters(EVEN, EVEN, EVEN, [], 8, 7, 2, False).values()) == {(False, "untrained: not judged")}
