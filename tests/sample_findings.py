"""One finding with every kind of panel, its numbers made up but of the shapes that analyses give."""

import numpy as np

from microtome.finding import Finding, array
from microtome.panels import Bars, Curve, Grid, Heat, Hist, Overlay, Scatter, Table

LAYERS = [
    f"stages.{stage}.blocks.{block}.conv_dw.{part}"
    for stage in range(4)
    for block in range(5)
    for part in ("conv", "norm", "act")
]
NETS = ["timm:resnet50.a1_in1k", "timm:vgg19.tv_in1k", "timm:hrnet_w18.ms_aug_in1k", "timm:deit_small_patch16_224.fb_in1k",
        "timm:inception_v3.tv_in1k", "timm:seresnet50.a1_in1k", "microtome:mini_vgg", "microtome:mini_dense"]  # fmt: skip
FAMILIES = ["deeper", "deeper", "wider", "attention", "wider", "attention", "deeper", "wider"]
PICTURES = ["cat 1.jpg", "scene 0007", "a rather long file name 2024-02-29.png"]
AT = ["layer1", "layer3", "layer4"]


def finding() -> Finding:
    """Every kind of panel over sixty layers, eight networks and three images."""
    random = np.random.default_rng(0)
    depth = np.linspace(0, 1, len(LAYERS))
    accuracy = 0.2 + 0.6 * np.sqrt(depth) + random.normal(0, 0.02, len(LAYERS))
    layer, nets = {"layer": LAYERS}, {"specimen": NETS}
    score = random.uniform(0.6, 0.85, len(NETS))
    centres = np.linspace(-0.1, 0.1, 64)[None] * random.uniform(0.5, 2, 7)[:, None]
    density = np.exp(-0.5 * (centres / 0.03) ** 2) / 0.075
    row, col = np.mgrid[:64, :80] / 64
    base = np.stack([np.stack([row / 2 + 0.2, 0.5 * np.sin(9 * col * (i + 1)) ** 2, 0.7 - row / 2], -1) for i in range(3)])
    spots = [(0.3, 0.4), (0.6, 0.8), (0.5, 0.5)]
    base[:, :, :, 0] += [0.5 * (np.hypot(row - r, col - c) < 0.2) for r, c in spots]
    base = base.clip(0, 1)
    mask = np.stack([np.hypot(row - r, col - c) < 0.2 for r, c in spots])
    heat = random.gamma(0.3, size=(3, 3, 7, 7))
    heat[1, 2], heat[2, 0] = 0, np.nan
    kernels = random.normal(size=(6, 16, 7, 7))
    kernels[2, 3] = np.nan
    shown, few, pics = {"layer": LAYERS[:7]}, {"measure": ["noise", "blur", "weather", "digital"]}, {"image": PICTURES}
    sizes = np.array([25_557_032, 143_667_240, 21_299_004, 22_050_664, 27_161_264, 28_088_024, 400_000, 5])
    edges = np.array([[0.0, 1, 0, 1], [-0.1, 0.95, -0.1, 0.95], [-0.25, 0.8, -0.25, 0.8]])
    by_size = np.cumsum(random.uniform(0, 0.2, (8, 5)), 1)
    drop = np.array([[0.1, -0.2, np.nan], [0.4, 0.0, -0.35]])
    near = np.exp(-5 * np.abs(depth[:, None] - depth))
    three = {"criterion": ["top-1 accuracy (own head)", "MACs", "energy lift"]}
    two = {"specimen": NETS[:2]}
    worse = {"corruption": ["gaussian noise", "fog"], "severity": [1, 3, 5]}
    arrays = {
        "accuracy": array(accuracy, ("layer",), "share", layer, "probe accuracy"),
        "accuracy_low": array(accuracy - 0.05, ("layer",), "share", layer),
        "accuracy_high": array(accuracy + 0.05, ("layer",), "share", layer),
        "twin_accuracy": array(0.2 + 0.1 * depth, ("layer",), "share", layer, "probe accuracy"),
        "by_size": array(by_size, ("specimen", "size"), "share", nets | {"size": [1.0, 4, 16, 36, 100]}, "accuracy"),
        "influence": array(random.gamma(2, 0.1, (2, 60)), ("specimen", "layer"), "1", layer | two, "block influence"),
        "kinds": array([0.31, 0.2, 0.77, np.nan], ("measure",), "share", few, "accuracy"),
        "kinds_low": array([0.25, 0.1, 0.7, np.nan], ("measure",), "share"),
        "kinds_high": array([0.35, 0.3, 0.8, np.nan], ("measure",), "share"),
        "twin_kinds": array([0.1, 0.1, 0.12, 0.1], ("measure",), "share"),
        "density": array(density, ("layer", "bin"), "share per weight unit", shown),
        "value": array(centres, ("layer", "bin"), "weight units", shown),
        "twin_density": array(density[::-1], ("layer", "bin"), "share per weight unit", shown),
        "cka": array(near, ("layer", "layer_"), "1", {"layer": LAYERS, "layer_": LAYERS}, "CKA"),
        "drop": array(drop, ("corruption", "severity"), "share", worse, "change"),
        "kernels": array(kernels, ("layer", "unit", "row", "col"), "1", {"layer": LAYERS[:6]}, "weight"),
        "factors": array(random.uniform(size=(23, 5, 5, 3)), ("unit", "row", "col", "rgb"), "1"),
        "price": array(sizes / 1e6, ("specimen",), "M", nets, "parameters"),
        "score": array(score, ("specimen",), "share", nets, "accuracy"),
        "score_low": array(score - 0.03, ("specimen",), "share", nets),
        "score_high": array(score + 0.03, ("specimen",), "share", nets),
        "family": array(FAMILIES, ("specimen",), "text", nets, "family"),
        "front": array(np.array([1, 0, 1, 0, 0, 0, 1, 0], dtype=bool), ("specimen",), "1", nets, "on the Pareto front"),
        "parameters": array(sizes, ("specimen",), "1", nets),
        "table": array(random.normal(size=(8, 3)) * [1, 1e5, 1e-5], ("specimen", "criterion"), "see criterion", nets | three),
        "picture": array(base, ("image", "row", "col", "rgb"), "1", pics),
        "heat": array(heat, ("image", "layer", "row", "col"), "1", pics | {"layer": AT}),
        "mask": array(mask, ("image", "row", "col"), "1", pics),
        "extent": array(edges, ("layer", "axis"), "share", {"layer": AT}),
    }
    note = (
        "Grey: the untrained twin. The band is the 95 % bootstrap interval over images; "
        "a layer whose band reaches the twin has learnt nothing."
    )
    interval = {"low": "kinds_low", "high": "kinds_high"}
    dear = "Ringed: nobody else is both better and cheaper."
    panels = (
        Curve(
            title="Probe accuracy by depth",
            y=("accuracy",),
            x="layer",
            low="accuracy_low",
            high="accuracy_high",
            null=("twin_accuracy",),
            note=note,
        ),
        Curve(title="Accuracy by object size", y=("by_size",), x="size", by="specimen", log="x"),
        Bars(title="How much each block changes", y=("influence",), x="layer", by="specimen"),
        Bars(title="Accuracy by corruption", y=("kinds",), x="measure", null=("twin_kinds",), **interval),
        Hist(title="Weights of the last layers", density="density", value="value", null="twin_density", note="Dashed: twin."),
        Heat(title="CKA between all layers", z="cka", low=0.0, high=1.0, note="1: the same up to rotation and scale."),
        Heat(title="Change under corruption", z="drop", scale="diverging"),
        Grid(title="Kernels", z="kernels", across="unit", down="layer", scale="diverging"),
        Grid(title="Weights as colours", z="factors", across="unit"),
        Scatter(
            title="Accuracy against price",
            x="price",
            y="score",
            front="front",
            group="family",
            low="score_low",
            high="score_high",
            log="x",
            note=dear,
        ),
        Table(title="All specimens", rows="specimen", columns=("family", "parameters", "table", "front")),
        Overlay(title="Where it looks", base="picture", heat="heat", across="layer", mask="mask", extent="extent"),
    )
    return Finding(analysis="everything", arrays=arrays, panels=panels)


def one(panel, **arrays):
    """The figure of a finding that has this panel and these arrays alone."""
    return Finding(analysis="one", arrays=arrays, panels=(panel,)).figure()


def texts(drawn):
    """All texts inside the axes of a figure."""
    return [text.get_text() for axes in drawn.axes for text in axes.texts]
