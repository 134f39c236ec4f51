"""Stages, interrupts and full memory: what is measured when, and what is left when something ends the run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import microtome as mt
from microtome.analyses.invariance.invariance import Invariance
from microtome.analyses.similarity import Similarity
from microtome.analyses.weights.weights import Weights
from microtome.planning.plan import RunPlan
from microtome.runner import Event, analyze
from microtome.runner.run import is_memory_error
from microtome.scan import Pace
from microtome.store import Store

PACE = Pace(batch=8, device="cpu")


def pics() -> mt.Images:
    return mt.Images.scenes(24, seed=5, size=32)


def net(tiny: Callable[..., nn.Module], seed: int = 0) -> mt.Specimen:
    return mt.open(tiny(seed=seed), recipe={"size": 32})


def run_of(root: Path) -> dict[str, Any]:
    return json.loads((root / "run.json").read_text(encoding="utf-8"))


def test_what_tells_most_is_measured_on_all_networks_before_the_rest(tiny: Callable[..., nn.Module], tmp_path: Path) -> None:
    events: list[tuple[str, str]] = []
    reports: list[set[str]] = []

    def hear(event: Event) -> None:
        if event.kind == "measured":
            events.append((event.specimen, event.analysis))

    def finished(root: Path) -> None:
        reports.append({place.split("/")[1] for place in run_of(root)["findings"]})

    outcome = analyze(
        [net(tiny), net(tiny, 1)], pics(), tmp_path, only=["erf", "weights", "similarity", "compare"], pace=PACE, listener=hear,
        finished=finished, settings={"erf": {"count": 2}},
    )  # fmt: skip
    assert not outcome.failed
    order = [analysis for _, analysis in events]
    assert order.index("compare") < order.index("erf")
    assert order[:4] == ["similarity", "weights", "similarity", "weights"]
    assert reports[0] == {"similarity", "weights", "compare"}
    assert reports[-1] == {"similarity", "weights", "compare", "erf"}


def test_an_interrupt_leaves_a_true_run_file(
    tiny: Callable[..., nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*given: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(Invariance, "measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        analyze([net(tiny)], pics(), tmp_path, only=["invariance", "weights", "compare"], pace=PACE)
    assert {place.split("/")[1] for place in run_of(tmp_path)["findings"]} == {"weights", "compare"}


def test_full_memory_halves_the_batch_until_it_fits(
    tiny: Callable[..., nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []
    measure = Invariance.measure

    def full(self: Any, specimen: Any, images: Any, pace: Pace) -> Any:
        tried.append(pace.batch)
        if pace.batch > 2:
            raise RuntimeError(
                "[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: not enough memory: you tried to allocate …"
            )
        return measure(self, specimen, images, pace)

    monkeypatch.setattr(Invariance, "measure", full)
    events: list[Event] = []
    outcome = analyze(
        [net(tiny)],
        pics(),
        tmp_path,
        only=["invariance"],
        pace=PACE,
        settings={"invariance": {"count": 4}},
        listener=events.append,
    )
    assert tried == [8, 4, 2]
    assert not outcome.failed
    assert [event.text for event in events if event.kind == "smaller"] == [
        "memory ran out with 8 images at once", "memory ran out with 4 images at once",
    ]  # fmt: skip


def test_full_memory_in_the_scan_halves_it_too(
    tiny: Callable[..., nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    add = Similarity.add

    def full(self: Any, specimen: Any, tally: Any, batch: Any, *rest: Any) -> None:
        seen.append(len(batch.index))
        if len(batch.index) > 4:
            raise MemoryError
        add(self, specimen, tally, batch, *rest)

    monkeypatch.setattr(Similarity, "add", full)
    outcome = analyze([net(tiny)], pics(), tmp_path, only=["similarity"], pace=PACE)
    assert not outcome.failed
    assert max(seen[1:]) == 4
    assert outcome.findings["Tiny", "similarity"]["cka"].shape


def test_memory_that_is_full_with_one_image_is_a_failure_in_a_sentence(
    tiny: Callable[..., nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(Weights, "measure", full)
    outcome = analyze([net(tiny)], pics(), tmp_path, only=["weights"], pace=Pace(batch=1, device="cpu"))
    (failure,) = outcome.failed
    assert failure["analysis"] == "weights"
    assert failure["reason"].startswith("memory ran out with one image at once")


def test_errors_of_full_memory() -> None:
    assert is_memory_error(MemoryError())
    assert is_memory_error(torch.OutOfMemoryError("CUDA out of memory."))
    assert is_memory_error(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."))
    assert not is_memory_error(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_the_plan_is_told_first_and_a_budget_is_kept(tiny: Callable[..., nn.Module], tmp_path: Path) -> None:
    plans: list[RunPlan] = []
    analyze(
        [net(tiny)],
        pics(),
        tmp_path,
        only=["weights", "invariance"],
        pace=PACE,
        announce=plans.append,
        settings={"invariance": {"count": 2}},
    )
    assert {row.analysis for row in plans[0].rows} == {"weights", "invariance"}
    outcome = analyze(
        [net(tiny, 3)], pics(), tmp_path, only=["weights", "invariance"], pace=PACE, announce=plans.append, budget=0.5
    )
    assert set(plans[1].left_out) == {"invariance"}
    assert ("Tiny", "weights") in outcome.findings
    assert [each["analysis"] for each in outcome.skipped] == ["invariance"]


def test_quick_effort_leaves_out_what_takes_long_and_takes_fewer(tiny: Callable[..., nn.Module], tmp_path: Path) -> None:
    events: list[Event] = []
    outcome = analyze([net(tiny)], pics(), tmp_path, effort="quick", pace=PACE, listener=events.append)
    left = {each["analysis"] for each in outcome.skipped if "quick effort" in each["reason"]}
    assert {"invariance", "occlusion", "banding"} <= left
    assert not left & {name for _, name in outcome.findings}
    told = [event.text for event in events if "quick effort" in event.text]
    assert len(told) == 1 and "all with --effort full" in told[0].replace("effort='full'", "--effort full")
    assert outcome.findings["Tiny", "cost"].options["batch"] == 4
    assert outcome.findings["Tiny", "weights"].origin["twins"]["count"] == 3


def test_a_network_is_opened_once_where_it_fits_and_failures_are_told_once(
    tiny: Callable[..., nn.Module], tmp_path: Path
) -> None:
    opened: list[str] = []

    def good() -> mt.Specimen:
        opened.append("good")
        return net(tiny)

    def bad() -> mt.Specimen:
        opened.append("bad")
        raise mt.MicrotomeError("the file is damaged")

    outcome = analyze([good, bad], pics(), tmp_path, only=["weights", "erf"], pace=PACE, settings={"erf": {"count": 2}})
    assert opened == ["good", "bad"]
    assert [each["reason"] for each in outcome.failed] == ["the file is damaged"]
    assert len(Store.create(tmp_path).current()) == 2


def test_each_analysis_is_asked_once_whether_it_applies(
    tiny: Callable[..., nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    refusal = Invariance.refusal

    def counted(self: Any, specimen: Any, images: Any) -> str:
        asked.append(specimen.name)
        return refusal(self, specimen, images)

    monkeypatch.setattr(Invariance, "refusal", counted)
    outcome = analyze(
        [net(tiny), net(tiny, 1)], pics(), tmp_path, only=["invariance"], pace=PACE, settings={"invariance": {"count": 2}},
        announce=lambda plan: None,
    )  # fmt: skip
    assert not outcome.failed
    assert asked == ["Tiny", "Tiny (2)"]


def test_one_comparison_is_kept_for_each_stage(tiny: Callable[..., nn.Module], tmp_path: Path) -> None:
    only = ["weights", "erf", "compare"]
    analyze([net(tiny), net(tiny, 1), net(tiny, 2)], pics(), tmp_path, only=only, pace=PACE, settings={"erf": {"count": 2}})
    assert len(list(tmp_path.glob("*/compare/*/finding.json"))) == 2


def test_cam_takes_the_kind_that_faithfulness_found_on_the_same_images(tiny: Callable[..., nn.Module], tmp_path: Path) -> None:
    few = {"kinds": "hirescam,layercam", "at": "blocks.1", "repeats": 1, "cascade": 2, "count": 6}
    settings = {"faithfulness": few, "cam": {"kind": "best", "at": "blocks.1", "count": 2}}
    first = mt.analyze([net(tiny)], pics(), tmp_path, only=["faithfulness"], settings=settings, twins=0)
    (known,) = first.findings.values()
    (shown,) = mt.analyze([net(tiny)], pics(), tmp_path, only=["cam"], settings=settings, twins=0).findings.values()
    assert shown.facts["kind"] == known.facts["titles"][known.facts["best"]]
    assert shown.facts["choice"] == "the most faithful of 2 kinds on 6 of these images (as faithfulness found)"
    outcome = mt.analyze([net(tiny)], pics().take(list(range(8))), tmp_path, only=["cam"], settings=settings, twins=0)
    assert outcome.failed == [] and outcome.skipped == []
    others = outcome.findings
    assert [finding.facts["choice"].endswith("(measured here)") for finding in others.values()] == [True]
