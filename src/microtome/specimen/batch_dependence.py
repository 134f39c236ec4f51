"""Whether the answer for one image depends on the other images of its batch: found by passing it with others and alone."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from microtome.errors import hint, option_name

SAME = 1e-3  # of the largest output, up to which two answers are the same


def batch_note(net: nn.Module, x: Tensor, answer: Any) -> str:
    """A sentence where the answer for the first of `x` changes with its company, or from pass to pass; else empty.

    `answer` maps inputs to the measured output (image, …). A network that takes no single image is compared in two companies; one that
    gives no row for each image is not judged.
    """
    company = x.clone()
    # noise resembles other noise, so its statistics have to be moved; its spectrum too, since an instance norm takes off the others
    company[1:] = 3 * functional.avg_pool2d(company[1:], 5, 1, 2) + 1
    with torch.inference_mode():
        together, again = (answer(company)[:1] for _ in range(2))
        if not torch.allclose(together, again, rtol=0, atol=0, equal_nan=True):  # NaN is said elsewhere
            return "Its outputs are random in evaluation: the same images give other numbers in another pass."
        try:
            alone = answer(x[:1])
        except (RuntimeError, ValueError):  # such as a batch norm that wants more than one value
            alone = answer(x)[:1]
    if alone.shape != together.shape or not bool(torch.isfinite(together).all()):
        return ""
    if float((alone - together).abs().max()) <= SAME * max(float(alone.abs().max()), float(together.abs().max())):
        return ""
    norms = [path for path, module in net.named_modules() if _uses_the_batch(module)]
    cause = f" ('{norms[0]}' normalises by the batch)" if norms else ""
    return (
        f"Its output for an image depends on the other images of the batch{cause}, so all results depend on {option_name('batch')} "
        f"and on the images; give its norms running statistics, or measure with {hint('--batch 1', 'Pace(batch=1)')}."
    )


def _uses_the_batch(module: nn.Module) -> bool:
    kind = nn.modules.batchnorm._BatchNorm  # pyright: ignore[reportPrivateUsage]
    return isinstance(module, kind) and (module.running_mean is None or module.training)
