"""The perturbation engine gives what a plain loop over the network gives, wherever it cuts and whatever it cannot cut."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import microtome as mt
from microtome import testing
from microtome.instruments.perturbation import perturber
from microtome.instruments.perturbation.patches import Patch, patch_spans
from microtome.instruments.perturbation.perturber import Perturber
from microtome.instruments.perturbation.planning import cheapest_plan
from microtome.instruments.perturbation.windows import reachable_nodes

NETS = {
    "microtome:mini_vgg": (64, {}, "windows"),
    "microtome:mini_seresnet": (64, {}, "windows"),
    "microtome:mini_hrnet": ((64, 80), {}, "windows"),
    "timm:resnet10t": ((75, 97), {"zero_init_last": False}, "windows"),
    "microtome:mini_densenet": (64, {}, "windows"),
    "torchvision:googlenet": ((65, 90), {"transform_input": True, "aux_logits": False}, "whole"),
    "torchvision:squeezenet1_1": (79, {}, "windows"),
    "timm:tf_mobilenetv3_small_minimal_100": ((63, 66), {}, "windows"),  # pads by itself, on two sides unequally
    "timm:convnext_atto": (64, {}, "windows"),  # the stem's two operations only
    "torchvision:shufflenet_v2_x0_5": (65, {}, "windows"),  # until channels are shuffled
    "timm:vit_tiny_patch16_224": (32, {"img_size": 32, "depth": 2}, "loop"),
}


@pytest.fixture(autouse=True)
def _always(monkeypatch):
    monkeypatch.setattr(perturber, "MIN_PREPARED_COST", 1e-9)
    monkeypatch.setattr(perturber, "PREPARATION_PASSES", -1e9)


def given(specimen, size, images=2, seed=0):
    rows, cols = size if isinstance(size, tuple) else (size, size)
    x = torch.randn(images, 3, rows, cols, generator=torch.Generator().manual_seed(seed))
    return x.contiguous(memory_format=torch.channels_last)


def patches(x, seed=0, count=14):
    """Boxes of many sizes at random places, at every corner, of one pixel and of half the image."""
    drawn = np.random.default_rng(seed)
    images, _, rows, cols = x.shape
    found = []
    corners = [
        (0, 0, 5, 7),
        (rows - 3, 0, 3, 4),
        (0, cols - 6, 9, 6),
        (rows - 8, cols - 8, 8, 8),
        (rows // 2, 0, rows // 2, cols),
    ]
    for place in range(count):
        height, width = (int(one) for one in drawn.integers(1, 20, 2))
        top, left = int(drawn.integers(0, rows - height + 1)), int(drawn.integers(0, cols - width + 1))
        if place < len(corners):
            top, left, height, width = corners[place]
        pixels = torch.from_numpy(drawn.normal(size=(3, height, width))).float()
        found.append(Patch(place % images, top, left, pixels))
    return found


def equal(one, other, close=1e-5):
    for a, b in ((one.scores, other.scores), (one.activity, other.activity)):
        assert (a is None) == (b is None)
        if a is not None:
            assert a.shape == b.shape
            assert float((a - b).abs().max()) <= close * float(b.abs().max())


@pytest.mark.parametrize("name", NETS)
def test_equals_the_plain_loop(name):
    size, options, how = NETS[name]
    given_ = {} if name.startswith("microtome:") else {"weights": None, "recipe": {"size": size}}
    specimen = mt.open(name, **given_, **options).on("cpu")
    if name.startswith("microtome:"):
        specimen = mt.open(specimen.net, recipe={"size": size}).on("cpu")
    x = given(specimen, size)
    at = next(one for one in specimen.find("shallow") if specimen.layer(one).grid)
    before = testing.fingerprint(specimen.net)
    loop, engine = Perturber(specimen, x, at, count=0), Perturber(specimen, x, at, count=100)
    assert loop.why and loop.tape is None
    equal(engine.clean, loop.clean)
    units = torch.tensor([1, 0])
    asked = patches(x)
    found = engine.responses(asked, units)
    equal(found, loop.responses(asked, units))
    assert found.scores.std(dim=0).max() > 0
    assert testing.fingerprint(specimen.net) == before
    if how == "loop":
        assert engine.why and engine.plan is None
        return
    assert engine.why == "" and engine.plan is not None and engine.tape is not None
    assert (reachable_nodes(engine.tape) > 0) == (how == "windows")
    for cut in {1, reachable_nodes(engine.tape) // 2, reachable_nodes(engine.tape)} - {0}:  # wherever it might have cut
        if how == "windows":
            plan = cheapest_plan(engine.tape, cut, patch_spans(asked), cut)
            assert plan.cut == cut and plan.groups
            equal(engine._sweep(engine.tape, plan, asked, units), loop.responses(asked, units))


class Awkward(nn.Module):
    """Everything that could go wrong in one network: a ReLU function, one module twice, in-place sums, odd pools, strides that skip."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 5, stride=2, padding=1, padding_mode="zeros")
        self.norm = nn.BatchNorm2d(6)
        self.act = nn.ReLU(inplace=True)
        self.same = nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=3)
        self.skip = nn.Conv2d(6, 6, 1, stride=3)
        self.wide = nn.Conv2d(6, 6, (1, 5), stride=(3, 3), padding=(0, 2))
        self.last = nn.Conv2d(12, 8, 3, padding=1)
        self.head = nn.Linear(8, 5)
        with torch.no_grad():
            self.norm.running_mean.normal_()
            self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x):
        x = self.act(self.norm(self.stem(F.pad(x, (1, 0, 2, 1), value=0.3))))
        y = F.relu(self.same(x) * 0.7 - 0.1)
        y += x
        y = F.max_pool2d(self.act(self.same(y)), 3, 2, padding=1, ceil_mode=True)
        a, b = F.leaky_relu_(self.skip(y), 0.2), self.wide(y).sigmoid()
        z = torch.cat([a, a * b], 1)
        z = F.avg_pool2d(F.hardswish(z), 2, 1)
        return self.head(self.last(z).clamp(min=0).mean((2, 3)))


