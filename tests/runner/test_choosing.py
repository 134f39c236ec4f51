"""Which analyses a run makes: by name, by effort, with the sizes of that effort unless the settings name one."""

from typing import Any

import pytest

from microtome import catalog
from microtome.errors import BadOption, UnknownName
from microtome.runner.choosing import choose_analyses, quick_version
from microtome.workload import EFFORTS


def chosen(*words: Any, **more: Any) -> list[str]:
    return [analysis.name() for analysis in choose_analyses(*words, **more)[0]]


def test_each_effort_makes_more_and_names_what_it_leaves_out() -> None:
    every = set(catalog.analysis_entries())
    before: set[str] = set()
    for effort in EFFORTS:
        analyses, failed, later = choose_analyses((), (), {}, effort)
        names = {analysis.name() for analysis in analyses}
        assert before < names or effort == "full"
        assert not failed and names | set(later) == every and not names & set(later)
        before = names
    assert before == every
    reason = choose_analyses((), (), {}, "quick")[2]["occlusion"]
    assert reason.startswith("the quick effort leaves it out; measure it with effort='") and "only=['occlusion']" in reason


def test_named_analyses_are_made_at_any_effort_the_most_telling_first() -> None:
    assert chosen(("occlusion", "weights", "similarity"), ("weights",), {}, "quick") == ["similarity", "occlusion"]
    ranks = [analysis.rank for analysis in choose_analyses((), (), {}, "full")[0]]
    assert ranks == sorted(ranks)


def test_sizes_are_those_of_the_effort_unless_the_settings_name_one() -> None:
    def count(effort: Any, **settings: Any) -> int:
        return choose_analyses(("occlusion",), (), {"occlusion": settings}, effort)[0][0].options()["count"]

    assert [count(effort) for effort in EFFORTS] == [1, 2, 6]
    assert count("full", count="4") == 4


def test_the_quick_version_of_an_analysis_that_has_none_is_nothing() -> None:
    (occlusion, weights) = (choose_analyses((name,), (), {})[0][0] for name in ("occlusion", "weights"))
    quick = quick_version(occlusion, {})
    assert quick is not None and quick.options() == occlusion.options() | {"count": 1}
    assert quick_version(occlusion, {"occlusion": {"count": 3}}) is None
    assert quick_version(weights, {}) is None


def test_wrong_names_and_values_are_told_and_a_plug_in_that_breaks_is_handed_back(monkeypatch: pytest.MonkeyPatch) -> None:
    for words in (("occlusoin",), (), {}), ((), ("occlusoin",), {}), ((), (), {"occlusoin": {}}):
        with pytest.raises(UnknownName, match="Did you mean 'occlusion'"):
            choose_analyses(*words)
    with pytest.raises(BadOption):
        choose_analyses(("occlusion",), (), {"occlusion": {"count": 0}})

    def broken(entry: object) -> None:
        raise ImportError("no module named x")

    monkeypatch.setattr(type(catalog.analysis_entry("weights")), "load", broken)
    analyses, ((name, error),), _ = choose_analyses(("weights",), (), {})
    assert analyses == [] and name == "weights" and str(error) == "no module named x"
