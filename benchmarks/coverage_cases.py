"""The simulations of coverage: how often each interval holds the true value of a distribution that is known."""

from collections.abc import Callable, Iterator, Sequence
from math import sqrt
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import norm

from microtome.numerics.maps.segmentation import bootstrap_statistic, mean_iou
from microtome.numerics.statistics.balanced_pairs import compare_balanced
from microtome.numerics.statistics.equivalence import critical_value, score_interval
from microtome.numerics.statistics.intervals import Interval, mean_interval, ratio_interval, student_interval, wilson_interval
from microtome.numerics.statistics.medians import median_interval
from microtome.numerics.statistics.proportions import bounded_mean_interval, proportion_interval
from microtome.numerics.statistics.rank_correlations import mean_correlation, rank_correlation_interval
from microtome.numerics.statistics.trends import loss_difference, relative_loss, slope_interval
from microtome.numerics.statistics.twin_gaps import TwinCase, twin_gap
from microtome.numerics.statistics.twins import side_of_twins

SIZES = (3, 8, 20, 50, 200)
Array = np.ndarray[Any, Any]
Draw = Callable[[np.random.Generator, int], Interval]


class Row(NamedTuple):
    """Of `draws` samples of `n`, `printed` had an interval, and in `held` the true value lay in it."""

    interval: str
    analyses: str
    distribution: str
    n: int
    nominal: float
    held: int
    printed: int
    draws: int

    @property
    def coverage(self) -> float:
        return self.held / self.printed if self.printed else float("nan")

    @property
    def error(self) -> float:
        """The standard error of the coverage over draws."""
        return sqrt(self.coverage * (1 - self.coverage) / self.printed) if self.printed else float("nan")

    @property
    def verdict(self) -> str:
        """Whether the coverage lies within 2 points of the nominal one, two of its own errors allowed."""
        if self.printed < self.draws / 100:
            return "no interval"
        if self.coverage + 2 * self.error < self.nominal - 0.02:
            return "**too low**"
        return "conservative" if self.coverage - 2 * self.error > self.nominal + 0.02 else "holds"


class Case(NamedTuple):
    """One interval on one distribution: a draw gives the interval of a sample of n, and `truth` is the true value."""

    interval: str
    analyses: str
    distribution: str
    truth: float
    draw: Draw
    sizes: Sequence[int] = SIZES


def simulate(case: Case, n: int, draws: int, seed: int = 0) -> Row:
    """The row of one case at one sample size; the same seed gives the same row."""
    random = np.random.default_rng([seed, n, *case.distribution.encode()])
    held = printed = 0
    for _ in range(draws):
        found = case.draw(random, n)
        if np.isnan(found.low) or np.isnan(found.high):
            continue
        printed += 1
        held += found.low - 1e-9 <= case.truth <= found.high + 1e-9
    return Row(case.interval, case.analyses, case.distribution, n, 0.95, held, printed, draws)


def cases() -> Iterator[Case]:
    """Every case that is a single value with an interval."""
    yield from _fractions()
    yield from _bounded()
    yield from _means()
    yield from _ratios_and_trends()
    yield from _others()
    yield from _correlations()


def _fractions() -> Iterator[Case]:
    for chance in (0.5, 0.85, 0.98, 0.999):

        def exact(random: np.random.Generator, n: int, chance: float = chance) -> Interval:
            return proportion_interval(int(random.binomial(n, chance)), n)

        yield Case(
            "fraction, Clopper-Pearson",
            "accuracy, evolution, objects, probe",
            f"right with probability {chance:g}",
            chance,
            exact,
        )

    def score(random: np.random.Generator, n: int) -> Interval:
        return wilson_interval(int(random.binomial(n, 0.92)), n)

    yield Case(
        "fraction, Wilson", "pages of shipped networks and experiments", "right with probability 0.92", 0.92, score, (4000,)
    )


def _bounded() -> Iterator[Case]:
    shapes = {
        "uniform": (1.0, 1.0),
        "U-shaped, beta(½, ½)": (0.5, 0.5),
        "near 1, beta(5, ½)": (5.0, 0.5),
        "saturated, beta(5, 0.05)": (5.0, 0.05),
    }
    for name, (up, down) in shapes.items():

        def bounded(random: np.random.Generator, n: int, up: float = up, down: float = down) -> Interval:
            return bounded_mean_interval(random.beta(up, down, n), draws=1000)

        yield Case("mean between 0 and 1", "concepts, invariance, traits", name, up / (up + down), bounded)

    def agreement(random: np.random.Generator, n: int) -> Interval:
        return bounded_mean_interval(np.where(random.random(n) < 0.9, 1.0, random.integers(0, 8, n) / 8), draws=1000)

    yield Case("mean between 0 and 1", "concepts, invariance, traits", "90% ones, else eighths", 0.9 + 0.1 * 3.5 / 8, agreement)


