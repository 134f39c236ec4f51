"""Other rules for the signal that goes back through a rectifier, however the rectifier is written.

The operations of the backward pass are seen as they run, so a rectifier is one whether it is a module, a function or a method, in
place or not, used once or many times. `RewriteMode` stands over the forward pass for what leaves no trace of its own in the backward
pass: lower clamps at zero become rectifiers of the same values, and a gate (a number for each channel or position multiplied onto a
map, as in squeeze-and-excitation) is held constant, as is the divisor of local response normalisation.

With x the rectifier's input, a its output and g the signal from above, the rules are

    gradient    g · [x > 0]              Simonyan et al. 2014, arXiv:1312.6034
    deconvnet   g · [g > 0]              Zeiler & Fergus 2014, arXiv:1311.2901, sec. 2.1
    guided      g · [x > 0] · [g > 0]    Springenberg et al. 2015, arXiv:1412.6806, sec. 3.4
    rectgrad    g · [a · g > τ]          Kim et al. 2019, arXiv:1902.04893, eq. 3; τ a quantile of a · g in each image

Source: Mahendran & Vedaldi 2016, "Salient deconvolutional networks", ECCV, table 1: a deconvnet is the backward pass with another
rule at its rectifiers. Max pooling's backward pass puts values at the switches and adds up where windows overlap; batch norm in
eval mode, average pooling and upsampling are linear, and their backward pass is their transpose.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from microtome.numerics.graph.dispatching import Dispatching

Rule = Literal["gradient", "deconvnet", "guided", "rectgrad"]

ZERO = 0.0  # the threshold of a rectifier
# What is not linear and no rectifier: its own derivative stands in, and is told. Backward operation -> the name people know.
CURVED_ACTIVATIONS = {
    "gelu_backward": "GELU",
    "silu_backward": "SiLU",
    "mish_backward": "Mish",
    "hardswish_backward": "Hardswish",
    "hardsigmoid_backward": "hard sigmoid",
    "hardtanh_backward": "Hardtanh",
    "sigmoid_backward": "sigmoid",
    "tanh_backward": "tanh",
    "elu_backward": "ELU",
    "leaky_relu_backward": "leaky ReLU",
    "_prelu_kernel_backward": "PReLU",
    "rrelu_with_noise_backward": "RReLU",
    "softplus_backward": "softplus",
    "glu_backward": "GLU",
    "_softmax_backward_data": "softmax",
    "native_layer_norm_backward": "layer norm",
    "native_group_norm_backward": "group norm",
}


def apply_rule(rule: Rule, g: Tensor, x: Tensor, ceiling: float = torch.inf, quantile: float = 0.98) -> Tensor:
    """What `rule` lets through of the signal `g`, of the same shape, at a rectifier that cuts `x` to 0…`ceiling`.

    `x` may be the rectifier's input or its output. `quantile` sets τ of "rectgrad": of n values in an image, the
    ⌈quantile · n⌉-th smallest.
    """
    if rule == "deconvnet":
        return g.clamp(min=0)
    if rule == "rectgrad":
        score = (x.clamp(0, ceiling) * g).flatten(1)
        rank = max(1, min(score.shape[1], -int(-quantile * score.shape[1] // 1)))
        bound = score.kthvalue(rank, dim=1, keepdim=True).values
        return g * (score > bound).view_as(g)
    open_ = (x > 0) & (x < ceiling)
    return g * open_ if rule == "gradient" else g.clamp(min=0) * open_


class RectifierMode(Dispatching):
    """While this is entered, backward passes go through rectifiers by `rule`.

    `rectifiers` counts those that were passed, `curved` other operations that are not linear, by name: their derivative was taken.
    """

    def __init__(self, rule: Rule, quantile: float = 0.98) -> None:
        super().__init__()
        self.rule: Rule = rule
        self.quantile = quantile
        self.rectifiers = 0
        self.curved: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = str(func.overloadpacket.__name__)
        if name == "threshold_backward" and float(args[2]) == ZERO:
            self.rectifiers += 1
            return apply_rule(self.rule, args[0], args[1], quantile=self.quantile)
        if name == "hardtanh_backward" and float(args[2]) == ZERO:
            self.rectifiers += 1
            return apply_rule(self.rule, args[0], args[1], float(args[3]), self.quantile)
        if name in CURVED_ACTIVATIONS or "scaled_dot_product" in name:
            self.curved[CURVED_ACTIVATIONS.get(name, "attention")] += 1
        return func(*args, **(kwargs or {}))


class RewriteMode(TorchFunctionMode):
    """While this is entered, forward passes write lower clamps at zero as rectifiers and hold gates constant.

    No value changes. `gates` counts the gates and divisors. Differentiated, a response norm would stop the signal of units that
    are near the most it lets through, which the strongest are.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gates = 0

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name, named = str(getattr(func, "__name__", "")), dict(kwargs or {})
        if name in _CLAMPS:
            written = _clamp_as_rectifier(name, args, named)
            if written is not None:
                return written
        if name in _PRODUCTS and len(args) == 2:
            gate = _gate_operand(args[0], args[1])
            if gate is not None:
                self.gates += 1
                args = tuple(arg.detach() if place == gate else arg for place, arg in enumerate(args))
        if name == "local_response_norm":
            self.gates += 1
            return _normalise_constant(*args, **named)
        return func(*args, **named)


