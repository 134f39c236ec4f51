"""The digest of what a network runs: changed by every change of code that can change a number, by nothing else, in every process."""

import copy
import functools
import os
import subprocess
import sys
import textwrap
import types

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import microtome as mt
from microtome.specimen.code_digest import code_digest

# A network whose forward uses everything that code can use; each {MARK} is replaced by one of the texts in VARIANTS.
SOURCE = """
import dataclasses, enum, functools, math
import torch, torch.nn as nn, torch.nn.functional as F
from torch.nn.utils import parametrize
import helpers_{STEM}
from helpers_{STEM} import squash
import helpers_{STEM} as aliased

LIMITS = {LIMITS}
TABLE = {"gain": {GAIN}, "names": {"a", "b", "c", "d"}}
WORDS = frozenset(["one", "two", "three", "four"])
GRID = torch.tensor({GRID})

class Mode(enum.Enum):
    FAST = {MODE}

@dataclasses.dataclass
class Config:
    power: float = {POWER}

def twice(function):
    @functools.wraps(function)
    def wrapped(*args, **keys):
        return {DECORATOR} * function(*args, **keys)
    return wrapped

class Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * {AUTOGRAD}
    @staticmethod
    def backward(ctx, grad):
        return grad * {BACKWARD}

def recursive(x, depth=2):
    return x if depth == 0 else recursive(x + {RECURSIVE}, depth - 1)

def make_closure(shift):
    return lambda x: x + shift

class Symmetric(nn.Module):
    def forward(self, w):
        return w * {PARAMETRIZED}

class Base(nn.Module):
    def pool(self, x):
        return x.{POOL}((2, 3))

class Net(Base):
    slope = {CLASSVALUE}
    def __init__(self, scale={DEFAULT}):
        super().__init__()
        self.a, self.b, self.fc = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 3)
        parametrize.register_parametrization(self.b, "weight", Symmetric())
        self.scale = scale
        self.config = Config()
        self.table = [torch.tensor([{LISTED}])]
        self.closure = make_closure({CLOSURE})
        self.partial = functools.partial(F.leaky_relu, negative_slope={PARTIAL})
        self.register_buffer("hidden", torch.tensor({HIDDEN}), persistent=False)
        self.act = {ACT}
        self.drop = nn.Dropout(0.5)
    @property
    def gate(self):
        return {PROPERTY}
    @twice
    def forward(self, x):
        def inner(y):
            return y * {INNER}
        if "one" in WORDS and math.isfinite(LIMITS[0]):
            x = self.act(self.a(x)).clamp(*LIMITS)
        x = inner(self.partial(self.b(x))) * self.scale ** self.config.power + TABLE["gain"] * self.slope + self.gate + self.hidden
        x = Round.apply(recursive(squash(x))) + aliased.shift(x) + helpers_{STEM}.late(x) + GRID.sum() + self.table[0]
        return self.fc(self.closure(self.pool(x))) + (Mode.FAST.value if self.training is False else 0)

def make():
    torch.manual_seed(0)
    return Net().eval()
"""
HELPERS = """
import torch
def squash(x):
    return torch.tanh(x) * {HELPER}
def shift(x):
    return unseen(x)
def unseen(x):
    return x * {DEEPER}
def late(x):
    import later_{STEM}
    return later_{STEM}.value(x)
def never_named(x):
    return x * {UNUSED}
"""
LATER = """
def value(x):
    return x * {LATER}
"""
FIRST = {
    "LIMITS": "(0.0, 6.0)", "GAIN": "1.0", "GRID": "[1.0, 2.0]", "MODE": "1", "POWER": "2.0", "DECORATOR": "2", "AUTOGRAD": "1.5",
    "BACKWARD": "1.0", "RECURSIVE": "0.1", "PARAMETRIZED": "1.0", "POOL": "mean", "CLASSVALUE": "0.1", "DEFAULT": "2", "LISTED": "0.5",
    "CLOSURE": "0.25", "PARTIAL": "0.1", "HIDDEN": "0.3", "ACT": "nn.ReLU()", "PROPERTY": "0.4", "INNER": "3", "HELPER": "1.0",
    "DEEPER": "0.01", "LATER": "0.02", "UNUSED": "1",
}  # fmt: skip
VARIANTS = {
    "LIMITS": "(0.0, 0.1)", "GAIN": "1", "GRID": "[1.0, 2.5]", "MODE": "2", "POWER": "1.0", "DECORATOR": "3", "AUTOGRAD": "1.6",
    "BACKWARD": "0.5", "RECURSIVE": "0.2", "PARAMETRIZED": "2.0", "POOL": "amax", "CLASSVALUE": "0.2", "DEFAULT": "3", "LISTED": "0.6",
    "CLOSURE": "0.5", "PARTIAL": "0.2", "HIDDEN": "-0.3", "ACT": "nn.Tanh()", "PROPERTY": "0.5", "INNER": "4", "HELPER": "1.1",
    "DEEPER": "0.02", "LATER": "0.03",
}  # fmt: skip
NO_OTHER_ANSWER = {"BACKWARD", "GAIN"}  # other gradients; an integer for a float


