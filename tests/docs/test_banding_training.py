"""The page on banding by training: its rules are those of the code, its tables are written from the committed results."""

import json
import sys
import tomllib
from typing import Any

import numpy as np
import pytest
from docs_reading import DOCS

from microtome.numerics.weights.banding import BANDED_A

sys.path.insert(0, str(DOCS))
import banding_training as page

TEXT = page.PAGE.read_text(encoding="utf-8")
RESULTS: dict[str, Any] = json.loads(page.RESULTS.read_text(encoding="utf-8"))
SEEDS = page.SEEDS["horizon"]


def made_run(variant: str, seed: int, maps: float, twin: float = 0.0, spread: float = 0.02) -> dict[str, Any]:
    """A run whose last layer has this index, of 64 filters around it; raw is half of it."""
    filters = (maps + spread * np.linspace(-1, 1, 64)).tolist()
    return {
        "variant": variant,
        "seed": seed,
        "twin": twin,
        "maps": [[maps, maps - 0.05, maps + 0.05]],
        "filters_maps": filters,
        "filters_raw": [value / 2 for value in filters],
    }


def made_runs(indices: dict[str, float], **more: float) -> list[dict[str, Any]]:
    return [made_run(variant, seed, value, **more) for variant, value in indices.items() for seed in SEEDS]


def test_what_is_planted_holds_and_a_null_does_not() -> None:
    """By the rules in words: drops of half, of a tenth, and none."""
    planted = {page.BASELINE: 0.8, page.TURNED: -0.8, page.RANDOM: 0.05, page.FLAT: 0.4, page.ROWS: 0.72}
    assert page.verdicts("horizon", made_runs(planted)) == {
        "P1": "holds", "P2": "holds", "P3": "holds", "P4": "holds", "P5": "weakened",
    }  # fmt: skip
    null = {page.BASELINE: 0.5, page.TURNED: -0.5, page.RANDOM: 0.18, page.FLAT: 0.5, page.ROWS: 0.9}
    assert set(page.verdicts("horizon", made_runs(null)).values()) == {"does not hold"}
    assert page.verdicts("horizon", made_runs(planted, twin=-0.3))["P1"] == "does not hold"


def test_a_missing_seed_is_inconclusive_and_one_seed_decides_against() -> None:
    runs = made_runs({page.BASELINE: 0.8, page.FLAT: 0.4})
    assert page.verdicts("horizon", runs[:-1])["P4"] == "inconclusive"
    assert page.verdicts("horizon", runs)["P2"] == "inconclusive"
    assert page.verdicts("horizon", [made_run(page.BASELINE, SEEDS[0], 0.3), *runs[1:]])["P1"] == "does not hold"
    three = [made_run(variant, seed, 0.8 if variant == page.BASELINE else 0.4) for seed in page.SEEDS["photographs"]
             for variant in (page.BASELINE, page.PLAIN)]  # fmt: skip
    assert page.verdicts("photographs", three)["P6"] == page.verdicts("photographs", three[:4])["P6"] == "holds"
    assert "P3" not in page.verdicts("photographs", three) and "P6" not in page.verdicts("horizon", runs)


def test_relative_drop() -> None:
    """Exact where filters do not vary; where they do, the interval is that of the delta method: both means have error s / √n."""
    assert page.relative_drop([0.3] * 30, [0.6] * 30) == pytest.approx((0.5, 0.5, 0.5))
    values = np.random.default_rng(1).normal(0, 0.1, (2, 400))
    drop = page.relative_drop(list(0.4 + values[0]), list(0.8 + values[1]))
    half = 1.96 * 0.1 / 20 / 0.8 * np.sqrt(1 + 0.5**2)
    assert (drop.high - drop.low) / 2 == pytest.approx(half, rel=0.1)


def test_the_rules_in_words_are_those_of_the_code() -> None:
    protocol = TEXT.split("## Protocol")[1].split("## Results")[0]
    assert f"lies above {BANDED_A}" in protocol and f"lies below -{BANDED_A}" in protocol
    assert f"untrained twins below {page.TWIN_LIMIT}" in protocol
    assert f"-{page.RANDOM_LIMIT} … {page.RANDOM_LIMIT}" in protocol
    assert f"by {page.DROP:.0%} on average" in protocol
    for name, seeds in page.SEEDS.items():
        definition = tomllib.loads((DOCS.parent / "experiments" / f"banding_{name}.toml").read_text(encoding="utf-8"))
        assert definition["seeds"] == list(seeds)
        assert {variant["name"] for variant in definition["variant"]} <= set(page.VARIANTS)
        assert ", ".join(map(str, seeds)) in protocol


def test_the_tables_are_written_from_the_results() -> None:
    said = TEXT.split("<!-- generated: results -->\n")[1].split("<!-- end of generated: results -->")[0]
    assert said == page.result_text(RESULTS), "run python docs/banding_training.py"
    for runs in RESULTS.values():
        for run in runs:  # two records of one number: the index is the mean over the filters
            for key in ("maps", "raw"):
                assert run[key][-1][0] == pytest.approx(np.mean(run[f"filters_{key}"]), abs=1e-3)


def test_the_figure_is_there_and_small() -> None:
    figure = DOCS / "figures" / page.FIGURE
    assert f"](figures/{figure.name})" in TEXT
    assert 2_000 < figure.stat().st_size <= 150_000
