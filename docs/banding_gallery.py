"""Weight banding of every mini network, and of a trained GoogLeNet where its weights are: docs/banding_gallery.md and its figures.

    python docs/banding_gallery.py                       measure, draw, write
    python docs/banding_gallery.py --googlenet DIR       the same, with the part about GoogLeNet measured anew from DIR

DIR holds `loaders/archs.py` and `safetensors/googlenet_bvlc.safetensors`; without it that part stays as it is.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from generate import FIGURES, picture

import microtome as mt
from microtome.key_numbers import FRACTION, format_interval, format_value
from microtome.networks import NAMES
from microtome.numerics.weights.banding import BANDED_A

PAGE = Path(__file__).resolve().parent / "banding_gallery.md"
MARKS = ("<!-- measured: googlenet -->", "<!-- end of measured: googlenet -->")
SHOWN = 3  # last layers of each network in its table
REAL = ("conv1.conv", "conv3.0.conv", "inception3a.branch2.1.conv", "inception3a.branch3.1.conv", "inception4c.branch2.1.conv",
        "inception4c.branch3.1.conv", "inception4e.branch2.1.conv", "inception4e.branch3.1.conv", "inception5a.branch2.1.conv",
        "inception5a.branch3.1.conv", "inception5b.branch2.1.conv", "inception5b.branch3.1.conv")  # fmt: skip


def told(finding: mt.Finding, layers: list[str]) -> str:
    """A table of these layers: kernel, units, A of maps with its interval, of the raw weights with its own, of the twin, banded units."""
    rows = ["| layer | channels, kernel | units | A of maps (95% interval) | A of raw weights (95% interval) | "
            "maps of the twins, mean | units beyond ±0.5 |",
            "|---|---|---:|---|---|---:|---:|"]  # fmt: skip
    for name in layers:

        def number(array: str, name: str = name) -> float:
            return float(finding[array].sel(layer=name))

        spans = [format_interval(*(number(column + end) for end in ("", "_low", "_high"))) for column in ("index_nmf", "index")]
        rows.append(
            f"| `{name}` | {finding['kernel'].sel(layer=name).item()} | {number('units'):.0f} | {spans[0]} | {spans[1]} | "
            f"{format_value(number('twin_index_nmf'))} | {format_value(number('share'), FRACTION)} |"
        )
    return "\n".join(rows)


def section(name: str, finding: mt.Finding) -> str:
    """One mini network: the headline, the figure of its last kernel, the numbers of its last layers."""
    layers = [str(layer) for layer in finding["index"].layer.values]
    refused = finding.arrays.get("unjudged")
    parts = [
        f"## {name}",
        f"> {finding.headline}",
        f"![Kernels of {layers[-1]}](figures/banding_{name}.png)",
        told(finding, layers[-SHOWN:]),
    ]
    if refused is not None:
        kinds: dict[str, int] = {}
        for reason in refused.values:
            kinds[str(reason).split(":")[0]] = kinds.get(str(reason).split(":")[0], 0) + 1
        counted = ", ".join(f"{count} of {kind}" for kind, count in kinds.items())
        parts.append(f"Measured: {len(layers)} kernels. Not measured: {counted}.")
    return "\n\n".join(parts)


def verdict(name: str, finding: mt.Finding) -> str:
    """One line of the summary: the last layer's A, the strongest, and how many are banded."""
    maps = np.nan_to_num(finding["index_nmf"].values)
    index = int(np.abs(maps).argmax())
    layer = str(finding["index"].layer.values[index])
    banded = int((np.abs(maps) >= BANDED_A).sum())
    ends = [finding[f"twin_index_nmf_{end}"].values for end in ("low", "high")]
    twin = float(np.abs(np.nan_to_num(np.stack(ends))).max())
    word = "none" if not banded else f"{banded} layers"
    return f"| [`{name}`](#{name}) | {format_value(maps[-1])} | {format_value(maps[index])} in `{layer}` | {format_value(twin)} | {word} |"