def _means() -> Iterator[Case]:
    analyses = "redundancy, objects, occlusion, banding, traits"
    shapes: dict[str, tuple[float, Callable[[np.random.Generator, int], Array]]] = {
        "normal": (0.0, lambda random, n: random.normal(size=n)),
        "uniform": (0.5, lambda random, n: random.random(n)),
        "U-shaped, beta(½, ½)": (0.5, lambda random, n: random.beta(0.5, 0.5, n)),
        "exponential": (1.0, lambda random, n: random.exponential(size=n)),
        "log-normal, σ = ½": (float(np.exp(1 / 8)), lambda random, n: random.lognormal(0, 0.5, n)),
        "log-normal, σ = 1": (float(np.exp(1 / 2)), lambda random, n: random.lognormal(0, 1, n)),
        "Student's t, 3 degrees": (0.0, lambda random, n: random.standard_t(3, n)),
        "paired differences, 70% ties": (
            0.15,
            lambda random, n: np.where(random.random(n) < 0.3, random.normal(0.5, 1, n), 0.0),
        ),
        "paired answers, -1, 0 or 1": (0.1, lambda random, n: random.choice([-1.0, 0.0, 1.0], n, p=[0.1, 0.7, 0.2])),
    }
    for name, (truth, sample) in shapes.items():

        def mean(random: np.random.Generator, n: int, sample: Callable[..., Array] = sample) -> Interval:
            return mean_interval(sample(random, n))

        yield Case("mean, studentised", analyses, name, truth, mean, (3, 8, 10, 20, 50, 200))


def _ratios_and_trends() -> Iterator[Case]:
    def ratio(random: np.random.Generator, n: int) -> Interval:
        """Distances under a warp, over those to other images, which share images and so are not independent."""
        features = random.normal(size=(n, 20)) * np.linspace(2, 0.2, 20)
        gaps = np.linalg.norm(features[:, None] - features[None], axis=2).sum(1) / (n - 1)
        return ratio_interval(random.lognormal(-1, 0.5, n), gaps)

    far = np.random.default_rng(0).normal(size=(2, 400_000, 20)) * np.linspace(2, 0.2, 20)
    apart = float(np.linalg.norm(far[0] - far[1], axis=1).mean())
    yield Case(
        "ratio of means, studentised",
        "invariance",
        "log-normal over distances of all pairs",
        float(np.exp(-1 + 1 / 8)) / apart,
        ratio,
        (8, 10, 20, 50),
    )

    def slope(random: np.random.Generator, n: int) -> Interval:
        x = random.uniform(-6, 0, n)
        return slope_interval(0.1 * x + random.normal(size=n) * (0.1 - 0.05 * x), x)

    def answers(random: np.random.Generator, n: int) -> Interval:
        x = random.uniform(-6, 0, n)
        return slope_interval((random.random(n) < 0.9 + 0.05 * x).astype(float), x)

    yield Case("slope, studentised", "objects, traits", "error grows along the line", 0.1, slope, (8, 10, 20, 50, 200))
    yield Case("slope, studentised", "objects, traits", "right or wrong, 60 to 90%", 0.05, answers, (8, 20, 50, 200))

    def loss(random: np.random.Generator, n: int) -> Interval:
        last = np.arange(n) % 2 == 1
        values = random.gamma(2, size=n) * np.where(last, 0.7, 1.0)
        return relative_loss(values, ~last, last)

    def lost_answers(random: np.random.Generator, n: int) -> Interval:
        last = np.arange(n) % 2 == 1
        values = (random.random(n) < np.where(last, 0.72, 0.9)).astype(float)
        return relative_loss(values, ~last, last)

    yield Case("relative loss, studentised", "objects", "gamma, half on each side", 0.3, loss, (8, 20, 50, 200))
    yield Case("relative loss, studentised", "objects", "right or wrong, 90 and 72%", 0.2, lost_answers, (8, 20, 50, 200))
    yield from _loss_differences()