_CLAMPS = {"clamp", "clamp_", "clip", "clip_", "clamp_min", "clamp_min_", "maximum", "max", "fmax"}
_PRODUCTS = {"mul", "mul_", "multiply", "multiply_", "__mul__", "__rmul__", "__imul__"}


def _clamp_as_rectifier(name: str, args: Sequence[Any], named: Mapping[str, Any]) -> Tensor | None:
    """The rectifier of the same values that a clamp amounts to, or None where it is none."""
    if not args or not isinstance(args[0], Tensor) or not args[0].is_floating_point() or "out" in named:
        return None
    x, words = args[0], dict(zip(("min", "max"), args[1:], strict=False)) | dict(named)
    if name in ("maximum", "max", "fmax"):
        other = args[1] if len(args) == 2 and not named else None
        zero = isinstance(other, Tensor) and not other.requires_grad and not bool(other.any()) and other.numel() <= x.numel()
        return torch.relu(x) if zero else None
    low, high = words.get("min"), words.get("max")
    if isinstance(low, bool) or not isinstance(low, int | float) or low != 0:
        return None
    if high is None:
        return torch.relu_(x) if name.endswith("_") else torch.relu(x)
    if not isinstance(high, int | float) or high <= 0:
        return None
    return torch.nn.functional.hardtanh(x, 0.0, float(high), inplace=name.endswith("_"))


def _normalise_constant(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """`torch.nn.functional.local_response_norm` with its divisor held constant."""
    with torch.no_grad():
        squares = torch.nn.functional.pad(input.square().movedim(1, -1), (size // 2, (size - 1) // 2))
        divisor = squares.unfold(-1, size, 1).mean(-1).movedim(-1, 1).mul(alpha).add(k).pow(beta)
    return input / divisor


def _gate_operand(a: Any, b: Any) -> int | None:
    """Which of two factors (0 or 1) is a gate on the other: computed from the image, too, and spread over it."""
    if not (isinstance(a, Tensor) and isinstance(b, Tensor) and a.requires_grad and b.requires_grad):
        return None
    sizes = (_distinct_elements(a), _distinct_elements(b))
    if max(a.dim(), b.dim()) < 3 or sizes[0] == sizes[1]:
        return None
    return 0 if sizes[0] < sizes[1] else 1


def _distinct_elements(value: Tensor) -> int:
    """How many elements the tensor really has: expanded ones count once."""
    total = 1
    for size, step in zip(value.shape, value.stride(), strict=True):
        total *= size if step or size == 1 else 1
    return total
