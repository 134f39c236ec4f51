"""README.md of a slimmed network: how to load it, what it expects, what it answers, and what it costs beside the full network."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from microtome.analyses.slimming.arrays import VERDICTS
from microtome.export.comparison import Comparison
from microtome.prose import name_list, plural
from microtome.specimen import Recipe


@dataclass(frozen=True)
class Facts:
    """What the page says beside the numbers; `files` are (name, what it is), `outputs` names of the outputs in order, if known."""

    title: str
    removed: Sequence[str]
    repair: str
    parts: Mapping[str, int]
    judged_by: str
    budget: float
    outputs: Sequence[str]
    output_count: int | None
    files: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = field(default=())
    opened_by: str = ""


def read_me(facts: Facts, recipe: Recipe, comparison: Comparison) -> str:
    """The text of README.md."""
    parts = [
        f"# {facts.title}",
        f"Removed: {', '.join(f'`{name}`' for name in facts.removed)}. Repair: {facts.repair}.",
        "## Load it",
        "```python\nfrom load import load\n\nnet = load()          # in evaluation mode\nscores = net(images)  # see below\n```",
        "\n".join(f"- {note}" for note in facts.notes),
        "## Input",
        _input_table(recipe),
        "## Output",
        _output_text(facts),
        "## Before and after",
        before_after_table(comparison),
        _method_text(facts, comparison),
        "## Files",
        "\n".join(f"- `{name}`: {what}" for name, what in facts.files),
        f"In microtome it opens as `{facts.opened_by}`." if facts.opened_by else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def before_after_table(comparison: Comparison) -> str:
    """The quantities before and after, as a Markdown table."""
    lines = ["| | before | after | change |", "|---|---|---|---|"]
    return "\n".join([*lines, *(f"| {row.name} | {row.before} | {row.after} | {row.change} |" for row in comparison.rows)])


def _input_table(recipe: Recipe) -> str:
    rows, cols = recipe.size
    wanted = [math.floor(side / recipe.crop + 1e-9) for side in recipe.size]
    order = {3: "red, green, blue", 1: "one: luminance, or one band"}.get(recipe.channels, f"{recipe.channels} bands in order")
    resized = f"short side to {wanted[0]} px" if wanted[0] == wanted[1] else f"to cover {wanted[0]} x {wanted[1]} px"
    numbers = [
        ("shape", f"(images, {recipe.channels}, {rows}, {cols}), float32"),
        ("channels", order),
        ("resize", f"{resized}, {recipe.interpolation}, antialiased (as Pillow does)"),
        ("centre crop", f"{rows} x {cols} px (crop fraction {recipe.crop:.4g})"),
        ("values", "pixels / 255, then minus mean, divided by standard deviation, by channel"),
        ("mean", ", ".join(f"{value:g}" for value in recipe.mean)),
        ("standard deviation", ", ".join(f"{value:g}" for value in recipe.std)),
    ]
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in numbers)])


def _output_text(facts: Facts) -> str:
    if not facts.outputs:
        count = "Maps" if facts.output_count is None else plural(facts.output_count, "number")
        return f"{count} for each image; their names are not known."
    names = "\n".join(f"{place}. {name}" for place, name in enumerate(facts.outputs))
    return f"{plural(len(facts.outputs), 'class score')}, in this order, from 0:\n\n{names}"


def _method_text(facts: Facts, comparison: Comparison) -> str:
    parts = facts.parts
    return (
        f"Brackets are 95% intervals. Accuracy is that of {facts.judged_by}, on {plural(parts['reported'], 'image')} that served for "
        f"nothing else; {parts['chosen']} others served to repair and {parts['judged']} more to choose the blocks. "
        f"{budget_text(comparison, facts.budget)} Latency holds for the machine that measured it. See report.html."
    )


def budget_text(comparison: Comparison, budget: float) -> str:
    """Whether the accuracy lost is within the budget, as a sentence; "within" means the whole interval."""
    limit = f"{100 * budget:g}%"
    return {
        VERDICTS[0]: f"The whole interval of the accuracy lost is within the budget of {limit}.",
        VERDICTS[
            1
        ]: f"The interval of the accuracy lost lies on both sides of the budget of {limit}: more images would decide.",
        VERDICTS[2]: f"The whole interval of the accuracy lost is beyond the budget of {limit}.",
    }[comparison.verdict]


def removal_title(name: str, removed: Sequence[str]) -> str:
    """The network and what was removed from it, on one line."""
    return f"{name} without {name_list(list(removed), 6)}"