def _loss_differences() -> Iterator[Case]:
    def losses(random: np.random.Generator, n: int) -> Interval:
        """Two networks on the same images, of which both find some hard."""
        last, shared = np.arange(n) % 2 == 1, random.gamma(4, size=n)
        values, other = (shared * random.gamma(4, size=n) * np.where(last, kept, 1.0) for kept in (0.6, 0.8))
        return loss_difference(values, other, ~last, last)

    def answers(random: np.random.Generator, n: int) -> Interval:
        last, latent = np.arange(n) % 2 == 1, random.normal(size=n)
        values, other = (
            (0.7 * latent + 0.714 * random.normal(size=n) < np.where(last, norm.ppf(right), norm.ppf(0.9))).astype(float)
            for right in (0.54, 0.72)
        )
        return loss_difference(values, other, ~last, last)

    yield Case(
        "difference of relative losses, studentised", "traits", "gamma, half on each side", 0.2, losses, (8, 20, 50, 200)
    )
    yield Case(
        "difference of relative losses, studentised", "traits", "right or wrong, 90 to 54 and 72%", 0.2, answers, (20, 50, 200)
    )


def gap_rows(draws: int, seed: int = 0) -> Iterator[Row]:
    """One more set of random weights whose gap to its five twins holds zero: of one network, and of two against three."""
    for name, spread in (("normal", 0.0), ("log-normal, σ = ½, as factors", 0.5)):
        for title, weights in (("one network", [1.0]), ("2 networks against 3", [1 / 2] * 2 + [-1 / 3] * 3)):
            random = np.random.default_rng([seed, *f"{name}{title}".encode()])
            held = 0
            for _ in range(draws):
                values = (
                    random.normal(size=(len(weights), 6))
                    if not spread
                    else np.log(random.lognormal(0, spread, (len(weights), 6)))
                )
                noise = random.normal(0, 0.3, len(weights))
                cases = [TwinCase(float(own[0]) + shift, 0.3, 100.0, own[1:]) for own, shift in zip(values, noise, strict=True)]
                found = twin_gap(cases, weights)
                held += found.low <= 0 <= found.high
            yield Row("gap to the untrained twins", "traits", f"{name}, {title}", 5, 0.95, held, draws, draws)


def _others() -> Iterator[Case]:
    for name, sigma in (("exponential", 0.0), ("log-normal, σ = 1", 1.0)):

        def median(random: np.random.Generator, n: int, sigma: float = sigma) -> Interval:
            return median_interval(random.lognormal(0, sigma, n) if sigma else random.exponential(size=n))

        yield Case(
            "median, order statistics",
            "cost, faithfulness, objects, slimming",
            name,
            1.0 if sigma else float(np.log(2)),
            median,
            (3, 6, 7, 8, 12, 20, 50, 200),
        )

    def student(random: np.random.Generator, n: int) -> Interval:
        return student_interval(list(random.normal(size=n)))

    yield Case("mean of repeated trainings, Student's", "concepts, page of atrous rates", "normal", 0.0, student, (2, 3, 8))

    def overlap(random: np.random.Generator, n: int) -> Interval:
        return bootstrap_statistic(_scenes(random, n), mean_iou, draws=500)

    whole = float(mean_iou(_scenes(np.random.default_rng(1), 200_000).sum(0)))
    yield Case(
        "mean IoU over scenes, percentile",
        "page of shipped networks",
        "3 classes, one of them rare",
        whole,
        overlap,
        (20, 50, 200, 1000),
    )


def _correlations() -> Iterator[Case]:
    """Spearman's correlation of normal pairs, and its mean over sets whose true correlations differ."""
    for strength in (0.0, 0.5, 0.8):

        def ranks(random: np.random.Generator, n: int, strength: float = strength) -> Interval:
            first, second = random.standard_normal((2, n))
            return rank_correlation_interval(first, strength * first + sqrt(1 - strength**2) * second)

        truth = 6 / np.pi * np.arcsin(strength / 2)
        yield Case(
            "rank correlation, Fisher's transform",
            "slimming",
            f"normal pairs, Pearson {strength:g}",
            truth,
            ranks,
            (5, 6, 8, 12, 27),
        )

    def mean(random: np.random.Generator, n: int) -> Interval:
        counts = random.integers(8, 28, n)
        drawn = np.tanh(random.normal(0.5, 0.3, n) + random.standard_normal(n) / np.sqrt(counts - 3))
        return mean_correlation(drawn, counts.astype(np.float64))

    yield Case(
        "mean rank correlation over networks", "redundancy, page of removed blocks", "transformed correlations normal", float(np.tanh(0.5)),
        mean, (2, 3, 5, 10),
    )  # fmt: skip