def written(folder, stem, **changed):
    """The three files of the network with these changes, and what `open` is told."""
    folder.mkdir(parents=True, exist_ok=True)
    marks = {**FIRST, **changed, "STEM": stem}
    for name, text in ((f"nets_{stem}.py", SOURCE), (f"helpers_{stem}.py", HELPERS), (f"later_{stem}.py", LATER)):
        for mark, value in marks.items():
            text = text.replace("{" + mark + "}", value)
        (folder / name).write_text(text)
    return f"{folder / f'nets_{stem}.py'}:make"


@pytest.fixture
def digest(tmp_path, monkeypatch):
    """The digest, and the answer to one image, of the network with some changes; modules are forgotten in between."""

    def of(number, edit=str, **changed):
        folder = tmp_path / f"v{number}"
        what = written(folder, "k", **changed)
        path = folder / "nets_k.py"
        path.write_text(edit(path.read_text()))
        for name in ("helpers_k", "later_k", "microtome_given_nets_k"):
            sys.modules.pop(name, None)
        with monkeypatch.context() as within:
            within.syspath_prepend(str(folder))
            net = mt.open(what, recipe={"size": 16, "crop": 1})
            code = net.code
            answer = net.run(torch.linspace(-1, 1, 3 * 256).reshape(1, 3, 16, 16))
        return code, answer

    return of


@pytest.mark.parametrize("mark", sorted(VARIANTS))
def test_every_change_of_code_or_constants_changes_it(digest, mark):
    before, answer = digest(0)
    after, other = digest(1, **{mark: VARIANTS[mark]})
    assert before != after
    assert torch.equal(answer, other) == (mark in NO_OTHER_ANSWER)


def test_comments_names_of_files_and_what_nobody_names_do_not_count(digest, tmp_path):
    before, answer = digest(0)
    moved, same = digest(
        1, lambda text: "# a comment\n\n\n" + text.replace("        x = inner", "        # why\n        x = inner")
    )
    assert before == moved
    assert torch.equal(answer, same)
    assert digest(2, UNUSED="2")[0] == before


def test_it_is_the_same_in_every_process(tmp_path):
    what = written(tmp_path, "p")
    program = f"import microtome as mt; print(mt.open({what!r}, recipe={{'size': 16}}).code)"
    found = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
        ).stdout
        for seed in (0, 1, 2)
    }
    assert len(found) == 1


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.act, self.fc = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Linear(4, 2)
        self.scale = 2
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return self.fc(self.act(self.a(x)).mean((2, 3)) * self.scale)


def double(module, inputs, output):
    return output * 2


def triple(module, inputs, output):
    return output * 3


