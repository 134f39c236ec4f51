"""Results of docs/banding_training.md: tables, verdicts and a figure, from the runs of experiments/banding_*.toml.

    python docs/banding_training.py                                       write the page again from docs/banding_training.json
    python docs/banding_training.py --collect photographs=DIR horizon=DIR read the runs in these folders first

DIR is what `microtome experiment experiments/banding_NAME.toml --out DIR` wrote. The rules are those of the page's protocol.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from generate import FIGURES, picture, spliced

from microtome.key_numbers import FRACTION, format_interval, format_value
from microtome.numerics.statistics.intervals import Interval
from microtome.numerics.weights.banding import BANDED_A

DOCS = Path(__file__).resolve().parent
PAGE, RESULTS, FIGURE = DOCS / "banding_training.md", DOCS / "banding_training.json", "banding_training.png"
SEEDS = {"photographs": (111, 112, 113), "horizon": (211, 212)}  # as planned
BASELINE, TURNED, RANDOM = "baseline", "turned by 90 degrees", "turned at random"
FLAT, ROWS, PLAIN = "fully connected, no pooling", "pooling along x only", "not mirrored"
VARIANTS = (BASELINE, TURNED, RANDOM, FLAT, ROWS, PLAIN)
MIN_SEEDS = 2  # of a verdict
SHOWN = 24  # tiles of a layer in the figure
TITLES = {
    "P1": "bands appear", "P2": "the direction comes from the images", "P3": "no bands without up and down",
    "P4": "bands go with the global pooling (fully connected head)", "P5": "bands go with pooling along x only",
    "P6": "bands need mirrored images",
}  # fmt: skip
TWIN_LIMIT, RANDOM_LIMIT, DROP = 0.2, 0.2, 0.4
Run = dict[str, Any]


def relative_drop(variant: list[float], baseline: list[float], draws: int = 4000) -> Interval:
    """1 - A(variant) / A(baseline), with the 95% percentile interval over bootstrap samples of the filters of both layers."""
    random = np.random.default_rng(0)
    means = [_resampled_means(np.asarray(values), random, draws) for values in (variant, baseline)]
    low, high = np.quantile(1 - means[0] / means[1], [0.025, 0.975])
    return Interval(float(1 - np.mean(variant) / np.mean(baseline)), float(low), float(high))


def _resampled_means(values: Any, random: np.random.Generator, draws: int) -> Any:
    return values[random.integers(0, len(values), (draws, len(values)))].mean(1)


def verdicts(name: str, runs: list[Run]) -> dict[str, str]:
    """The verdict on each hypothesis by the rules of the protocol; fewer than two complete seeds make it inconclusive."""
    by_run = {(run["variant"], run["seed"]): run for run in runs}

    def decide(*needed: str) -> list[list[Run]] | None:
        """The runs of these variants, a list for each seed that has them all; None where too few seeds have."""
        rows = [[by_run.get((variant, seed), {}) for variant in needed] for seed in SEEDS[name]]
        complete = [row for row in rows if all(row)]
        return complete if len(complete) >= MIN_SEEDS else None

    rules = {
        "P1": (decide(BASELINE), lambda rows: _hold(
            [row[0]["maps"][-1][1] > BANDED_A and abs(row[0]["twin"]) < TWIN_LIMIT for row in rows])),
        "P2": (decide(TURNED), lambda rows: _hold([row[0]["maps"][-1][2] < -BANDED_A for row in rows])),
        "P3": (decide(RANDOM), lambda rows: _hold(
            [row[0]["maps"][-1][1] > -RANDOM_LIMIT and row[0]["maps"][-1][2] < RANDOM_LIMIT for row in rows])),
        "P4": (decide(FLAT, BASELINE), _weaken),
        "P5": (decide(ROWS, BASELINE), _weaken),
        "P6": (decide(PLAIN, BASELINE), _weaken),
    }  # fmt: skip
    del rules["P6" if name == "horizon" else "P3"]  # has no such variant
    return {key: "inconclusive" if rows is None else rule(rows) for key, (rows, rule) in rules.items()}


def _hold(seeds: list[bool]) -> str:
    return "holds" if all(seeds) else "does not hold"


def _weaken(rows: list[list[Run]]) -> str:
    """By how much both indices drop from the second run of each row to the first."""
    drops = [[relative_drop(row[0][key], row[1][key]) for key in ("filters_maps", "filters_raw")] for row in rows]
    if not all(drop.low > 0 for pair in drops for drop in pair):
        return "does not hold"
    return "holds" if np.mean([pair[0].value for pair in drops]) >= DROP else "weakened"


def collect(name: str, folder: Path) -> list[Run]:
    """What the page needs of every finished run below the folder."""
    runs: list[Run] = []
    for file in sorted(folder.glob("runs/*/seed-*/result.json")):
        result = json.loads(file.read_text(encoding="utf-8"))
        if result["state"] == "finished" and result["seed"] in SEEDS[name]:
            runs.append(_read_run(file.parent, result))
    return sorted(runs, key=lambda run: (run["seed"], run["variant"]))


def _read_run(folder: Path, result: dict[str, Any]) -> Run:
    import microtome as mt

    finding = next(mt.Finding.load(folder / path) for path in result["findings"] if "banding" in path)
    names = [str(layer) for layer in finding["index"].coords["layer"].values]
    layers = [name for name in names if name.startswith("features.")]  # convolutions: a head over the flat map is measured too
    spans = {
        key: [[_rounded(finding[array + end].sel(layer=layer)) for end in ("", "_low", "_high")] for layer in layers]
        for key, array in (("maps", "index_nmf"), ("raw", "index"))
    }
    bands = finding[f"bands/{layers[-1]}"]
    epochs = {text.split("[")[1][:-1]: values for text, values in result["over_epochs"].items() if "index_nmf" in text}
    twins = [float(finding[f"twin_index_nmf_{end}"].sel(layer=layers[-1])) for end in ("low", "high")]
    return {
        "variant": result["variant"],
        "seed": result["seed"],
        "accuracy": _rounded(result["numbers"]["accuracy"]["value"]),
        "layers": [layer.rpartition(".")[2] for layer in layers],
        **spans,
        "twin": _rounded(max(twins, key=abs)),
        "filters_maps": [_rounded(each) for each in bands.sel(measure="D of maps").values],
        "filters_raw": [_rounded(each) for each in bands.sel(measure="D").values],
        "epochs": {layer.rpartition(".")[2]: [[int(at), _rounded(value)] for at, value in epochs[layer]] for layer in layers},
        **_added_bands(folder / "trained", layers[-1]),
        "tiles": _spread_tiles(finding[f"factors/{layers[-1]}"].values),
        "date": result["date"],
        "torch": result["torch"],
    }


def _spread_tiles(tiles: Any) -> list[Any]:
    """Some of a layer's tiles, evenly from their order by similarity."""
    return np.asarray(tiles)[np.linspace(0, len(tiles) - 1, SHOWN).round().astype(int)].tolist()


