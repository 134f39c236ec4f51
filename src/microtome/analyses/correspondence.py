"""Whether masking the same part of several objects moves the same features the same way.

A network that was never told of parts may still know that they correspond. The same part is masked in several pictures of one class;
Δ is the share of features whose change differs in sign between two pictures (falls, rises, stays), the mean over pairs. It is held
against the same shapes masked at random places: all of them, and of each picture the one that moves the features most nearly as far,
since a weak mask leaves more features unmoved and so lowers Δ by itself. Kappa corrects for that by counts of signs.

Source: Zeiler & Fergus 2014, arXiv:1311.2901, sec. 4.3 and table 1. The formula there is a sum; their numbers are only possible as
means over features and pairs, which is the reading taken. The control for the size of the change, kappa, features that are means over
each map (theirs are maps of aligned photographs) and the untrained twin are ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from microtome.analysis import Analysis, Arrays, Needs, option
from microtome.errors import BadOption, UnknownName, Unmeasurable, did_you_mean
from microtome.finding import array
from microtome.images import Images
from microtome.numerics.parts import GENERATED, elsewhere, part_of
from microtome.numerics.signs import agreement, disagreement, signs, strength
from microtome.panels import Bars, Grid, Panel, Question, Table
from microtome.perturbing import filled
from microtome.scan import Pace, Step, batches
from microtome.showing import pictures
from microtome.specimen import Specimen, watch

BATCH = 64  # masked pictures in one forward pass
GROUPS = 3  # classes looked at where none is named
LARGEST = 0.4  # of the picture: a larger part has no other place to go
LEAST = 3  # pictures of a class with the part
LAST = {
    "kappa": "the same part", "random_kappa": "the same shapes elsewhere", "twin_kappa": "untrained twin, same part",
    "twin_random_kappa": "untrained twin, elsewhere", "strength": "the same part", "random_strength": "the same shapes elsewhere",
}  # fmt: skip
SHAPES = ("nchw", "nhwc", "tokens", "vector")
Values = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class _Group:
    """Pictures of one class, with the masks of each part (image, row, col)."""

    title: str
    places: Values
    masks: Mapping[str, Values]


@dataclass
class _Row:
    """What one network said of one part at one layer; for the random places (draw, …) numbers first."""

    pairs: list[Values]
    kappa: list[Values]
    strength: list[Values]
    random: list[Values]
    random_kappa: list[Values]
    random_strength: list[Values]
    matched: list[Values]


@final
class Correspondence(Analysis):
    needs: ClassVar[Needs] = "masks"
    question: ClassVar[Question] = "understand"
    title: ClassVar[str] = "Correspondence of parts"

    at: tuple[str, ...] = option("shallow,middle,deep", "the layers to look at: names, globs or aliases")
    parts: tuple[str, ...] = option("object,upper,lower", "parts of each mask: object, upper, lower, left, right (halves)")
    marks: tuple[str, ...] = option(
        (),
        "parts by hand, each as image:part:row:col or image:part:row:col:height:width in px of the picture; a point is a square",
    )
    size: int = option(
        0, "side of the square around a point, in px of what the network sees; 0: a seventh of its shorter side", low=0
    )
    colour: Literal["grey", "mean", "blur"] = option(
        "grey", "what masks: mid-grey, the picture's mean colour, or the picture blurred"
    )
    kind: Literal["mean", "map"] = option("mean", "features: the mean of each map, or every place of it (for aligned pictures)")
    classes: tuple[str, ...] = option((), "classes looked at, by name; empty: the three with most masks")
    count: int = option(5, "pictures of each class", low=3, high=100)
    repeats: int = option(5, "random places for each part of each picture", low=2, high=100)
    seed: int = option(0, "where the random places start", low=0)

    def unfit(self, specimen: Specimen, images: Images | None) -> str:
        if self.marks and images is not None:
            return ""
        return Analysis.unfit(self, specimen, images)

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Arrays:
        assert images is not None  # `unfit` has refused before
        layers = [name for name in specimen.find(self.at) if specimen.layer(name).layout in SHAPES]
        if not layers:
            raise Unmeasurable(f"None of {', '.join(specimen.find(self.at))} gives features with a unit axis.")
        groups = self._groups(specimen, images)
        names = list(dict.fromkeys(part for group in groups for part in group.masks))
        twin = specimen.twin(seed=1 if specimen.trained is False else 0).on(specimen.device)
        rows, null = ({(layer, part): _Row([], [], [], [], [], [], []) for layer in layers for part in names} for _ in range(2))
        shown: list[tuple[Any, Any]] = []
        for number, group in enumerate(groups):
            x, pixels = _seen(specimen, images, group.places, pace)
            filler = filled(specimen, x, self.colour, round(min(x.shape[2:]) / 7))
            draws = np.random.default_rng([self.seed, number])
            for part, masks in group.masks.items():
                moved = [np.stack([elsewhere(mask, draws) for mask in masks]) for _ in range(self.repeats)]
                for worker, table in ((specimen, rows), (twin, null)):
                    found = _moves(worker, layers, x, filler, [masks, *moved], self.kind)
                    for layer in layers:
                        _add(table[layer, part], [one[layer] for one in found])
            pace.listener(Step(f"{specimen.name}: correspondence", number + 1, len(groups), 0.0))
            shown.append((pixels, group))
        found = _settled(rows, null, layers, names) | _examples(shown, names, images)
        found["pictures"] = array(sum(len(group.places) for group in groups), (), "images")
        found["trained"] = array(float("nan") if specimen.trained is None else float(specimen.trained), (), "1")
        said = {"features": self.kind, "classes": ", ".join(group.title for group in groups), "colour": self.colour}
        told = {"criterion": list(said)}
        found["said"] = array(np.array(list(said.values()), dtype=object), ("criterion",), "text", told)
        return found

    def _groups(self, specimen: Specimen, images: Images) -> list[_Group]:
        if self.marks:
            return [_marked(specimen, images, self.marks, self.size)]
        for part in self.parts:
            if part not in GENERATED:
                raise UnknownName(
                    f"correspondence: there is no part '{part}'; masks have {', '.join(GENERATED)}.{did_you_mean(part, GENERATED)}"
                )
        found: list[_Group] = []
        for title, places in _by_class(images, self.classes):
            masks = images.masks(specimen.recipe, places)
            area = masks.mean((1, 2))
            fit = np.flatnonzero((area > 0) & (area <= LARGEST) & (masks.sum((1, 2)) >= 8))[: self.count]
            if len(fit) >= LEAST:
                halves = {part: np.stack([part_of(mask, part) for mask in masks[fit]]) for part in self.parts}
                found.append(_Group(title, places[fit], halves))
            if len(found) == GROUPS and not self.classes:
                break
        if not found:
            raise Unmeasurable(
                f"No class has {LEAST} pictures whose mask covers at most {LARGEST:.0%} of what the network sees; "
                "name parts by hand (--marks), or other images."
            )
        return found

    def panels(self, found: Arrays) -> Sequence[Panel]:
        note = (
            "Mean ± standard deviation over pairs of pictures, as in table 1 of the paper. Lower: the features move more alike."
        )
        last = str(found["delta"].coords["layer"].values[-1])
        return [
            Bars(
                title=f"Agreement beyond chance at {last}", x="part", y=("kappa_last", "random_kappa_last"),
                null=("twin_kappa_last", "twin_random_kappa_last"), note="Cohen's kappa of the signs. Grey: the untrained twin.",
            ),
            Table(title="Δ by part and layer", rows="part_", columns=("table",), note=note),
            Grid(title="What was masked", z="examples", across="image", down="part"),
            Bars(
                title=f"How far the features move at {last}", x="part", y=("strength_last", "random_strength_last"),
                note="A weak mask leaves more features unmoved, which lowers Δ by itself: hence the rows 'as strong' and kappa.",
            ),
            Table(title="Δ of the untrained twin", rows="part_", columns=("twin_table",), note=note),
        ]  # fmt: skip

    def line(self, found: Arrays) -> str:
        last = str(found["delta"].coords["layer"].values[-1])

        def value(name: str) -> float:
            return float(found[name].sel(layer=last).mean())

        more = value("kappa") > value("random_kappa")
        parts = found["delta"].sizes["part"]
        all_draws = int((found["wins"].sel(layer=last) == int(found["repeats"])).sum())
        return (
            f"At {last}, masking the same part moves the same features {'more' if more else 'no more'} alike than masking as much "
            f"elsewhere: Δ {value('delta'):.3f} against {value('random'):.3f} ({value('matched'):.3f} where the change is as strong), "
            f"kappa {value('kappa'):.2f} against {value('random_kappa'):.2f}, above every draw for {all_draws} of {parts} parts; "
            f"untrained twin {value('twin_kappa'):.2f} against {value('twin_random_kappa'):.2f}."
        )

    def caveats(self, found: Arrays) -> Sequence[str]:
        said = {str(key): str(value) for key, value in zip(found["said"].criterion.values, found["said"].values, strict=True)}
        told = [
            f"{int(found['pictures'])} pictures of {said['classes']}; pairs of one picture are not independent, so the ± is no interval."
        ]
        if said["features"] == "mean":
            told.append(
                "Features are means over each map, so that objects need not lie at the same place; the paper's are whole maps."
            )
        last = found["delta"].coords["layer"].values[-1]
        own, null = (
            float((found[f"{one}kappa"] - found[f"{one}random_kappa"]).sel(layer=last).mean()) for one in ("", "twin_")
        )
        if not own > null:
            told.append("The untrained twin shows as much: it is no merit of training.")
        if float(found["trained"]) == 0:
            told.append("These weights are untrained.")
        return told


def _by_class(images: Images, wanted: Sequence[str]) -> list[tuple[str, Values]]:
    """Name and places of the masked pictures of each class: those wanted, or all, the most frequent first."""
    masked = np.flatnonzero(images.masked)
    if images.labels is None or images.classes is None or not (images.labels[masked] >= 0).any():
        if wanted:
            raise BadOption("correspondence: classes are named, but the images have no labels.")
        return [("no class known", masked)]
    for one in wanted:
        if one not in images.classes:
            raise UnknownName(f"correspondence: the images have no class '{one}'.{did_you_mean(one, images.classes)}")
    labels = images.labels[masked]
    numbers = [images.classes.index(one) for one in wanted] or list(
        np.argsort(-np.bincount(labels[labels >= 0]), kind="stable")
    )
    words = images.titles or images.classes
    return [(words[int(one)], masked[labels == one]) for one in numbers]


def _marked(specimen: Specimen, images: Images, marks: Sequence[str], size: int) -> _Group:
    """The pictures that have every part marked, with boxes as masks."""
    boxes: dict[str, dict[int, Values]] = {}
    names = list(images.names)
    for mark in marks:
        words = mark.split(":")
        if len(words) not in (4, 6) or not all(one.lstrip("-").isdigit() for one in words[2:]):
            raise BadOption(f"correspondence: the mark '{mark}' is not image:part:row:col or image:part:row:col:height:width.")
        if words[0] not in names and not (words[0].isdigit() and int(words[0]) < len(images)):
            raise UnknownName(f"correspondence: there is no image '{words[0]}'.{did_you_mean(words[0], names)}")
        place = names.index(words[0]) if words[0] in names else int(words[0])
        boxes.setdefault(words[1], {})[place] = _box(specimen, images, place, mark, [int(one) for one in words[2:]], size)
    places = sorted(set.intersection(*(set(one) for one in boxes.values())))
    if len(places) < LEAST:
        raise BadOption(f"correspondence: {len(places)} pictures have every part marked; at least {LEAST} are needed.")
    return _Group("the marked", np.array(places), {part: np.stack([one[at] for at in places]) for part, one in boxes.items()})


def _box(specimen: Specimen, images: Images, place: int, mark: str, numbers: Sequence[int], size: int) -> Values:
    cols, rows = images[place].picture.size
    row, col = numbers[:2]
    if len(numbers) == 2:  # a point: a square around it
        side = size or round(min(specimen.recipe.size) / 7)
        wide = max(1, round(side * min(rows, cols) * specimen.recipe.crop / min(specimen.recipe.size)))
        row, col, height, width = row - wide // 2, col - wide // 2, wide, wide
    else:
        height, width = numbers[2:]
    mask = np.zeros((rows, cols), dtype=bool)
    mask[max(row, 0) : max(row + height, 0), max(col, 0) : max(col + width, 0)] = True
    made = np.asarray(specimen.recipe.mask(mask), dtype=bool)
    if not made.any():
        raise BadOption(
            f"correspondence: the mark '{mark}' lies outside of what the network sees of the picture ({rows} x {cols} px)."
        )
    return made


def _seen(specimen: Specimen, images: Images, places: Values, pace: Pace) -> tuple[Tensor, Any]:
    parts = list(batches(specimen, images.take(places), pace))
    return torch.cat([one.x for one in parts]), np.concatenate([one.pixels for one in parts])


def _moves(
    specimen: Specimen, layers: Sequence[str], x: Tensor, filler: Tensor, masks: Sequence[Values], kind: str
) -> list[dict[str, tuple[Tensor, Tensor]]]:
    """For each set of masks, layer by layer the change of the features (image, feature), and the features as they were."""
    covered = [torch.where(torch.from_numpy(one).to(x.device)[:, None], filler, x) for one in masks]
    features: dict[str, list[Tensor]] = {layer: [] for layer in layers}

    def look(name: str, value: Tensor) -> None:
        maps = specimen.layer(name).maps(value).double()
        features[name].append(maps.mean((2, 3)) if kind == "mean" else maps.flatten(1))

    with torch.no_grad(), watch(specimen, layers, each=look):
        for part in torch.cat([x, *covered]).split(BATCH):
            specimen.net(part)
    found: list[dict[str, tuple[Tensor, Tensor]]] = [{} for _ in masks]
    for layer, values in features.items():
        clean, *rest = torch.cat(values).cpu().split(len(x))
        for place, one in enumerate(rest):
            found[place][layer] = (one - clean, clean)
    return found


def _add(row: _Row, moves: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Numbers of one class: `moves` of the part, then of each draw of random places."""
    own, *others = [signs(*one) for one in moves]
    far, *away = [strength(*one) for one in moves]
    row.pairs.append(disagreement(own).numpy())
    row.kappa.append(agreement(own).numpy())
    row.strength.append(far.numpy())
    row.random.append(np.stack([disagreement(one).numpy() for one in others]))
    row.random_kappa.append(np.stack([agreement(one).numpy() for one in others]))
    row.random_strength.append(torch.stack(away).numpy())
    nearest = (torch.stack(away) - far).abs().argmin(0)
    like = torch.stack([others[int(draw)][image] for image, draw in enumerate(nearest)])
    row.matched.append(disagreement(like).numpy())


