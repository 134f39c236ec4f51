"""The table of interventions: each word, on each network of its row, runs and answers as the row says; images by their words."""

import ast
import inspect
import re
from functools import cache

import pytest
from docs_reading import DOCS

import microtome as mt
from microtome import networks
from microtome.edit import parse
from microtome.images.words import generate_images

OPENED = {
    "banding_net": "microtome:banding_net(width=0.125,size=64,num_classes=10)",
    "alexnet_zf": "microtome:alexnet_zf(size=64,width=0.1,hidden=8,num_classes=10)",
    "zfnet": "microtome:zfnet(size=96,width=0.1,hidden=8,num_classes=10)",
    "resnet_cifar": "microtome:resnet_cifar(depth=14,width=4)",
    "densenet_cifar": "microtome:densenet_cifar(depth=13,growth=4)",
    "resnetv2": "timm:resnetv2_18",
}
PAGE = (DOCS / "interventions.md").read_text(encoding="utf-8")


def cells(heading: str) -> list[list[str]]:
    """The rows of the table below a heading, without its two first lines."""
    part = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


ROWS = [(row[2].strip("`"), name, row[4]) for row in cells("Edits") for name in re.findall(r"`(\w+)`", row[3])]


@cache
def opened(name: str) -> mt.Specimen:
    if name == "fc_vgg":
        return parse("head_pooling:fc").apply(opened("mini_vgg"))
    recipe = {"size": 64} if name == "resnetv2" else None
    return mt.open(OPENED.get(name, f"microtome:{name}"), weights=None, recipe=recipe)


def test_the_table_is_read() -> None:
    assert len(ROWS) > 60 and {answers for _, _, answers in ROWS} == {"exactly", "no"}


@pytest.mark.parametrize(("word", "name", "answers"), ROWS)
def test_each_word_on_each_network(word: str, name: str, answers: str) -> None:
    edited = parse(word).apply(opened(name))
    assert edited.edits[-1].preserves == answers
    assert edited.run(edited.noise(2)).shape == opened(name).run(opened(name).noise(2)).shape


def test_networks_take_their_options() -> None:
    words = [word for row in cells("Networks") for word in re.findall(r"`microtome:([^`]*)`", row[2])]
    assert len(words) >= 8
    for word in words:
        name, _, options = word.partition("(")
        call = ast.parse(f"f({options or ')'}", mode="eval").body
        assert isinstance(call, ast.Call) and not call.args
        inspect.signature(networks.factory_of(name)).bind_partial(**{key.arg: key.value for key in call.keywords if key.arg})


def test_the_resnet_is_as_large_as_the_densenet() -> None:
    words = [word for row in cells("Networks") if "equally" in row[1] for word in re.findall(r"`([^`]*)`", row[2])]
    resnet, densenet = (sum(p.numel() for p in mt.open(word, weights=None).net.parameters()) for word in words)
    assert abs(resnet / densenet - 1) < 0.02


def test_image_words_are_understood() -> None:
    for row in cells("Images"):
        assert len(generate_images(row[2].strip("`"))) == 200
