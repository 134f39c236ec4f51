"""Concepts: a linear network by hand, captum's TCAV, random sets as concepts, untrained weights, refusals, and the laws."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import microtome as mt
from microtome import testing
from microtome.analyses.concepts import Concepts
from microtome.analyses.concepts.arrays import ABOVE, ALIKE, BELOW
from microtome.errors import Unmeasurable
from microtome.instruments.untrained_twins import NO_VERDICT
from microtome.scan import Pace

SIDE = 8
PLAIN = {"size": SIDE, "mean": (0.0,) * 3, "std": (1.0,) * 3, "crop": 1.0}
QUICK = {"counterparts": 4, "randoms": 12}


class RedLessBlue(nn.Module):
    """Class 0 scores the mean red less the mean blue, class 1 the negative."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1, bias=False)
        self.head = nn.Linear(3, 2, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.eye(3)[:, :, None, None])
            self.head.weight.copy_(torch.tensor([[1.0, 0.0, -1.0], [-1.0, 0.0, 1.0]]))

    def forward(self, x):
        return self.head(self.conv(x).mean((2, 3)))


def tinted(count: int, channel: int, seed: int) -> np.ndarray:
    """Noise images uint8 (image, row, col, rgb); those of a channel (not -1) with more of it."""
    draw = np.random.default_rng(seed)
    colour = draw.uniform(60, 140, (count, 1, 1, 3))
    if channel >= 0:
        colour[..., channel] += 90
    return (colour + draw.uniform(-20, 20, (count, SIDE, SIDE, 3))).clip(0, 255).astype(np.uint8)


def write_folder(folder: Path, pixels: np.ndarray, names: str = "{:03}.png") -> Path:
    folder.mkdir(parents=True)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / names.format(number))
    return folder


@pytest.fixture(scope="module")
def linear() -> mt.Specimen:
    return mt.open(RedLessBlue(), recipe=PLAIN, labels=["warm", "cold"])


@pytest.fixture(scope="module")
def colours() -> mt.Images:
    """Eighty images of no tint; half are labelled warm, half cold, whatever they show."""
    return mt.Images.tensors(tinted(80, -1, 0), labels=np.arange(80) % 2, classes=["warm", "cold"])


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> list[str]:
    root = tmp_path_factory.mktemp("concepts")
    return [str(write_folder(root / name, tinted(12, at, at + 1))) for at, name in enumerate(("red", "green", "blue"))]


@pytest.fixture(scope="module")
def finding(linear, colours, folders):
    return Concepts(concept=tuple(folders), classes="warm", at="conv", **QUICK)(linear, colours, twins=2)


def test_a_linear_score_by_hand(finding):
    assert finding["score"].sel(layer="conv").values[[0, 2]].tolist() == [1.0, 0.0]
    assert finding["verdict"].sel(layer="conv").values.tolist() == [ABOVE, ALIKE, BELOW]
    # The vectors are nearly those of the channels; the gradient is (1, 0, -1)/√2 at every position.
    assert finding["alignment"].sel(layer="conv").values == pytest.approx([2**-0.5, 0.0, -(2**-0.5)], abs=0.2)
    assert (finding["accuracy"].values >= 0.8).all()
    assert finding["random_accuracy"].values == pytest.approx(0.5, abs=0.15)


def test_the_other_class_is_the_mirror_image(linear, colours, folders):
    both = Concepts(concept=(folders[0],), classes="warm,cold", at="conv", **QUICK)(linear, colours, twins=2)
    assert both["score"].concept.values.tolist() == ["red for warm", "red for cold"]
    assert both["verdict"].values[:, 0].tolist() == [ABOVE, BELOW]
    assert both["p_adjusted"].values.max() == pytest.approx(max(both["p"].values.max(), 2 * both["p"].values.min()))


def test_random_images_as_a_concept_have_no_verdict_of_their_own(linear, colours, tmp_path):
    folder = write_folder(tmp_path / "nothing", tinted(12, -1, 77))
    finding = Concepts(concept=(str(folder),), classes="warm", at="conv", **QUICK)(linear, colours, twins=2)
    assert set(finding["verdict"].values.ravel()) <= {NO_VERDICT, ALIKE}
    assert "no verdict" in finding.headline or "distinguishable" in finding.headline


def test_images_of_one_colour_only_do_not_make_a_better_vector(linear, folders):
    same = mt.Images.tensors(np.full((60, SIDE, SIDE, 3), 99, np.uint8), labels=np.arange(60) % 2, classes=["warm", "cold"])
    finding = Concepts(concept=(folders[0],), classes="warm", at="conv", **QUICK)(linear, same, twins=2)
    assert finding["verdict"].values.tolist() == [[NO_VERDICT]]  # random concepts have no vector at all
    assert any("do not vary" in caveat for caveat in finding.caveats)


