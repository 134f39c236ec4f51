"""Arguments of the command line: specimens, images, weights, recipes, settings."""

import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from microtome import catalog
from microtome.cli.choices import WordChoice
from microtome.errors import BadOption, UsageError, did_you_mean
from microtome.workload import EFFORTS

if TYPE_CHECKING:
    from microtome.images import Images
    from microtome.specimen import Specimen

OUTPUT_HELP = "Output to measure where a network gives several: index, key or attribute name; for all specimens or for each."


OPENING = (
    click.option(
        "--weights",
        multiple=True,
        help="pretrained, none, or a file; once for all, or once for each specimen.  [default: pretrained]",
    ),
    click.option("--state", multiple=True, help="State dict of a weights file that holds several: ema, teacher, ..."),
    click.option(
        "--recipe",
        multiple=True,
        help="Input recipe: imagenet, cifar, or size=224,mean=.5/.5/.5,std=.5/.5/.5,crop=1; for all, or once for each.",
    ),
    click.option("--output", multiple=True, help=OUTPUT_HELP),
    click.option("--outputs", default="", help="What the outputs mean: imagenet, or a file with one name a line."),
    click.option("--seed", type=int, default=0, show_default=True, help="Seed of untrained weights and of --limit."),
)
LIMIT = click.option("--limit", type=click.IntRange(min=1), help="Largest number of images, spread over the classes.")
DEVICE = click.option("--device", default="auto", show_default=True, help="Device: auto, cpu, cuda or mps.")
THREADS = click.option("--threads", type=click.IntRange(min=1), help="CPU threads of torch; its own choice by default.")
MEMORY = click.option(
    "--memory", default="", help="Memory for one batch, for example 4G; by default half of what is free, at most 1.5 GiB."
)
JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object per line instead of text.")
QUIET = click.option("--quiet", is_flag=True, help="Results only, no progress messages.")


def opening_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every verb that opens a network: the same ones everywhere."""
    for item in reversed(OPENING):
        command = item(command)
    return command


def measuring_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that every measuring verb has."""
    for decorate in reversed(
        [
            click.option(
                "--out", default="microtome-results", show_default=True, help="Folder for the findings and the report."
            ),
            *OPENING[:-1],
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
            click.option(
                "--bands",
                default="",
                help="Channels of multi-band images that the network gets, in order: 4,3,2; all by default.",
            ),
            click.option("--shown", default="", help="Of these channels the three, or the one, that figures show: 3,2,1."),
            LIMIT,
            DEVICE,
            click.option(
                "--batch",
                type=click.IntRange(min=1),
                default=32,
                show_default=True,
                help="Images per forward pass, at most; fewer where --memory asks for it.",
            ),
            THREADS,
            OPENING[-1],
            click.option(
                "--twins",
                type=click.IntRange(min=0, max=100),
                help="Untrained twins that each network is compared with; 5 by default, 3 with --effort quick; 0: none.",
            ),
            click.option(
                "--effort",
                type=WordChoice(EFFORTS),
                default="standard",
                show_default=True,
                help="How much is measured: quick takes fewer images and analyses, full takes more images.",
            ),
            MEMORY,
            JSON,
            QUIET,
        ]
    ):
        command = decorate(command)
    return command


def split_words(words: Sequence[str], images: str | None) -> tuple[list[str], str | None]:
    """Specimens and images: the last word is the images when it is a path, a glob or a generator's (scenes:N).

    Raises:
        UsageError: no specimen is left.
    """
    names = list(words)
    if images is None and names and means_images(names[-1]):
        images = names.pop()
    for name in names:
        refuse_images(name, [*(item for item in names if item != name), *([images] if images else [])])
    if not names:
        raise UsageError(
            "No specimen is given; name at least one, for example: microtome analyze timm:resnet50 torchvision:vgg19 photos/"
        )
    return names, images


def refuse_images(word: str, others: Sequence[str]) -> None:
    """Raise UsageError where a word means images and stands before what can only be networks, with the words in their right order."""
    if means_images(word) and others and not any(map(means_images, others)):
        raise UsageError(
            f"'{word}' is a place of images and stands where a network is expected; networks come first: {' '.join([*others, word])}"
        )


def means_images(word: str) -> bool:
    """Whether a word names images rather than a specimen."""
    from microtome.images.words import is_generated

    if is_generated(word):
        return True
    if (Path(word) / "config.json").is_file():  # a network in Hugging Face's form
        return False
    looks = any(sign in word for sign in "*?") or word.endswith(
        ("/", ".jpg", ".jpeg", ".png", ".npy", ".npz", ".JPEG", ".JPG", ".PNG")
    )
    return looks or (Path(word).exists() and ":" not in word and Path(word).suffix not in (".py", ".safetensors"))


