"""A result folder as a run leaves it, with made-up numbers: three specimens, all eight kinds of panel, skips, failures."""

# ruff: noqa: E501  (sentences as an analysis would write them)

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from microtome.finding import Finding, array
from microtome.key_numbers import FRACTION, KeyNumber, format_value
from microtome.panels import Bars, Curve, Grid, Heat, Hist, Overlay, Panel, Scatter, Table

SPECIMENS = {
    "timm:resnet50.a1_in1k": {"weights": "pretrained a1_in1k", "trained": True, "family": "deeper", "parameters": 25_557_032},
    "torchvision:vgg16_bn": {
        "weights": "pretrained IMAGENET1K_V1",
        "trained": True,
        "family": "deeper",
        "parameters": 138_365_992,
    },
    "timm:deit_tiny_patch16_224": {
        "weights": "untrained (seed 0)",
        "trained": False,
        "family": "attention",
        "parameters": 5_717_416,
    },
}
PRICE = dict(zip(SPECIMENS, (41.2, 118.4, 17.9), strict=True))
IMAGES = {
    "name": "photos/shells",
    "count": 480,
    "digest": "9f2c51d0aa37e1b4" * 4,
    "classes": ["cone", "cowrie", "limpet", "whelk"],
}
DEEP = [
    f"layer{stage}.{block}.conv{conv}"
    for stage, blocks in ((1, 3), (2, 4), (3, 6), (4, 3))
    for block in range(blocks)
    for conv in (1, 2, 3, 4)
]


def layers(count: int) -> list[str]:
    """Names as long and as many as real ones."""
    return [DEEP[place] for place in np.linspace(0, len(DEEP) - 1, count).astype(int)]


def _origin(name: str, rng: np.random.Generator, **more: Any) -> dict[str, Any]:
    facts = SPECIMENS[name]
    notes = ["the last norm of every branch starts at zero"] if not facts["trained"] else []
    return {
        "specimen": {"name": name, **facts, "family_reason": "depth over width", "digest": rng.bytes(32).hex(), "notes": notes},
        "images": IMAGES,
        "options": {"at": "stages", "count": 480, "seed": 0},
        "device": "cpu",
        "dtype": "float32",
        "seconds": round(float(rng.uniform(2, 90)), 1),
        "started": "2026-11-20T14:05:00+00:00",
        "microtome": "0.1.0",
        "torch": "2.13.0+cpu",
        **more,
    }


def _finding(
    analysis: str, origin: dict[str, Any], arrays: dict[str, xr.DataArray], panels: tuple[Panel, ...], **texts: Any
) -> Finding:
    return Finding(analysis=analysis, arrays=arrays, panels=panels, origin=origin, **texts)


def probe(name: str, rng: np.random.Generator) -> Finding:
    """Curve with an interval, a null and a gap; Table beside it; four key numbers, of which one is the same for all."""
    depth = {"layer": layers(16)}
    trained = SPECIMENS[name]["trained"]
    accuracy = 0.3 + (0.6 if trained else 0.12) / (1 + np.exp(-np.linspace(-3, 3, 16))) + rng.normal(0, 0.012, 16)
    accuracy[5] = np.nan
    twin = 0.28 + 0.1 * np.sin(np.linspace(0, 2, 16))
    arrays = {
        "accuracy": array(accuracy, ("layer",), "fraction", depth, "probe accuracy"),
        "accuracy_low": array(accuracy - 0.03, ("layer",), "fraction", depth),
        "accuracy_high": array(accuracy + 0.03, ("layer",), "fraction", depth),
        "twin_accuracy": array(twin, ("layer",), "fraction", depth, "probe accuracy"),
        "width": array(np.repeat([64, 256, 512, 2048], 4), ("layer",), "1", depth, "features"),
    }
    panels = (
        Curve(title="Probe accuracy by depth", y=("accuracy",), x="layer", low="accuracy_low", high="accuracy_high", null=("twin_accuracy",),
              note="A layer above the dashed line separates these classes better than random weights do."),
        Table(title="Probe accuracy", rows="layer", columns=("accuracy", "accuracy_low", "accuracy_high", "width")),
    )  # fmt: skip
    best = int(np.nanargmax(accuracy))
    return _finding(
        "probe", _origin(name, rng), arrays, panels, question="choose", title="Linear probe",
        summary="Accuracy of a linear classifier on the features of each layer.",
        headline=f"Best probe accuracy {format_value(accuracy[best], FRACTION)} at {layers(16)[best]} (untrained twin {format_value(twin[best], FRACTION)}).",
        key_numbers=(
            KeyNumber(name="best probe accuracy", value=accuracy[best], low=accuracy[best] - 0.03, high=accuracy[best] + 0.03, unit=FRACTION,
                      baseline=twin[best], better="higher", at=layers(16)[best]),
            KeyNumber(name="few-shot accuracy", value=0.9 * accuracy[best], unit=FRACTION, baseline=0.25, baseline_name="chance", better="higher"),
            KeyNumber(name="latency", value=PRICE[name], unit="ms", better="lower"),
            KeyNumber(name="features", value=2048),
        ),
        caveats=() if trained else ("The network is untrained: its probe accuracy is that of random features.",),
        source="Alain & Bengio 2016, arXiv:1610.01644, sec. 3.",
    )  # fmt: skip


