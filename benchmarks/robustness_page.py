"""docs/robustness.md from docs/robustness.json."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks import machine
from microtome.numerics.statistics.intervals import Interval, ratio_interval
from microtome.numerics.statistics.proportions import proportion_interval

PAGE = machine.ROOT / "docs" / "robustness.md"
SETS = {"other": "other corruptions", "contrast": "contrast x 1.5 to 8", "colour_scale": "colour scale x 2 to 8"}
GROUPS = {
    "CIFAR-10": "Real networks of CIFAR-10",
    "scenes": "The mini networks on scenes",
    "trained on": "With and without the edit",
}
Row = dict[str, Any]


def retained(row: Row, name: str) -> Interval:
    """The accuracy under a set of conditions over the clean accuracy, with its interval over images."""
    return ratio_interval(np.array(row["means"][name]), np.array(row["clean"], dtype=np.float64))


def write_page(results: dict[str, Any]) -> None:
    PAGE.write_text(page(results), encoding="utf-8")


def page(results: dict[str, Any]) -> str:
    """The page as Markdown."""
    rows, transformers = results["rows"], results["transformers"]
    groups = {group: [row for row in rows if row["group"] == group] for group in GROUPS}
    budget = results["budget"]
    parts = [
        HEAD.format(**budget),
        "## Does it hold here?\n\n" + "\n".join(f"- {line}" for line in verdicts(groups, transformers)) + "\n",
    ]
    for group, own in groups.items():
        if own:
            sweeps = [_sweep_table(own, sweep) for sweep in ("contrast", "colour_scale")]
            parts += [f"## {GROUPS[group]}\n", _retained_table(own, transformers), *sweeps, _corruption_table(own)]
    skipped = f"Not measured: {results['skipped']}.\n" if results["skipped"] else ""
    return "\n".join(part for part in [*parts, NOTES, skipped, machine.sentence(results["machine"]) + "\n"] if part)


def verdicts(groups: dict[str, list[Row]], transformers: Sequence[str]) -> list[str]:
    """What the intervals show of each part of the claim; overlapping intervals show nothing."""
    lines = list[str]()
    for group in ("CIFAR-10", "scenes"):
        own = groups[group]
        convolutional = [row for row in own if row["network"] not in transformers]
        for row in own:
            if row["network"] in transformers and convolutional:
                lines += [f"{GROUPS[group]}: {_beside(row, convolutional, name)}" for name in ("other", "contrast")]
    trained = groups["trained on"]
    plain = [row for row in trained if "prelayernorm" not in row["network"]]
    for row in trained:
        if row not in plain:
            twin = next(each for each in plain if _seed(each) == _seed(row))
            lines += [f"With and without the edit: {_repaired(row, twin, name)}" for name in ("contrast", "colour_scale")]
    return lines


def _seed(row: Row) -> str:
    return row["network"].rpartition(" ")[2]


def _beside(row: Row, others: Sequence[Row], name: str) -> str:
    """A transformer beside all convolutional networks of its group."""
    value, rest = retained(row, name), [retained(other, name) for other in others]
    below, above = sum(value.high < each.low for each in rest), sum(value.low > each.high for each in rest)
    between = len(rest) - below - above
    if name == "other":  # published: as robust or more
        what = (
            "This is not as published"
            if below
            else "This is as published"
            if above
            else "This does not contradict what is published"
        )
    else:  # published: far less robust
        what = (
            "This is as published"
            if below == len(rest)
            else "This is not as published"
            if above
            else "The published loss is not shown"
        )
    counted = f"its interval is above those of {above}, below those of {below} and overlaps those of {between} of the {len(rest)} others"
    return f"`{row['network']}` keeps {_span(value)} of its accuracy under {SETS[name]}; {counted}. {what}."


def _repaired(row: Row, plain: Row, name: str) -> str:
    value, without = retained(row, name), retained(plain, name)
    if row["means"][name] == row["clean"]:
        return (
            f"`{row['network']}` answers every image under {SETS[name]} as rightly as at ordinary contrast, by construction; without the "
            f"edit {_span(without)} is kept."
        )
    shown = (
        "a significant repair"
        if value.low > without.high
        else "a loss"
        if value.high < without.low
        else "no significant difference"
    )
    return f"`{row['network']}` keeps {_span(value)} under {SETS[name]}, without the edit {_span(without)}: {shown}."


def _span(interval: Interval) -> str:
    if not np.isfinite(interval.low):
        return f"{interval.value:.0%} [interval unknown]"
    return f"{interval.value:.0%} [{max(0.0, interval.low):.0%}, {interval.high:.0%}]"


def _retained_table(rows: Sequence[Row], transformers: Sequence[str]) -> str:
    lines = [
        "Accuracy on clean images, and the fraction of it that is kept; transformers in italics.\n",
        f"| network | clean | {' | '.join(SETS.values())} |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        title = f"*{row['network']}*" if row["network"] in transformers or row["group"] == "trained on" else row["network"]
        clean = proportion_interval(sum(row["clean"]), row["images"])
        lines.append(f"| {title} | {_span(clean)} | {' | '.join(_span(retained(row, name)) for name in SETS)} |")
    return "\n".join(lines) + "\n"


def _sweep_table(rows: Sequence[Row], sweep: str) -> str:
    neutral = [[1.0, sum(row["clean"])] for row in rows]
    columns = [sorted([*([amount, count] for name, amount, is_sweep, count in row["right"] if is_sweep and name == sweep), own])
               for row, own in zip(rows, neutral, strict=True)]  # fmt: skip
    lines = [
        f"Per cent right by {sweep.replace('_', ' ')}:\n",
        f"| network | {' | '.join(f'x {amount:g}' for amount, _ in columns[0])} |",
        f"|---|{'---:|' * len(columns[0])}",
    ]
    lines += [
        f"| {row['network']} | {' | '.join(_percent(count, row) for _, count in own)} |"
        for row, own in zip(rows, columns, strict=True)
    ]
    return "\n".join(lines) + "\n"


def _percent(count: float, row: Row) -> str:
    return f"{100 * count / row['images']:.0f}"


def _corruption_table(rows: Sequence[Row]) -> str:
    names = list(dict.fromkeys(name for name, _, is_sweep, _ in rows[0]["right"] if not is_sweep))
    lines = [
        "Per cent right by corruption, mean over severities 1, 3 and 5:\n",
        f"| network | {' | '.join(name.replace('_', ' ') for name in names)} |",
        f"|---|{'---:|' * len(names)}",
    ]
    for row in rows:
        cells = [
            np.mean([count for each, _, is_sweep, count in row["right"] if each == name and not is_sweep]) for name in names
        ]
        lines.append(f"| {row['network']} | {' | '.join(_percent(float(cell), row) for cell in cells)} |")
    return "\n".join(lines) + "\n"


HEAD = """# Transformers, contrast and PreLayerNorm

