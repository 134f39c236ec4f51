"""Which axes of a module's output are images, rows, columns, tokens and units: measured by changing the images, not guessed from sizes.

One further pass of four images, nearly the same: the noise image of the pilot pass, the same with faint noise added, and with that noise
growing from top to bottom and from left to right (`numerics.graph.positions`). The axis whose length grew with the number of images
counts them; where it holds windows too, their order is the one in which the four images are alike. Convolutions, norms over maps and
pools need none of this, so a plain convolutional network is passed once. The rule is written down in docs/opening.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from microtome.errors import SpecimenError
from microtome.numerics.graph.positions import (
    HALF,
    LIKE,
    NoiseResponse,
    TokenOrder,
    find_order,
    likeness,
    misplacement,
    moving_axes,
    respond,
    row_by_row,
)
from microtome.specimen.arrangement import Arrangement
from microtome.specimen.layouts import Grid, Layout
from microtome.specimen.noise_images import noise_images
from microtome.specimen.outputs import exchange_tensor, output_tensors, slow_attention
from microtome.specimen.recipe import Recipe
from microtome.specimen.tracing import BATCH

COUNT = 4  # images of the pass
FEW = 16  # tokens: any numbers look like places of so few, so a new order of them must fit better
EXACT, NEAR = 0.1, 0.35  # positions
FAINT = 1e-3  # of the noise image's standard deviation
Key = tuple[str, int, int]  # module path, call, branch


@dataclass(frozen=True)
class Reading:
    """The axes of one output: its shape for one image as analyses see it, and the way there from the raw value."""

    layout: Layout
    shape: tuple[int, ...]
    grid: Grid | None
    units: int
    prefix: int
    arrangement: Arrangement | None = None
    hint: TokenOrder | None = (
        None  # the order that the number of tokens suggests, if convolutions gave a grid of as many positions
    )


def probe_images(net: nn.Module, recipe: Recipe, steps: Grid) -> Tensor:
    """The four images: noise, with faint noise, with faint noise that grows down, and to the right, in `steps`."""
    base = noise_images(net, recipe, 1)
    sign = FAINT * torch.sign(noise_images(net, recipe, 1, seed=1))
    down, right = (_ramp(side, count).to(base) for side, count in zip(base.shape[2:], steps, strict=True))
    return torch.cat([base, base + sign, base + sign * down[:, None], base + sign * right])


def _ramp(side: int, steps: int) -> Tensor:
    """From 0 to 1 along a side, in steps as wide as the patches that the network cuts, so that all of a patch has one value."""
    steps = steps if 1 < steps < side else side
    return (torch.arange(side) * steps // side).float() / (steps - 1)


class AxisProbe:
    """Hooks that take the response of every wanted output in one pass; `traced` has their shapes for a batch of two.

    `steps` is the grid of patches that the network cuts the image into, as far as convolutions show it.
    """

    def __init__(self, net: nn.Module, traced: Mapping[Key, tuple[int, ...]], steps: Grid) -> None:
        self.net, self.traced, self.steps = net, traced, steps
        self.batches: dict[Key, Arrangement] = {}
        self.responses: dict[Key, NoiseResponse] = {}
        self.counts: dict[str, int] = {}

    def run(self, recipe: Recipe, at: tuple[Key, Reading] | None = None) -> None:
        """Pass the images through the network; hooks are gone afterwards.

        With `at`, the four images are one, and the faint noise is added to that output instead, whose positions are known.
        """
        modules = dict(self.net.named_modules())
        images = probe_images(self.net, recipe, self.steps)
        handles: list[Any] = []
        self.counts.clear()
        if at is not None:
            images = images[:1].repeat(COUNT, 1, 1, 1)
            handles.append(modules[at[0][0]].register_forward_hook(_noise_hook(*at)))
        handles += [modules[path].register_forward_hook(self._hook(path)) for path in {key[0] for key in self.traced}]
        try:
            with torch.no_grad(), slow_attention():
                self.net(images)
        except Exception as error:
            raise SpecimenError(
                f"The network runs on {BATCH} images and not on {COUNT} ({type(error).__name__}: {error}), so its forward fixes the number "
                "of images; write x.flatten(1) or x.shape[0] where it says 2."
            ) from error
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, path: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            call = self.counts.get(path, 0)
            self.counts[path] = call + 1
            for branch, value in enumerate(output_tensors(output)):
                shape = self.traced.get((path, call, branch))
                if shape is not None and value.is_floating_point():
                    self._take((path, call, branch), shape, value)

        return hook

    def _take(self, key: Key, shape: tuple[int, ...], value: Tensor) -> None:
        grown = [axis for axis, side in enumerate(value.shape) if len(shape) > axis and side * BATCH == shape[axis] * COUNT]
        same = [axis for axis, side in enumerate(value.shape) if len(shape) > axis and side == shape[axis]]
        if len(shape) != value.ndim or len(grown) != 1 or len(same) != value.ndim - 1:
            return
        axis = grown[0]
        arrangement = _batch_arrangement(value, axis)
        self.batches[key] = arrangement
        images = arrangement.by_image(value)
        response = respond(*images.unbind())
        if response is not None:
            self.responses[key] = response


def _noise_hook(key: Key, reading: Reading) -> Any:
    """A hook that adds faint noise to an output: none for the first image, and for the others even, growing down and to the right."""
    count = 0

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        nonlocal count
        count += 1
        if count - 1 != key[1]:
            return None
        raw = output_tensors(output)[key[2]]
        value = raw if reading.arrangement is None else reading.arrangement.arrange(raw)
        sign = torch.sign(torch.randn(value.shape[1:], generator=torch.Generator().manual_seed(1))).to(value)
        noise = FAINT * value.std() * sign
        value = value + torch.stack([0 * noise, noise, *(noise * ramp for ramp in _ramps(reading, value))])
        return exchange_tensor(output, raw, value if reading.arrangement is None else reading.arrangement.restore(value, raw))

    return hook


def _ramps(reading: Reading, like: Tensor) -> list[Tensor]:
    """From 0 to 1 down and to the right, over the positions of an output for one image."""
    rows, cols = reading.grid or (1, 1)
    down = torch.linspace(0, 1, rows).to(like)[:, None].expand(rows, cols)
    right = torch.linspace(0, 1, cols).to(like).expand(rows, cols)
    if reading.layout == "nchw":
        return [down, right]
    if reading.layout == "nhwc":
        return [down[..., None], right[..., None]]
    return [torch.cat([torch.zeros(reading.prefix).to(like), ramp.flatten()])[:, None] for ramp in (down, right)]


def _batch_arrangement(value: Tensor, axis: int) -> Arrangement:
    """How the four images, which are alike, lie along an axis that may hold windows besides."""
    windows = value.shape[axis] // COUNT
    choices = [Arrangement(axis, windows // inner, inner) for inner in range(1, windows + 1) if windows % inner == 0]
    if len(choices) == 1:
        return choices[0]
    unlike: list[float] = []
    for choice in choices:
        images = choice.by_image(value)
        unlike.append(float((images - images[:1]).square().mean()))
    return choices[unlike.index(min(unlike))]


class AxisReader:
    """Turns responses into readings, in the order of the trace; remembers the orders of tokens that it was sure of."""

    def __init__(self, probe: AxisProbe) -> None:
        self.probe = probe
        self.orders: dict[int, list[TokenOrder]] = {}
        self.measured: dict[tuple[tuple[int, ...], Arrangement], Reading] = {}

    def read(self, key: Key, guess: Reading) -> Reading:
        """The reading of one output; `guess` is what its sizes suggest, kept where the measurement says nothing else."""
        batch = self.probe.batches.get(key)
        if batch is None:
            return guess
        response = self.probe.responses.get(key)
        rest = _shape_by_image(self.probe.traced[key], batch)
        plain = replace(batch, axes=tuple(range(len(rest))))
        if len(rest) < 2 or response is None:
            if batch.images_first:
                return guess
            layout: Layout = "vector" if len(rest) == 1 else "other"
            return Reading(layout, rest, None, rest[-1] if rest else 0, 0, plain)
        shape = self.probe.traced[key]
        reading = self._measured(response, guess, plain) if response.clear else None
        if reading is not None:
            self.measured[shape, batch] = reading
            return reading
        # nothing stands out, as behind an attention that mixes everything: as the last output of that shape
        if (shape, batch) in self.measured:
            return self.measured[shape, batch]
        known = self.orders.get(rest[0], [])
        if len(rest) == 2 and known:
            return self._as_tokens(known[0], plain, (0,), 1, rest)
        if not batch.images_first:
            return Reading("other", rest, None, rest[-1], 0, plain)
        return replace(guess, grid=None, prefix=0) if guess.layout == "tokens" else guess

    def _measured(self, response: NoiseResponse, guess: Reading, plain: Arrangement) -> Reading | None:
        """The reading that the response shows; None where it shows none."""
        maps = self._maps(response, plain)
        return maps if maps is not None else self._tokens(response, guess, plain)

    def _maps(self, response: NoiseResponse, plain: Arrangement) -> Reading | None:
        """Rows along one axis and columns along another; None where they are not."""
        down, right = moving_axes(response)
        if len(response.shape) != 3 or len(down) != 1 or len(right) != 1 or down == right:
            return None
        return self._as_map(response, plain, (down[0], right[0]))

    @staticmethod
    def _as_map(response: NoiseResponse, plain: Arrangement, places: tuple[int, ...]) -> Reading:
        """The reading of a map whose rows and columns lie along two axes."""
        rest, unit = response.shape, response.unit
        axes = (unit, *places) if unit < min(places) else (*places, unit)
        layout: Layout = "nchw" if axes[0] == unit else "nhwc"
        shape = tuple(rest[axis] for axis in axes)
        same = plain.images_first and axes == (0, 1, 2)
        grid = rest[places[0]], rest[places[1]]
        return Reading(layout, shape, grid, rest[unit], 0, None if same else replace(plain, axes=axes))

    def _tokens(self, response: NoiseResponse, guess: Reading, plain: Arrangement) -> Reading | None:
        """All axes but the units' joined to tokens, in the order in which they lie in the image, as far as that can be known."""
        moving = {axis for axes in moving_axes(response) for axis in axes}
        idle = [axis for axis in response.positions if axis not in moving and response.shape[axis] > 1]
        if idle and len(response.positions) > 1:  # heads: a second axis that has nothing to do with places
            return None
        energy, row, col = (values.flatten() for values in (response.energy, response.row, response.col))
        order = self._order(energy, row, col, guess)
        if order is None or (response.positions[:1] != (0,) and misplacement(order, row, col) >= HALF):
            return None  # tokens that lie behind their units are believed only where every one fits
        sides = [response.shape[axis] for axis in response.positions]
        if len(sides) == 2 and order == row_by_row((sides[0], sides[1]), 0):  # a map after all, seen through much mixing
            return self._as_map(response, plain, response.positions)
        return self._as_tokens(order, plain, response.positions, response.unit, response.shape)

    def _order(self, energy: Any, row: Any, col: Any, guess: Reading) -> TokenOrder | None:
        """The order of the tokens: one already known or suggested if every token fits, else a new one, else the likest that is known."""
        known = self.orders.get(len(energy), [])
        suggested = [guess.hint] if guess.hint is not None and len(guess.hint.order) == len(energy) else []
        candidates = [*known, *suggested]
        for order in candidates:
            if misplacement(order, row, col) < HALF:
                self._remember(order)
                return order
        likes = [likeness(each, row, col) for each in candidates]
        order = find_order(energy, row, col, _limit(len(row), likes), {each.prefix for each in known} or None)
        if order is not None:
            self._remember(order)
            return order
        best = likes.index(max(likes)) if likes else 0
        return candidates[best] if known or (likes and likes[best] > LIKE) else None

    def _remember(self, order: TokenOrder) -> None:
        """The latest first."""
        known = self.orders.setdefault(len(order.order), [])
        if order in known:
            known.remove(order)
        known.insert(0, order)

    def _as_tokens(
        self, order: TokenOrder, plain: Arrangement, positions: Sequence[int], unit: int, rest: tuple[int, ...]
    ) -> Reading:
        count = prod(rest[axis] for axis in positions)
        axes = (*positions, unit)
        listed = None if order.order == tuple(range(count)) else order.order
        arrangement = replace(plain, axes=axes, merged=len(positions), order=listed)
        if axes == (0, 1) and listed is None and plain.images_first:
            arrangement = None
        shape = (count, rest[unit])
        return Reading("tokens", shape, order.grid, rest[unit], order.prefix, arrangement)


def _shape_by_image(shape: tuple[int, ...], batch: Arrangement) -> tuple[int, ...]:
    parts = [part for part in (batch.outer, batch.inner) if part > 1]
    return (*shape[: batch.batch], *parts, *shape[batch.batch + 1 :])


def _limit(count: int, likes: Sequence[float]) -> float:
    """How near to its place every token must be for a new order to be believed, where others correlate so well with the places."""
    if count < FEW or (likes and max(likes) > LIKE):
        return EXACT
    return NEAR if likes else HALF