def similarity(name: str, rng: np.random.Generator) -> Finding:
    """Heat 16 x 16 sequential with a fixed scale, and a wide diverging one with 64 layers."""
    names = layers(16)
    place = np.arange(16)
    cka = np.exp(-np.abs(place[:, None] - place[None]) / (5 if SPECIMENS[name]["trained"] else 12))
    cka = np.clip((cka + cka.T) / 2 + rng.normal(0, 0.02, (16, 16)), 0, 1)
    cka[3, 9] = np.nan
    many = [*DEEP]
    arrays = {
        "cka": array(cka, ("layer", "layer_"), "1", {"layer": names, "layer_": names}, "CKA"),
        "shift": array(rng.normal(0, 1, (len(many), 6)).cumsum(0) / 4, ("layer", "severity"), "standard deviations",
                       {"layer": many, "severity": [0, 1, 2, 3, 4, 5]}, "drift of the mean"),
    }  # fmt: skip
    panels = (
        Heat(title="CKA between all layers", z="cka", low=0.0, high=1.0, note="1: the same up to rotation and scale."),
        Heat(title="Drift under noise", z="shift", scale="diverging"),
    )
    return _finding(
        "similarity", _origin(name, rng), arrays, panels, title="Similarity of layers", question="understand",
        summary="Similarity of layers by centred kernel alignment, against an untrained twin.",
        key_numbers=(KeyNumber(name="mean CKA of neighbours", value=float(np.nanmean(np.diag(cka, 1))), baseline=0.99), KeyNumber(name="sharpest change", value=cka[4, 5], at=f"{names[4]} to {names[5]}")),
        headline=f"The representation changes most between {names[4]} and {names[5]} (CKA {cka[4, 5]:.2f}).",
        caveats=(
            "Debiased CKA on 480 images; below 0.05 it is not significantly different from zero.",
            *(() if SPECIMENS[name]["trained"] else ("Similar untrained layers are what depth alone gives.",)),
        ), source="Kornblith et al. 2019, arXiv:1905.00414, eq. 3.",
    )  # fmt: skip


