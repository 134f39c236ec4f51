"""Targets other than a class score: closed forms of Grad-CAM for embeddings and for class maps, and cases without a gradient."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import microtome as mt
from microtome import testing
from microtome.analyses.cam import Cam
from microtome.errors import BadOption, UnknownName, Unmeasurable

PLAIN = {"size": (6, 6), "mean": (0.0,) * 3, "std": (1.0,) * 3, "crop": 1.0}
SIZE = 6


def colours(count: int, seed: int = 3, size: int = SIZE) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, size, size), generator=torch.Generator().manual_seed(seed)) / 255


class Embedder(nn.Module):
    """A layer of 4 maps, its mean over positions, and a linear embedding of 5 numbers, as long as they are or of length 1."""

    def __init__(self, unit: bool = False) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.maps = nn.Conv2d(3, 4, 1)
        self.embed = nn.Linear(4, 5, bias=False)
        self.norm = nn.LayerNorm(5, elementwise_affine=False) if unit else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.embed(self.maps(x).mean((2, 3))))


def closed_form(net: Embedder, x: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """relu(sum_k a_k A_k) with a = W^T (r - cos(e, r) e) / |e| / positions, r and e of length 1; in NumPy."""
    weight, bias = (value.detach().numpy().astype(np.float64) for value in (net.maps.weight[:, :, 0, 0], net.maps.bias))
    matrix = net.embed.weight.detach().numpy().astype(np.float64)
    activation = np.einsum("kc,ncij->nkij", weight, x) + bias[None, :, None, None]
    embedding = activation.mean((2, 3)) @ matrix.T
    length = np.linalg.norm(embedding, axis=1, keepdims=True)
    unit, wanted = embedding / length, reference / np.linalg.norm(reference, axis=1, keepdims=True)
    slope = (wanted - (unit * wanted).sum(1, keepdims=True) * unit) / length
    return np.maximum(np.einsum("nk,nkij->nij", slope @ matrix / SIZE**2, activation), 0)


def embeddings(net: nn.Module, x: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return net(x).double().numpy()


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_similarity_to_one_image_has_a_closed_form() -> None:
    x, net = colours(5), Embedder()
    finding = Cam(at="maps", only="0,1,2", target="embedding", reference="4")(mt.open(net, recipe=PLAIN), mt.Images.tensors(x))
    all_rows = embeddings(net, x)
    expected = closed_form(net, x[:3].double().numpy(), np.repeat(all_rows[4:], 3, 0))
    assert expected.max() > 0
    np.testing.assert_allclose(finding["heat/maps"].values, expected, atol=1e-7)
    np.testing.assert_allclose(finding["similarity"].values, unit(all_rows[:3]) @ unit(all_rows[4:])[0], atol=1e-6)
    assert finding["target"].values.tolist() == ["4"] * 3 and "predicted" not in finding
    assert finding.key("rank correlation with the mean of the images shown").at == "maps"


def test_similarity_to_a_class_leaves_the_image_itself_out() -> None:
    x, net = colours(6), Embedder()
    images = mt.Images.tensors(x, labels=[0, 0, 0, 1, 1, 1], classes=["cat", "dog"])
    options = {"at": "maps", "count": 6, "target": "embedding"}
    finding = Cam(**options, reference="class:cat")(mt.open(net, recipe=PLAIN), images)
    rows = unit(embeddings(net, x))
    total = rows[:3].sum(0)
    reference = np.stack([total - rows[place] if place < 3 else total for place in range(6)])
    np.testing.assert_allclose(finding["heat/maps"].values, closed_form(net, x.double().numpy(), reference), atol=1e-7)
    listed = Cam(**options, reference="0,1,2")(mt.open(net, recipe=PLAIN), images)
    np.testing.assert_array_equal(listed["heat/maps"].values, finding["heat/maps"].values)


def test_an_image_that_is_the_whole_reference_has_an_empty_map() -> None:
    x = colours(3)
    x[2] = x[0]  # a copy of it as well
    finding = Cam(at="maps", count=3, target="embedding", reference="0")(
        mt.open(Embedder(), recipe=PLAIN), mt.Images.tensors(x)
    )
    assert not finding["heat/maps"].values[[0, 2]].any()
    assert np.isnan(finding["similarity"].values[[0, 2]]).all()
    assert any("the whole reference" in line for line in finding.caveats)


def test_a_reference_from_a_file_and_an_embedding_of_constant_length(tmp_path: Path) -> None:
    scene = mt.Images.scenes(3, size=32)
    scene[2].picture.save(tmp_path / "apple.png")
    network = mt.open(Embedder(unit=True), recipe=PLAIN | {"size": 32})
    given = Cam(at="maps", only="0,1", target="embedding", reference=str(tmp_path / "apple.png"))
    by_place = Cam(at="maps", only="0,1", target="embedding", reference="2")
    np.testing.assert_allclose(given(network, scene)["heat"].values, by_place(network, scene)["heat"].values, atol=1e-9)
    before = given.key(network, scene, "cpu")
    scene[1].picture.save(tmp_path / "apple.png")
    assert Cam(**given.options()).key(network, scene, "cpu") != before


def test_the_embedding_of_a_classifier_is_the_input_of_its_head(net: mt.Specimen, pics: mt.Images) -> None:
    named = mt.open(net.net, recipe=net.recipe.json(), labels=[f"class {number}" for number in range(10)])
    x = net.recipe.normalise(torch.from_numpy(pics.pixels(net.recipe, [0, 1, 5])))
    with torch.no_grad():
        features = net.net.blocks(torch.relu(net.net.stem(x))).mean((2, 3))
    for specimen, expected, words in ((named, features, "input of head"), (net, net.net.head(features), "output")):
        finding = Cam(at="blocks.2", only="0,1", target="embedding", reference="5")(specimen, pics)
        rows = unit(expected.detach().double().numpy())
        np.testing.assert_allclose(finding["similarity"].values, rows[:2] @ rows[2], atol=1e-5)
        assert finding.facts["embedding"] == words


class Segmenter(nn.Module):
    """A layer of 4 maps and a 1x1 head of `classes` on them; the scores in a dictionary, as torchvision gives them."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.maps = nn.Conv2d(3, 4, 1)
        self.head = nn.Conv2d(4, classes, 1)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        scores = self.head(self.maps(x) - 0.3)
        return {"out": scores, "aux": scores * 0}


