"""The documentation page of our networks, written from cards and factories: `python -m microtome.networks.page > docs/networks.md`."""

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from microtome import networks
from microtome.numerics.graph.counts import count_parameters

_HEAD = """# Networks of our own

Seven small networks that name what an image shows, and one that names every pixel, ship with microtome, weights included, so that
every analysis has something trained to look at without downloading anything. Open one as `microtome:mini_vgg`;
`microtome.networks.weights_card("mini_vgg")` is all of this page as a dictionary.

All take 64 x 64 px images (mean 0.5, standard deviation 0.25 per colour, bilinear, whole image) and know ten objects:
{classes}.

They learnt from generated scenes (`microtome.images.scenes`, default controls, seed {learn}) and were judged on {judged} scenes
of another seed ({judge}) that none of them had seen. Seeds that people type (0, 1, 2 …) show scenes that no network has learnt
from.

*This page is written from the cards of the weights by `python -m microtome.networks.page > docs/networks.md`; a test compares.*

## What they are

| network | family | parameters | multiply-adds (million) | built from |
|---|---|---:|---:|---|
"""
_SEGMENTING = """
## A network that segments

One class for every pixel: 0 is the background, 1 to 10 are the objects above. It is there to be asked what can be asked of networks
that answer with maps, and for atrous rates; `microtome demo` leaves it out. Its rates, at 16 places a side, just reach the border
from the middle, by [a rule of ours](experiments_rates.md). It learnt from the same scenes and their exact masks.
Per cent on the {judged} unseen scenes, intervals of 95% over scenes; background alone covers {background:.1f}% of the pixels.

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
_ACCURACY = """## What they get right

Per cent of unseen scenes named rightly, with the 95% Wilson interval: of all, then by the fraction of the image that the object
covers (how many scenes).

"""
_TRAIN_AGAIN = """## How to make them again

On one machine, with one thread and the same versions, the same command gives the same weights; a stopped run goes on where it was.
No mask is ever shown to one of these seven in training. A network with a teacher learns half of its answer, and hints for the maps of
its patches, from the teacher named: when it is compared with that teacher, some of the likeness is inherited. Its
patches start decorrelated (from the first thousand scenes), and Muon trains the matrices of its blocks. `--radius R` scales every
convolution's filter whose root mean square exceeds R back to it after each update (Zeiler & Fergus 2014); no shipped network needed it.

| network | epochs x scenes | highest rate | teacher | seed | date | command |
|---|---|---|---|---|---|---|
"""
_LITERATURE = """
## Networks of the literature, without weights

For the forms that other libraries lack: any depth, growth rate, compression, reduction ratio or pooling that the papers try.
They open untrained, or with a weights file of yours; asking for pretrained weights is refused in one sentence. Options are written
into the name, in quotes on the command line:

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
Sources, readings and formulas stand in the files: [dense.py](../src/microtome/networks/dense.py) (Huang et al. 2017),
[se.py](../src/microtome/networks/se.py) (Hu et al. 2018), [banding.py](../src/microtome/networks/banding.py) (Petrov et al. 2021),
[zeiler.py](../src/microtome/networks/zeiler.py) (Zeiler & Fergus 2014).
Counts of forms that the papers tell in millions: DenseNet-BC of depth 100 and growth 12 (`bottleneck=4, compression=0.5`) {bc:,};
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
