"""The documentation page of our networks, written from cards and factories: `python -m microtome.networks.page > docs/networks.md`."""

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from microtome import networks
from microtome.numerics.graph.counts import count_parameters

_HEAD = """# Networks of our own

microtome ships with seven small classification networks and one segmentation network, weights included, so that every analysis can be
tried on a trained network without a download. Open one as `microtome:mini_vgg`. `microtome.networks.weights_card("mini_vgg")` returns
its facts on this page as a dictionary.

All take 64 x 64 px images (mean 0.5, standard deviation 0.25 per colour, bilinear, whole image) and distinguish ten classes:
{classes}.

They were trained on generated scenes (`microtome.images.scenes`, default controls, seed {learn}) and evaluated on {judged} scenes
with another seed ({judge}), none of which was used in training. The seeds in common use
(0, 1, 2 …) give scenes that no network was trained on.

*This page is written from the cards of the weights by `python -m microtome.networks.page > docs/networks.md`; a test compares.*

## Architectures

| network | family | parameters | multiply-adds (million) | built from |
|---|---|---:|---:|---|
"""
_SEGMENTING = """
## A segmentation network

One class for every pixel: 0 is the background, 1 to 10 are the objects above. It serves the analyses of dense outputs and of
atrous rates; `microtome demo` does not include it. Its largest rate just reaches the border of the 16 x 16 map from the middle, by
[our rule](experiments_rates.md). It was trained on the same scenes and their exact masks.
Per cent on the {judged} unseen scenes, with 95% intervals over scenes; the background covers {background:.1f}% of the pixels.

| network | parameters | multiply-adds (million) | mean IoU | pixels right | epochs x scenes | highest rate | date | command |
|---|---:|---:|---|---|---|---|---|---|
{rows}
Mean IoU by the fraction of the image that the object covers:

| network | {sizes} |
|---|{lines}
{by_area}
Options are written into the name: `"microtome:mini_deeplab(rates=(6,12,18))"`.

| network | parameters | options and their defaults | what it is |
|---|---:|---|---|
"""
_ACCURACY = """## Accuracy

Top-1 accuracy on unseen scenes in per cent, with the 95% Wilson interval: over all scenes, then by the fraction of the image that the
object covers (number of scenes in brackets).

"""
_TRAIN_AGAIN = """## Reproducing the weights

On one machine, with one thread and the same versions, the same command gives the same weights; an interrupted run resumes.
Masks are not used in training these seven. A network with a teacher is trained by knowledge distillation: half of its cross-entropy,
and targets for its patch features, come from the teacher. Part of its similarity to that teacher is therefore due to training. Its patch
projection starts as a decorrelation of the patches of the first thousand scenes, and Muon trains the matrices of its blocks.
`--radius R` scales every
convolution's filter whose root mean square exceeds R back to it after each update (Zeiler & Fergus 2014); no shipped network needed it.

| network | epochs x scenes | highest rate | teacher | seed | date | command |
|---|---|---|---|---|---|---|
"""
_LITERATURE = """
## Networks of the literature, without weights

These cover variants that other libraries lack: the depths, growth rates, compressions, reduction ratios and poolings of the papers.
They open untrained, or with your own weights file; no pretrained weights are available. Options are written in the name, which needs
quotes on the command line:

```sh
microtome layers "microtome:densenet_cifar(depth=40,growth=12)"
microtome cost "microtome:se_resnet50(ratio=8)" --weights none
microtome weights "microtome:banding_net(pooling='fc')" --weights none
```

Trained weights of timm's DenseNets fit `densenet121`, `169` and `201`; those of its `seresnet50` fit `se_resnet50`. Where timm has a
network of the same name, a bare `densenet121` means timm's, which has weights; `microtome:densenet121` means this one.

| network | parameters | options and their defaults | what it is |
|---|---:|---|---|
"""
_PAPERS = """
Sources, interpretations and formulas are given in the files: [dense.py](../src/microtome/networks/dense.py) (Huang et al. 2017),
[se.py](../src/microtome/networks/se.py) (Hu et al. 2018), [cifar_resnet.py](../src/microtome/networks/cifar_resnet.py) (He et al. 2016),
[banding.py](../src/microtome/networks/banding.py) (Petrov et al. 2021),
[zeiler.py](../src/microtome/networks/zeiler.py) (Zeiler & Fergus 2014).
Exact parameter counts of variants whose papers give them in millions:
DenseNet-BC of depth 100 and growth 12 (`bottleneck=4, compression=0.5`) {bc:,};
SE-ResNet-50 at ratios 2, 4, 8, 16 and 32, with biases, {ratios}.
"""
_SIZE_CACHE = {
    "mini_vgg": "timm's VGG with batch norm, pooled head",
    "mini_resnet": "timm's ResNet, basic blocks, stages of 1, 1, 2, 3",
    "mini_densenet": "timm's DenseNet-BC, growth 12, blocks of 4, 6, 6",
    "mini_inception": "own blocks of four branches after Inception-v3",
    "mini_hrnet": "timm's high-resolution modules, 3 branches to the end",
    "mini_seresnet": "mini_resnet with squeeze-and-excitation gates",
    "mini_deit": "timm's vision transformer, 8 px patches, 6 blocks",
}