def test_every_cut_of_an_awkward_network():
    specimen = mt.open(Awkward(), recipe={"size": (47, 60)}).on("cpu")
    x = given(specimen, (47, 60), images=3)
    loop, engine = Perturber(specimen, x, "last", count=0), Perturber(specimen, x, "last", count=100)
    asked, units = patches(x, seed=2, count=11), torch.tensor([1, 0, 7])
    known = loop.responses(asked, units)
    equal(engine.responses(asked, units), known)
    last = reachable_nodes(engine.tape)
    names = [node.name for node in engine.tape.nodes]
    assert names[last] == "mean"  # all before it can be cut
    assert "native_batch_norm" not in names  # folded
    for cut in range(1, last + 1):
        plan = cheapest_plan(engine.tape, last, patch_spans(asked), cut)
        equal(engine._sweep(engine.tape, plan, asked, units), known)
    again = engine.responses(asked, units)
    assert torch.equal(again.scores, engine.responses(asked, units).scores)


def test_little_that_changes_saves_operations_and_the_limit_is_never_below():
    specimen = mt.open("microtome:mini_vgg").on("cpu")
    x = given(specimen, 64, images=1)
    engine = Perturber(specimen, x, count=100)
    small = [Patch(0, row, col, torch.zeros(3, 4, 4)) for row in range(0, 62, 6) for col in range(0, 62, 6)]
    engine.responses(small)
    assert engine.plan is not None
    assert 2 < engine.plan.saved <= engine.plan.limit * 1.0001
    engine.responses([Patch(0, 0, 0, torch.zeros(3, 64, 64))] * 3)
    assert engine.plan.saved == engine.plan.limit == 1  # nothing can be saved where everything changes


class Moody(nn.Module):
    """What it does depends on what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)

    def forward(self, x):
        y = self.two(self.one(x)).mean((2, 3))
        return y if float(x[0].mean()) > 0 else -y


class Counting(nn.Module):
    """It counts its calls in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x):
        self.calls += 1
        return self.two(self.one(x)).mean((2, 3))


def test_what_cannot_be_trusted_runs_as_it_is():
    specimen = mt.open(Moody(), recipe={"size": 16}).on("cpu")
    x = given(specimen, 16, images=1).abs()
    engine = Perturber(specimen, x, count=100)
    assert engine.why == ""
    dark = [Patch(0, 0, 0, torch.full((3, 16, 16), -1.0))] * 5
    found = engine.responses(dark)
    assert engine.why == "cut so, it gives other scores than the network itself"
    equal(found, Perturber(specimen, x, count=0).responses(dark))
    counting = Perturber(mt.open(Counting(), recipe={"size": 16}).on("cpu"), x, count=100)
    assert counting.why == "it changes its own parameters or buffers"