Published (Kim et al. 2021, arXiv:2111.08413, abstract): under most corruptions vision transformers are as robust as convolutional networks
or more, under contrast enhancement they degrade severely, and a layer norm before the positions
([prelayernorm](edits/prelayernorm.md)) repairs it. Here: corruptions and sweeps as in [`robustness`](analyses/robustness.md), on {count}
images of each group. Written by `python -m benchmarks robustness`; the numbers are in [robustness.json](robustness.json).

- **Kept**: accuracy under a set of conditions over accuracy on clean images, with its 95% interval over images.
- **Other corruptions**: gaussian noise, defocus blur, motion blur, fog, brightness, pixelate and JPEG at severities 1, 3 and 5.
- **Contrast**: contrast of the image raised by 1.5 to 8 about its mean, cut off at black and white. **Colour scale**: the normalised input
  multiplied by 2 to 8, which nothing cuts off.
- **With and without the edit**: `mini_deit` with its shipped weights, with and without the edit, all trained on for {epochs} epochs over
  {scenes:,} scenes at ordinary contrast (AdamW, highest rate {rate:g}, one cycle), {seeds} seeds; the same scenes and order for all.
- A difference is called significant only where 95% intervals do not overlap.
"""
NOTES = """## Interpretation and limits

- Small networks, 32 or 64 px. The published networks are larger and were trained on ImageNet; these results neither prove nor refute
  theirs.
- Networks of one group differ in more than their kind: in size, training and clean accuracy. The real transformers are far less accurate
  than the real convolutional networks; dividing by the clean accuracy does not remove this.
- The images of CIFAR-10 are JPEG copies; all networks lose accuracy by this before any corruption.
- That the edited network answers the same at every colour scale is exact by construction, as a test of the edit shows. What is learned, and
  could fail, is that it stays accurate.
- Two readings of the edit are measured, since the abstract does not say where the norm stands.
- Training on starts from weights that had no such norm, so the edited networks have more to relearn than the plain one.
"""
