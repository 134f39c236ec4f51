"""Plans by arithmetic: what is first, what a scan shares, what a budget makes smaller and leaves out."""

from dataclasses import replace
from typing import Any, cast

import pytest

import microtome as mt
from conftest import tiny_net
from microtome.analyses.cost.cost import Cost
from microtome.analyses.occlusion.occlusion import Occlusion
from microtome.analyses.redundancy import Redundancy
from microtome.analyses.similarity import Similarity
from microtome.analyses.weights.weights import Weights
from microtome.analysis import Analysis
from microtome.planning.pilot import Pilot
from microtome.planning.plan import OPENING, SCAN, WRITING, Candidate, Sizes, images_for_twins, is_first, large_sizes, make_plan
from microtome.runner.choosing import quick_version
from microtome.scan import Pace
from microtome.workload import Workload

PILOT = Pilot(forward=0.1, backward=0.3, twin=2.0, image=1e6, graph=5e6, weights=4e7)
PACE = Pace(batch=16)


class Fixed:
    """Stands for an analysis of known work."""

    def __init__(self, name: str, rank: int, work: Workload) -> None:
        self._name, self.rank, self._work, self.with_twin = name, rank, work, False

    def name(self) -> str:
        return self._name

    def workload(self, specimen: Any, images: Any) -> Workload:
        return self._work


def candidate(*due: Any, name: str = "a") -> Candidate:
    net = mt.open(tiny_net(), recipe={"size": 32})
    object.__setattr__(net, "name", name)
    return Candidate(net, PILOT, cast("tuple[Analysis, ...]", due))


def test_seconds_and_bytes_by_hand() -> None:
    work = Workload(forward=20, backward=10, twins=2, seconds=1.5)
    plan = make_plan([candidate(Fixed("one", 5, work))], None, PACE)
    (row,) = plan.rows
    assert row.seconds == pytest.approx(20 * 0.1 + 10 * 0.3 + 2 * 2.0 + 1.5)
    assert row.bytes == 16 * 5e6 + 4e7  # images of a batch with gradients, and a twin's weights
    assert plan.seconds == pytest.approx(OPENING + WRITING + row.seconds)
    assert plan.of("one") == row.seconds
    assert plan.of("another") == 0


def test_what_only_watches_shares_one_scan_and_its_twins() -> None:
    images = mt.Images.scenes(100, size=32, seed=1)
    plan = make_plan([candidate(Similarity(), Redundancy(), Weights())], images, PACE)
    scan = 100 * 0.1 + 5 * 64 * 0.1 + 5 * 2.0  # the images, 64 of them on each of five twins, and making these
    assert plan.of(SCAN) == pytest.approx(scan)
    assert plan.of("weights") < 5 * 2.0  # its twins are there already
    alone = make_plan([candidate(Weights())], images, PACE)
    assert alone.of("weights") == pytest.approx(plan.of("weights") + 5 * 2.0)


def test_a_budget_makes_the_least_telling_smaller_then_leaves_it_out() -> None:
    def smaller(analysis: Any) -> Any:
        return None if analysis.name() == "first" else Fixed(analysis.name(), analysis.rank, Workload(seconds=4))

    due = [
        Fixed("first", 1, Workload(seconds=10)),
        Fixed("second", 30, Workload(seconds=20)),
        Fixed("third", 40, Workload(seconds=30)),
    ]
    fixed = OPENING + WRITING
    whole = make_plan([candidate(*due)], None, PACE, fixed + 60, smaller)
    assert (whole.quick, dict(whole.left_out)) == ((), {})
    less = make_plan([candidate(*due)], None, PACE, fixed + 34, smaller)
    assert (less.quick, dict(less.left_out)) == (("third",), {})
    least = make_plan([candidate(*due)], None, PACE, fixed + 15, smaller)
    assert least.quick == ("third", "second")
    assert list(least.left_out) == ["third"]
    assert "would take about 4 s and the budget is 24 s" in least.left_out["third"]
    nothing = make_plan([candidate(*due)], None, PACE, 1.0, smaller)
    assert [row.analysis for row in nothing.rows] == ["first"]  # the most telling one stays


