"""The committed benchmark: a made-up file, its absence, and a damaged one."""

import json

import pytest

from microtome.analyses.compare.proof import (
    NO_BENCHMARK,
    benchmark_text,
    describe_record,
    most_trusted,
    parse_benchmark,
    tau_text,
)
from microtome.errors import FindingError


def made_up(**scores: tuple[float, float, float]) -> str:
    records = {
        name.replace("_", " "): {"tau_mean": tau, "tau_low": low, "tau_high": high, "regret_mean": 1.5, "tasks": 12}
        for name, (tau, low, high) in scores.items()
    }
    return json.dumps({"source": "docs/choice.md", "commit": "c", "date": "d", "tasks": {"generated": 10, "real": 2},
                       "candidates": 8, "scores": records})  # fmt: skip


MADE_UP = made_up(logme=(0.5, 0.2, 0.7), parc=(0.6, -0.1, 0.9), probe=(0.4, 0.1, 0.6))


def test_the_largest_tau_above_0_is_trusted() -> None:
    benchmark = parse_benchmark(MADE_UP)
    assert benchmark is not None and benchmark.tasks == 12 and benchmark.candidates == 8
    assert most_trusted(["parc", "logme", "probe"], benchmark) == "logme"
    assert most_trusted(["parc"], benchmark) == "" and most_trusted(["gbc", "probe"], benchmark) == "probe"
    assert tau_text(benchmark.scores["logme"]) == "0.500 [0.200, 0.700]"


def test_sentences() -> None:
    benchmark = parse_benchmark(MADE_UP)
    assert describe_record("probe", benchmark) == (
        "In the benchmark of docs/choice.md (12 tasks, 8 candidates), the order by probe agreed with the final one by a Kendall's tau of "
        "0.400 [0.100, 0.600], and its choice lost 1.50 points of accuracy."
    )
    assert "cannot decide alone" in describe_record("parc", benchmark)
    assert describe_record("gbc", benchmark) == "The benchmark of docs/choice.md did not measure how well the gbc chooses."


def test_without_a_file_nothing_is_claimed() -> None:
    assert parse_benchmark("") is None and most_trusted(["logme"], None) == ""
    assert describe_record("own head", None).endswith(f"{NO_BENCHMARK}.")


def test_a_damaged_file_is_one_sentence() -> None:
    for text in ("{", "[]", '{"scores": {}}', made_up(logme=(0.5, 0.2, 0.7)).replace("tau_low", "low")):
        with pytest.raises(FindingError, match="not what the benchmark writes"):
            parse_benchmark(text)


def test_the_file_that_is_committed_can_be_read_if_there_is_one() -> None:
    benchmark = parse_benchmark(benchmark_text())
    assert benchmark is None or all(-1 <= record.low <= record.tau <= record.high <= 1 for record in benchmark.scores.values())
