"""First layers beside each other: rows give the same numbers twice, and the numbers are those of the trained filters."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from experiments import stems as module
from experiments.stems import NETWORK, NUMBERS, STEMS, docs_page, result_table, run_stems
from microtome.analyses.frontend.wording import ABOVE_NYQUIST, MIDDLE_TO_EXTREMES
from microtome.training.zoo.data import SceneSeries, scene_series

DOCS = Path(__file__).resolve().parents[2] / "docs"
TINY = replace(NETWORK, epochs=1, count=16, batch=8)


@pytest.fixture(scope="module")
def few() -> SceneSeries:
    return scene_series(16, seed=77)


def above(weight: torch.Tensor, stride: int) -> float:
    """The slow twin: the share of each filter's energy at waves shorter than two cells of the next grid, by a plain sum of waves."""
    side, told = weight.shape[-1], []
    size = 64
    for one in weight.double().numpy():
        wave = np.abs(np.fft.fft2(one, s=(size, size))) ** 2
        power = wave.sum(0)
        at = np.abs(np.fft.fftfreq(size))
        out = (at[:, None] > 1 / (2 * stride)) | (at[None] > 1 / (2 * stride))
        told.append(power[out].sum() / power.sum())
    assert side in (7, 11)
    return float(np.mean(told))


def test_rows_give_the_same_numbers_twice_and_tell_of_the_filters_that_were_trained(
    few: SceneSeries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = (STEMS[0], STEMS[1], STEMS[4])
    monkeypatch.setattr(module, "SHOWN_LAYER", 20)
    one = run_stems(TINY, tmp_path / "one", 1, rows=rows, learn=few, judge=few, figures=tmp_path)
    assert run_stems(TINY, tmp_path / "two", 1, rows=rows, learn=few, judge=few) == one
    assert [row["macs"] for row in one["rows"]][0] < [row["macs"] for row in one["rows"]][1]  # a stride of 2 keeps more cells
    for row, made, stride in zip(one["rows"], rows, (4, 2, 4), strict=True):
        (file,) = (tmp_path / "one" / made.folder / "seed-0").glob("*.safetensors")
        filters = load_file(file)["features.conv1.weight"]
        # rings against squares of the same half side, on another grid: nearly the same share
        assert row["numbers"][0][NUMBERS.index(ABOVE_NYQUIST)] == pytest.approx(above(filters, stride), abs=0.1)
        assert 0 <= min(row["right"]) <= max(row["right"]) <= 16
    kept = load_file(next((tmp_path / "one" / STEMS[4].folder / "seed-0").glob("*.safetensors")))["features.conv1.weight"]
    assert float(kept.square().mean((1, 2, 3)).sqrt().max()) <= 0.05 + 1e-6
    drawn = {one.name for one in tmp_path.glob("*.png")}
    assert drawn == {f"stems_{name}{layer}.png" for name in ("alexnet_zf", "zfnet") for layer in ("", "_2")}


def test_the_table_by_hand() -> None:
    row = {"title": "7 x 7 / 2", "macs": 1.25e6, "right": [8, 12], "numbers": [[0.0, 0.5], [0.25, 2.0]], "twin": [0.0, 0.8]}
    told = result_table({"judged": 16, "measures": [ABOVE_NYQUIST, MIDDLE_TO_EXTREMES], "rows": [row]}).splitlines()[-1]
    assert told.startswith(
        "| 7 x 7 / 2 | 1.2 | 50.0 (28.0–72.0), 75.0 (50.5–89.8) | 0%, 25% (twin 0%) | 0.50, 2.00 (twin 0.80) |"
    )


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(module, "TEST_COUNT", 16)
    monkeypatch.setattr(module, "STEMS", STEMS[1:2])
    assert module.main(["--out", str(tmp_path), "--epochs", "1", "--count", "64", "--seeds", "1"]) == 0
    said = json.loads((tmp_path / "stems.json").read_text())
    assert [row["title"] for row in said["stems"]["rows"]] == ["7 x 7 / 2"]
    assert "| 7 x 7 / 2 |" in capsys.readouterr().out
    assert module.main(["--epochs", "1"]) == 2
    assert "Name --out DIR" in capsys.readouterr().err
    assert module.main(["--page", str(tmp_path / "stems.json")]) == 0
    assert capsys.readouterr().out == docs_page(said)


def test_the_page_says_what_was_measured() -> None:
    said = json.loads((DOCS / "stems.json").read_text(encoding="utf-8"))
    assert (DOCS / "experiments_stems.md").read_text(encoding="utf-8") == docs_page(said)
    found = said["stems"]
    assert (found["epochs"], found["count"]) == (NETWORK.epochs, NETWORK.count)
    assert [row["title"] for row in found["rows"]] == [one.title for one in STEMS]
    assert all(
        (DOCS / "figures" / f"stems_{name}{layer}.png").is_file() for name in ("alexnet_zf", "zfnet") for layer in ("", "_2")
    )
