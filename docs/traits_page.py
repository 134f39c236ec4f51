"""The page of the study on six backbones, made again with the mini networks on scenes: docs/traits.md and its figures.

    python docs/traits_page.py            measure the seven mini networks on 300 scenes, draw, write
    python docs/traits_page.py DIR        keep the findings in DIR, and reuse what is there

Everything between the marks of the page is written by this file; its introduction is by hand.
"""

import sys
import tempfile
from pathlib import Path

from generate import FIGURES, beside, spliced

import microtome as mt
from microtome import networks
from microtome.key_numbers import format_interval

PAGE = Path(__file__).resolve().parent / "traits.md"
ANALYSES = ("objects", "cam", "weights", "similarity", "redundancy", "probe", "accuracy", "cost", "slimming", "traits")
SCENES = 300
ZOO = "microtome:"


def measure(folder: Path) -> mt.Finding:
    """The finding of traits on the mini networks."""
    nets = [mt.open(f"{ZOO}{name}") for name in networks.NAMES if name.startswith("mini_")]
    run = mt.analyze(nets, mt.Images.scenes(SCENES), folder, only=ANALYSES)
    return run.findings["", "traits"]


def hypothesis_rows(finding: mt.Finding) -> str:
    """The eight hypotheses as a table."""
    rows = ["| hypothesis | decided by | verdict | effect (95% interval) | n | finding | claims: support, contradict |",
            "|---|---|---|---|---:|---|---|"]  # fmt: skip
    of = {name: finding[name].values for name in finding.arrays if finding[name].dims == ("criterion",)}
    for place, name in enumerate(finding["hypothesis"].coords["criterion"].values):
        ends = [float(of[f"hypothesis_{end}"][place]) for end in ("effect", "low", "high")]
        shown = format_interval(ends[0], ends[1], ends[2])
        effect = "not known" if ends[0] != ends[0] else f"{shown} {of['hypothesis_unit'][place]}"
        counts = f"{of['supporting'][place]:.0f}, {of['contradicting'][place]:.0f}"
        words = [str(name), of["hypothesis"][place], f"**{of['hypothesis_verdict'][place]}**", effect,
                 f"{of['hypothesis_n'][place]:.0f}", of["hypothesis_evidence"][place], counts]  # fmt: skip
        rows.append("| " + " | ".join(map(str, words)) + " |")
    return "\n".join(rows)


def family_rows(finding: mt.Finding, family: str) -> str:
    """What was significant of a family, and how many lines are undecided or not measured."""
    kinds, sentences = finding[f"{family}_kind"].values, finding[f"{family}_sentence"].values
    decided = [(kind, line) for kind, line in zip(kinds, sentences, strict=True) if kind not in ("undecided", "not measured")]
    left = [sum(kind == word for kind in kinds) for word in ("undecided", "not measured")]
    rows = ["| kind | |", "|---|---|", *(f"| {kind} | {line} |" for kind, line in decided)]
    table = "\n".join(rows) if decided else "Nothing is significant."
    return f"### {family.capitalize()}\n\n{table}\n\nUndecided: {left[0]}; not measured: {left[1]}."


def figures(finding: mt.Finding) -> str:
    """Figures 3 to 10, drawn and linked; the two panels of one network stand side by side."""
    groups: dict[str, list[str]] = {}
    for panel in finding.panels:
        if panel.title.startswith("Figure"):
            groups.setdefault(panel.title.replace(ZOO, "").rpartition(",")[0] or panel.title, []).append(panel.title)
    parts: list[str] = []
    for number, (title, titles) in enumerate(groups.items(), start=1):
        path = FIGURES / f"traits_{number}.png"
        path.write_bytes(beside([finding.figure(each) for each in titles]))
        parts.append(f"### {title}\n\n![{title}](figures/{path.name})")
    return "\n\n".join(parts)


def content(finding: mt.Finding) -> str:
    """The measured part of the page."""
    names = ", ".join(f"`{name.removeprefix(ZOO)}` ({family})" for name, family in finding.facts["networks"].items())
    parts = [
        f"{names}; {finding.facts['images']} scenes.",
        f"> {finding.headline}",
        "## The eight hypotheses",
        hypothesis_rows(finding),
        "## Strengths and weaknesses",
        *(family_rows(finding, family) for family in ("deeper", "wider", "attention")),
        "## Figures 3 to 10",
        figures(finding),
        "## Limits",
        "\n".join(f"- {caveat}" for caveat in finding.caveats),
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        finding = measure(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(scratch))
    PAGE.write_text(spliced(PAGE, "traits", content(finding)), encoding="utf-8")


if __name__ == "__main__":
    main()