def region_map(net: Segmenter, x: torch.Tensor, output: int, region: np.ndarray) -> np.ndarray:
    """The gradient of the sum is w_ck in the region and 0 elsewhere, so the map is area(region) relu(sum_k w_ck A_k)."""
    with torch.no_grad():
        maps = net.maps(x).double().numpy()
    weight = net.head.weight[output, :, 0, 0].detach().double().numpy()
    return region.mean((1, 2))[:, None, None] * np.maximum(np.einsum("k,nkij->nij", weight, maps), 0)


@pytest.mark.parametrize("classes", [(), ("sky",), ("2",)])
def test_scores_of_a_class_over_its_region_have_a_closed_form(classes: tuple[str, ...]) -> None:
    x, net = colours(3), Segmenter()
    finding = Cam(at="maps", count=3, classes=classes)(
        mt.open(net, recipe=PLAIN, labels=["grass", "sky", "road"]), mt.Images.tensors(x)
    )
    with torch.no_grad():
        scores = net(x)["out"]
    predicted = scores.argmax(1).numpy()
    common = [int(np.bincount(one.ravel()).argmax()) for one in predicted]
    wanted = common if not classes else [{"sky": 1, "2": 2}[classes[0]]] * 3
    region = predicted == np.array(wanted)[:, None, None]
    expected = np.concatenate(
        [region_map(net, x[place : place + 1], output, region[place : place + 1]) for place, output in enumerate(wanted)]
    )
    np.testing.assert_allclose(finding["heat/maps"].values, expected, atol=1e-6)
    np.testing.assert_allclose(finding["region"].values, region.mean((1, 2)))
    chance = scores.double().softmax(1).numpy()
    for place, output in enumerate(wanted):
        probability = chance[place, output][region[place]].mean() if region[place].any() else np.nan
        np.testing.assert_allclose(finding["probability"].values[place], probability, atol=1e-6)
    assert finding["target"].values.tolist() == [["grass", "sky", "road"][output] for output in wanted]


