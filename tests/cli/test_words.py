"""What the command line prints for tiny networks and few images: one thing is singular, and no number is nan, inf or -0.0."""

import json
import re
from pathlib import Path

import pytest
import torch
from PIL import Image

from shell import call

NETS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, blocks, outputs):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 2, 1)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(4, 4, 3, 1, 1), nn.ReLU()) for _ in range(blocks))
        self.head = nn.Linear(4, outputs) if outputs else nn.Identity()

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x.mean((2, 3)))

def make(blocks, outputs):
    torch.manual_seed(0)
    return Net(blocks, outputs)

def one_layer(): return make(0, 0)
def one_block(): return make(1, 2)
def one_logit(): return make(2, 1)
"""
NOUNS = (
    "layers|images|maps|modules|outputs|units|blocks|networks|findings|classes|filters|kernels|norms|tensors|parameters|files|gates|"
    "convolutions|channels|labels|analyses|positions|pairs|twins"
)
WRONG = {
    "one thing is singular": re.compile(rf"(?<![\w.,/×\[-])1 (?:{NOUNS})\b"),
    "infinity has a word": re.compile(r"(?<![\w-])-?inf(?:inity)?\b (?:px|%|ms|of)", re.IGNORECASE),
    "not-a-number is unknown": re.compile(r"(?<![\w])nan(?![\w])"),
    "zero has no sign": re.compile(r"(?<![\w.])-0(?:\.0+)?(?![\d.])"),
    "intervals are in brackets": re.compile(r"interval \d"),
}


def words_of(folder: Path) -> list[str]:
    """Headlines, caveats and key numbers of the findings in a folder."""
    cards = [json.loads(path.read_text()) for path in folder.rglob("finding.json")]
    return [
        text
        for card in cards
        for text in (card["headline"], *card["caveats"], *(number["text"] for number in card["key_numbers"]))
    ]


@pytest.mark.parametrize(("net", "count", "classes"), [("one_layer", 1, 1), ("one_block", 6, 2), ("one_logit", 6, 2)])
def test_all_analyses_of_tiny_networks(net: str, count: int, classes: int, tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(NETS)
    draw = torch.Generator().manual_seed(0)
    for place in range(count):
        folder = tmp_path / "photos" / f"c{place % classes}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = (torch.rand(16, 16, 3, generator=draw) * 255).byte().numpy()
        Image.fromarray(pixels).save(folder / f"{place}.png")
    options = ("--recipe", "size=16", "--twins", "2", "--effort", "full", "--no-report", "--device", "cpu")
    said = call("analyze", f"nets.py:{net}", "photos", *options, cwd=tmp_path)
    listed = call("layers", f"nets.py:{net}", "--recipe", "size=16", cwd=tmp_path)
    assert said[0] == 0, said
    texts = [*said[1].splitlines(), *listed[1].splitlines(), *words_of(tmp_path)]
    assert len(texts) > 40
    wrong = [f"{rule}: {text}" for text in texts for rule, pattern in WRONG.items() if pattern.search(text)]
    assert wrong == []