def networks_page() -> str:
    """The whole page as Markdown.

    Raises: CheckpointError where a card is not installed.
    """
    cards = [networks.weights_card(name) for name in networks.NAMES]
    scenes = cards[0]["scenes"]
    classes = ", ".join(cards[0]["labels"])
    head = _HEAD.format(classes=classes, learn=scenes["learn_seed"], judge=scenes["judge_seed"], judged=cards[0]["judged"])
    what = "\n".join(
        f"| `{card['name']}` | {card['family']} | {card['parameters']:,} | {card['macs'] / 1e6:.1f} | {_SIZE_CACHE[card['name']]} |"
        for card in cards
    )
    return f"{head}{what}\n\n{_accuracy_table(cards)}\n{_recipe_table(cards)}{_segmentation_section()}{_literature_section()}"


def _segmentation_section() -> str:
    cards = [networks.weights_card(name) for name in networks.SEGMENTING]
    rows, by_area = "", ""
    for card in cards:
        right = f"{_percent_text(card['mean_iou'], card['interval'])} | {_percent_text(card['pixel_accuracy'], card['pixel_interval'])}"
        learnt = f"{card['recipe']['epochs']} x {card['recipe']['count']:,} | {card['recipe']['lr']}"
        what = f"`{card['name']}` | {card['parameters']:,} | {card['macs'] / 1e6:.1f}"
        rows += f"| {what} | {right} | {learnt} | {card['date']} | `{card['command']}` |\n"
        by_area += f"| `{card['name']}` | "
        by_area += " | ".join(_percent_text(size["mean_iou"], size["interval"]) for size in card["by_area"]) + " |\n"
    sizes = cards[0]["by_area"]
    text = _SEGMENTING.format(
        judged=cards[0]["judged"], background=100 * cards[0]["background"], rows=rows, by_area=by_area,
        sizes=" | ".join(_area_headings(sizes)), lines="---|" * len(sizes),
    )  # fmt: skip
    return text + _options_section(networks.SEGMENTING)


def _area_headings(sizes: list[dict[str, Any]]) -> list[str]:
    """Size bins as column heads: "0–4% (821)"."""
    spans = [(round(100 * low), round(100 * high)) for low, high in (size["area"] for size in sizes)]
    return [f"{low}–{high}% ({size['count']})" for (low, high), size in zip(spans, sizes, strict=True)]


def _literature_section() -> str:
    ratios = ", ".join(f"{_parameter_count('se_resnet50', ratio=ratio):,}" for ratio in (2, 4, 8, 16, 32))
    bc = _parameter_count("densenet_cifar", depth=100, growth=12, bottleneck=4, compression=0.5)
    return _LITERATURE + _options_section(networks.LITERATURE) + _PAPERS.format(bc=bc, ratios=ratios)


def _options_section(names: Iterable[str]) -> str:
    rows: list[str] = []
    for name in names:
        factory = networks.factory_of(name)
        named = [
            parameter
            for parameter in inspect.signature(factory).parameters.values()
            if parameter.default is not parameter.empty
        ]
        options = ", ".join(f"`{parameter.name}={parameter.default!r}`" for parameter in named)
        summary = inspect.cleandoc(factory.__doc__ or "").splitlines()[0]
        rows.append(f"| `{name}` | {_parameter_count(name):,} | {options} | {summary} |\n")
    return "".join(rows)


def _parameter_count(name: str, **options: Any) -> int:
    """Parameters of a network that is built without memory for them."""
    with torch.device("meta"):
        net = networks.build(name, **options)
    return count_parameters(net)


def _accuracy_table(cards: list[dict[str, Any]]) -> str:
    names = _area_headings(cards[0]["by_area"])
    rows = [
        f"| `{card['name']}` | {_percent_text(card['accuracy'], card['interval'])} | "
        + " | ".join(_percent_text(size["right"] / size["count"], size["interval"]) for size in card["by_area"])
        + " |\n"
        for card in cards
    ]
    return f"{_ACCURACY}| network | all | {' | '.join(names)} |\n|---|---|{'---|' * len(names)}\n{''.join(rows)}"


def _percent_text(share: float, span: Sequence[float | None]) -> str:
    """Per cent with the interval; without where there were too few scenes for one."""
    if span[0] is None or span[1] is None:
        return f"{100 * share:.1f}"
    return f"{100 * share:.1f} ({100 * span[0]:.1f}–{100 * span[1]:.1f})"


def _recipe_table(cards: list[dict[str, Any]]) -> str:
    rows: list[str] = []
    for card in cards:
        plan = card["recipe"]
        learnt = f"{plan['epochs']} x {plan['count']:,} | {plan['lr']} | {plan['teacher'] or 'none'}"
        rows.append(f"| `{card['name']}` | {learnt} | {card['seed']} | {card['date']} | `{card['command']}` |\n")
    return _TRAIN_AGAIN + "".join(rows)


if __name__ == "__main__":
    print(networks_page(), end="")