def weights(name: str, rng: np.random.Generator) -> Finding:
    """Hist with a null; Curve by measure over depth, logarithmic, with many lines; a repair table."""
    names = layers(8)
    value = np.linspace(-1, 1, 41)[None] * np.linspace(0.3, 0.05, 8)[:, None]
    width = np.linspace(0.1, 0.015, 8)[:, None]
    density = np.exp(-0.5 * (np.abs(value) / width) ** 1.2) / width / 2.5
    twin = np.exp(-0.5 * (value / (width * 1.4)) ** 2) / width / 3.5
    steps = {"layer": names, "amount": [1, 2, 4, 8, 16, 32]}
    fall = np.linspace(1.0, 3.0, 8)[:, None] * np.array([1, 2, 4, 8, 16, 32])[None] ** -0.8
    wide = np.linspace(0.5, 1.0, 12)[:, None] * np.sin(np.linspace(0, 6, 30))[None] + np.linspace(0, 2, 12)[:, None]
    arrays = {
        "density": array(density, ("layer", "bin"), "1/weight", {"layer": names}, "density"),
        "value": array(value, ("layer", "bin"), "1", {"layer": names}, "weight"),
        "twin_density": array(twin, ("layer", "bin"), "1/weight", {"layer": names}),
        "spectrum": array(fall, ("layer", "amount"), "1", steps, "singular value"),
        "drift": array(
            wide, ("layer", "checkpoint"), "1", {"layer": layers(12), "checkpoint": list(range(30))}, "distance to the start"
        ),
        "problems": array(
            ["12 of 64 filters are dead", "weights spread over nine decades"],
            ("layer",),
            "text",
            {"layer": names[:2]},
            "problem",
        ),
    }
    panels = (
        Hist(
            title="Weights layer by layer",
            density="density",
            value="value",
            null="twin_density",
            note="Outline: the untrained twin.",
        ),
        Curve(title="Singular values", y=("spectrum",), x="amount", by="layer", log="xy"),
        Curve(title="Distance to the start", y=("drift",), x="checkpoint", by="layer"),
        Table(title="Weights to repair", rows="layer", columns=("problems",), question="repair"),
    )
    return _finding(
        "weights", _origin(name, rng), arrays, panels, title="Weight distributions", question="understand",
        summary="Distribution of the weights of each layer, against the untrained twin.",
        key_numbers=(KeyNumber(name="tensors to repair", value=2, better="lower"), KeyNumber(name="spread, first to last layer", value=6.0, baseline=1.4)),
        headline="2 of 54 weight tensors need repair; the spread falls by a factor of 6 with depth.",
        source="Gavrikov & Keuper 2022, arXiv:2203.15331.",
    )  # fmt: skip


def redundancy(name: str, rng: np.random.Generator) -> Finding:
    """Bars with intervals and a null; Scatter with intervals; Table of text and numbers."""
    blocks = [f"layer{s}.{b}" for s, n in ((1, 3), (2, 4), (3, 6), (4, 3)) for b in range(n)]
    coords = {"block": blocks}
    influence = np.sort(rng.uniform(0.02, 0.5, 16))[::-1].copy()
    parameters = np.repeat([75_008, 280_064, 1_117_184, 4_462_592], (3, 4, 6, 3))
    twin = influence * rng.uniform(0.6, 1.5, 16)
    verdict = [
        "keep" if now > then else "candidate: changes less than random weights would"
        for now, then in zip(influence, twin, strict=True)
    ]
    arrays = {
        "influence": array(influence, ("block",), "1", coords, "block influence"),
        "low": array(influence * 0.9, ("block",), "1", coords),
        "high": array(influence * 1.12, ("block",), "1", coords),
        "twin_influence": array(twin, ("block",), "1", coords, "twin"),
        "parameters": array(parameters, ("block",), "1", coords, "parameters"),
        "verdict": array(verdict, ("block",), "text", coords, "verdict"),
        "accuracy": array(np.stack([0.78 - influence * 0.7, 0.79 - influence * 0.4]), ("repair", "block"), "fraction",
                          coords | {"repair": ["none", "norms re-estimated"]}, "accuracy without it"),
    }  # fmt: skip
    panels = (
        Bars(
            title="How much each block changes",
            y=("influence",),
            x="block",
            low="low",
            high="high",
            null=("twin_influence",),
            note="0: the output points in the direction of the input.",
        ),
        Scatter(title="Little change against parameters saved", x="parameters", y="influence", low="low", high="high", log="x"),
        Bars(title="Accuracy without the block", y=("accuracy",), x="block", by="repair"),
        Table(title="Candidates for removal", rows="block", columns=("influence", "twin_influence", "parameters", "verdict")),
    )
    return _finding(
        "redundancy", _origin(name, rng), arrays, panels, title="Redundant blocks", question="slim",
        summary="Blocks whose output hardly differs from their input, as candidates for removal.",
        key_numbers=(KeyNumber(name="smallest block influence", value=influence[-1], low=0.9 * influence[-1], high=1.12 * influence[-1], baseline=twin[-1], at=blocks[-1]),
                     KeyNumber(name="parameters of that block", value=4_462_592)),
        headline=f"{blocks[-1]} changes least (block influence {influence[-1]:.3f}, twin {twin[-1]:.3f}) and holds 4.46 M parameters.",
        caveats=("Only removal proves that a block is not needed.",), source="Men et al. 2024, arXiv:2403.03853, eq. 1.",
    )  # fmt: skip


