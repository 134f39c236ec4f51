"""Recommendations within limits, by weights, by scores and by priors, from findings made by hand."""

import json
from pathlib import Path

import numpy as np
import pytest

from microtome import testing
from microtome.analyses.compare import compare as compare_module
from microtome.analyses.compare.compare import Compare
from microtome.errors import BadOption, UnknownName
from microtome.finding import Finding, array
from microtome.key_numbers import KeyNumber

COUNT = 400


def origin(name: str, trained: bool = True, classes: tuple[str, ...] | None = ("x", "y")) -> dict[str, object]:
    images = {"digest": "d", "count": COUNT, "classes": None if classes is None else list(classes)}
    return {"specimen": {"name": name, "trained": trained, "family": "f"}, "images": images, "key": name}


def accuracy(name: str, right: int, shift: int = 0) -> Finding:
    correct, value = np.roll(np.arange(COUNT) < right, shift).astype(np.float64), right / COUNT
    number = KeyNumber(name="top-1 accuracy", value=value, unit="fraction", low=value - 0.02, high=value + 0.02, baseline=0.5,
                       has_interval=True, better="higher")  # fmt: skip
    arrays = {"correct": array(correct, ("image",), "1"), "label": array(np.arange(COUNT) % 4, ("image",), "class number")}
    return Finding(analysis="accuracy", arrays=arrays, key_numbers=(number,), origin=origin(name))


def cost(name: str, milliseconds: float, parameters: float, classes: tuple[str, ...] | None = ("x", "y")) -> Finding:
    def time(kind: str) -> KeyNumber:
        return KeyNumber(name=kind, value=milliseconds, low=0.9 * milliseconds, high=1.1 * milliseconds, unit="ms", has_interval=True,
                         better="lower")  # fmt: skip

    numbers = (
        KeyNumber(name="parameters", value=parameters, better="lower"),
        KeyNumber(name="multiply-adds", value=1e7, unit="per image", better="lower"),
        time("latency of one image"),
        time("latency per image in a batch"),
        KeyNumber(name="memory peak", value=100.0, unit="MB", better="lower"),
    )
    return Finding(
        analysis="cost",
        arrays={"runs": array([1.0], ("rank",), "ms")},
        key_numbers=numbers,
        origin=origin(name, classes=classes),
    )


def three() -> list[Finding]:
    """a: 95%, 30 ms, 9 M; b: 90%, 10 ms, 3 M; c: 80%, 9 ms, 4 M."""
    return [
        accuracy("a", 380),
        cost("a", 30, 9e6),
        accuracy("b", 360),
        cost("b", 10, 3e6),
        accuracy("c", 320),
        cost("c", 9, 4e6),
    ]


def lawful(found: Finding, folder: Path) -> Finding:
    testing.check_finding(found, folder / "finding")
    return found


def test_limits_leave_networks_out(tmp_path: Path) -> None:
    found = lawful(Compare(max_latency="20ms", min_accuracy="0.7").of(three()), tmp_path)
    assert found.facts["choice"] == "b" and found.headline.endswith("the most accurate, and none is clearly cheaper.")
    assert np.isnan(found["rank"].sel(specimen="a").item()) and found["score"].sel(specimen="a").item() == 0.95
    assert found["limits"].sel(specimen="a").values.tolist()[0] == "missed: 30 ms [27, 33]"
    assert found["limits"].sel(specimen="b").values.tolist()[0] == "kept: 10 ms [9, 11]"
    assert any(line.startswith("Limit latency ≤ 20 ms, not kept or not shown: a (missed") for line in found.caveats)
    only = lawful(Compare(max_params="3.5M").of(three()), tmp_path)
    assert only.headline == "Choose b: the only network shown to keep all limits, 90.0% on 400 images."


def test_an_interval_over_the_limit_cannot_be_told(tmp_path: Path) -> None:
    """380 of 400 have a lower end of 91.8% over three networks, so 94% cannot be told and 91.5% is kept."""
    found = lawful(Compare(min_accuracy="94%").of(three()), tmp_path)
    assert found.facts["choice"] == ""
    assert found.headline.startswith("No network is shown to keep accuracy 94.0%; for a (95.0%), label about ")
    assert found.headline.endswith(" more images per class.")
    assert str(found["limits"].sel(specimen="a").values[0]).startswith("cannot be told on 400 images: 95.0% [")
    assert Compare(min_accuracy="91.5%").of(three()).facts["choice"] == "a"


def test_who_misses_least_is_named_with_by_how_much(tmp_path: Path) -> None:
    found = lawful(Compare(max_params="2M").of(three()), tmp_path)
    assert found.headline == "No network keeps all limits; b misses least: params 3 M, limit 2 M (50.0% above)."
    assert (
        Compare(max_latency="5ms", max_params="3.9M")
        .of(three())
        .headline.startswith("No network keeps all limits; c misses least")
    )
    lacking = lawful(Compare(max_latency="5ms").of([accuracy("a", 380), accuracy("b", 300)]), tmp_path)
    assert lacking.headline == "No recommendation: no network has all the limits measured, latency among them."


def test_weights_decide_and_their_regions_are_exact(tmp_path: Path) -> None:
    """Scaled over 15 points and log2(30/9) doublings; a and b are equal where w·(1 - u_b) = (1 - w)·l_b."""
    found = lawful(Compare(prefer=("accuracy=1", "latency=1")).of(three()), tmp_path)
    reach = np.log2(30 / 9)
    u, cheap = np.array([1, 2 / 3, 0]), np.array([0, np.log2(3) / reach, 1])
    np.testing.assert_allclose(found["utility"].values, (u + cheap) / 2)
    assert (found.facts["choice"] == "b" and found["rank"].values.tolist() == [3, 1, 2]) or found.facts["choice"] == "b"
    upper = cheap[1] / (cheap[1] + 1 - u[1])
    lower = (1 - cheap[1]) / (1 - cheap[1] + u[1])
    assert f"b stays first while accuracy weighs {lower:.1%} to {upper:.1%}; " in " ".join(found.caveats)
    assert found["first_network"].values.tolist()[:3] == ["c", "b", "a"]
    assert "by_weight_0" in found and found["first_by_weights"].sum().item() == pytest.approx(1)
    heavy = Compare(prefer=("accuracy=9", "latency=1")).of(three())
    assert heavy.facts["choice"] == "a"


