"""Names of a network's outputs, with WordNet ids where they are ImageNet's."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from microtome._torchvision import timm
from microtome.errors import BadOption

Labels = tuple[tuple[str, ...], tuple[str, ...] | None]


def imagenet_labels(subset: str = "imagenet-1k") -> Labels:
    """(names, WordNet ids) of an ImageNet subset in the order of a timm network's outputs."""
    library: Any = timm()
    info = library.data.ImageNetInfo(subset)
    count = range(info.num_classes())
    return tuple(info.index_to_description(index) for index in count), tuple(info.index_to_label_name(index) for index in count)


def timm_labels(net: Any) -> tuple[Labels | None, list[str]]:
    """Labels of a timm network, and notes; None where its classes are not ImageNet's or its classifier was changed."""
    library: Any = timm()
    config = cast(Mapping[str, Any], getattr(net, "pretrained_cfg", None) or {})
    outputs = int(getattr(net, "num_classes", 0) or 0)
    if outputs == 0 or outputs != int(config.get("num_classes") or 0):
        return None, []
    if outputs == 1001 or int(config.get("label_offset") or 0):
        names, ids = imagenet_labels("imagenet-1k")
        note = "It has 1001 outputs: output 0 is 'background', ImageNet's classes begin at output 1."
        return (("background", *names), ("", *(ids or ()))), [note]
    subset = library.data.infer_imagenet_subset(net)
    return (imagenet_labels(subset), []) if subset else (None, [])


def given_labels(value: Any) -> Labels:
    """Labels from what a caller gave: "imagenet", a file with one name a line or a JSON list, or the names themselves."""
    if isinstance(value, str | Path):
        if str(value) in ("imagenet", "imagenet-1k"):
            return imagenet_labels()
        return _labels_from_file(Path(value).expanduser())
    if isinstance(value, Sequence):
        return tuple(str(name) for name in cast(Sequence[Any], value)), None
    raise BadOption(f"Labels cannot be read from {type(value).__name__}; give a list of names, a file of names, or 'imagenet'.")


def _labels_from_file(path: Path) -> Labels:
    if not path.is_file():
        raise BadOption(f"There is no file of labels '{path}'; give one name a line, a JSON list, or 'imagenet'.")
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".json":
        return tuple(line.strip() for line in text.splitlines() if line.strip()), None
    try:
        loaded = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadOption(f"The file of labels '{path}' is not valid JSON: {error}.") from error
    if isinstance(loaded, dict):  # {"0": "tench"} or {"0": ["n01440764", "tench"]}
        table = cast(dict[str, Any], loaded)
        loaded = [table[key] for key in sorted(table, key=lambda key: int(key) if key.isdigit() else 0)]
    if not isinstance(loaded, list):
        raise BadOption(f"The file of labels '{path}' holds neither a list nor a dictionary.")
    entries = cast(list[Any], loaded)
    return tuple(str(entry[-1]) if isinstance(entry, list) else str(entry) for entry in entries), None
