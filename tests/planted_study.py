"""Findings made by hand for a study of families: the truth of every hypothesis is planted."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from microtome.finding import Finding, array
from microtome.instruments.untrained_twins import VERDICTS
from microtome.key_numbers import KeyNumber

COUNT = 240
FAMILY_OF = {"d1": "deeper", "d2": "deeper", "w1": "wider", "w2": "wider", "a1": "attention", "a2": "attention"}
OPTIONS = {"at": "deep", "kind": "gradcam", "target": "label", "place": "arithmetic", "grid": 7}


def origin(name: str, analysis: str, options: Mapping[str, Any] | None = None, **facts: Any) -> dict[str, Any]:
    specimen = {"name": name, "trained": True, "family": FAMILY_OF[name], "weights": "made"}
    images = {"digest": "d", "count": COUNT, "name": "made"}
    return {"specimen": specimen, "images": images, "key": f"{name}-{analysis}", "options": dict(options or {}), "facts": facts}


def images_of(seed: int = 0, count: int = COUNT) -> tuple[np.ndarray, np.ndarray]:
    """Area and clutter of the images."""
    random = np.random.default_rng([seed, 1])
    return np.exp(random.uniform(np.log(0.01), np.log(0.6), count)), random.random(count)


def objects(
    name: str, random: np.random.Generator, *, seed: int = 0, count: int = COUNT, coverage: float = 0.25, lift: Any = 0.2,
    correct: Any = 0.8, options: Mapping[str, Any] = OPTIONS,
) -> Finding:  # fmt: skip
    """A finding of objects; lift and probability of a right answer may be arrays over the images."""
    area, clutter = images_of(seed, count)
    columns = {
        "area": area,
        "clutter": clutter,
        "lift": np.broadcast_to(lift, count) + random.normal(0, 0.05, count),
        "correct": (random.random(count) < correct).astype(float),
        "coverage50": coverage + random.normal(0, 0.04, count),
        "coverage90": 2 * coverage + random.normal(0, 0.08, count),
    }
    arrays = {f"each_{key}": array(values, ("image",), "fraction") for key, values in columns.items()}
    return Finding(analysis="objects", arrays=arrays, origin=origin(name, "objects", options, map_grid=[7, 7]))


def weights(name: str, random: np.random.Generator, *, factor: float = 1.0, spread: float = 0.1, twins: int = 5) -> Finding:
    """A finding of weights whose distances are `factor` times those of one more twin."""
    pairs = {"pair": ["a → b", "b → c"]}
    each = 0.02 * np.exp(random.normal(0, spread, (twins, 2)))
    own = 0.02 * factor * np.exp(random.normal(0, spread, 2))
    arrays = {
        "w1_over_sigma": array(own, ("pair",), "standard deviations", pairs),
        "each_twin_w1_over_sigma": array(each, ("twin", "pair"), "standard deviations", pairs),
        "match": array(["same role, same shape"] * 2, ("pair",), "text", pairs),
        "against_twins": array([VERDICTS[0]] * 2, ("pair",), "text", pairs),
    }
    return Finding(analysis="weights", arrays=arrays, origin=origin(name, "weights", {"at": ["last3"]}))


def similarity(name: str, random: np.random.Generator, *, change: float = 0.0, error: float = 0.01, twins: int = 5) -> Finding:
    """A finding of similarity whose CKA between neighbours is `change` below that of one more twin."""
    layers = ["a", "b", "c", "d"]
    steps = {"pair": ["a → b", "b → c", "c → d"]}
    each = 0.9 + random.normal(0, 0.02, (twins, 3))
    own = 0.9 - change + random.normal(0, 0.02, 3) + random.normal(0, error)
    arrays = {
        "step": array(own, ("pair",), "1", steps),
        "each_twin_step": array(each, ("twin", "pair"), "1", steps),
        "cka_error": array(np.full((4, 4), error), ("layer", "layer_"), "1", {"layer": layers, "layer_": layers}),
        "count": array([COUNT, 64], ("source",), "images", {"source": ["network", "untrained twin"]}),
    }
    return Finding(analysis="similarity", arrays=arrays, origin=origin(name, "similarity", {"at": ["blocks"]}, no_verdict=""))


def redundancy(name: str, random: np.random.Generator, *, factor: float = 1.0, twins: int = 5) -> Finding:
    """A finding of redundancy whose influences are `factor` times those of one more twin."""
    blocks = {"block": ["b1", "b2", "b3"]}
    each = 0.3 * np.exp(random.normal(0, 0.1, (twins, 3)))
    own = 0.3 * factor * np.exp(random.normal(0, 0.1, 3))
    arrays = {
        "influence": array(own, ("block",), "1", blocks),
        "influence_low": array(own * 0.99, ("block",), "1", blocks),
        "influence_high": array(own * 1.01, ("block",), "1", blocks),
        "each_twin_influence": array(each, ("twin", "block"), "1", blocks),
    }
    return Finding(analysis="redundancy", arrays=arrays, origin=origin(name, "redundancy", no_verdict=""))


def probe(name: str, first: float, last: float, random: np.random.Generator) -> Finding:
    """A finding of probes, right with these probabilities at the first and at the last layer."""
    right = np.stack([random.random(COUNT) < share for share in (first, last)]).astype(np.float32)
    return Finding(analysis="probe", arrays={"correct": array(right, ("layer", "image"), "1")}, origin=origin(name, "probe"))


def cost(name: str, parameters: float) -> Finding:
    arrays = {"runs": array([1.0], ("rank",), "ms")}
    return Finding(
        analysis="cost",
        arrays=arrays,
        key_numbers=(KeyNumber(name="parameters", value=parameters),),
        origin=origin(name, "cost"),
    )


def cam(name: str, layers: Sequence[str] = ("l1", "l2", "l3", "l4"), size: int = 16, value: int = 100) -> Finding:
    """A finding of maps of three images."""
    names = {"image": ["i1", "i2", "i3"]}
    heat = np.random.default_rng(len(name)).random((3, len(layers), 7, 7))
    pixels = np.full((3, size, size, 3), value, dtype=np.uint8)
    masks = np.zeros((3, size, size), dtype=bool)
    masks[:, 2:6, 2:6] = True
    arrays = {
        "heat": array(heat, ("image", "layer", "row", "col"), "score", names | {"layer": list(layers)}),
        "image": array(pixels, ("image", "row", "col", "rgb"), "1", names),
        "mask": array(masks, ("image", "row", "col"), "1", names),
        "area": array([0.2, 0.01, 0.5], ("image",), "fraction of the image", names),
    }
    return Finding(analysis="cam", arrays=arrays, origin=origin(name, "cam"))
