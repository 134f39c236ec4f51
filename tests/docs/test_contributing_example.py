"""The worked example of CONTRIBUTING.md, installed as a package of somebody else's, is found, runs, and keeps every law."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from docs_reading import ROOT, blocks
from torch import nn

import microtome as mt
from microtome import catalog, testing

GUIDE = ROOT / "CONTRIBUTING.md"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The example's package on the path, with the entry point that its pyproject announces."""
    analysis, _, _ = (block.text for block in blocks(GUIDE, "python"))
    (announced,) = (block.text for block in blocks(GUIDE, "toml"))
    site = tmp_path / "site"
    package, facts = site / "microtome_silence", site / "microtome_silence-1.0.dist-info"
    package.mkdir(parents=True)
    facts.mkdir()
    (package / "__init__.py").write_text("")
    (package / "silence.py").write_text(analysis)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: microtome-silence\nVersion: 1.0\n")
    name, _, place = announced.splitlines()[1].partition(" = ")
    (facts / "entry_points.txt").write_text(f"[microtome.analyses]\n{name} = {place.strip(chr(34))}\n")
    monkeypatch.syspath_prepend(str(site))
    catalog.analysis_entries.cache_clear()
    yield
    catalog.analysis_entries.cache_clear()
    for module in [name for name in sys.modules if name.startswith("microtome_silence")]:
        del sys.modules[module]


@pytest.mark.usefixtures("installed")
def test_the_catalog_and_the_command_line_know_it() -> None:
    from microtome.cli.verbs import build_group

    entry = catalog.analysis_entry("silence")
    assert (entry.kind, entry.needs, [one.name for one in entry.options]) == ("Census", "images", ["at"])
    assert entry.source.startswith("sparse rectifier networks")
    assert "silence" in build_group().commands


@pytest.mark.usefixtures("installed")
def test_its_own_test_passes(tmp_path: Path) -> None:
    _, test, _ = (block.text for block in blocks(GUIDE, "python"))
    names: dict[str, object] = {}
    exec(compile(test, str(GUIDE), "exec"), names)
    names["test_silence"](tmp_path / "kept")  # type: ignore[operator]


def test_the_edit_keeps_the_law_and_changes_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    *_, edit = (block.text for block in blocks(GUIDE, "python"))
    site = tmp_path / "site"
    facts = site / "microtome_unpooled-1.0.dist-info"
    facts.mkdir(parents=True)
    (site / "unpooled.py").write_text(edit)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: microtome-unpooled\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[microtome.edits]\nunpooled = unpooled:Unpooled\n")
    monkeypatch.syspath_prepend(str(site))
    catalog.edit_entries.cache_clear()
    try:
        made = catalog.edit_entry("unpooled").load()(count=2)
        net = mt.open("microtome:mini_vgg", weights=None)
        edited = testing.check_edit(made, net, mt.Images.scenes(6), tmp_path)
    finally:
        catalog.edit_entries.cache_clear()
        sys.modules.pop("unpooled", None)
    assert "took the stride out of 2 poolings" in edited.edits[-1].line
    assert [part.stride for part in edited.net.modules() if isinstance(part, nn.MaxPool2d)] == [1, 1, 2]


@pytest.mark.usefixtures("installed")
def test_it_counts_zeros(tmp_path: Path) -> None:
    # by hand: of four units two are kept (weight 1) and two are zeroed (weight 0), so half of all outputs are exactly zero
    layer = nn.Conv2d(3, 4, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, 1.0, 0.0, 0.0]).view(4, 1, 1, 1).expand(4, 3, 1, 1))
    net = mt.open(nn.Sequential(layer, nn.Flatten(), nn.Linear(4 * 16, 2)), recipe={"size": 4, "crop": 1.0, "mean": (0.0,) * 3})
    pics = mt.Images.tensors(torch.rand(12, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.5)
    found = testing.check(catalog.analysis_entry("silence").load()(at=("0",)), net, pics, tmp_path)
    np.testing.assert_allclose(found["zeros"].values, [0.5])