def scaled(factor):
    def forward(self, x):
        return self.fc(self.act(self.a(x)).mean((2, 3)) * factor)

    return forward


CHANGES = {
    "an attribute": lambda net: setattr(net, "scale", 3),
    "a hook": lambda net: net.act.register_forward_hook(double),
    "another hook": lambda net: net.act.register_forward_hook(triple),
    "a hook before": lambda net: net.act.register_forward_pre_hook(lambda module, inputs: (inputs[0] + 1,)),
    "a hook with a closure": lambda net: net.act.register_forward_hook(functools.partial(lambda k, m, i, o: o * k, 2)),
    "another value in it": lambda net: net.act.register_forward_hook(functools.partial(lambda k, m, i, o: o * k, 3)),
    "a forward put on the object": lambda net: setattr(net, "forward", types.MethodType(scaled(2), net)),
    "its closure": lambda net: setattr(net, "forward", types.MethodType(scaled(3), net)),
    "a lambda": lambda net: setattr(net.act, "forward", lambda x: x.clamp(min=0)),
    "another lambda": lambda net: setattr(net.act, "forward", lambda x: x.clamp(min=1)),
    "another class": lambda net: setattr(net, "act", nn.GELU()),
    "a stride": lambda net: setattr(net.a, "stride", (2, 2)),
    "a dropout left in training": lambda net: net.act.train(),
    "an unregistered layer": lambda net: setattr(net, "more", [nn.Linear(2, 2)]),
}


def test_every_change_on_an_object_changes_it_and_all_differ():
    digests = {"as it is": code_digest(Plain().eval())}
    for name, change in CHANGES.items():
        net = Plain().eval()
        change(net)
        digests[name] = code_digest(net)
        again = Plain().eval()
        if "unregistered" not in name:  # its weights are drawn
            change(again)
            assert code_digest(again) == digests[name], name
    assert len(set(digests.values())) == len(digests)


@pytest.mark.parametrize(
    ("owner", "name", "substitute"),
    [
        (Plain, "forward", scaled(5)),
        (nn.ReLU, "forward", lambda self, x: x),
        (nn.Module, "__call__", lambda self, *args: self.forward(*args)),
        (F, "relu", lambda x, inplace=False: x),
        (torch, "relu", lambda x: x),
    ],
)
def test_what_somebody_puts_into_a_class_or_library_counts(monkeypatch, owner, name, substitute):
    before = code_digest(Plain().eval())
    with monkeypatch.context() as within:
        within.setattr(owner, name, substitute)
        assert code_digest(Plain().eval()) != before
    assert code_digest(Plain().eval()) == before


def test_global_hooks_count():
    before = code_digest(Plain().eval())
    handle = nn.modules.module.register_module_forward_hook(double)
    try:
        assert code_digest(Plain().eval()) != before
    finally:
        handle.remove()
    assert code_digest(Plain().eval()) == before


def test_a_specimen_keeps_the_digest_it_was_opened_with():
    net = mt.open(Plain().eval(), recipe={"size": 8})
    code = net.code
    net.run(torch.zeros(1, 3, 8, 8))  # counts its calls
    assert net.net.calls > 0
    assert net.on("cpu").code == net.code == code


def test_weights_are_left_to_the_other_digest():
    net = Plain().eval()
    other = copy.deepcopy(net)
    with torch.no_grad():
        other.a.weight.add_(1)
    assert code_digest(net) == code_digest(other)


def test_factory_arguments_count(tmp_path):
    (tmp_path / "nets.py").write_text(
        textwrap.dedent("""
        import torch, torch.nn as nn
        def make(size=1):
            torch.manual_seed(0)
            return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
        """)
    )
    one, two = (mt.open(f"{tmp_path / 'nets.py'}:make(size={size})", recipe={"size": 8}) for size in (1, 2))
    assert one.digest() == two.digest()
    assert one.code != two.code
