"""The verb that trains: any network on any labelled images, a recipe in a file, or a shipped network again by its own recipe."""

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from microtome.cli import arguments
from microtome.cli.growing_report import GrowingReport
from microtome.cli.progress import listeners
from microtome.errors import UsageError

if TYPE_CHECKING:
    from microtome.training.recipe import TrainingRecipe

INTERRUPTED = 130
TRAIN_HELP = """Train a network on labelled images, by a recipe.

WORDS are SPECIMEN IMAGES, a recipe FILE.toml, or the name of a shipped network alone, which is trained again by its own recipe. The
folder gets weights, checkpoints, curves (in report.html) and the answers to the validation images. An interrupted training goes on
with the same command, to the same weights.

\b
  microtome train timm:resnet18 photos/ --out runs/photos
  microtome train recipe.toml --out runs/a --set optimiser.lr=0.01
  microtome train mini_vgg --out runs/mini_vgg
"""


@click.command("train", help=TRAIN_HELP, short_help="Train a network on labelled images, or a shipped network again.")
@click.argument("words", nargs=-1, required=True, metavar="SPECIMEN IMAGES | FILE.toml | NAME")
@click.option(
    "--out", default="training", show_default=True, help="Folder for weights, checkpoints, curves and the resume state."
)
@click.option("--recipe", help="TOML file with the recipe; SPECIMEN and IMAGES replace what it names.")
@click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Other value for a key of the recipe: optimiser.lr=0.01."
)
@click.option("--epochs", type=click.IntRange(min=1), help="Number of epochs; the recipe's by default.")
@click.option(
    "--count", type=click.IntRange(min=64), help="Number of training scenes of a shipped network; its recipe's by default."
)
@click.option(
    "--threads", type=click.IntRange(min=1), help="CPU threads; 1 by default, so that equal runs are equal to the bit."
)
@arguments.DEVICE
@click.option(
    "--tensorboard", is_flag=True, help="Write the curves for TensorBoard too (pip install 'microtome[tensorboard]')."
)
@arguments.JSON
@arguments.QUIET
def train_command(words: tuple[str, ...], **given: Any) -> int:
    """Train, and print what came of it; the exit code."""
    if len(words) == 1 and not words[0].endswith(".toml") and given["recipe"] is None:
        return _train_shipped(words[0], given)
    recipe = _recipe(words, given)
    try:
        return _train(recipe, given)
    except KeyboardInterrupt:
        command = " ".join(["microtome", *map(shlex.quote, sys.argv[1:])])
        click.echo(f"microtome: interrupted; it goes on from the last state with the same command: {command}", err=True)
        return INTERRUPTED


def _train_shipped(name: str, given: dict[str, Any]) -> int:
    """A shipped network again, by its own recipe."""
    from microtome import networks

    if name not in networks.SHIPPED and (":" in name or Path(name).suffix):
        raise UsageError(f"'{name}' has no images to learn; write microtome train {name} IMAGES --out DIR.")
    if given["changes"]:
        raise UsageError(
            f"--set changes a recipe, and '{name}' alone is trained by its own; write microtome train {name} IMAGES."
        )
    from microtome.training.zoo.command import main as run

    words = [name, "--out", given["out"], "--threads", str(given["threads"] or 1)]
    for flag, value in (("--epochs", given["epochs"]), ("--count", given["count"])):
        words += [flag, str(value)] if value is not None else []
    return run(words)


def _recipe(words: tuple[str, ...], given: dict[str, Any]) -> "TrainingRecipe":
    """The recipe that the words and options describe."""
    from microtome.training.recipe import TrainingRecipe, load_recipe, parse_changes

    files = [word for word in (*words, *filter(None, [given["recipe"]])) if word.endswith(".toml")]
    names = [word for word in words if not word.endswith(".toml")]
    if given["recipe"] and given["recipe"] not in files:
        files.append(given["recipe"])
    if len(files) > 1 or len(names) > 2:
        raise UsageError(
            f"'{' '.join(words)}' is not understood; write microtome train SPECIMEN IMAGES, or microtome train FILE.toml, and --out DIR."
        )
    recipe = load_recipe(files[0]) if files else TrainingRecipe()
    if given["count"] is not None:
        raise UsageError("--count is for shipped networks; write the number of scenes with the images, as in scenes:4000.")
    if len(names) == 2:
        arguments.refuse_images(names[0], names[1:])
    changes: dict[str, Any] = dict(zip(("network.name", "data.images"), names, strict=False))
    for key, value in (("run.epochs", given["epochs"]), ("run.threads", given["threads"])):
        changes |= {key: value} if value is not None else {}
    return recipe.with_changes(changes | parse_changes(given["changes"]))


def _train(recipe: "TrainingRecipe", given: dict[str, Any]) -> int:
    from microtome.training.train import train

    out = Path(given["out"])
    report = GrowingReport(given["quiet"] or given["as_json"])
    with listeners(given["as_json"], given["quiet"]) as (step, event):
        listener = _json_listener(report, out) if given["as_json"] else _listener(step, event, report, out)
        run = train(recipe, out, progress=listener, device=given["device"], tensorboard=given["tensorboard"])
    page = report.finish(out)
    last = run.curves[-1]
    if given["as_json"]:
        end = {"event": "end", "out": str(out), "weights": str(run.weights), "report": str(page), **last, "code": 0}
        click.echo(json.dumps(end))
        return 0
    click.echo(f"Weights: {run.weights}")
    click.echo(f"Report: {page.resolve()}")
    return 0


def _listener(step: Any, event: Any, report: GrowingReport, out: Path) -> Callable[[dict[str, Any]], None]:
    """Bars and lines for what a training reports, and the report of each epoch."""
    from microtome.runner import Event
    from microtome.scan import Step

    def listen(what: dict[str, Any]) -> None:
        if what["event"] == "step":
            step(Step("training", what["done"], what["total"], 0.0, 0))
            return
        event(Event("measured", "", f"epoch {what['epoch']}/{what['epochs']}", epoch_text(what)))
        report.grow(out)

    return listen


def epoch_text(row: dict[str, Any]) -> str:
    """One line about an epoch."""
    from microtome.key_numbers import FRACTION, format_value

    text = f"loss {format_value(row['loss'])}"
    if row["validation_loss"] is None:
        return text
    text += f", validation loss {format_value(row['validation_loss'])}"
    return f"{text}, validation accuracy {format_value(row['validation_accuracy'], FRACTION)}"


def _json_listener(report: GrowingReport, out: Path) -> Callable[[dict[str, Any]], None]:
    def listen(what: dict[str, Any]) -> None:
        print(json.dumps(what), flush=True)
        if what["event"] == "epoch":
            report.grow(out)

    return listen