def googlenet(folder: Path) -> str:
    """Numbers of the trained GoogLeNet, early and late."""
    net = mt.open(f"{folder}/loaders/archs.py:bvlc_googlenet", weights=folder / "safetensors" / "googlenet_bvlc.safetensors")
    return told(mt.analyses.banding.Banding()(net), list(REAL))


INTRODUCTION = f"""# Weight banding: a gallery

What [`banding`](analyses/banding.md) finds in each network of the [mini zoo](networks.md), and in one network trained on photographs.
Written by `python docs/banding_gallery.py`; a test measures the headlines again.

Every tile is one unit: its kernel, factorised into three maps, as red, green and blue; red is the map that lies on top (or left), blue
the one below (or right). Horizontal stripes in most tiles are weight banding as [Petrov et al. 2021](https://distill.pub/2020/circuits/weight-banding)
describe it. A is +1 for horizontal stripes, -1 for vertical ones and 0 for neither; published layers look banded from ±{BANDED_A} on.
Colours are sorted, so red is often on top with random weights too: look for stripes, and compare A with the untrained twins.

## In short

**None of the mini networks is banded.** They are small (mostly 3 × 3 kernels, at most 56 units), and see 64 px scenes in which
objects lie anywhere. Some have an index above that of any layer of their untrained twins, far below that of banded layers.
The GoogLeNet below is banded, and so are [small networks trained for it](banding_training.md).

| network | A of maps, last layer | strongest | largest in the untrained twins | banded |
|---|---:|---|---:|---|
"""

REAL_TITLE = """## A trained GoogLeNet

The BVLC weights of the network of 2014 (ImageNet, true 5 × 5 kernels, no batch norm, average pooling before the classifier), measured on
2026-11-25 with `microtome banding archs.py:bvlc_googlenet --weights googlenet_bvlc.safetensors`; the weights are not distributed with
microtome. All units of every layer; intervals are over units (bootstrap, 1000 draws); the untrained twin has the same architecture with
new random weights (seed 1); its maps use at most 128 units of each layer.
"""

REAL_WORDS = """The bands are horizontal: in the last block in every unit of the 3 × 3 branch and in most of the
5 × 5 branch. The index rises with depth from zero in the stem and in block 3a, earlier and further in the 3 × 3 kernels than in the 5 × 5
ones of the same block. In the figure of that command, all 384 tiles of the last 3 × 3 kernel are red, green and blue stripes; those
of 4a's 5 × 5 kernel are spots, edges and crosses. Random weights of the same architecture show no bands. The article's two InceptionV1
have A = +0.92 and +0.58 in their last 5 × 5 kernels (its published figures, measured in the same way); this one lies between them.
"""


def page(kept: str, folder: Path | None) -> str:
    """The whole page; images are written on the way."""
    summary: list[str] = []
    sections: list[str] = []
    for name in NAMES:
        finding = mt.analyses.banding.Banding()(mt.open(f"microtome:{name}"))
        (FIGURES / f"banding_{name}.png").write_bytes(picture(finding.figure(0)))
        summary.append(verdict(name, finding))
        sections.append(section(name, finding))
    real = googlenet(folder) if folder is not None else kept
    return "\n".join(
        [INTRODUCTION + "\n".join(summary), "", REAL_TITLE, MARKS[0], real, MARKS[1], "", REAL_WORDS, "\n\n".join(sections), ""]
    )


def main(words: list[str] | None = None) -> Any:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--googlenet", type=Path, metavar="DIR", help="where the trained GoogLeNet lies")
    given = parser.parse_args(words)
    old = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else "".join(MARKS)
    kept = old[old.index(MARKS[0]) + len(MARKS[0]) : old.index(MARKS[1])].strip()
    PAGE.write_text(page(kept, given.googlenet), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
