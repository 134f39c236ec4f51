"""Packed arrays of a report, unpacked as the page does it."""

import base64
import zlib
from typing import Any

import numpy as np


def unpacked(said: dict[str, Any], blocks: dict[str, Any]) -> np.ndarray[Any, Any]:
    """What the page makes of a packed array: the same steps as web/src/source.ts, written again."""
    if isinstance(said["block"], list):  # images, place by place
        parts = [unpacked({"block": one, "shape": [-1]}, blocks) for one in said["block"]]
        return np.concatenate(parts).reshape(said["shape"])
    block = blocks[said["block"]]
    raw = base64.b64decode(block["data"])
    kind = np.dtype("<" + block["dtype"]) if block["dtype"] != "u1" else np.dtype("u1")
    if block["packing"] != "raw":
        raw = zlib.decompress(raw)
    if block["packing"] == "zlib":
        raw = np.frombuffer(raw, np.uint8).reshape(kind.itemsize, -1).T.tobytes()
    if block["packing"] == "pixels":
        steps = np.frombuffer(raw, np.uint8).reshape(-1, block["width"], 3)
        raw = np.cumsum(steps, axis=1, dtype=np.uint8).tobytes()
    values = np.frombuffer(raw, kind).reshape(said["shape"])
    return values.astype(float) * block["scale"] if "scale" in block else values
