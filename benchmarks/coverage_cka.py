"""What the 95% interval of CKA covers: the fraction of simulated sets of images whose interval holds the CKA of the population.

`python -m benchmarks.coverage_cka` prints the rows. Populations whose CKA is known: features with a power-law spectrum, the same in ten
classes, the same with a few images far larger than the rest (a stress test), and the blocks of a trained network of ours on scenes.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch

import microtome
from microtome.instruments.image_pairs import flat_features
from microtome.numerics.statistics.cka import gram_matrix, u_centered
from microtome.numerics.statistics.cka_intervals import all_pairs_cka, grouped_cka
from microtome.specimen import watch

Values = np.ndarray[Any, Any]
DRAWS = 2000
SIZES = (64, 96, 256)  # images, all pairs compared
BATCHED = (96, 128, 320)  # images in batches of BATCH
BATCH = 32
UNITS, NOISE, KNOWN = 40, 1.0, 20_000
NETWORK, SCENES = "microtome:mini_resnet", 3000


@dataclass(frozen=True)
class Population:
    """Two sets of features of the same images: `draw(random, count)` gives both for `count` new images; `cka` is the true value."""

    name: str
    cka: float
    draw: Callable[[np.random.Generator, int], tuple[Values, Values]]


def rows(draws: int = DRAWS, seed: int = 0) -> list[dict[str, Any]]:
    """One row for each population, way of comparing and number of images."""
    found: list[dict[str, Any]] = []
    for population in [*synthetic_populations(), *scene_populations()]:
        cases = [(count, count) for count in SIZES] + [(count, BATCH) for count in BATCHED]
        for count, batch in cases:
            random = np.random.default_rng([seed, count, batch])
            held = sum(_holds(population, random, count, batch) for _ in range(draws))
            how = "all pairs" if batch == count else f"batches of {batch}"
            found.append(
                {"interval": f"CKA, {how}: {population.name}", "analysis": "similarity, evolution", "n": count, "nominal": 0.95,
                 "coverage": held / draws, "draws": draws}
            )  # fmt: skip
    return found


def _holds(population: Population, random: np.random.Generator, count: int, batch: int) -> bool:
    """Whether the interval of one simulated set of images holds the true CKA."""
    both = [torch.from_numpy(values) for values in population.draw(random, count)]
    products: list[list[Values]] = []
    for start in range(0, count, batch):
        first, second = (u_centered(gram_matrix(values[start : start + batch])).numpy() for values in both)
        products.append([np.einsum("ij,ij->i", *pair) for pair in ((first, second), (first, first), (second, second))])
    if batch == count:
        found = all_pairs_cka(*products[0])
    else:
        found = grouped_cka(*np.array(products).sum(-1).T, images=count)
    return bool(found.low <= population.cka <= found.high)


def synthetic_populations() -> list[Population]:
    """Features whose covariances, and so whose CKA, are known but for the sampling of `KNOWN` images."""
    setting = np.random.default_rng(1)
    spectrum = np.arange(1, UNITS + 1) ** -0.5
    turn = np.linalg.qr(setting.normal(size=(UNITS, UNITS)))[0]
    centres = setting.normal(size=(10, UNITS)) * spectrum

    def maker(kind: str) -> Callable[[np.random.Generator, int], tuple[Values, Values]]:
        def draw(random: np.random.Generator, count: int) -> tuple[Values, Values]:
            first = random.normal(size=(count, UNITS)) * spectrum
            if kind == "ten classes":
                first = 0.5 * first + centres[random.integers(0, 10, size=count)]
            if kind == "few large images (stress)":
                first = first * np.exp(0.5 * random.normal(size=(count, 1)))
            noise = random.normal(size=(count, UNITS)) * np.sqrt(3 / UNITS)
            return first, first @ turn + NOISE * noise

        return draw

    kinds = ("power-law spectrum", "ten classes", "few large images (stress)")
    return [
        Population(kind, _covariance_cka(*maker(kind)(np.random.default_rng(2), 20 * KNOWN)), maker(kind)) for kind in kinds
    ]


def _covariance_cka(first: Values, second: Values) -> float:
    """Linear CKA of a population, all of its images (or so many that the bias is negligible) given."""
    first, second = first - first.mean(0), second - second.mean(0)
    cross, own, other = (((a.T @ b) ** 2).sum() for a, b in ((first, second), (first, first), (second, second)))
    return float(cross / np.sqrt(own * other))


def scene_populations() -> list[Population]:
    """Neighbouring stages of a trained network of ours, pooled; images are drawn from many scenes, with replacement."""
    specimen = microtome.open(NETWORK)
    images = microtome.Images.scenes(SCENES, seed=11)
    names = specimen.find(("stages",))
    parts: dict[str, list[Values]] = {name: [] for name in names}
    for part in images.batches(specimen.recipe, 100):
        with watch(specimen, names) as seen:
            specimen.run(specimen.recipe.normalise(torch.from_numpy(part.pixels)))
        for name in names:
            parts[name].append(flat_features(seen[name].mean((2, 3))).values)
    features = {name: np.concatenate(one).astype(np.float64) for name, one in parts.items()}

    def maker(first: str, second: str) -> Callable[[np.random.Generator, int], tuple[Values, Values]]:
        def draw(random: np.random.Generator, count: int) -> tuple[Values, Values]:
            index = random.integers(0, SCENES, size=count)
            return features[first][index], features[second][index]

        return draw

    return [
        Population(f"{NETWORK} {first}, {second}", _covariance_cka(features[first], features[second]), maker(first, second))
        for first, second in pairwise(names)
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The coverage of the interval of CKA, one row for each case.")
    parser.add_argument("--draws", type=int, default=DRAWS)
    for one in rows(parser.parse_args().draws):
        print(f"{one['interval']:70s} n = {one['n']:4d}  {100 * one['coverage']:.1f}% of {one['draws']}")