def test_small_work_is_not_prepared(net, monkeypatch):
    monkeypatch.undo()
    worker = net.on("cpu")
    engine = Perturber(worker, given(worker, 32), count=20)
    assert engine.tape is None and engine.why == "the network is small or the patches are few"


def test_where_too_little_is_left_out_the_network_runs_as_it_is(net, monkeypatch):
    monkeypatch.setattr(perturber, "PREPARATION_PASSES", 5.0)
    worker = net.on("cpu")
    x = given(worker, 32)
    engine = Perturber(worker, x, count=100)
    assert engine.why == ""
    large = [Patch(0, 0, 0, torch.zeros(3, 31, 31))] * 9
    equal(engine.responses(large), Perturber(worker, x, count=0).responses(large))
    assert engine.why == "too little can be left out" and engine.plan is None


def test_one_pass_tells_that_nothing_can_be_left_out(net, monkeypatch):
    monkeypatch.setattr(perturber, "PREPARATION_PASSES", 5.0)
    worker = net.on("cpu")
    assert worker.layers  # traced before
    passed = []
    hook = worker.net.register_forward_pre_hook(lambda _, args: passed.append(len(args[0])))
    engine = Perturber(worker, given(worker, 32, images=1), count=100)
    engine.responses([Patch(0, 0, 0, torch.zeros(3, 31, 31))] * 9)
    hook.remove()
    assert passed[0] == 1 and sum(passed[1:]) == 9  # the image itself, then the plain loop: no second recording


def test_what_comes_after_a_layer_norm_is_never_cut_so_nothing_is_written_down(monkeypatch):
    """The stem before the norm holds under 1 % of the work; behind a batch norm, which is no hindrance, the rest is there to be cut."""
    monkeypatch.setattr(perturber, "PREPARATION_PASSES", 5.0)
    stem, rest = nn.Conv2d(3, 4, 4, 4), [nn.Conv2d(4, 64, 3, padding=1), nn.Conv2d(64, 64, 3, padding=1)]
    end = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 2)]
    for norm, why in ((nn.GroupNorm(1, 4), "too little can be left out"), (nn.BatchNorm2d(4), "")):
        specimen = mt.open(nn.Sequential(stem, norm, *rest, *end), recipe={"size": 32}).on("cpu")
        assert Perturber(specimen, torch.zeros(1, 3, 32, 32), count=49).why == why
    with pytest.raises(AssertionError):  # the layers of its kind that are named are those that windows do not pass
        assert reachable_nodes(
            perturber.Recording(nn.GroupNorm(1, 3), torch.zeros(1, 3, 4, 4), lambda each: nullcontext(), print).draft
        )


def test_pictures_are_shared_out_where_clean_maps_need_much_memory(net, monkeypatch):
    worker = net.on("cpu")
    x = given(worker, 32, images=3)
    asked, units = patches(x, count=9), torch.tensor([0, 3, 5])
    whole = Perturber(worker, x, "blocks.0", count=100).responses(asked, units)
    monkeypatch.setattr(perturber, "MAX_CLEAN_BYTES", 1.0)
    shared = Perturber(worker, x, "blocks.0", count=100)
    equal(shared.responses(asked, units), whole, 1e-6)
    assert [len(one) for one in shared._shares(asked)] == [3, 3, 3]


@pytest.mark.parametrize(
    ("units", "side", "batch"),
    # float32 maps of 64 x 64 px for 32 units are 0.5 MiB: 64 of them in 32 MiB. 100 units at 64 px: 21.0 of them, so 16.
    [(32, 64, 64), (2, 64, 64), (100, 64, 16), (100, 128, 4), (100, 256, 4)],
)
def test_the_plain_loop_takes_as_many_as_keep_the_largest_map_within_32_mib(units, side, batch):
    plain = nn.Sequential(nn.Conv2d(3, units, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(units, 2))
    specimen = mt.open(plain, recipe={"size": 64}).on("cpu")
    taken = []
    x = torch.zeros(1, 3, side, side)
    engine = Perturber(specimen, x, count=0)
    specimen.net.register_forward_pre_hook(lambda _, given: taken.append(len(given[0])))
    engine.responses([Patch(0, 0, 0, torch.zeros(3, 1, 1))] * 67)
    assert taken == [batch] * (67 // batch) + [67 % batch]
