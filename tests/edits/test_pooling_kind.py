"""Average, maximum and L2 pooling for each other: the law of edits, windows by hand, DenseNet's transitions, what does not fit."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import microtome as mt
from microtome import testing
from microtome.edits.pooling_kind import PoolingKind
from microtome.errors import Uneditable

X = torch.tensor([[[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]]])


@pytest.mark.parametrize(
    ("name", "kind", "changed"),
    [
        ("mini_densenet", "max", "1 pooling (features.transition1.pool) maximum"),
        ("mini_densenet", "avg", "1 pooling (features.pool0) average"),
        ("mini_inception", "l2", "7 poolings"),
    ],
)
def test_the_law_of_edits(name: str, kind: Any, changed: str, tmp_path: Path) -> None:
    net = mt.open(f"microtome:{name}", weights=None)
    edited = testing.check_edit(PoolingKind(kind=kind), net, mt.Images.scenes(4), tmp_path)
    change = edited.edits[-1]
    assert change.preserves == "no" and changed in change.line and change.parameters[0] == change.parameters[1]
    assert [layer.shape for layer in edited.layers] == [layer.shape for layer in net.layers]


@pytest.mark.parametrize(
    ("old", "kind", "by_hand"),
    [
        (nn.MaxPool2d(2), "avg", [3.5, 5.5]),
        (nn.AvgPool2d(2), "max", [6.0, 8.0]),
        (nn.AvgPool2d(2), "l2", [(66 / 4) ** 0.5, (138 / 4) ** 0.5]),  # 1 + 4 + 25 + 36, 9 + 16 + 49 + 64
        (nn.MaxPool2d(3, 2, 1), "avg", [3.5, 5.0]),  # 1 2 5 6; 2 3 4 6 7 8: the padding does not count
    ],
)
def test_windows_by_hand(old: nn.Module, kind: Any, by_hand: list[float]) -> None:
    layers = nn.Sequential(nn.Conv2d(3, 1, 1), old, nn.Flatten(), nn.LazyLinear(2)).eval()
    layers(torch.zeros(1, 3, 2, 4))
    pool = PoolingKind(kind=kind)(mt.open(layers, recipe={"size": (2, 4)})).net[1]  # type: ignore[index]
    torch.testing.assert_close(pool(X).flatten(), torch.tensor(by_hand))


def test_named_poolings_alone() -> None:
    net = mt.open("microtome:mini_vgg", weights=None)
    edited = PoolingKind(kind="avg", at=("features.7",))(net)
    kinds = [type(edited.net.get_submodule(f"features.{place}")).__name__ for place in (3, 7, 14)]
    assert kinds == ["MaxPool2d", "AvgPool2d", "MaxPool2d"]


def test_a_paper_scale_densenet() -> None:
    edited = PoolingKind()(mt.open("microtome:densenet_cifar(depth=22,growth=4)", weights=None))
    assert "2 poolings (features.transition1.pool, features.transition2.pool)" in edited.edits[-1].line


def test_what_does_not_fit() -> None:
    vgg = mt.open("microtome:mini_vgg", weights=None)
    with pytest.raises(Uneditable, match=r"no pooling to change into maximum pooling \(its poolings: maximum\)"):
        PoolingKind()(vgg)
    with pytest.raises(Uneditable, match=r"among features\.0 to change into average"):
        PoolingKind(kind="avg", at=("features.0",))(vgg)
    with pytest.raises(Uneditable, match="no module of it pools by windows"):
        PoolingKind()(mt.open("microtome:mini_deit", weights=None))
