"""The command `python -m microtome.training NETWORK --out DIR`: train one of the mini networks by its recipe, judge it, write its card."""

import argparse
import sys
from dataclasses import replace
from math import nan
from pathlib import Path
from typing import Any

import torch

from microtome.errors import MicrotomeError
from microtome.key_numbers import FRACTION, format_interval, format_value
from microtome.training.zoo.judging import write_card
from microtome.training.zoo.loop import train_zoo_network
from microtome.training.zoo.recipes import zoo_recipe


def main(arguments: list[str] | None = None) -> int:
    """0 when the weights and their card are written, 2 when the call was wrong."""
    parser = argparse.ArgumentParser(prog="python -m microtome.training", description=(__doc__ or "").split(": ", 1)[1])
    parser.add_argument("network", help="mini_vgg, mini_resnet, … (microtome.networks.SHIPPED)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the weights, the card and the state of the run")
    parser.add_argument("--cache", type=Path, help="folder that keeps the drawn scenes for the next run")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--count", type=int, help="scenes to learn from, instead of the recipe's")
    parser.add_argument(
        "--seed", type=int, help="of the first weights, the order and the augmentation, instead of the recipe's"
    )
    parser.add_argument("--radius", type=float, help="largest RMS of a filter after each update; off by default")
    parser.add_argument("--checkpoints", action="store_true", help="also keep the weights of epochs 0, 1, 2, 4, 8 …")
    parser.add_argument("--threads", type=int, default=1, help="processor threads (the shipped weights: 1)")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    changes = {key: value for key in ("epochs", "count", "seed", "radius") if (value := getattr(given, key)) is not None}
    try:
        plan = replace(zoo_recipe(given.network), **changes)
        path = train_zoo_network(plan, given.out, cache=given.cache, checkpoints=given.checkpoints, progress=_print_epoch)
        card = write_card(path, plan, cache=given.cache)
    except MicrotomeError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{given.network}: {_result_text(card)}", flush=True)
    return 0


def _result_text(card: dict[str, Any]) -> str:
    low, high = (nan if end is None else end for end in card["interval"])  # None: too few scenes
    if "accuracy" in card:
        return f"{format_interval(card['accuracy'], low, high, FRACTION)} of {card['judged']} unseen scenes"
    return (
        f"mean IoU {format_interval(card['mean_iou'], low, high, FRACTION)} over {card['judged']} unseen scenes; "
        f"{format_value(card['pixel_accuracy'], FRACTION)} of their pixels, of which {format_value(card['background'], FRACTION)} are "
        "background"
    )


def _print_epoch(event: dict[str, Any]) -> None:
    print(f"epoch {event['epoch']}/{event['epochs']}  loss {event['loss']:.3f}", flush=True)