def test_the_background_comes_last_and_a_class_that_is_nowhere_has_an_empty_map() -> None:
    net, x = Segmenter(), colours(2)
    with torch.no_grad():
        net.head.weight.zero_()
        net.head.weight[1, 0, 0, 0] = 2.0
        few = 2 * (net.maps(x)[:, 0] - 0.3).quantile(0.7)  # the sky is at three positions of ten
        net.head.bias.copy_(torch.tensor([few.item(), 0.0, -50.0]))
        predicted = net(x)["out"].argmax(1)
    specimen = mt.open(net, recipe=PLAIN, labels=["background", "sky", "road"])
    assert ((predicted == 0).flatten(1).sum(1) > SIZE**2 / 2).all() and (predicted == 1).flatten(1).any(1).all()
    finding = Cam(at="maps", count=2)(specimen, mt.Images.tensors(x))
    assert finding["target"].values.tolist() == finding["predicted"].values.tolist() == ["sky", "sky"]
    nowhere = Cam(at="maps", count=2, classes="road")(specimen, mt.Images.tensors(x))
    assert nowhere["empty"].values.all() and np.isnan(nowhere["probability"].values).all()
    assert any("the region of the target class has no position" in line for line in nowhere.caveats)
    assert nowhere.headline == "At maps no evidence for the target class in any of 2 maps."


def test_the_object_itself_as_region() -> None:
    x, net = colours(2), Segmenter()
    masks = torch.zeros(2, SIZE, SIZE, dtype=torch.uint8)
    masks[0, 1:3, 2:5], masks[1, 4:, :2] = 1, 1
    images = mt.Images.tensors(x, labels=[1, 2], classes=["grass", "sky", "road"], masks=masks)
    specimen = mt.open(net, recipe=PLAIN, labels=["grass", "sky", "road"])
    finding = Cam(at="maps", count=2, only="0,1", target="label")(specimen, images)
    expected = [region_map(net, x[place : place + 1], place + 1, masks[place : place + 1].numpy() > 0)[0] for place in range(2)]
    np.testing.assert_allclose(finding["heat/maps"].values, np.stack(expected), atol=1e-6)
    assert finding["target"].values.tolist() == ["sky", "road"]


def test_one_class_is_predicted_where_its_score_is_positive() -> None:
    x, net = colours(3), Segmenter(1)
    finding = Cam(at="maps", count=3)(mt.open(net, recipe=PLAIN), mt.Images.tensors(x))
    with torch.no_grad():
        region = (net(x)["out"][:, 0] > 0).numpy()
    np.testing.assert_allclose(finding["heat/maps"].values, region_map(net, x, 0, region), atol=1e-6)
    assert np.isnan(finding["class_correlation"].values).all()  # there is no other class


def test_what_is_missing_is_said_with_what_to_give(net: mt.Specimen, pics: mt.Images) -> None:
    embedder = mt.open(Embedder(), recipe=PLAIN)
    images = mt.Images.tensors(colours(3), labels=[0, 1, 0], classes=["cat", "dog"])
    for analysis, specimen, message in (
        (Cam(target="embedding"), embedder, "similarity to a reference; give one: reference='IMAGE'"),
        (Cam(reference="0"), net, "add target='embedding'"),
        (Cam(target="embedding", reference="0", classes="cat"), embedder, "write reference='class:NAME'"),
        (Cam(target="label"), mt.open(Segmenter(), recipe=PLAIN), "is the object's mask, and the images have none"),
    ):
        with pytest.raises(Unmeasurable, match=message):
            analysis(specimen, images)
    with pytest.raises(UnknownName, match=r"no class 'dgo'\. Did you mean 'dog'"):
        Cam(target="embedding", reference="class:dgo")(embedder, images)
    with pytest.raises(UnknownName, match="the reference '7' is no file, and there is no such image among the 3"):
        Cam(target="embedding", reference="7")(embedder, images)
    with pytest.raises(BadOption, match="it takes predicted, label, embedding"):
        Cam(target="embeding")  # type: ignore[arg-type]
    features = mt.open("timm:resnet18", weights=None, num_classes=0, recipe={"size": 64})
    with pytest.raises(Unmeasurable, match=r"it has no head.*or map the similarity to a reference image: target='embedding'"):
        Cam()(features, pics)


@pytest.mark.parametrize("kind", ["embedding", "segmentation"])
def test_law(kind: str, tmp_path: Path) -> None:
    images = mt.Images.scenes(12, seed=5, size=32)
    if kind == "embedding":
        network = mt.open(Embedder(), recipe=PLAIN | {"size": 32})
        analysis = Cam(at="maps", count=6, target="embedding", reference="3")
    else:
        network, analysis = mt.open("microtome:mini_deeplab"), Cam(count=6)
    finding = testing.check(analysis, network, images, tmp_path)
    assert len(finding["image"]) == 6