def test_equals_captums_tcav_with_the_same_vector(net, pics, tmp_path):
    pytest.importorskip("captum")
    from captum.concept import TCAV, Classifier, Concept

    from microtome.analyses.concepts.products import layer_products
    from microtome.analyses.concepts.scores import ConceptQuestion, score_examples
    from microtome.numerics.probes.concept_vectors import concept_vector

    class Ours(Classifier):
        def __init__(self):
            self.vectors = torch.zeros(0)

        def train_and_eval(self, dataloader, **_):
            parts = list(dataloader)
            x = torch.cat([part[0] for part in parts]).double().flatten(1).numpy()
            examples = torch.cat([part[1] for part in parts]).numpy() == 0
            vector = torch.from_numpy(concept_vector(x @ x.T, examples).coefficients @ x)
            self.vectors = torch.stack([vector, -vector])
            return {"accs": torch.tensor(1.0)}

        def weights(self):
            return self.vectors

        def classes(self):
            return [0, 1]

    names = ["stem", "blocks.1"]
    x = net.recipe.normalise(torch.from_numpy(pics.inputs(net.recipe)))
    data = [torch.utils.data.DataLoader(x[part].clone(), batch_size=5) for part in (slice(0, 10), slice(10, 20))]
    pair = [Concept(number, word, rows) for number, (word, rows) in enumerate(zip(("own", "other"), data, strict=True))]
    shown = pics.take(range(20, 40))
    products = layer_products(net, names, [pics.take(range(20))], dict.fromkeys(range(10), shown), Pace(device="cpu"))
    scores: list[float] = []
    for target in range(10):
        tcav = TCAV(net.net, names, classifier=Ours(), save_path=str(tmp_path / str(target)))
        theirs = tcav.interpret(x[20:], [pair], target=target)["0-1"]
        question = ConceptQuestion(np.arange(10), np.arange(10, 20), target, 2, 0)
        for name in names:
            own = score_examples(products[name], question)
            assert own.score == pytest.approx([float(theirs[name]["sign_count"][0])] * 2)
            scores.append(own.score[0])
    assert len(set(scores)) > 4  # something to agree on


def test_untrained_twins_are_not_aligned(finding):
    assert np.isfinite(finding["twin_score"].values).all()
    assert np.abs(finding["twin_alignment"].values).max() < np.abs(finding["alignment"].values).max()
    assert finding.key("TCAV score").baseline_name == "untrained twins"


def test_batches_and_file_names_change_nothing(linear, colours, folders, finding, tmp_path):
    renamed = [
        write_folder(tmp_path / Path(each).name, tinted(12, at, at + 1)[::-1], "z{:02}.png") for at, each in enumerate(folders)
    ]
    analysis = Concepts(concept=tuple(map(str, renamed)), classes="warm", at="conv", **QUICK)
    again = analysis(linear, colours.take(range(79, -1, -1)), Pace(batch=7), twins=2)
    for name in ("score", "alignment", "random_alignment", "accuracy", "p", "paper_p"):
        assert again[name].values == pytest.approx(finding[name].values, rel=1e-4, abs=1e-6), name
    assert analysis.extra_key() != Concepts(concept=(folders[0],)).extra_key() != ""


def test_examples_that_are_images_of_the_set_are_not_drawn_as_counterparts(linear, tmp_path):
    pixels = np.concatenate([tinted(12, 0, 1), tinted(80, -1, 0)])
    whole = mt.Images.folder(write_folder(tmp_path / "set", pixels), labels="none")
    folder = write_folder(tmp_path / "red", pixels[:12])
    finding = Concepts(concept=(str(folder),), classes="cold", at="conv", **QUICK)(linear, whole, twins=2)
    drawn, shown = finding.facts["pool"]["red"], finding.facts["class_images"]["cold"]
    assert drawn + shown == 80  # the twelve are all predicted warm
    assert any("predicted as it" in caveat for caveat in finding.caveats)


def test_a_wide_layer_is_pooled_and_says_so(linear, colours, folders, finding, monkeypatch):
    monkeypatch.setattr("microtome.analyses.concepts.products.MAX_FEATURES", 3 * SIDE * SIDE - 1)
    pooled = Concepts(concept=tuple(folders), classes="warm", at="conv", **QUICK)(linear, colours, twins=2)
    assert any("Averaged over positions" in caveat and "conv" in caveat for caveat in pooled.caveats)
    assert pooled["score"].values[[0, 2], 0].tolist() == [1.0, 0.0]
    assert not any("Averaged over positions" in caveat for caveat in finding.caveats)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "it needs example images of a concept"),
        ({"concept": "nowhere/"}, "nowhere"),
        ({"concept": "class:hot"}, "the images have no class 'hot'"),
        ({"concept": "class:warm", "classes": "warmer"}, "no class 'warmer'"),
        ({"concept": "class:warm,class:warm"}, "the same name"),
        (
            {"concept": "class:warm", "classes": "cold"},
            "0 images lie outside the concept 'warm' and the class 'cold'.* need 80",
        ),
    ],
)
def test_refusals(linear, colours, options, reason):
    with pytest.raises(Unmeasurable, match=reason) as error:
        Concepts(**options)(linear, colours)
    assert "\n" not in str(error.value)


def test_too_few_examples_and_no_class_image(linear, colours, tmp_path):
    folder = write_folder(tmp_path / "few", tinted(3, 0, 1))
    with pytest.raises(Unmeasurable, match="'few' has 3 example images, and a vector needs at least 5"):
        Concepts(concept=(str(folder),))(linear, colours)
    warm = mt.Images.tensors(tinted(30, 0, 1), labels=np.zeros(30, int), classes=["warm", "cold"])
    with pytest.raises(Unmeasurable, match="no image is of the class 'cold'"):
        Concepts(concept="class:warm", classes="cold", at="conv")(linear, warm)


def test_law(tiny, tmp_path):
    specimen = mt.open(tiny(), recipe={"size": 32, "mean": (0.5,) * 3, "std": (0.25,) * 3, "crop": 1.0})
    images = mt.Images.scenes(60, seed=5, size=32)
    found = testing.check(
        Concepts(concept="class:disc", classes="3", at="stem,blocks", counterparts=2, randoms=6), specimen, images, tmp_path
    )
    assert found.key_numbers[0].name == "TCAV score"
