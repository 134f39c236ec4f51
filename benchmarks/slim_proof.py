"""Removing blocks on trained networks, beside Torch-Pruning alone at equal latency and at equal parameters: docs/slim_proof.md.

For each network a greedy search removes blocks. For each latency aimed at, the first set that reaches it is a point of depth; half as many
blocks, then pruned until the latency is reached, are one of depth and width. Torch-Pruning alone gets, by either criterion, the
smallest ratio that is as fast as our point, and for the middle latency the one with as few parameters. Every point is repaired on the
same images, judged, fine-tuned for as many steps towards the full network's answers (no labels), and judged again, on images that
served for nothing else.

Every answer is a row that survives a kill. Latencies are measured in turn with the full network.
"""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import machine, slim_proof_page
from benchmarks.real_networks import PHOTOGRAPHS, RealNetwork, real_networks
from benchmarks.slim_duels import MIDDLE
from benchmarks.slim_points import RATIOS, Method, Point, Workshop, latency_ratios
from microtome.analyses.slimming import Slimming
from microtome.analyses.slimming.arrays import loss_interval
from microtome.analyses.slimming.bench import Answers
from microtome.analyses.slimming.candidates import Slimmer
from microtome.analyses.slimming.journal import Journal
from microtome.analyses.slimming.repairs import fine_tune
from microtome.analyses.slimming.search import Search, SetScore
from microtome.atomic_write import atomic_write
from microtome.networks import FAMILIES, NAMES
from microtome.numerics.graph.counts import count_multiply_adds
from microtome.scan import Pace
from microtome.specimen.calibration import has_statistics

RESULTS = slim_proof_page.RESULTS
KEPT = Path(__file__).parent / "results" / "slim_proof" / "kept"
TARGETS = (0.8, 0.65, 0.5)  # latencies aimed at, of the full network's; the last is left out for slow networks
STEPS, FEW_STEPS = 100, 50  # of the fine-tune; the fewer where only photographs are at hand
LONG = 3  # times as many steps for our points at the middle latency, beside the comparison
ALONE = 3  # single blocks that are fine-tuned, those that lose least
HARDER_RATE = 2e-3  # of the second fine-tune that Torch-Pruning's points get, with norms that take the statistics of each batch
LATENCY_ROUNDS = 201  # of the latencies that are reported
ROUNDS = 15  # in which shapes are timed before one is chosen
RIVALS: tuple[Method, ...] = ("Torch-Pruning, magnitude", "Torch-Pruning, Taylor")


def measure(only: Sequence[str], keep: Path = KEPT) -> None:
    """Measure the networks named (all by default), write results and page."""
    torch.set_num_threads(1)
    for network in contestants():
        if not only or network.name in only:
            keep_result(measure_network(network, keep))
            slim_proof_page.write_page()


def contestants() -> list[RealNetwork]:
    """The real networks that are there, and the mini zoo."""
    mini = [RealNetwork(name, f"microtome:{name}", "", FAMILIES[name], images="scenes:1000", count=1000) for name in NAMES]
    return [*real_networks(), *mini]


def measure_network(network: RealNetwork, keep: Path = KEPT) -> dict[str, Any]:
    """The result of one network, from kept rows as far as they go."""
    specimen, images = network.open(), network.open_images()
    slimming = Slimming(count=network.count, cuts=False, heal=FEW_STEPS if network.images == PHOTOGRAPHS else STEPS)
    pace = Pace(keep=KEPT.parents[1] / "slimming" / "kept", device="cpu", batch=100)  # rows shared with the benchmark slimming
    bench = slimming.bench(specimen, images, Slimmer.of(specimen), pace)
    if not bench.by_head:
        raise ValueError(f"{network.name} does not know the classes of its images")
    removable, total = bench.slimmer.removable, len(bench.slimmer.plans)
    shop = Workshop(bench, linear=2 * len(removable) <= total and len(bench.slimmer.replaceable) > len(removable))
    stem = network.name.lower().replace(" ", "_")
    points = _kept_points(keep / f"{stem}.points.json", shop, TARGETS[:2] if network.slow else TARGETS)
    journal = Journal(keep / f"{stem}.answers.jsonl")
    rows = [_point_row(shop, journal, point, network.name) for point in points]
    result = {
        "name": network.name, "family": network.family, "blocks": total, "skipped": len(removable), "linear": shop.linear,
        "images": {"repair": len(bench.chosen), "reported": len(bench.reported)}, "steps": bench.heal, "long_steps": LONG * bench.heal,
        "full": pack(bench.full()), "singles": _singles(shop), "points": rows,
    }  # fmt: skip
    return with_latencies(result, shop)