def _added_bands(trained: Path, layer: str) -> dict[str, float]:
    """Both indices of what training added to the layer, and how much that is of the first weights (ratio of norms)."""
    from safetensors.torch import load_file

    from microtome.numerics.weights.banding import band_indices, banding_index
    from microtome.numerics.weights.nmf import factorise

    files = (trained / "checkpoints" / "epoch-000.safetensors", trained / "weights.safetensors")
    first, last = (load_file(file)[f"{layer}.weight"] for file in files)
    added = (last - first).contiguous()
    side = added.shape[-1]
    maps = factorise(added.flatten(2)).maps.mT.reshape(len(added), -1, side, side)
    return {
        "added_raw": _rounded(banding_index(band_indices(added).direction)),
        "added_maps": _rounded(banding_index(band_indices(maps).direction)),
        "moved": _rounded(added.norm() / first.norm()),
    }


def _rounded(value: Any) -> float:
    return round(float(value), 4)


def result_text(results: dict[str, list[Run]]) -> str:
    """The generated part of the page."""
    parts = ["## Verdicts", _verdict_table(results)]
    for name, runs in results.items():
        if runs:
            parts += [f"## {name.capitalize()}", _run_table(runs), _drop_table(runs), _epoch_table(runs)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _verdict_table(results: dict[str, list[Run]]) -> str:
    judged = {name: verdicts(name, runs) for name, runs in results.items()}
    rows = [f"| | hypothesis | {' | '.join(results)} |", "|---|---|" + "---|" * len(results)]
    for key, title in TITLES.items():
        rows.append(
            f"| {key} | {title} | " + " | ".join(f"**{judged[name].get(key, 'not asked')}**" for name in results) + " |"
        )
    return "\n".join(rows)


def _run_table(runs: list[Run]) -> str:
    layers = runs[0]["layers"]
    rows = [
        f"| variant | seed | accuracy | A maps, {layers[-1]} | A raw, {layers[-1]} | A maps, {layers[-2]} | added: A maps, A raw, size |",
        "|---|---:|---:|---|---|---|---|",
    ]
    for run in sorted(runs, key=lambda run: (_order(run), run["seed"])):
        cells = [format_interval(*span) for span in (run["maps"][-1], run["raw"][-1], run["maps"][-2])]
        added = f"{format_value(run['added_maps'])}, {format_value(run['added_raw'])}, {format_value(run['moved'])}"
        rows.append(
            f"| {run['variant']} | {run['seed']} | {format_value(run['accuracy'], FRACTION)} | {' | '.join(cells)} | {added} |"
        )
    return "\n".join(rows)


def _order(run: Run) -> int:
    return VARIANTS.index(run["variant"])


def _drop_table(runs: list[Run]) -> str:
    baselines = {run["seed"]: run for run in runs if run["variant"] == BASELINE}
    rows = ["| variant | seed | relative drop of A maps | relative drop of A raw |", "|---|---:|---|---|"]
    for run in sorted(runs, key=lambda run: (_order(run), run["seed"])):
        base = baselines.get(run["seed"])
        if base and run["variant"] in (FLAT, ROWS, PLAIN):
            drops = [format_interval(*relative_drop(run[key], base[key])) for key in ("filters_maps", "filters_raw")]
            rows.append(f"| {run['variant']} | {run['seed']} | {' | '.join(drops)} |")
    return "\n".join(rows) if len(rows) > 2 else ""


def _epoch_table(runs: list[Run]) -> str:
    """A maps of every layer over the epochs of the baselines, the mean over their seeds."""
    bases = [run for run in runs if run["variant"] == BASELINE]
    if not bases:
        return ""
    epochs = [at for at, _ in bases[0]["epochs"][bases[0]["layers"][0]]]
    rows = [f"| A maps, baseline, mean of {len(bases)} | " + " | ".join(f"epoch {at}" for at in epochs) + " | end |"]
    rows.append("|---|" + "---:|" * (len(epochs) + 1))
    for at, layer in enumerate(bases[0]["layers"]):
        values = np.mean([[value for _, value in run["epochs"][layer]] + [run["maps"][at][0]] for run in bases], axis=0)
        rows.append(f"| {layer} | " + " | ".join(f"{round(float(value), 2) + 0.0:.2f}" for value in values) + " |")
    return "\n".join(rows)


def draw(results: dict[str, list[Run]]) -> Any:
    """A row of tiles for each variant of each experiment: NMF maps of the last convolution, of the first seed."""
    from matplotlib.figure import Figure

    shown = [(name, run) for name, runs in results.items() for run in sorted(runs, key=_order) if run["seed"] == SEEDS[name][0]]
    figure = Figure(figsize=(9.5, 0.62 * len(shown)), layout="constrained")
    for at, (name, run) in enumerate(shown):
        tiles = np.pad(np.asarray(run["tiles"], np.uint8), ((0, 0), (0, 1), (0, 1), (0, 0)), constant_values=255)
        axes = figure.add_subplot(len(shown), 1, at + 1)
        axes.imshow(np.concatenate(list(tiles), axis=1))
        axes.set_axis_off()
        axes.set_title(f"{name}: {run['variant']}, A maps {format_value(run['maps'][-1][0])}", fontsize=7, loc="left", pad=1)
    return figure


def main(words: list[str] | None = None) -> int:
    """Collect where asked, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collect", nargs="+", metavar="NAME=DIR", help="folders of finished experiments")
    given = parser.parse_args(words)
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {name: [] for name in SEEDS}
    for word in given.collect or []:
        name, _, folder = word.partition("=")
        results[name] = collect(name, Path(folder))
    if given.collect:
        (FIGURES / FIGURE).write_bytes(picture(draw(results)))
        lines = {
            name: [{key: value for key, value in run.items() if key != "tiles"} for run in runs]
            for name, runs in results.items()
        }
        RESULTS.write_text(
            json.dumps(lines, separators=(",", ":")).replace('{"variant"', '\n{"variant"') + "\n", encoding="utf-8"
        )
    PAGE.write_text(spliced(PAGE, "results", result_text(results)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
