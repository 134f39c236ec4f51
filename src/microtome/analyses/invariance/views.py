"""One network looking at warped images: what each view does to each layer.

The maps of the unmoved images are kept, those of the moved ones compared inside the hook and let go.
"""

from collections.abc import Sequence
from math import nan, prod
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from microtome.analyses.invariance.plan import CLASS_SCORES, WarpPlan
from microtome.analyses.invariance.warps import Border, warp_images
from microtome.errors import Unmeasurable, hint
from microtome.images import Images
from microtome.instruments.class_matching import why_no_head
from microtome.numerics.statistics.equivariance import distance_to_others, equivariance_error, relative_distance
from microtome.prose import plural
from microtome.specimen import Recipe, Specimen, watch
from microtome.specimen.finiteness import finite_rows, where_broken
from microtome.tally import Rows

BATCH = 32  # images in one forward pass
WARP_CHUNK = 8  # images warped at a time: their maps are kept for comparison
REFERENCE_BYTES = 256 << 20  # features of the images that every other one is compared with
MAX_REFERENCES = 512
VIEW_COLUMNS = ("distance", "pooled", "misfit", "chance", "answer")


def reference_count(specimen: Specimen, plan: WarpPlan) -> int:
    """How many images' features are kept to compare every image with: at least one chunk."""
    features = sum(prod(specimen.layer(name).shape) for name in plan.names[:-1]) + prod(specimen.layers[-1].shape)
    return min(MAX_REFERENCES, max(WARP_CHUNK, REFERENCE_BYTES // (4 * features)))


class ViewRunner:
    """What the views of some images did: filled by `look`, given as one row for each image by `columns`."""

    def __init__(self, specimen: Specimen, plan: WarpPlan, count: int) -> None:
        self.specimen, self.plan = specimen, plan
        views, layers = len(plan.views), len(plan.names)
        self.distance = np.full((count, views, layers), np.nan)
        self.pooled = np.full((count, layers, 3), np.nan)
        self.misfit = np.full((count, layers, 3), np.nan)
        self.scores: list[Tensor | None] = [None] * (views + 2)  # of every view, then of the unmoved images, then crops
        self._still: dict[str, Tensor] = {}

    def look(self, x: Tensor, views: Sequence[int], border: Border, crops: bool) -> None:
        """Show the images `x` unmoved, then under the views at those places; `crops` says that they belong to the crops."""
        layers = self.plan.names[:-1]
        group = max(1, BATCH // len(self.distance))
        with watch(self.specimen, layers, each=self._keep):
            still = self._run(_crop_centre(x, self.plan, border))
        self._refuse_broken(_crop_centre(x, self.plan, border), still)
        self.scores[-1 if crops else -2] = still
        self._keep(CLASS_SCORES, still)
        for start in range(0, len(views), group):
            some = views[start : start + group]
            turned = torch.cat([warp_images(x, *self.plan.views[place], border, self.plan.size) for place in some])

            def compare(name: str, value: Tensor, some: Sequence[int] = some) -> None:
                self._compare(name, value, some)

            with watch(self.specimen, layers, each=compare):
                answered = self._run(turned)
            self._refuse_broken(turned, answered)
            self._compare(CLASS_SCORES, answered, some)
            for place, part in zip(some, answered.chunk(len(some)), strict=True):
                self.scores[place] = part

    def features(self, x: Tensor, border: Border) -> list[Tensor]:
        """What the unmoved images give, of every layer and the output, flat (image, feature)."""
        with watch(self.specimen, self.plan.names[:-1], each=self._keep):
            self._keep(CLASS_SCORES, self._run(_crop_centre(x, self.plan, border)))
        return [self._still[name].flatten(1) for name in self.plan.names]

    def _run(self, x: Tensor) -> Tensor:
        answered = self.specimen.pick(self.specimen.run(x))
        if answered.shape[:1] != (len(x),):
            raise Unmeasurable(f"{self.specimen.name} gives no tensor with one row for each image, so nothing can be compared.")
        return answered if answered.ndim > 1 else answered[:, None]

    def _refuse_broken(self, x: Tensor, answered: Tensor) -> None:
        """Raises Unmeasurable where an answer is not finite; called when nothing is watched, since it runs the network again."""
        if not bool((sound := finite_rows(answered)).all()):
            raise Unmeasurable(
                f"{self.specimen.name} gives NaN or infinity for {int((~sound).sum())} of "
                f"{plural(len(sound), 'image')} or warped images at once; "
                f"{where_broken(self.specimen.net, x[~sound])}."
            )

    def _keep(self, name: str, value: Tensor) -> None:
        if name != CLASS_SCORES and value.shape[0] != len(self.distance):
            raise Unmeasurable(
                f"{name} gives {tuple(value.shape)} for {plural(len(self.distance), 'image')}, not one row for each; "
                f"{hint('leave it out of --at', 'leave it out of at')}."
            )
        if not bool(torch.isfinite(value).all()):
            raise Unmeasurable(
                f"{name} holds NaN or infinity for some image; {hint('leave it out of --at', 'leave it out of at')}."
            )
        self._still[name] = value.detach().clone()

    def _compare(self, name: str, value: Tensor, some: Sequence[int]) -> None:
        place, still = self.plan.names.index(name), self._still[name]
        turned = value.reshape(len(some), *still.shape)
        self.distance[:, some, place] = relative_distance(turned, still).T.cpu().numpy()
        steps = self.plan.steps(place)
        for number, view in enumerate(some):
            warp, amount = self.plan.views[view]
            for step in [step for step, px in enumerate(steps) if warp == "row_shift" and amount == px]:
                layer = self.specimen.layer(name)
                after, before = layer.maps(turned[number]), layer.maps(still)
                pooled = relative_distance(after.mean((2, 3))[None], before.mean((2, 3)))[0]
                self.pooled[:, place, step] = pooled.cpu().numpy()
                self.misfit[:, place, step] = equivariance_error(after, before, amount / steps[2]).cpu().numpy()

    def columns(self, index: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
        """Rows (image, …) of everything seen; `index` are the images' places in the plan's target.

        `chance` and `answer` are (image, view): probability of the target and the predicted class, the unmoved images last but
        one, the unmoved crops last; NaN and -1 where the network gives no class scores or a view was not shown.
        """
        rows = {"distance": self.distance, "pooled": self.pooled, "misfit": self.misfit}
        chance = np.full((len(index), len(self.scores)), np.nan)
        answer = np.full(chance.shape, -1, dtype=np.int64)
        for place, scores in enumerate(self.scores if not why_no_head(self.specimen) else ()):
            flat = None if scores is None else self.specimen.class_scores(scores).flatten(1)
            own = self.scores[-1 if place == len(self.scores) - 1 or self._crop(place) else -2]
            if flat is None or own is None or self.specimen.outputs is None or flat.shape[1] < 2:
                continue
            own = self.specimen.class_scores(own)
            asked = torch.from_numpy(self.plan.target[index]).to(flat.device)
            target = torch.where(asked >= 0, asked, own.flatten(1).argmax(1))
            chance[:, place] = flat.double().softmax(1).gather(1, target[:, None])[:, 0].cpu().numpy()
            answer[:, place] = flat.argmax(1).cpu().numpy()
        return rows | {"chance": chance, "answer": answer}

    def _crop(self, place: int) -> bool:
        return place < len(self.plan.views) and self.plan.views[place][0] == "crop_shift"


def _crop_centre(x: Tensor, plan: WarpPlan, border: Border) -> Tensor:
    """The unmoved images: the middle of what was given."""
    return warp_images(x, "row_shift", 0.0, border, plan.size)


class UnmovedImages(NamedTuple):
    """Of images that nothing was done to: the mean distance (image, layer) of each to the others, and how many classes are predicted.

    Not a number where the network gives no class scores.
    """

    distance: np.ndarray[Any, Any]
    answers: float


def compare_unmoved(specimen: Specimen, plan: WarpPlan, images: Images, recipe: Recipe, border: Border) -> UnmovedImages:
    """The distances of every unmoved image to the others, or to the first `reference_count` of them, and the classes predicted."""

    def features(index: np.ndarray[Any, Any]) -> list[Tensor]:
        x = recipe.normalise(torch.from_numpy(images.inputs(recipe, index)).to(specimen.device))
        return ViewRunner(specimen, plan, len(index)).features(x, border)

    chunks = [np.arange(start, min(start + WARP_CHUNK, len(images))) for start in range(0, len(images), WARP_CHUNK)]
    count = reference_count(specimen, plan)
    parts = [features(chunk) for chunk in chunks if chunk[0] < count]
    references = [torch.cat(layer)[:count] for layer in zip(*parts, strict=True)]
    apart = np.full((len(images), len(plan.names)), np.nan)
    answers: set[int] = set()
    for number, chunk in enumerate(chunks):
        own = parts[number] if number < len(parts) else features(chunk)
        answers |= set(own[-1].argmax(1).tolist())
        for place, (values, others) in enumerate(zip(own, references, strict=True)):
            apart[chunk, place] = distance_to_others(values, others, torch.from_numpy(chunk)).cpu().numpy()
    return UnmovedImages(apart, nan if specimen.outputs is None else len(answers))


class TwinViews(NamedTuple):
    """What the views did to each image in its own untrained twin: rows, distances between images, the most classes one twin predicts."""

    rows: Rows | None  # None where there are no twins
    apart: np.ndarray[Any, Any]
    answers: float


def join_rows(parts: Sequence[Rows], places: Sequence[np.ndarray[Any, Any]]) -> Rows:
    """The rows of all parts as one table; `places` are where the images of each part stand in the whole."""
    whole = Rows()
    for part, at in zip(parts, places, strict=True):
        whole.add(at[part.index], {name: part.column(name) for name in VIEW_COLUMNS})
    return whole
