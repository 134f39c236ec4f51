"""Trained weights and photographs, where they are: the counts are those of a plain PyTorch loop on the same files."""

import json
import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from microtome.opening.opening import open as open_specimen
from microtome.specimen import Specimen

DATA = Path(os.environ.get("MICROTOME_DATA", Path(__file__).parents[3] / "shared" / "data"))
pytestmark = pytest.mark.skipif(
    not (DATA / "MANIFEST.json").is_file(), reason=f"no trained networks in {DATA} (set MICROTOME_DATA)"
)


def right(net: Specimen, pictures: list[tuple[Path, int]]) -> int:
    """How many images are classified as labelled."""
    hits = 0
    for start in range(0, len(pictures), 40):
        part = pictures[start : start + 40]
        scores = net.run(torch.stack([net.recipe.tensor(Image.open(path)) for path, _ in part]))
        hits += int((scores.argmax(1) == torch.tensor([label for _, label in part])).sum())
    return hits


def photographs(net: Specimen) -> list[tuple[Path, int]]:
    assert net.wordnet is not None
    facts = json.loads((DATA / "images" / "imagenet_labels.json").read_text())
    files = {fact["wnid"]: net.wordnet.index(fact["wnid"]) for fact in facts}
    return [(path, files[path.name.split("_")[0]]) for path in sorted((DATA / "images" / "imagenet200").glob("*.JPEG"))]


def test_googlenet_through_a_file_of_factories() -> None:
    net = open_specimen(
        f"{DATA}/loaders/archs.py:bvlc_googlenet",
        weights=DATA / "safetensors" / "googlenet_bvlc.safetensors",
        labels="imagenet",
    )
    assert len(net.blocks) == 9
    assert net.family == "wider"
    # 157 of all 200 (README of the data), which is 31 of 40; a network fed wrongly gets a handful
    assert right(net, photographs(net)[::5]) >= 27


def test_squeezenet_of_torchvision() -> None:
    net = open_specimen("torchvision:squeezenet1_1", weights=DATA / "safetensors" / "squeezenet1_1_gluon.safetensors")
    assert abs(right(net, photographs(net)) - 134) <= 2  # of 200; README of the data


def test_cifar_resnet_through_a_module_in_the_working_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(DATA / "loaders")
    net = open_specimen(
        "archs:CifarResNet(depth=20, opt='A')",
        weights=DATA / "safetensors" / "cifar10_resnet20.safetensors",
        recipe={"size": 32, "crop": 1.0},
    )
    assert [block.name for block in net.blocks] == [f"layer{stage}.{block}" for stage in (1, 2, 3) for block in range(3)]
    folders = sorted(path for path in (DATA / "images" / "cifar10_test").iterdir() if path.is_dir())
    pictures = [(path, label) for label, folder in enumerate(folders) for path in sorted(folder.iterdir())]
    assert abs(right(net, pictures) - 1609) <= 2
