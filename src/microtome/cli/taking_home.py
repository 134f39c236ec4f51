"""The verb that removes blocks within a budget of accuracy and writes the smaller network to a folder that needs no microtome."""

import json
import sys
from typing import Any

import click

from microtome.cli import arguments
from microtome.cli.choices import WordChoice

SLIM_HELP = """Remove blocks within a budget of accuracy, and write a folder that loads without microtome.

The folder has the weights, load.py of a few lines, README.md with input and output, a report before and after, and ONNX with
--onnx. 20% of the images serve to repair, 20% to choose blocks, the rest to report on. An interrupted command resumes. Where
nothing can be removed, only the report is written, and the exit code is 1.

\b
  microtome slim microtome:mini_resnet scenes:600 --max-drop 1% --out slim
  microtome slim timm:resnet50 photos/ --max-drop 2% --heal 100 --onnx
"""


@click.command(
    "slim", help=SLIM_HELP, short_help="Remove blocks within a budget of accuracy; write a folder that loads without microtome."
)
@click.argument("specimen")
@click.argument("images")
@click.option("--max-drop", default="1%", show_default=True, help="Accuracy that may be lost, in per cent or as a fraction.")
@click.option("--out", default="slim", show_default=True, help="Folder to write; a new one, or an earlier result of this verb.")
@click.option(
    "--onnx", is_flag=True, help="Write network.onnx as well, checked by onnxruntime (pip install 'microtome[export]')."
)
@click.option(
    "--search", type=WordChoice(["greedy", "beam"]), default="greedy", show_default=True, help="Search over sets of blocks."
)
@click.option("--beam", type=click.IntRange(1, 100), default=3, show_default=True, help="Sets that a beam search keeps.")
@click.option(
    "--heal", type=click.IntRange(0, 100_000), default=0, show_default=True, help="Steps of a fine-tune at the end; 0: none."
)
@click.option(
    "--target-latency", default="", help="Latency at which the search stops, as a fraction of the full network's: 70%."
)
@click.option(
    "--target-macs", default="", help="Multiply-adds at which the search stops, as a fraction of the full network's: 60%."
)
@click.option(
    "--repair",
    type=WordChoice(["norms", "linear"]),
    default="norms",
    show_default=True,
    help="Repair before the search judges: norms estimated again, or linear maps in the blocks' places.",
)
@click.option("--count", type=click.IntRange(min=60), default=2000, show_default=True, help="Images used, at most.")
@click.option("--repeats", type=click.IntRange(3, 1000), default=9, show_default=True, help="Timed rounds.")
@click.option("--labels", default="auto", show_default=True, help="Labels of the images: auto, or a labels file.")
@arguments.LIMIT
@arguments.DEVICE
@click.option("--batch", type=click.IntRange(min=1), default=32, show_default=True, help="Images per forward pass, at most.")
@arguments.THREADS
@arguments.MEMORY
@arguments.JSON
@arguments.QUIET
@arguments.opening_options
def slim_command(specimen: str, images: str, out: str, **given: Any) -> int:
    """Slim a network and print what came of it; the exit code."""
    from microtome.cli.measuring import read_limits
    from microtome.cli.progress import listeners
    from microtome.export import slim
    from microtome.scan import Pace, resolve_device

    arguments.refuse_images(specimen, [images])
    resolve_device(given["device"])
    given = given | read_limits(given) | {"masks": "none", "boxes": "none"}
    if given["threads"] is not None:
        import torch

        torch.set_num_threads(given["threads"])
    image_set = arguments.parse_images(images, given)
    (opened,) = [opener() for opener in arguments.specimen_openers([specimen], given)]
    assert image_set is not None
    with listeners(given["as_json"], given["quiet"]) as (step, event):
        pace = Pace(device=given["device"], batch=given["batch"], listener=step, memory=given["memory"])
        own = ("max_drop", "onnx", "search", "beam", "heal", "target_latency", "target_macs", "repair", "count", "repeats")
        slimmed = slim(
            opened, image_set, out=out, pace=pace, listener=event, command=" ".join(["microtome", *sys.argv[1:]]),
            **{name: given[name] for name in own},
        )  # fmt: skip
    code = 0 if slimmed.removed else 1
    if given["as_json"]:
        summary = {
            "event": "end",
            "out": str(slimmed.folder),
            "removed": slimmed.removed,
            "headline": slimmed.headline,
            "code": code,
        }
        click.echo(json.dumps(summary, ensure_ascii=False))
        return code
    click.echo(slimmed.headline, err=not slimmed.removed)
    if slimmed.comparison is not None:
        for row in slimmed.comparison.rows:
            click.echo(f"  {row.name}: {row.before} → {row.after} ({row.change})")
    if slimmed.files is not None:
        click.echo(
            f"Loaded again by {slimmed.files.route}: outputs differ by {slimmed.files.differences['loader']:.1g} of the largest."
        )
        if "onnx" in slimmed.files.differences:
            click.echo(f"In onnxruntime: {slimmed.files.differences['onnx']:.1g}.")
    click.echo(f"Written: {slimmed.folder}")
    return code