def _settled(
    own: dict[tuple[str, str], _Row], null: dict[tuple[str, str], _Row], layers: list[str], parts: list[str]
) -> dict[str, xr.DataArray]:
    coords = {"layer": layers, "part": parts}
    found: dict[str, xr.DataArray] = {}
    for prefix, table in (("", own), ("twin_", null)):
        columns: dict[str, list[list[float]]] = {}
        texts: list[list[str]] = []
        for layer in layers:
            told = [_numbers(table[layer, part]) for part in parts]
            for name in told[0]:
                columns.setdefault(name, []).append([one[name] for one in told])
            texts.append(
                [f"{one[name]:.3f} ± {one[name + '_sd']:.3f}" for one in told for name in ("delta", "random", "matched")]
            )
        for name, values in columns.items():
            unit = "draws" if name == "wins" else "share" if "kappa" not in name else "1"
            found[prefix + name] = array(np.array(values), ("layer", "part"), unit, coords)
        rows = [f"{part}{suffix}" for part in parts for suffix in ("", ", elsewhere", ", elsewhere, as strong")]
        both = {"part_": rows, "layer": layers}
        found[f"{prefix}table"] = array(np.array(texts, dtype=object).T, ("part_", "layer"), "text", both)
    for name, title in LAST.items():
        found[f"{name}_last"] = found[name].isel(layer=-1, drop=True).assign_attrs(title=title)
    found["repeats"] = array(len(own[layers[0], parts[0]].random[0]), (), "draws")
    return found