def parse_images(word: str | None, given: dict[str, Any]) -> "Images | None":
    """The images that a word names; None without a word."""
    if word is None:
        return None
    from microtome.images import Images
    from microtome.images.words import generate_images, is_generated

    if is_generated(word):
        for name in ("bands", "shown"):
            if given.get(name):
                raise BadOption(
                    f"--{name} chooses channels of multi-band files, and '{word}' are generated RGB images; leave it out."
                )
        return generate_images(word)
    return Images.folder(
        word,
        labels=given["labels"],
        masks=given["masks"],
        boxes=given["boxes"],
        limit=given["limit"],
        seed=given["seed"],
        bands=_band_numbers("--bands", given.get("bands", "")),
        shown=_band_numbers("--shown", given.get("shown", "")),
    )


def _band_numbers(option: str, text: str) -> list[int] | None:
    """Band numbers "4,3,2" counted from 1; None for an empty text. Raises BadOption for anything else."""
    parts = [part.strip() for part in text.split(",")]
    if not text:
        return None
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise BadOption(f"{option} '{text}' is not a list of band numbers, counted from 1; write for example {option} 4,3,2.")
    return [int(part) for part in parts]


def specimen_openers(names: Sequence[str], given: dict[str, Any]) -> "list[Callable[[], Specimen]]":
    """One function for each specimen that opens it when called; names are checked for files at once.

    Raises:
        UsageError: a number of --weights, --state, --recipe or --output that fits neither one nor all specimens.
    """
    weights = _one_for_each("--weights", list(given["weights"]) or ["pretrained"], names)
    recipes = _one_for_each("--recipe", list(given["recipe"]) or [""], names)
    states = _one_for_each("--state", list(given.get("state", ())) or [""], names)
    outputs = _one_for_each("--output", list(given.get("output", ())) or [""], names)
    for wanted in recipes:
        parse_recipe(wanted)
    every = zip(names, weights, states, recipes, outputs, strict=True)
    return [_specimen_opener(name, choice, state, wanted, output, given) for name, choice, state, wanted, output in every]


def _one_for_each(flag: str, given: list[str], names: Sequence[str]) -> list[str]:
    """One value for each specimen, from one for all or one for each."""
    if len(given) not in (1, len(names)):
        raise UsageError(
            f"{len(given)} {flag} for {len(names)} specimens: give one for all, or one for each in the same order."
        )
    return given * len(names) if len(given) == 1 else given


def _specimen_opener(
    name: str, weights: str, state: str, wanted: str, output: str, given: dict[str, Any]
) -> "Callable[[], Specimen]":
    def opened() -> "Specimen":
        from microtome.opening.opening import open as open_specimen

        return open_specimen(
            name,
            weights=None if weights.lower() == "none" else weights,
            state=state or None,
            seed=given["seed"],
            recipe=parse_recipe(wanted),
            labels=given.get("outputs") or None,
            output=output or None,
        )

    opened.label = name  # type: ignore[attr-defined]  # the runner names it when opening fails
    opened.asked = {"weights": weights, "state": state, "recipe": wanted, "output": output}  # type: ignore[attr-defined]  # tells equal names apart
    return opened


def parse_recipe(word: str) -> Any:
    """The input recipe that a word names: None, a preset's name, or a dict of its parts.

    Raises:
        BadOption: a part that no recipe has, or a value that is not a number.
    """
    if not word:
        return None
    if "=" not in word:
        return word
    recipe: dict[str, Any] = {}
    for part in word.split(","):
        name, _, value = part.partition("=")
        known = ("size", "mean", "std", "interpolation", "crop", "channels")
        if name not in known:
            raise BadOption(f"A recipe has no '{name}'.{did_you_mean(name, known)}")
        try:
            numbers = [float(number) for number in value.replace("x", "/").split("/")] if name != "interpolation" else []
        except ValueError:
            raise BadOption(f"'{part}' in the recipe is not a number; write for example size=224 or mean=.5/.5/.5.") from None
        if name == "interpolation":
            recipe[name] = value
        elif name == "channels":
            recipe[name] = int(numbers[0])
        elif name == "size":
            recipe[name] = tuple(int(number) for number in numbers * 2)[:2]
        else:
            recipe[name] = numbers[0] if name == "crop" else tuple(numbers)
    return recipe


def parse_settings(pairs: Sequence[str], config: str | None) -> dict[str, dict[str, Any]]:
    """Options by analysis from `--set analysis.option=value` and a TOML file with one table per analysis.

    Raises:
        BadOption: a pair not of that form; the file is missing or not TOML.
    """
    settings: dict[str, dict[str, Any]] = {}
    if config:
        try:
            settings = {name: dict(table) for name, table in tomllib.loads(Path(config).read_text(encoding="utf-8")).items()}
        except OSError as error:
            raise BadOption(f"--config {config} cannot be read ({error.strerror}).") from None
        except (tomllib.TOMLDecodeError, ValueError) as error:
            raise BadOption(f"--config {config} is not TOML with one [table] per analysis: {error}.") from None
    for pair in pairs:
        place, sign, value = pair.partition("=")
        analysis, dot, name = place.partition(".")
        if not (sign and dot):
            raise BadOption(f"--set {pair} is not understood; write --set cam.count=4.")
        settings.setdefault(catalog.analysis_entry(analysis).name, {})[name] = value
    return settings
