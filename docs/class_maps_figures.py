"""The figures of docs/class_maps.md: kinds of map side by side on real photographs.

    python docs/class_maps_figures.py WEIGHTS_DIR PHOTOS [FINDING]

WEIGHTS_DIR holds GoogLeNet as its authors trained it: `loaders/archs.py`, `safetensors/googlenet_bvlc.safetensors` and
`images/imagenet_labels.json`. PHOTOS is a folder of photographs; among them are chelsea.png, coffee.png and rocket.jpg of scikit-image (CC0
by Stefan van der Walt, CC0 by Rachel Michetti, public domain by SpaceX), the only ones that are drawn. The verdicts come from twelve of
them. The finding is kept in FINDING, and drawn from there where it is there already.
"""

import json
import sys
from pathlib import Path

import numpy as np
import xarray as xr

import microtome as mt
from microtome.figures import draw_panel
from microtome.panels import Overlay

FIGURES = Path(__file__).resolve().parent / "figures"
DRAWN = ("chelsea.png", "coffee.png", "rocket.jpg")
KINDS = ("layercam", "gaussian", "eigencam", "inputgradient", "integratedgradients", "smoothgrad")
LAYERED = ["Grad-CAM", "LayerCAM", "Gaussian CAM", "Eigen-CAM"]
DOTS = 150  # per inch


def measure(folder: Path, photos: Path) -> mt.Finding:
    """The maps of all kinds on the photographs that are drawn."""
    classes = json.loads((folder / "images" / "imagenet_labels.json").read_text(encoding="utf-8"))
    names = [entry["name"] for entry in classes]
    weights = folder / "safetensors" / "googlenet_bvlc.safetensors"
    net = mt.open(f"{folder}/loaders/archs.py:bvlc_googlenet", weights=weights, labels=names)
    return mt.analyses.cam.Cam(kinds=KINDS, only=DRAWN, count=6)(net, mt.Images.folder(photos))


def draw(finding: mt.Finding, maps: xr.DataArray, rows: list[str], image: int | None, name: str) -> None:
    """One row for each of `rows`, a column for each method; `image` is that of all rows, or each row has its own."""
    base = finding["image"].values if image is None else np.repeat(finding["image"].values[[image]], len(rows), 0)
    arrays = {
        "image": xr.DataArray(base, dims=("image", "row", "col", "rgb"), coords={"image": rows}),
        "methods": maps.assign_coords(image=rows),
        "standing": finding["standing"].sel({"method": maps.coords["method"]}),
    }
    paper = draw_panel(arrays, Overlay(title="", base="image", heat="methods", across="method", standing="standing"))
    paper.savefig(FIGURES / name, dpi=DOTS, pil_kwargs={"quality": 85, "method": 6})


def main() -> None:
    kept = Path(sys.argv[3]) if len(sys.argv) > 3 else None
    if kept and kept.exists():
        finding = mt.Finding.load(kept)
    else:
        finding = measure(Path(sys.argv[1]), Path(sys.argv[2]))
        if kept:
            finding.save(kept)
    maps, named = finding["methods"], finding["methods_target"].values
    print(*finding.caveats, named, finding["standing"].values, sep="\n")
    rows = [f"{photo.split('.')[0]}: {target}" for photo, target in zip(DRAWN, named[:, 0], strict=True)]
    draw(finding, maps.isel(target=0, layer=-1), rows, None, "class_maps_methods.webp")
    both = maps.isel(image=1, layer=-1, drop=True).rename(target="image")
    draw(finding, both, [str(name) for name in named[1]], 1, "class_maps_classes.webp")
    depth = maps.isel(image=2, target=0, drop=True).sel({"method": LAYERED}).rename(layer="image")
    draw(finding, depth, [str(name) for name in maps.coords["layer"].values], 2, "class_maps_depth.webp")


if __name__ == "__main__":
    main()