def _numbers(row: _Row) -> dict[str, float]:
    pairs, matched = np.concatenate(row.pairs), np.concatenate(row.matched)
    random = np.concatenate(row.random, axis=1)  # (draw, pair)
    kappa = np.concatenate(row.random_kappa, axis=1)
    mine = _mean(np.concatenate(row.kappa))
    return {
        "delta": float(pairs.mean()),
        "delta_sd": float(pairs.std()),
        "random": float(random.mean()),
        "random_sd": float(random.std()),
        "matched": float(matched.mean()),
        "matched_sd": float(matched.std()),
        "kappa": mine,
        "random_kappa": _mean(kappa),
        "wins": float(sum(_mean(one) < mine for one in kappa)),
        "strength": float(np.concatenate(row.strength).mean()),
        "random_strength": float(np.concatenate(row.random_strength, axis=1).mean()),
    }


def _mean(values: Values) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _examples(shown: Sequence[tuple[Any, _Group]], parts: Sequence[str], images: Images) -> dict[str, xr.DataArray]:
    """The pictures of the first class with each part greyed out (part, image, row, col, rgb)."""
    pixels, group = shown[0]
    names = [images.names[int(place)] for place in group.places]
    rows: list[Any] = []
    for part in parts:
        masked = np.where(group.masks[part][..., None], np.uint8(128), pixels)
        rows.append(pictures(masked, None, {"image": names})["image"].values)
    coords = {"part": list(parts), "image": names}
    return {"examples": array(np.stack(rows), ("part", "image", "row", "col", "rgb"), "level", coords)}