def test_all_networks_are_treated_alike() -> None:
    dear, cheap = Fixed("cam", 4, Workload(seconds=50)), Fixed("cam", 4, Workload(seconds=1))
    kept = Fixed("cost", 3, Workload(seconds=1))
    plan = make_plan([candidate(dear, kept), candidate(cheap, kept, name="b")], None, PACE, 20.0)
    assert {row.analysis for row in plan.rows} == {"cost"}
    assert list(plan.left_out) == ["cam"]


def test_the_first_stage_is_what_tells_most_and_what_only_watches() -> None:
    assert is_first(Cost())
    assert is_first(Similarity())
    assert not is_first(Occlusion())


def test_quick_versions_leave_what_the_user_named() -> None:
    quick = quick_version(Occlusion(), {})
    assert quick is not None
    assert (Occlusion().options()["count"], quick.options()["count"]) == (2, 1)
    assert quick_version(quick, {}) is None
    assert quick_version(Occlusion(count=5), {"occlusion": {"count": 5}}) is None


def test_large_networks_take_quick_sizes_but_lose_no_analysis() -> None:
    def smaller(analysis: Any) -> Any:
        return None if analysis.name() == "first" else Fixed(analysis.name(), analysis.rank, Workload(seconds=4))

    due = [Fixed("first", 1, Workload(seconds=10)), Fixed("second", 30, Workload(seconds=20))]
    third = Fixed("third", 40, Workload(seconds=30))
    fixed = OPENING + WRITING

    def sizes(limit: float, most: float = 1e9) -> Sizes:
        return large_sizes([candidate(*due, third)], None, (limit, most), smaller, None)

    assert sizes(fixed + 60) == Sizes(twin_images=60)
    assert sizes(fixed + 59).quick == ("third",)
    assert sizes(1.0).quick == ("third", "second")
    assert not sizes(1.0).left_out


def test_the_largest_networks_lose_twins_then_analyses() -> None:
    """Ten analyses of 10 s and a scan of all twins: what is left fits the second limit, and the most telling one stays."""
    due = [Fixed(f"number{rank}", rank, Workload(seconds=10)) for rank in range(1, 11)]
    fixed = OPENING + WRITING
    sizes = large_sizes([candidate(*due)], None, (1.0, fixed + 65), lambda analysis: None, 3)
    assert sizes.twins == 3
    assert list(sizes.left_out) == ["number10", "number9", "number8", "number7"]
    assert "10 s for a network of this size" in sizes.left_out["number10"]
    assert list(large_sizes([candidate(*due)], None, (1.0, 0.0), lambda analysis: None, 3).left_out) == [
        f"number{rank}" for rank in range(10, 1, -1)
    ]


def test_fewer_twins_before_analyses_are_left_out() -> None:
    """A scan with five twins of 64 images takes 0.1 · (100 + 5 · 60) s + 10 s; with three of 64 it fits."""
    images = mt.Images.scenes(100)
    watching = Redundancy()
    seconds = {count: OPENING + WRITING + 0.1 * (100 + count * few) + 2.0 * count for count, few in ((5, 60), (3, 64))}
    reach = seconds[3] + watching.workload(candidate().specimen, images).seconds + 0.5
    sizes = large_sizes([candidate(watching)], images, (1.0, reach), lambda analysis: None, 3)
    assert (sizes.twins, dict(sizes.left_out)) == (3, {})


@pytest.mark.parametrize(("forward", "twins", "images"), [(0.001, 5, 64), (0.1, 5, 60), (0.5, 5, 12), (4.0, 3, 8)])
def test_twins_of_large_networks_see_fewer_images(forward: float, twins: int, images: int) -> None:
    """As many as take 30 s for all twins, from 8 to 64."""
    assert images_for_twins([Pilot(0.001, 0.1, 1.0, 1.0, 1.0, 1.0), replace(PILOT, forward=forward)], twins) == images