def test_equal_sums_are_not_enough_evidence(tmp_path: Path) -> None:
    findings = [accuracy("a", 380), cost("a", 10, 9e6), accuracy("b", 374, 50), cost("b", 9, 9e6)]
    found = lawful(Compare(prefer=("latency=1",)).of(findings), tmp_path)
    assert found.headline.startswith("Not enough evidence between ") and found.facts["choice"] != ""


def test_a_criterion_that_nobody_measured(tmp_path: Path) -> None:
    found = lawful(Compare(prefer=("robustness=2",)).of(three()), tmp_path)
    assert found.facts["choice"] == ""
    assert found.headline.startswith("No recommendation by your weights: robustness is known for no two networks; ")


def test_dominated_networks_are_named_over_any_criteria() -> None:
    found = Compare(pareto=("accuracy", "params", "latency")).of([*three(), accuracy("d", 340), cost("d", 40, 9.5e6)])
    assert found["dominated_by"].sel(specimen="d").item() == "a, b"
    assert found["front"].values.tolist() == [True, True, True, False]
    assert any(line == "Dominated on accuracy, parameters, latency of one image: d by a, b." for line in found.caveats)
    assert found.facts["front criteria"] == ["accuracy", "params", "latency"]


def test_a_prior_is_shown_and_decides_only_alone(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("model,top1\na,70\nb,80\n")
    prior = str(tmp_path / "r.csv")
    measured = Compare(prior=prior).of(three())
    assert measured.facts["choice"] == "a"
    assert measured["table"].sel(specimen="b", criterion="top1 (prior) (fraction)").item() == pytest.approx(0.8)
    assert any("published results from r.csv" in line for line in measured.caveats)
    alone = lawful(Compare(prior=prior).of([cost("a", 1, 1, None), cost("b", 2, 2, None)]), tmp_path)
    assert alone.facts["choice"] == "b" and "by the prior r.csv alone" in alone.headline


def test_bad_words_are_refused_before_anything_is_read() -> None:
    for options in ({"max_latency": "20"}, {"max_params": "many"}, {"min_accuracy": "3"}, {"prefer": ("accuracy",)}):
        with pytest.raises(BadOption):
            Compare(**options)  # type: ignore[arg-type]
    for options in ({"prefer": ("acuracy=1",)}, {"pareto": ("latncy",)}):
        with pytest.raises(UnknownName, match="Did you mean"):
            Compare(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("classes", "words"), [(None, "the images have no labels"), (("only",), "all images are of one class, only")]
)
def test_images_that_no_accuracy_can_come_from(classes: tuple[str, ...] | None, words: str, tmp_path: Path) -> None:
    found = lawful(Compare().of([cost("a", 1, 1, classes), cost("b", 2, 2, classes)]), tmp_path)
    assert words in found.headline and not np.isnan(found["price"].values).any()


def transfer(name: str, logme: float) -> Finding:
    layers, measures = {"layer": ["z"]}, {"measure": ["LEEP", "NCE"]}
    arrays = {
        f"logme{end}": array([logme + shift], ("layer",), "nats", layers)
        for end, shift in (("", 0), ("_low", -0.1), ("_high", 0.1))
    }
    arrays |= {f"own_classes{end}": array([np.nan] * 2, ("measure",), "nats", measures) for end in ("", "_low", "_high")}
    return Finding(analysis="transfer", arrays=arrays, key_numbers=(KeyNumber(name="LogME", value=logme),), origin=origin(name))


def benchmark(low: float) -> str:
    record = {"tau_mean": 0.5, "tau_low": low, "tau_high": 0.7, "regret_mean": 1.0, "tasks": 12}
    return json.dumps(
        {"source": "docs/choice.md", "tasks": {"generated": 12, "real": 0}, "candidates": 8, "scores": {"logme": record}}
    )


def test_without_answers_the_trusted_score_decides_and_is_named_with_its_tau(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    findings = [transfer("a", 0.2), transfer("b", 0.9), cost("a", 1, 1), cost("b", 2, 2)]
    monkeypatch.setattr(compare_module, "benchmark_text", lambda: benchmark(0.2))
    found = lawful(Compare().of(findings), tmp_path)
    assert found.headline == "Choose b by logme, 0.900; in the benchmark its Kendall's tau 0.500 [0.200, 0.700]."
    assert found.facts["decided by"] == "logme"
    monkeypatch.setattr(compare_module, "benchmark_text", lambda: benchmark(-0.1))
    doubtful = lawful(Compare().of(findings), tmp_path)
    assert doubtful.facts["choice"] == "" and any("none of logme" in line for line in doubtful.caveats)
    monkeypatch.setattr(compare_module, "benchmark_text", lambda: "")
    absent = Compare().of(findings)
    assert absent.facts["choice"] == "" and any("no committed benchmark" in line for line in absent.caveats)


def test_a_found_benchmark_or_another_prior_makes_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare_module, "benchmark_text", lambda: "")
    assert Compare().extra_key() == ""
    monkeypatch.setattr(compare_module, "benchmark_text", lambda: benchmark(0.2))
    assert len(Compare().extra_key()) == 16
