"""What a sweep of atrous rates found, told: tables, curves, and the page of the documentation."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from microtome.finding import Finding, array
from microtome.numerics.statistics.intervals import Interval, student_interval
from microtome.panels import Curve
from microtome.training.zoo.data import TEST_SEED, TRAINING_SEED

BRANCH_TEST_COUNT = 200  # images judged without each branch


def result_table(result: dict[str, Any]) -> str:
    """The rows as a Markdown table: mean over seeds with its interval, and each seed."""
    lines = [
        "| r_max / M | rates | dead branches | mean IoU (95% over seeds) | each seed | objects' pixels right | without each branch |",
        "|---:|---|---:|---|---|---|---|",
    ]
    for row in result["rows"]:
        mean, objects = (_points_text(student_interval(row[name])) for name in ("mean_iou", "objects"))
        each = ", ".join(f"{100 * value:.1f}" for value in row["mean_iou"])
        less = ", ".join(f"{100 * value:.0f}" for value in np.mean(row["without"], axis=0))
        dead = sum(rate >= result["side"] for rate in row["rates"])
        lines.append(
            f"| {Fraction(row['share'])} | {', '.join(map(str, row['rates']))} | {dead or '–'} | {mean} | {each} | {objects} | {less} |"
        )
    return "\n".join(lines)


def _points_text(interval: Interval) -> str:
    """Per cent with its interval, which a few seeds can push beyond what a fraction can be."""
    span = f" ({max(0.0, 100 * interval.low):.1f}–{min(100.0, 100 * interval.high):.1f})" if np.isfinite(interval.low) else ""
    return f"{100 * interval.value:.1f}{span}"


def sweep_finding(results: dict[str, Any]) -> Finding:
    """The sweeps as a finding with one curve each, to be drawn."""
    arrays: dict[str, Any] = {}
    panels: list[Curve] = []
    for sweep in results["sweeps"]:
        at = {"amount": [str(Fraction(row["share"])) for row in sweep["rows"]]}
        intervals = np.array([student_interval(row["mean_iou"]) for row in sweep["rows"]]).clip(0, 1)
        names = tuple(f"{sweep['task']}{part}" for part in ("", "_low", "_high"))
        arrays |= {name: array(intervals[:, part], ("amount",), "share", at, "mean IoU") for part, name in enumerate(names)}
        note = "Mean over seeds and its 95% interval."
        panels.append(
            Curve(
                title=f"{sweep['task']}: mean IoU by r_max / M", y=names[:1], x="amount", low=names[1], high=names[2], note=note
            )
        )
    return Finding(analysis="rates", arrays=arrays, panels=tuple(panels), title="Atrous rates")


def plot_sweeps(results: dict[str, Any], folder: Path) -> None:
    """Write rates_TASK.png of every sweep into `folder`."""
    finding = sweep_finding(results)
    for number, sweep in enumerate(results["sweeps"]):
        finding.figure(number).savefig(folder / f"rates_{sweep['task']}.png", dpi=110, metadata={"Software": None})


def docs_page(results: dict[str, Any]) -> str:
    """The page of the documentation that tells of a rates.json."""
    parts = [
        _HEAD,
        f"Measured on {results['date']} with torch {results['torch']}, one thread; "
        f"judged on {results['sweeps'][0]['judged']:,} images of another "
        f"seed ({TEST_SEED}) than those learnt from ({TRAINING_SEED}). Per cent; in brackets the 95% interval of "
        "Student over the seeds, which are "
        "first weights, order and augmentation. *Without each branch*: how many of the objects' pixels are right, mean over seeds, when "
        "the kernel of one atrous branch is set to zero in the trained networks, in the order of the rates, on the first "
        f"{BRANCH_TEST_COUNT} images.",
        "```sh\npython -m experiments.rates --out runs/rates\n```",
    ]
    for sweep in results["sweeps"]:
        parts += [
            f"## {_TITLES[sweep['task']]}",
            _DESCRIPTIONS[sweep["task"]],
            f"{sweep['epochs']} epochs over {sweep['count']:,} images in batches of {sweep['batch']}, "
            f"{sweep['seeds']} seeds, M = {sweep['side']}.",
            f"![Mean IoU over the reach of the widest branch](figures/rates_{sweep['task']}.png)",
            result_table(sweep),
        ]
    return "\n\n".join([*parts, _TAIL]) + "\n"


_HEAD = """# Experiments: how far atrous branches should reach

An atrous pyramid covers a map of M x M positions with 3 x 3 kernels with holes. Our rule sets the widest rate to
r_max = floor((M - 1) / 2), so that it reaches the border from the middle, and the others to a third and two thirds of it. That rule is
derived, not measured; the hypothesis is that what networks can learn peaks near r_max / M = 1/2. Here networks with rates
r_max · (1/3, 2/3, 1) are trained **from scratch** with the same budget, for r_max / M from 1/16 to 1. At 1 the widest branch reads
nothing but its middle tap: it is a 1 x 1 convolution, counted as dead.

*This page is written from [rates.json](rates.json) by `python -m experiments.rates --page`; a test compares.*"""

_TITLES = {
    "scenes": "scenes: objects and their masks",
    "cues": "cues: what decides lies half an image away",
    "cues_seen": "cues_seen: the same, when the backbone sees that far itself",
}
_DESCRIPTIONS = {
    "scenes": "The network that ships, `microtome:mini_deeplab`, on generated scenes. Its backbone sees 119 px at an image side of 64, "
    "and one branch of its pyramid sees the mean of the whole image.",
    "cues": "White squares in noise are to be given the colour of the square 16 px, 8 places, above or below them in an image of 32 px "
    "([cues.py](../experiments/cues.py)). The backbone sees 15 px, so less than that; the branch that sees the mean of the "
    "image is left out. A guess among four colours is right on 25% of the squares' pixels.",
    "cues_seen": "The same images and the same pyramid behind a backbone with one dilated block more, which sees 39 px.",
}

_TAIL = """## Interpretation and limits

- Where what decides lies half an image away, the hypothesis holds within what was tried: no network with r_max / M up to 1/4 finds it
  (they guess), all with 7/16, 1/2 and 3/4 do, and at 1 it is lost again. At 3/8 it depends on the seed.
- But what counts is that **some** branch lands near the distance, not that the widest does. At 3/4 the networks guess without the
  middle branch, which lands 8 places away, and lose nothing without the widest. A branch also reads what its backbone sees around
  each tap, here 7 px to each side, so 7 places do as well as 8, and 6 sometimes. At 1 the branches land 5 and 11 places away, on
  either side of it. So the curve is a plateau of rates that reach the distance, not a peak at one half.
- The task has one distance, half a side, which is the one that the rule reaches: it shows that reach can decide, not that half a
  side is the reach that images ask for.
- A backbone that could see that far by itself (39 px) did not replace the branch in this budget: the networks guess with narrow rates all
  the same. A theoretical field of view is not what is learnt from; with more training it may be.
- On scenes the reach makes no difference: the eight rows lie between 91.4 and 92.1% and inside each other's intervals; neither the
  narrowest pyramid (1, 1, 1) nor one whose widest branch is dead differs significantly from the rest. From 1/4 on the networks lean on the
  narrowest branch (without it 78 to 87% of the objects' pixels stay right) and hardly on the widest (91 to 96%). The backbone can see
  the whole image (119 px) and the pooling branch sees its mean, so what reach could bring is there without it: a flat curve here
  says nothing against the rule, and nothing for it.
- The budget is small, and so are the networks: what is not learnt here might be with more. With two or three seeds the intervals are
  wide wherever the seeds disagree."""
