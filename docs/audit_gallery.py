"""The audit of one network of every timm family and of famous ones, and the page that lists what it finds.

    python docs/audit_gallery.py FILE.jsonl          audit (minutes; goes on where it stopped), then write docs/audit_gallery.md
    python docs/audit_gallery.py FILE.jsonl --page   only write the page

Weights are untrained: nothing is downloaded, and what is found is the design's. Each network has two minutes.
"""

import json
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_suffix(".md")
SECONDS = 120
FAMILIES = 98  # modules of timm 1.0.31 that have networks
SMALL = (
    "test_",
    "atto",
    "femto",
    "pico",
    "nano",
    "_xxs",
    "_xs",
    "tiny",
    "050",
    "_s",
    "small",
    "_002",
    "_0",
    "18",
    "b0",
    "26",
    "50",
)
FAMOUS = (
    "timm:resnet18", "timm:resnet50", "timm:resnet50d", "timm:resnetv2_50", "timm:resnext50_32x4d", "timm:vgg11_bn",
    "timm:densenet121",
    "timm:inception_v3", "timm:seresnet50", "timm:hrnet_w18_small", "timm:regnety_032", "timm:mobilenetv2_100",
    "timm:mobilenetv3_large_100", "timm:efficientnet_b0", "torchvision:efficientnet_b0", "torchvision:googlenet",
    "torchvision:squeezenet1_1",
    "torchvision:convnext_tiny",
    "timm:convnext_tiny", "timm:vit_small_patch16_224", "timm:deit_tiny_patch16_224", "torchvision:vit_b_16",
    "timm:swin_tiny_patch4_window7_224", "timm:mixer_s16_224", "timm:coatnet_0_rw_224",
)  # fmt: skip


def families() -> dict[str, str]:
    """Module of timm -> its network that looks smallest by name."""
    import timm  # noqa: TID251

    examples: dict[str, str] = {}
    for module in timm.list_modules():
        names = timm.list_models(module=module)
        if names:
            examples[module] = min(names, key=_size)
    return examples


def _size(name: str) -> tuple[int, int, str]:
    return next((place for place, part in enumerate(SMALL) if part in name), 99), len(name), name


def large(name: str) -> bool:
    """Whether a network of timm has more than sixty million parameters; nothing is allocated."""
    import timm  # noqa: TID251
    import torch

    if not name.startswith("timm:"):
        return False
    with torch.device("meta"):
        net = timm.create_model(name.removeprefix("timm:"))
    return sum(parameter.numel() for parameter in net.parameters()) > 60e6


def told(name: str, size: int) -> dict[str, Any]:
    """What the audit finds in a network at about `size` px, or what stood in its way."""
    import microtome as mt
    from microtome.analyses.audit.run import run_audit

    began = time.monotonic()
    tries: list[dict[str, Any]] = [{"recipe": {"size": size}}, {"recipe": {"size": size}, "img_size": size}, {}]
    if large(name):  # families of giants: two of their blocks tell as much as forty
        tries = [{"recipe": {"size": side}, "img_size": side, "depth": 2} for side in (size, 56)] + tries[::2]
    outcomes, last = None, ""
    options: dict[str, Any] = {}
    for options in tries:
        try:
            net = mt.open(name, weights=None, **options)
            outcomes = run_audit(net)
            break
        except mt.MicrotomeError as error:
            last = str(error)
    if outcomes is None:
        return {"name": name, "refused": last[:200]}
    by_rule = {
        outcome.rule.id: [outcome.severity, len(outcome.fault.layers), outcome.fault.evidence]
        for outcome in outcomes
        if outcome.fault
    }
    missing = {outcome.rule.id: outcome.unchecked for outcome in outcomes if outcome.unchecked}
    side = list(net.recipe.size)
    return {
        "name": name,
        "found": by_rule,
        "unchecked": missing,
        "size": side,
        "short": "depth" in options,
        "seconds": round(time.monotonic() - began, 1),
    }


def audit(path: Path) -> None:
    """Audit all that the file does not have yet, one line each."""
    warnings.filterwarnings("ignore")
    import microtome  # noqa: F401
    from microtome._torchvision import timm

    timm()
    done = {json.loads(line)["key"] for line in path.read_text().splitlines()} if path.exists() else set[str]()
    jobs = {f"famous {name}": (name, 224) for name in FAMOUS} | {
        f"family {family}": (f"timm:{name}", 64) for family, name in families().items()
    }

    def late(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, late)
    for key, (name, size) in jobs.items():
        if key in done:
            continue
        signal.alarm(SECONDS)
        try:
            row = told(name, size)
        except TimeoutError:
            row = {"name": name, "refused": f"not done within {SECONDS} s"}
        except Exception as error:  # noqa: BLE001  # a crash is what is looked for
            row = {"name": name, "crash": f"{type(error).__name__}: {str(error)[:200]}"}
        signal.alarm(0)
        with path.open("a") as file:
            file.write(json.dumps({"key": key, **row}, ensure_ascii=False) + "\n")


def page(path: Path) -> str:
    """The page: famous networks by rule, then the families."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    famous = [row for row in rows if row["key"].startswith("famous")]
    family = [row for row in rows if row["key"].startswith("family")]
    well = [row for row in family if "found" in row]
    refused = [row for row in family if "refused" in row]
    crashed = [row for row in family if "crash" in row]
    return "\n".join(
        [
            "# What the audit finds in famous networks", "",
            "Written by `python docs/audit_gallery.py`. All weights are untrained, so the findings concern the design,",
            "and the rules on weights do not apply.",
            "The rules, their reasons and sources: `microtome audit NETWORK`, and [audit](analyses/audit.md).", "",
            "## Famous networks", "", "At 224 px, or at the network's own input size.", "",
            "| network | rule | severity | layers | evidence |", "|---|---|---|---|---|",
            *(line for row in famous for line in _lines(row)), "",
            "## One network of every timm family", "",
            f"{len(family)} of {FAMILIES} families: {len(well)} audited, {len(refused)} refused with a reason, {len(crashed)} crashed;",
            f"{FAMILIES - len(family)} were not reached within the time limit. Each family is represented by "
            "the network whose name suggests the smallest size.", "",
            "| family | network | px | findings |", "|---|---|---|---|", *(_line(row) for row in family), "",
        ]
    )  # fmt: skip


def _lines(row: dict[str, Any]) -> list[str]:
    if "found" not in row:
        return [f"| {row['name']} | – | – | – | {row.get('refused', row.get('crash'))} |"]
    if not row["found"]:
        return [f"| {row['name']} | none | – | – | nothing wrong |"]
    return [f"| {row['name']} | {id} | {cells[0]} | {cells[1]} | {cells[2]} |" for id, cells in row["found"].items()]


def _line(row: dict[str, Any]) -> str:
    head = f"| {row['key'].removeprefix('family ')} | {row['name'].removeprefix('timm:')}{', 2 blocks' if row.get('short') else ''} | "
    if "found" not in row:
        return head + f"– | {row.get('refused') or 'crash: ' + row['crash']} |"
    missed = [id for id in row["unchecked"] if id not in ("MT002", "MT003", "MT004", "MT402", "MT403")]
    more = f"; not checked: {', '.join(missed)}" if missed else ""
    return head + f"{row['size'][0]} | {', '.join(row['found']) or 'none'}{more} |"


if __name__ == "__main__":
    lines = Path(sys.argv[1])
    if "--page" not in sys.argv:
        audit(lines)
    PAGE.write_text(page(lines), encoding="utf-8")
