"""The networks of Zeiler & Fergus: their own, and the network of Krizhevsky that they analysed, for images of any size.

Five convolutions and three fully connected layers each. They differ in how they begin: 11 x 11 at stride 4, then 5 x 5 at stride 1;
or 7 x 7 at stride 2, then 5 x 5 at stride 2, which halves the jump of everything below the second layer. Both are dense, without
Krizhevsky's split over two cards. What the paper leaves open: padding (chosen so that its figure's sides come out: 110, 55, 26, 13,
6), the contrast normalisation (Krizhevsky's local response normalisation over 5 maps: our reading), and first weights of 10^-2,
which belong to inputs in -128 … 127: ours are drawn by fan-in.

Source: Zeiler & Fergus 2014, arXiv:1311.2901, sec. 3 and fig. 3; Krizhevsky et al. 2012, sec. 3.
"""

from collections import OrderedDict
from typing import Literal, NamedTuple, get_args

from torch import Tensor, nn
from torch.nn.functional import pad

from microtome.errors import BadOption, did_you_mean

Normalisation = Literal["response", "batch", "none"]


class _FirstLayer(NamedTuple):
    """Kernel, stride, padding."""

    kernel: int
    stride: int
    padding: int


WIDTHS = (96, 256, 384, 384, 256)  # of conv1 to conv5
FIRST_LAYERS = {
    "zfnet": (_FirstLayer(7, 2, 1), _FirstLayer(5, 2, 0)),
    "alexnet_zf": (_FirstLayer(11, 4, 2), _FirstLayer(5, 1, 2)),
}


class ResponseNorm(nn.Module):
    """Every value divided by (2 + 1e-4 · Σ squares of 5 neighbouring maps at its place) to the power 3/4.

    What `nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2)` does, in operations that receptive-field arithmetic can follow.
    """

    def forward(self, x: Tensor) -> Tensor:
        """The normalised maps, of the same shape."""
        around = pad(x * x, (0, 0, 0, 0, 2, 2))
        total = sum((around[:, start : start + x.shape[1]] for start in range(1, 5)), start=around[:, : x.shape[1]])
        return x * (2 + 1e-4 * total) ** -0.75


class ZeilerNet(nn.Module):
    """`features` (conv1 … pool5) and `classifier` (fc6, fc7, fc8), named as in the paper's layers."""

    def __init__(
        self,
        begin: tuple[_FirstLayer, _FirstLayer],
        num_classes: int,
        norm: Normalisation,
        widths: tuple[int, ...],
        hidden: int,
        side: int,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        units = 3
        for number, outputs in enumerate(widths, start=1):
            kernel, stride, padding = begin[number - 1] if number < 3 else _FirstLayer(3, 1, 1)
            layers[f"conv{number}"] = nn.Conv2d(units, outputs, kernel, stride, padding)
            layers[f"relu{number}"] = nn.ReLU(inplace=True)
            if number in (1, 2, 5):
                layers[f"pool{number}"] = nn.MaxPool2d(3, 2, ceil_mode=True)
            if number < 3 and norm != "none":
                layers[f"norm{number}"] = ResponseNorm() if norm == "response" else nn.BatchNorm2d(outputs)
            units = outputs
        self.features = nn.Sequential(layers)
        self.classifier = nn.Sequential(
            OrderedDict(
                fc6=nn.Linear(units * side * side, hidden),
                relu6=nn.ReLU(inplace=True),
                drop6=nn.Dropout(0.5),
                fc7=nn.Linear(hidden, hidden),
                relu7=nn.ReLU(inplace=True),
                drop7=nn.Dropout(0.5),
                fc8=nn.Linear(hidden, num_classes),
            )
        )
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu" if layer is not self.classifier.fc8 else "linear")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """The logits (image, class)."""
        return self.classifier(self.features(x).flatten(1))


def zfnet(
    num_classes: int = 1000,
    size: int = 224,
    norm: Normalisation = "response",
    width: float = 1.0,
    hidden: int = 4096,
    widths: tuple[int, ...] = WIDTHS,
) -> nn.Module:
    """Zeiler & Fergus' network: 7 x 7 / 2 in front; receptive fields 7, 27, 75, 107, 139 px.

    `size` is the side of the image in px (47 or more; `alexnet_zf` 35), `norm` what follows the first two poolings, `hidden` the
    width of fc6 and fc7, `widths` those of the five convolutions (512, 1024, 512 for the last three is the paper's wider one), and
    `width` scales them all (for small runs; ours).

    Raises: BadOption.
    """
    return _build("zfnet", num_classes, size, norm, width, hidden, widths)


def alexnet_zf(
    num_classes: int = 1000,
    size: int = 224,
    norm: Normalisation = "response",
    width: float = 1.0,
    hidden: int = 4096,
    widths: tuple[int, ...] = WIDTHS,
) -> nn.Module:
    """Krizhevsky's network as Zeiler & Fergus rebuilt it, on one card: 11 x 11 / 4 in front.

    The options are those of `zfnet`.

    Raises: BadOption.
    """
    return _build("alexnet_zf", num_classes, size, norm, width, hidden, widths)


def _build(
    name: str, num_classes: int, size: int, norm: Normalisation, width: float, hidden: int, widths: tuple[int, ...]
) -> nn.Module:
    if norm not in get_args(Normalisation):
        raise BadOption(f"{name} has no norm '{norm}'.{did_you_mean(str(norm), get_args(Normalisation))}")
    side = _last_side(FIRST_LAYERS[name], size)
    if side < 1 or width <= 0 or hidden < 1:
        least = next(size for size in range(1, 1000) if _last_side(FIRST_LAYERS[name], size) > 0)
        raise BadOption(
            f"{name} takes size of {least} px or more, width above 0, hidden of 1 or more; given were {size}, {width}, {hidden}."
        )
    if len(widths) != len(WIDTHS) or any(units < 1 for units in widths):
        raise BadOption(f"{name} takes five widths of 1 or more, such as {WIDTHS}; given were {tuple(widths)}.")
    scaled = tuple(max(1, round(units * width)) for units in widths)
    return ZeilerNet(FIRST_LAYERS[name], num_classes, norm, scaled, hidden, side)


def _last_side(begin: tuple[_FirstLayer, _FirstLayer], size: int) -> int:
    """Positions a side after the last pooling; 0 or less where the image is too small."""
    for kernel, stride, padding in begin:
        size = (size + 2 * padding - kernel) // stride + 1
        size = -(-(size - 3) // 2) + 1
        if size < 1:
            return 0
    return -(-(size - 3) // 2) + 1
