"""What the command line's words mean: specimens, images, weights, recipes, settings."""

import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from microtome import catalog
from microtome.errors import BadOption, UsageError, did_you_mean

if TYPE_CHECKING:
    from microtome.images import Images
    from microtome.specimen import Specimen


def measuring_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that every measuring verb has."""
    for one in reversed(
        [
            click.option(
                "--out", default="microtome-results", show_default=True, help="Folder for the findings and the report."
            ),
            click.option(
                "--weights",
                multiple=True,
                help="pretrained (default), none, or a file; once for all, or once for each specimen.",
            ),
            click.option(
                "--recipe",
                multiple=True,
                help="Input recipe: imagenet, cifar, or size=224,mean=.5/.5/.5,std=.5/.5/.5,crop=1; for all, or once for each.",
            ),
            click.option("--outputs", default="", help="What the outputs mean: imagenet, or a file with one name a line."),
            click.option(
                "--labels", default="auto", show_default=True, help="Labels of the images: auto, none, or a labels file."
            ),
            click.option("--masks", default="auto", show_default=True, help="Masks: auto, none, or a folder."),
            click.option(
                "--boxes",
                default="auto",
                show_default=True,
                help="Boxes: auto, none, or a COCO JSON file, VOC folder or table.",
            ),
            click.option("--limit", type=click.IntRange(min=1), help="Use at most this many images, spread over the classes."),
            click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, mps."),
            click.option("--batch", type=click.IntRange(min=4), default=32, show_default=True, help="Images at a time."),
            click.option("--threads", type=click.IntRange(min=1), help="CPU threads for torch (its own choice by default)."),
            click.option("--seed", type=int, default=0, show_default=True, help="Seed of untrained weights and of --limit."),
            click.option("--json", "as_json", is_flag=True, help="One JSON object a line instead of text."),
            click.option("--quiet", is_flag=True, help="No progress, results only."),
        ]
    ):
        command = one(command)
    return command


def split_words(words: Sequence[str], images: str | None) -> tuple[list[str], str | None]:
    """Specimens and images: the last word is the images when it is a path, a glob or scenes:N.

    Raises:
        UsageError: no specimen is left.
    """
    names = list(words)
    if images is None and names and means_images(names[-1]):
        images = names.pop()
    if not names:
        raise UsageError("name at least one specimen, for instance: microtome analyze timm:resnet50 torchvision:vgg19 photos/")
    return names, images


def means_images(word: str) -> bool:
    """Whether a word means images rather than a specimen."""
    if word.startswith("scenes:") or word == "scenes":
        return True
    looks = any(sign in word for sign in "*?") or word.endswith(("/", ".jpg", ".jpeg", ".png", ".JPEG", ".JPG", ".PNG"))
    return looks or (Path(word).exists() and ":" not in word and Path(word).suffix not in (".py", ".safetensors"))


def parse_images(word: str | None, said: dict[str, Any]) -> "Images | None":
    """The images that a word means, or None without one."""
    if word is None:
        return None
    from microtome.images import Images

    if word == "scenes" or word.startswith("scenes:"):
        return Images.scenes(**_scene_words(word))
    return Images.folder(
        word, labels=said["labels"], masks=said["masks"], boxes=said["boxes"], limit=said["limit"], seed=said["seed"]
    )


def _scene_words(word: str) -> dict[str, Any]:
    """`scenes:200,size=64,seed=3` as keyword arguments."""
    told: dict[str, Any] = {"count": 200}
    for part in filter(None, word.removeprefix("scenes").removeprefix(":").split(",")):
        name, _, value = part.partition("=")
        if not value:
            name, value = "count", name
        if name not in ("count", "size", "seed") or not value.isdigit():
            raise BadOption(f"'{part}' in '{word}' is not understood; write for instance scenes:200,size=64,seed=1.")
        told[name] = int(value)
    return told


def specimen_openers(names: Sequence[str], said: dict[str, Any]) -> "list[Callable[[], Specimen]]":
    """One function for each specimen that opens it when called; names are checked for files at once.

    Raises:
        UsageError: a number of --weights or --recipe that fits neither one nor all specimens.
    """
    weights = _one_for_each("--weights", list(said["weights"]) or ["pretrained"], names)
    recipes = _one_for_each("--recipe", list(said["recipe"]) or [""], names)
    return [_specimen_opener(name, one, wanted, said) for name, one, wanted in zip(names, weights, recipes, strict=True)]


def _one_for_each(flag: str, given: list[str], names: Sequence[str]) -> list[str]:
    """One value for each specimen, from one for all or one for each."""
    if len(given) not in (1, len(names)):
        raise UsageError(
            f"{len(given)} {flag} for {len(names)} specimens: give one for all, or one for each in the same order."
        )
    return given * len(names) if len(given) == 1 else given


def _specimen_opener(name: str, weights: str, wanted: str, said: dict[str, Any]) -> "Callable[[], Specimen]":
    def opened() -> "Specimen":
        from microtome.opening.opening import open as open_specimen

        return open_specimen(
            name,
            weights=None if weights.lower() == "none" else weights,
            seed=said["seed"],
            recipe=parse_recipe(wanted),
            labels=said.get("outputs") or None,
        )

    opened.label = name  # type: ignore[attr-defined]  # the runner names it when opening fails
    return opened


def parse_recipe(word: str) -> Any:
    """The input recipe that a word means: None, a preset's name, or a dict of its parts.

    Raises:
        BadOption: a part that no recipe has, or a value that is not a number.
    """
    if not word:
        return None
    if "=" not in word:
        return word
    told: dict[str, Any] = {}
    for part in word.split(","):
        name, _, value = part.partition("=")
        known = ("size", "mean", "std", "interpolation", "crop")
        if name not in known:
            raise BadOption(f"a recipe has no '{name}'.{did_you_mean(name, known)}")
        try:
            numbers = [float(one) for one in value.replace("x", "/").split("/")] if name != "interpolation" else []
        except ValueError:
            raise BadOption(f"'{part}' in the recipe is not a number; write for instance size=224 or mean=.5/.5/.5.") from None
        if name == "interpolation":
            told[name] = value
        elif name == "size":
            told[name] = tuple(int(one) for one in numbers * 2)[:2]
        else:
            told[name] = numbers[0] if name == "crop" else tuple(numbers * 3)[:3]
    return told


def parse_settings(pairs: Sequence[str], config: str | None) -> dict[str, dict[str, Any]]:
    """Options by analysis from `--set analysis.option=value` and a TOML file with one table for each analysis.

    Raises:
        BadOption: a pair not of that form; the file is missing or not TOML.
    """
    told: dict[str, dict[str, Any]] = {}
    if config:
        try:
            told = {name: dict(table) for name, table in tomllib.loads(Path(config).read_text(encoding="utf-8")).items()}
        except OSError as error:
            raise BadOption(f"--config {config} cannot be read ({error.strerror}).") from None
        except (tomllib.TOMLDecodeError, ValueError) as error:
            raise BadOption(f"--config {config} is not TOML with one [table] for each analysis: {error}.") from None
    for pair in pairs:
        place, sign, value = pair.partition("=")
        analysis, dot, name = place.partition(".")
        if not (sign and dot):
            raise BadOption(f"--set {pair} is not understood; write --set cam.count=4.")
        told.setdefault(catalog.analysis_entry(analysis).name, {})[name] = value
    return told