def images_and_masks(rng: np.random.Generator, count: int, size: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Gradient images with a bright disc, uint8 (image, row, col, rgb), and the disc's mask (image, row, col)."""
    row, col = np.mgrid[0:size, 0:size] / size
    images, masks = [], []
    for _ in range(count):
        center, radius = rng.uniform(0.3, 0.7, 2), rng.uniform(0.14, 0.24)
        inside = (row - center[0]) ** 2 + (col - center[1]) ** 2 < radius**2
        back = np.stack([row * a + col * (1 - a) for a in rng.uniform(0, 1, 3)], axis=-1) * rng.uniform(0.4, 0.9, 3)
        tint = rng.uniform(0.4, 1, 3) * (1 - 0.5 * np.hypot(row - center[0] + 0.05, col - center[1] + 0.05) / radius)[..., None]
        images.append(
            (np.clip(np.where(inside[..., None], tint, back) + rng.normal(0, 0.02, (size, size, 3)), 0, 1) * 255).astype(
                np.uint8
            )
        )
        masks.append(inside)
    return np.stack(images), np.stack(masks)


def cam(name: str, rng: np.random.Generator) -> Finding:
    """Overlay at three depths with masks and an extent; one map is all zero and one all NaN."""
    count, size, grid = 6, 96, 7
    shared = np.random.default_rng(7)  # the same images for every specimen
    images, masks = images_and_masks(shared, count, size)
    row, col = np.mgrid[0:grid, 0:grid] + 0.5
    heat = np.zeros((count, 3, grid, grid), dtype=np.float32)
    for image in range(count):
        place = np.argwhere(masks[image]).mean(0) / size * grid
        for depth in range(3):
            center = place + rng.normal(0, 1.2 - 0.4 * depth, 2)
            heat[image, depth] = np.exp(-((row - center[0]) ** 2 + (col - center[1]) ** 2) / (2.5 - 0.6 * depth)) * rng.uniform(
                0.2, 3
            )
    heat[1, 0], heat[2, 1] = 0, np.nan
    coords = {
        "image": [
            f"shells/{kind}/IMG_{4000 + n}.jpg" for n, kind in enumerate(["cone", "whelk", "cowrie", "limpet", "cone", "whelk"])
        ]
    }
    deep = {"layer": ["layer2.3", "layer3.5", "layer4.2"]}
    extent = np.array([[0.0, 1.0, 0.0, 1.0], [-0.02, 0.98, -0.02, 0.98], [-0.07, 0.93, -0.07, 0.93]])
    arrays = {
        "image": array(images, ("image", "row", "col", "rgb"), "1", coords),
        "heat": array(heat, ("image", "layer", "row", "col"), "1", coords | deep, "Grad-CAM"),
        "mask": array(masks, ("image", "row", "col"), "1", coords),
        "extent": array(extent, ("layer", "axis"), "fraction", deep | {"axis": ["top", "bottom", "left", "right"]}),
    }
    panels = (
        Overlay(
            title="Where the evidence lies",
            base="image",
            heat="heat",
            across="layer",
            mask="mask",
            extent="extent",
            note="Grad-CAM of the predicted class, shallow to deep.",
        ),
    )
    return _finding(
        "cam", _origin(name, rng), arrays, panels, title="Class activation maps", question="understand",
        summary="Grad-CAM maps from shallow to deep layers.",
        key_numbers=(KeyNumber(name="energy on the object", value=0.61, unit=FRACTION, low=0.55, high=0.66, baseline=0.15, better="higher", at="layer4.2"),
                     KeyNumber(name="object area", value=0.12, unit=FRACTION)),
        headline="Evidence lies on the object: 61% of Grad-CAM energy on 12% of the image.",
        source="Selvaraju et al. 2017, arXiv:1610.02391, eq. 1 and 2.",
    )  # fmt: skip


def features(name: str, rng: np.random.Generator) -> Finding:
    """Grid of one dimension with 300 tiles; Grid down by across; Grid in colours; a Grid with a dimension left to choose."""
    row, col = np.mgrid[0:7, 0:7] / 6 - 0.5
    turn, speed, phase = rng.uniform(0, np.pi, 300), rng.uniform(3, 12, 300), rng.uniform(0, 6, 300)
    filters = np.sin(
        speed[:, None, None] * (np.cos(turn)[:, None, None] * row + np.sin(turn)[:, None, None] * col) + phase[:, None, None]
    )
    filters = filters * np.exp(-(row**2 + col**2) * 6) * rng.uniform(0.1, 1, 300)[:, None, None]
    images, _ = images_and_masks(np.random.default_rng(7), 3, 16)
    maps = np.abs(images.mean(-1)[:, None] / 255 - rng.uniform(0, 1, (1, 12, 1, 1))).astype(np.float32)
    maps[:, 4] = 0
    colour = np.clip(0.5 + filters[:24, :, :, None] * rng.normal(0, 1, (24, 1, 1, 3)), 0, 1)
    arrays = {
        "kernel": array(filters.astype(np.float32), ("unit", "row", "col"), "1", {}, "kernel"),
        "map": array(
            maps,
            ("image", "unit", "row", "col"),
            "1",
            {"image": ["cone_01.jpg", "whelk_07.jpg", "a_very_long_image_name_of_a_shell_0042.jpg"]},
            "activation",
        ),
        "colour": array((colour * 255).astype(np.uint8), ("unit", "row", "col", "rgb"), "1", {}, "kernel in colour"),
        "shifted": array(
            np.stack([maps, maps[..., ::-1]]),
            ("warp", "image", "unit", "row", "col"),
            "1",
            {"warp": ["none", "mirrored"]},
            "activation",
        ),
    }
    panels = (
        Grid(title="First kernels", z="kernel", across="unit", scale="diverging"),
        Grid(title="Feature maps of layer1", z="map", across="unit", down="image", each=False),
        Grid(title="Kernels in colour", z="colour", across="unit"),
        Grid(title="Feature maps of mirrored images", z="shifted", across="unit", down="image"),
    )
    return _finding(
        "features", _origin(name, rng), arrays, panels, title="Kernels and feature maps", question="understand",
        key_numbers=(KeyNumber(name="flat kernels", value=21, better="lower"), KeyNumber(name="maps that are always zero", value=1 / 12, unit=FRACTION, better="lower")),
        summary="Kernels and feature maps of the first layers.", headline="21 of 300 kernels are nearly flat; 1 of 12 maps of layer1 is always zero.",
        source="Zeiler & Fergus 2014, arXiv:1311.2901, fig. 2.",
    )  # fmt: skip


def compare(rng: np.random.Generator) -> Finding:
    """The comparison: text and numbers by specimen, a front, a reason; one panel that belongs to another question."""
    coords = {"specimen": list(SPECIMENS)}
    criteria = [
        "best probe (fraction)",
        "parameters (1)",
        "time of a batch (ms per image)",
        "blocks below their twin (fraction)",
    ]
    table = np.array([[0.884, 25_557_032, 41.2, 0.31], [0.861, 138_365_992, 118.4, np.nan], [0.402, 5_717_416, 17.9, 0.5]])
    arrays = {
        "table": array(table, ("specimen", "criterion"), "see criterion", coords | {"criterion": criteria}),
        "rank": array([1.0, 2.0, np.nan], ("specimen",), "1", coords, "rank"),
        "family": array(["deeper", "deeper", "attention"], ("specimen",), "text", coords, "family"),
        "price": array(table[:, 2], ("specimen",), "ms per image", coords, "time of a batch"),
        "score": array(table[:, 0], ("specimen",), "fraction", coords, "best probe"),
        "score_low": array(table[:, 0] - 0.03, ("specimen",), "fraction", coords),
        "score_high": array(table[:, 0] + 0.03, ("specimen",), "fraction", coords),
        "front": array([True, False, True], ("specimen",), "1", coords, "on the Pareto front"),
        "by_size": array(
            np.array([[0.6, 0.8, 0.9], [0.5, 0.77, 0.91], [0.3, 0.4, 0.41]]),
            ("specimen", "size"),
            "fraction",
            coords | {"size": [0.02, 0.1, 0.4]},
            "accuracy",
        ),
    }
    panels = (
        Table(title="All networks", rows="specimen", columns=("rank", "family", "table", "front")),
        Scatter(title="Accuracy against cost", x="price", y="score", front="front", group="family", low="score_low", high="score_high", log="x",
                note="Ringed: no other network is both more accurate and cheaper. Bars: 95% intervals."),
        Curve(title="Accuracy by object size", y=("by_size",), x="size", by="specimen", log="x", question="understand"),
    )  # fmt: skip
    name = next(iter(SPECIMENS))
    origin = {
        "specimen": {},
        "specimens": list(SPECIMENS),
        "images": IMAGES,
        "options": {"price": "time"},
        "facts": {"choice": name},
        "seconds": 0.4,
        "started": "2026-11-20T14:12:00+00:00",
        "microtome": "0.1.0",
    }
    return _finding(
        "compare", origin, arrays, panels, title="Which to choose", question="choose", summary="All networks side by side.",
        headline=f"Choose {name}: best probe accuracy 88.4%, ranked first in 97% of bootstrap resamples.",
        caveats=("Two networks of a family do not make a law about the family.",), source="Efron & Tibshirani 1993, ch. 16.",
    )  # fmt: skip


PER_SPECIMEN = (probe, similarity, weights, redundancy, cam, features)


def build(folder: Path) -> Path:
    """The whole example below `folder`: 3 x 6 findings, the comparison, an older key, run.json. Returns `folder`."""
    rng = np.random.default_rng(0)
    listed: list[str] = []
    for name in SPECIMENS:
        for make in PER_SPECIMEN:
            place = folder / name.replace(":", "-") / make.__name__ / "0123456789abcdef"
            make(name, rng).save(place)
            listed.append(place.relative_to(folder).as_posix())
    compare(rng).save(folder / "_together" / "compare" / "0123456789abcdef")
    listed.append("_together/compare/0123456789abcdef")
    run = {
        "title": "Backbones for shells",
        "command": "microtome analyze timm:resnet50.a1_in1k torchvision:vgg16_bn timm:deit_tiny_patch16_224 photos/shells --out results",
        "started": "2026-11-20T14:01:00+00:00",
        "seconds": 713.4,
        "specimens": list(SPECIMENS),
        "images": IMAGES
        | {"skipped": [{"path": "cone/broken.jpg", "reason": "not an image: truncated after 4096 bytes"}], "skipped_count": 1},
        "findings": listed,
        "skipped": [
            {"specimen": name, "analysis": "reuse", "reason": "reuse needs dense blocks; this network has none."}
            for name in ("timm:resnet50.a1_in1k", "torchvision:vgg16_bn")
        ],
        "failed": [
            {
                "specimen": "timm:deit_tiny_patch16_224",
                "analysis": "erf",
                "reason": "No gradient reaches blocks.11: the head uses the class token alone.",
            }
        ],
        "notes": ["timm:deit_tiny_patch16_224 is untrained: its numbers do not rate the architecture."],
        "versions": {"microtome": "0.1.0", "torch": "2.13.0+cpu", "timm": "1.0.20"},
    }
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
    return folder


if __name__ == "__main__":
    import sys

    build(Path(sys.argv[1]))