def with_latencies(result: dict[str, Any], shop: Workshop) -> dict[str, Any]:
    """The result with latencies measured now: of one image, and of a batch of 16, all shapes in turn with the full network.

    Points that differ in their weights alone are one shape.
    """
    shapes = {_shape_key(row): shop.shape(_point_of(row)) for row in result["points"]}
    for name, batch, count in (("latency", 1, LATENCY_ROUNDS), ("latency_16", 16, LATENCY_ROUNDS // 8)):
        ratios = latency_ratios(shop.bench.specimen, list(shapes.values()), batch, count)
        of_shape = dict(zip(shapes, ratios, strict=True))
        for row in result["points"]:
            row[name] = of_shape[_shape_key(row)]
    result["machine"] = machine.described("cpu")
    return result


def _shape_key(row: dict[str, Any]) -> tuple[Any, ...]:
    return (*row["blocks"], row["ratio"])


def measure_latencies(only: Sequence[str]) -> None:
    """Measure the latencies of kept results again, in place."""
    torch.set_num_threads(1)
    results = slim_proof_page.read_results()
    for network in contestants():
        if network.name in results and (not only or network.name in only):
            slimming = Slimming(count=network.count, cuts=False)
            specimen = network.open()
            bench = slimming.bench(specimen, network.open_images(), Slimmer.of(specimen), Pace(device="cpu", batch=100))
            keep_result(with_latencies(results[network.name], Workshop(bench, results[network.name]["linear"])))
            slim_proof_page.write_page()


def keep_result(result: dict[str, Any]) -> None:
    """Put one network's result into the file of results, in the order of the networks."""
    results = {**slim_proof_page.read_results(), result["name"]: result}
    order = {network.name: place for place, network in enumerate(contestants())}
    rows = sorted(results.values(), key=lambda row: order.get(row["name"], len(order)))
    with atomic_write(RESULTS) as file:
        file.write((json.dumps(rows, indent=1) + "\n").encode())


def pack(answers: Answers) -> str:
    """Right and wrong answers (image,) as a word."""
    return base64.b64encode(np.packbits(np.asarray(answers, dtype=bool)).tobytes()).decode("ascii")


def search_path(shop: Workshop, target: float) -> list[tuple[str, ...]]:
    """The sets of a greedy search by the repaired network's answers, until that latency is reached."""
    bench = shop.bench
    search = search_of(shop)
    saved = dict.fromkeys(bench.slimmer.plans, 0.0)
    sets, path = [SetScore((), search.full())], list[tuple[str, ...]]()
    while step := search.step(sets, saved):
        sets = step
        path.append(bench.slimmer.several(step[0].blocks).blocks)
        (latency,) = latency_ratios(bench.specimen, [shop.shape(Point("depth", path[-1]))], 1, ROUNDS)
        if latency[0] <= target:
            break
    return path


def search_of(shop: Workshop, width: int = 1) -> Search:
    """The search of `slimming`, by the answers after the repair that needs no training."""
    repair = "linear" if shop.linear else "norms" if has_statistics(shop.bench.specimen.net) else "none"
    return Search(shop.bench, width, repair)


def choose_points(shop: Workshop, targets: Sequence[float]) -> list[Point]:
    """The points of one network: ours for each latency, and Torch-Pruning's for each of ours."""
    specimen, path = shop.bench.specimen, search_path(shop, targets[-1])

    def latencies(points: Sequence[Point]) -> list[float]:
        return [row[0] for row in latency_ratios(specimen, [shop.shape(point) for point in points], 1, ROUNDS)]

    reached = latencies([Point("depth", blocks) for blocks in path])
    ours: list[Point] = []
    for target in targets:
        reaching = next((place for place, each in enumerate(reached) if each <= target), len(path))
        if reaching < len(path):
            ours.append(Point("depth", path[reaching], target=target))
        before = path[(reaching + 1) // 2 - 1] if reaching else ()
        if before:
            narrower = [Point("depth + width", before, ratio, target) for ratio in RATIOS[2:15]]
            ours += [point for point, each in zip(narrower, latencies(narrower), strict=True) if each <= target][:1]
    fastest = {target: min(latencies([each for each in ours if each.target == target]), default=None) for target in targets}
    shapes = [Point("Torch-Pruning, magnitude", ratio=ratio) for ratio in RATIOS]
    chosen: dict[float, Point] = {}
    for target, limit in fastest.items():
        fitting = [
            point for point, each in zip(shapes, latencies(shapes), strict=True) if limit is None or each <= limit * 1.01
        ]
        point = fitting[0] if fitting else shapes[-1]
        chosen.setdefault(point.ratio, Point(point.method, ratio=point.ratio, target=target))
    sizes = [shop.parameters(shop.shape(point)) for point in shapes]
    for point in (each for each in ours if each.target == MIDDLE):
        most = 1.01 * shop.parameters(shop.shape(point))
        ratio = next((each.ratio for each, size in zip(shapes, sizes, strict=True) if size <= most), shapes[-1].ratio)
        chosen.setdefault(ratio, Point("Torch-Pruning, magnitude", ratio=ratio, target=MIDDLE, purpose="parameters"))
    rivals = [Point(method, (), each.ratio, each.target, each.purpose) for each in chosen.values() for method in RIVALS]
    return [*dict.fromkeys(ours), *rivals]


def _kept_points(path: Path, shop: Workshop, targets: Sequence[float]) -> list[Point]:
    """The points that were chosen before, or are chosen now."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        points = choose_points(shop, targets)
        with atomic_write(path) as file:
            file.write((json.dumps([vars(point) for point in points], indent=1) + "\n").encode())
    return [_point_of(row) for row in json.loads(path.read_text(encoding="utf-8"))]


def _point_of(row: dict[str, Any]) -> Point:
    return Point(row["method"], tuple(row["blocks"]), row["ratio"], row["target"], row["purpose"])


def _point_row(shop: Workshop, journal: Journal, point: Point, name: str) -> dict[str, Any]:
    """Measure one point, before and after the fine-tune."""
    bench = shop.bench
    kinds = ["repaired", "fine-tune"]
    kinds += ["harder fine-tune"] if point.method in RIVALS else ["longer fine-tune"] if point.target == MIDDLE else []
    steps = {"repaired": 0, "longer fine-tune": LONG * bench.heal}
    keys = [[*point.key, kind, steps.get(kind, bench.heal)] for kind in kinds]
    if not all(map(journal.knows, keys)):
        for kind, key in zip(kinds, keys, strict=True):
            if not journal.knows(key):
                net = shop.built(point)
                if kind != "repaired":
                    harder: dict[str, Any] = {"rate": HARDER_RATE, "train_norms": True} if kind == "harder fine-tune" else {}
                    fine_tune(net, bench.specimen, bench.chosen.batches, steps.get(kind, bench.heal), **harder)
                journal.answers(key, lambda net=net: bench.answers_of(net))
        print(f"{name}: {point.method} {len(point.blocks)} {point.ratio:g}: {_score(journal, keys)}", flush=True)
    net = shop.shape(point)
    return {
        **vars(point), "parameters": shop.parameters(net) / shop.parameters(bench.specimen.net),
        "operations": count_multiply_adds(net, bench.specimen.noise(1)) / bench.specimen.multiply_adds,
        **{kind: pack(journal.answers(key, _never)) for kind, key in zip(kinds, keys, strict=True)},
    }  # fmt: skip


def _score(journal: Journal, keys: Sequence[Sequence[Any]]) -> str:
    return " → ".join(f"{journal.answers(key, _never).mean():.3f}" for key in keys)


def _singles(shop: Workshop) -> dict[str, dict[str, list[float]]]:
    """What every block alone loses after each repair, with its interval; those chosen first by the search are fine-tuned too."""
    bench, heal = shop.bench, shop.bench.heal
    bench.heal = 0
    answers = {name: dict(rows) for name, rows in bench.removals(bench.slimmer.singles()).items()}
    bench.heal = heal
    first = search_of(shop, ALONE).step([SetScore((), 0)], dict.fromkeys(bench.slimmer.plans, 0.0))
    tuned = [shop.candidate(each.blocks) for each in first]
    for name, rows in bench.removals(tuned).items():
        (block,) = next(each.blocks for each in tuned if each.name == name)
        answers[block]["fine-tune"] = rows["fine-tune"]
    return {
        name: {repair: [round(float(part), 5) for part in loss_interval(own, bench.full())] for repair, own in rows.items()}
        for name, rows in answers.items()
    }


def _never() -> Answers:
    raise AssertionError("the row was just written")