def _scenes(random: np.random.Generator, count: int) -> Array:
    """Confusion counts (image, class, class) of scenes whose accuracy differs, the third class in a fifth of them."""
    quality = random.beta(8, 2, count)[:, None]
    pixels = np.stack([np.full(count, 60), random.integers(5, 40, count), np.where(random.random(count) < 0.2, 20, 0)], axis=1)
    right = random.binomial(pixels, quality)
    counts = np.zeros((count, 3, 3), dtype=np.int64)
    for place in range(3):
        counts[:, place, place] = right[:, place]
        counts[:, place, (place + 1) % 3] = pixels[:, place] - right[:, place]
    return counts


def simultaneous_rows(draws: int, seed: int = 0) -> Iterator[Row]:
    """All differences between K networks held at once by the intervals of `compare`."""
    settings = {"equal, 85%": (0.85, 0.85), "60 to 95%": (0.6, 0.95), "95 to 99%": (0.95, 0.99), "99.5%": (0.995, 0.995)}
    for count in (2, 5, 10):
        for name, ends in settings.items():
            truth = np.linspace(*ends, count)
            for shared in (0.0, 0.8):
                difficulty = f"{count} networks, {name}, {'shared difficulty' if shared else 'independent'}"
                for n in (20, 50, 200):
                    yield _simultaneous_row(difficulty, truth, shared, n, draws, seed)


def _simultaneous_row(name: str, truth: Array, shared: float, n: int, draws: int, seed: int) -> Row:
    random = np.random.default_rng([seed, n, *name.encode()])
    pairs = np.triu_indices(len(truth), 1)
    difference = (truth[None, :] - truth[:, None])[pairs]
    more, fewer = np.empty((2, draws, len(difference)))
    for draw in range(draws):
        latent = sqrt(shared) * random.normal(size=n) + sqrt(1 - shared) * random.normal(size=(len(truth), n))
        right = (latent < norm.ppf(truth)[:, None]).astype(float)
        table = (1 - right) @ right.T
        more[draw], fewer[draw] = table[pairs], table.T[pairs]
    low, high = score_interval(more, fewer, n, critical_value(len(truth)))
    held = int(((low <= difference + 1e-9) & (difference <= high + 1e-9)).all(axis=1).sum())
    return Row("paired differences, all at once", "compare, slimming", name, n, 0.95, held, draws, draws)


def balanced_rows(draws: int, seed: int = 0) -> Iterator[Row]:
    """All differences in balanced accuracy between K networks, on classes of unequal size, held at once by the intervals of `compare`."""
    settings = {"equal": (0.0, 0.0), "0 to 12 points apart": (0.0, 0.12)}
    recall = np.array([0.95, 0.8, 0.7])
    for count in (2, 5):
        for name, ends in settings.items():
            truth = recall - np.linspace(*ends, count)[:, None]
            for sizes in ((30, 10, 10), (120, 20, 20), (300, 50, 50)):
                title = f"{count} networks, {name}, {' + '.join(map(str, sizes))} images"
                yield _balanced_row(title, truth, np.repeat(np.arange(3), sizes), draws, seed)


def _balanced_row(name: str, recall: Array, classes: Array, draws: int, seed: int) -> Row:
    random = np.random.default_rng([seed, *name.encode()])
    balanced = recall.mean(axis=1)
    difference = balanced[None, :] - balanced[:, None]
    held = 0
    for _ in range(draws):
        right = (random.random((len(recall), len(classes))) < recall[:, classes]).astype(float)
        found = compare_balanced(right, classes)
        held += bool(((found.low - 1e-9 <= difference) & (difference <= found.high + 1e-9)).all())
    return Row("paired differences in balanced accuracy", "compare", name, len(classes), 0.95, held, draws, draws)


def twin_rows(draws: int, seed: int = 0) -> Iterator[Row]:
    """A further set of random weights that is not called outside the range of five twins."""
    for name, ratio in (("normal", False), ("log-normal, σ = 1, as factors", True), ("log-normal, σ = 1", False)):
        random = np.random.default_rng([seed, *name.encode()])
        values = random.normal(size=(6, draws))
        values = values if name == "normal" else np.exp(values)
        inside = int((side_of_twins(values[0], values[0], values[1:], ratio) == 0).sum())
        yield Row("range of the untrained twins", "all that use five twins", name, 5, 0.95, inside, draws, draws)
