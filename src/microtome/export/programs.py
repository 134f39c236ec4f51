"""A network as a program of `torch.export` and as ONNX, each tried against the network on real images."""

import importlib
import logging
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from microtome.errors import MissingExtra, Uneditable
from microtome.export.sample import batch_parts, largest_difference

ONNX_TOLERANCE = 1e-4  # of the largest output
PROTOBUF_BYTES = 1_900_000_000  # larger weights go into a second file
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def check_onnx_packages() -> None:
    """Raise MissingExtra where a package is missing that writing or checking ONNX needs."""
    for name in ONNX_PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise MissingExtra(f"ONNX needs {name}; install it with: pip install 'microtome[export]'.") from error


def write_program(net: nn.Module, x: Tensor, path: Path) -> int | None:
    """Write `net` (in eval mode, on the CPU) as a program for `torch.export.load`; the batch size that it is bound to, or None.

    Raises:
        Uneditable: torch.export cannot follow the network.
    """
    with _silence():
        batch, program = first_that_works(
            lambda example, shapes: torch.export.export(net, (example,), dynamic_shapes=shapes), x
        )
        torch.export.save(program, path)
    return batch


def write_onnx(net: nn.Module, x: Tensor, path: Path) -> tuple[int | None, float]:
    """Write `net` as ONNX with the input `image`; its batch size (None: any), and the largest difference in onnxruntime.

    Raises:
        MissingExtra: a package is missing.
        Uneditable: the exporter cannot follow the network, or onnxruntime gives other outputs.
    """
    check_onnx_packages()
    outside = sum(value.nbytes for value in net.state_dict().values()) > PROTOBUF_BYTES

    def export(example: Tensor, shapes: Any) -> Any:
        options: dict[str, Any] = {"dynamo": True, "verbose": False, "external_data": outside, "input_names": ["image"]}
        return torch.onnx.export(net, (example,), dynamic_shapes=shapes, **options)

    with _silence():
        batch, program = first_that_works(export, x)
        program.save(str(path), external_data=outside)
        runtime: Any = importlib.import_module("onnxruntime")
        session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def outputs(images: Tensor) -> list[Tensor]:
        return [torch.from_numpy(value) for value in session.run(None, {"image": images.numpy()})]

    difference = largest_difference(net, outputs, batch_parts(x, batch))
    if not difference <= ONNX_TOLERANCE:
        raise Uneditable(
            f"In onnxruntime the outputs differ by {difference:.2g} of the largest, more than {ONNX_TOLERANCE:g}; no ONNX file is written."
        )
    return batch, difference


def first_that_works(export: Callable[[Tensor, Any], Any], x: Tensor) -> tuple[int | None, Any]:
    """What `export` gives for any batch size, or else for one image at a time; and the batch size, None for any.

    Raises:
        Uneditable: it fails for both.
    """
    reason = ""
    for batch, example, shapes in ((None, x[:2], ({0: torch.export.Dim("batch")},)), (1, x[:1], None)):
        try:
            return batch, export(example, shapes)
        except Exception as error:  # noqa: BLE001  # the exporter raises errors of many kinds for what it cannot follow
            lines = str(error).strip().splitlines()
            reason = f"{type(error).__name__}: {lines[0][:160] if lines else ''}"
    raise Uneditable(f"torch.export cannot follow this network ({reason}).")


@contextmanager
def _silence() -> Generator[None]:
    """Inside, neither warnings of the exporters nor their log below errors is shown."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
