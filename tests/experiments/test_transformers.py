"""A transformer and its edited selves: equal first weights and budgets, contrast by hand, invariance after training, the page."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from experiments import transformers
from experiments.transformers import (
    CONTRAST_MODES,
    FACTORS,
    VARIANTS,
    Budget,
    change_contrast,
    count_correct,
    docs_page,
    easy_scenes,
    run_experiment,
)
from microtome import networks
from microtome.training.zoo.data import SceneSeries
from microtome.training.zoo.loop import fresh_network, normalise
from microtome.training.zoo.recipes import zoo_recipe

DOCS = Path(__file__).resolve().parents[2] / "docs"
TINY = Budget(epochs=1, count=32, judged=24, seeds=1)


@pytest.fixture(scope="module")
def few() -> SceneSeries:
    return easy_scenes(32, seed=77)


def test_variants_begin_with_the_weights_of_the_plain_network(few: SceneSeries) -> None:
    """But for the projection's bias, which a norm of tokens takes; decorrelated patches are white on what they were made from."""
    some = normalise(torch.from_numpy(few.pixels))
    plain = fresh_network(TINY.recipe((), 0), some).state_dict()
    for edits in VARIANTS[1:]:
        net = fresh_network(TINY.recipe(edits, 0), some)
        assert net.training
        own = {
            name.replace(".proj.conv.", ".proj.").replace(".attn.attn.", ".attn."): one
            for name, one in net.state_dict().items()
        }
        shared = set(plain) & set(own)
        assert len(set(plain) - shared) == (edits == ("prelayernorm",))
        assert all(torch.equal(plain[name], own[name]) for name in shared)
    other = fresh_network(TINY.recipe((), 1), some).state_dict()
    assert any(not torch.equal(plain[name], other[name]) for name in plain)
    assert not torch.equal(
        fresh_network(TINY.recipe((), 0)).state_dict()["patch_embed.proj.weight"], plain["patch_embed.proj.weight"]
    )


def test_recipes_without_edits_say_what_they_always_said() -> None:
    said = zoo_recipe("mini_deit").json()
    assert "edits" not in said and "decorrelated" not in said
    assert networks.weights_card("mini_deit")["recipe"].items() <= said.items()
    assert TINY.recipe(("prelayernorm",), 0).json()["edits"] == ["prelayernorm"]


def test_contrast_by_hand() -> None:
    """Mean 0.5 and a pixel of 0.6: twice the contrast is 0.7, eight times is 1.3, or white as an image can show it."""
    mean, std = (torch.tensor(one)[:, None, None] for one in (networks.MEAN, networks.STD))
    x = ((torch.full((1, 3, 1, 1), 0.6) - mean) / std).expand(1, 3, 2, 2)

    def pixel(value: torch.Tensor) -> torch.Tensor:
        return value * std + mean

    for factor in (0.25, 1.0, 2.0, 8.0):
        wanted = (mean + factor * (0.6 - mean)).expand(1, 3, 2, 2)
        torch.testing.assert_close(pixel(change_contrast(x, factor, "free")), wanted)
        torch.testing.assert_close(pixel(change_contrast(x, factor, "clipped")), wanted.clamp(0, 1))


def test_an_experiment_gives_the_same_numbers_twice_and_normed_tokens_do_not_see_contrast(
    few: SceneSeries, tmp_path: Path
) -> None:
    chosen = [("prelayernorm",), ("gaussian_attention_bias",)]
    one = run_experiment(tmp_path / "one", TINY, variants=chosen, learn=few, judge=few)
    assert one == run_experiment(tmp_path / "two", TINY, variants=chosen, learn=few, judge=few)
    assert one == run_experiment(tmp_path / "one", TINY, variants=chosen, learn=few, judge=few)  # resumed
    (free,) = one["rows"][0]["right"]["free"]
    assert len(free) == len(FACTORS) and len(set(free)) == 1
    plan = TINY.recipe(("prelayernorm",), 0)
    net = fresh_network(plan).eval()
    net.load_state_dict(load_file(tmp_path / "one" / "prelayernorm" / "seed-0" / "mini_deit.safetensors"))
    x = normalise(torch.from_numpy(few.pixels[:4]))
    with torch.no_grad():
        torch.testing.assert_close(net(8 * x), net(x), rtol=0, atol=1e-4)
    assert count_correct(net, few, 1.0, "free") == free[0]
    plain, hill = (
        sum(p.numel() for p in fresh_network(TINY.recipe(edits, 0)).parameters())
        for edits in ((), ("gaussian_attention_bias",))
    )
    assert hill - plain == 10  # A and σ of five blocks; the last one's patches are not read


def test_the_command_trains_judges_and_writes(
    few: SceneSeries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(transformers, "easy_scenes", lambda count, seed: few)
    words = ["--out", str(tmp_path), "--epochs", "1", "--count", "32", "--judged", "32", "--seeds", "1"]
    assert transformers.main(words) == 0
    assert "| `prelayernorm` | 267,786 |" in capsys.readouterr().out
    said = json.loads((tmp_path / "transformers.json").read_text())
    assert [tuple(row["edits"]) for row in said["transformers"]["rows"]] == list(VARIANTS)
    assert transformers.main(["--page", str(tmp_path / "transformers.json")]) == 0
    assert "1 epochs over 32 easy scenes" in capsys.readouterr().out
    assert transformers.main(["--epochs", "1"]) == 2
    assert "--out DIR" in capsys.readouterr().err


def test_the_page_says_what_was_measured_and_what_it_says_is_so() -> None:
    said = json.loads((DOCS / "experiments_transformers.json").read_text(encoding="utf-8"))
    assert (DOCS / "experiments_transformers.md").read_text(encoding="utf-8") == docs_page(said)
    found = said["transformers"]
    shares = {
        tuple(row["edits"]): {way: np.array(row["right"][way]) / found["judged"] for way in CONTRAST_MODES}
        for row in found["rows"]
    }
    assert set(shares) == set(VARIANTS) and found["seeds"] == 2
    plain, tokens, pixels, hill = (shares[edits]["free"] for edits in VARIANTS)
    quarter, usual, four, eight = (found["factors"].index(one) for one in (0.25, 1.0, 4.0, 8.0))
    assert (tokens == tokens[:, :1]).all() and np.ptp(pixels, axis=1).max() < 1.5 / found["judged"]  # one number in a row
    for one in (plain, hill):
        assert (one[:, four] < 0.5 * one[:, usual]).all() and (one[:, quarter] < 0.25 * one[:, usual]).all()
    for one in shares.values():  # clipped images have lost something
        assert (one["clipped"][:, eight] < one["clipped"][:, usual]).all()
    normed = np.concatenate([tokens[:, usual], pixels[:, usual]])
    assert normed.min() < plain[:, usual].min() and normed.max() > plain[:, usual].max()  # below and above
    assert np.ptp(plain[:, usual]) > abs(hill[:, usual].mean() - plain[:, usual].mean())  # not told apart
    for row in found["rows"]:
        net = fresh_network(Budget().recipe(tuple(row["edits"]), 0))
        assert sum(one.numel() for one in net.parameters()) == row["parameters"]
