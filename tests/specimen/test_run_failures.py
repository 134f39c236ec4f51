"""Advice about networks that do not run: given only where it was tried and works."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import microtome as mt
from microtome.errors import SpecimenError, speak_to_shell


class Body(nn.Module):
    def __init__(self, channels=3, side=None):
        super().__init__()
        self.conv, self.pool = nn.Conv2d(channels, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4 if side is None else 4 * side * side, 5)
        self.side = side

    def forward(self, x):
        x = self.conv(x)
        return self.fc((self.pool(x) if self.side is None else x).flatten(1))


class OneImage(Body):
    def forward(self, x):
        return self.fc(self.pool(self.conv(x)).view(1, -1))


class Masked(Body):
    def forward(self, x, mask):
        return super().forward(x * mask)


class Broken(Body):
    def forward(self, x):
        return super().forward(x) + self.conv.not_there


def said(net, recipe=None):
    with pytest.raises(SpecimenError) as caught:
        mt.open(net.eval(), recipe=recipe or {"size": 48}).layers  # noqa: B018
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_no_matter_of_size_never_blames_the_size():
    for net in (OneImage(), Masked(), Broken()):
        assert "recipe" not in said(net)
    assert "'mask' is an argument of its forward" in said(Masked())
    assert "one image at a time" in said(OneImage())
    assert "the cause lies in its forward" in said(Broken())


class Failing(Body):
    """A forward that fails in one of several ways at every size."""

    def __init__(self, failure):
        super().__init__()
        self.failure, self.late = failure, nn.Linear(7, 2)

    def forward(self, x):
        if self.failure == "dtype":
            return self.fc(self.pool(self.conv(x)).flatten(1).double())
        if self.failure == "device":
            return super().forward(x) + torch.zeros(5, device="meta")
        if self.failure == "late shape":
            return self.late(super().forward(x))
        assert x.shape[1] == 4, "wants four channels"
        return super().forward(x[:, :3])


@settings(max_examples=12, deadline=None)
@given(st.sampled_from(["dtype", "device", "late shape", "assertion"]), st.sampled_from([16, 48, 224]))
def test_a_failure_inside_is_not_blamed_on_size_or_channels(failure, size):
    message = said(Failing(failure), {"size": size})
    assert "recipe=" not in message and "it runs on" not in message
    assert "the cause lies in its forward" in message
    assert {"late shape": "cannot be multiplied", "assertion": "wants four channels"}.get(failure, "Error") in message


@settings(max_examples=15, deadline=None)
@given(st.sampled_from([28, 32, 64, 96, 112, 128]), st.sampled_from([40, 50, 224]))
def test_the_size_advised_is_one_that_works(side, wrong):
    advice = said(Body(side=side), {"size": wrong})
    size = int(re.search(r"recipe=\{'size': (\d+)\}", advice).group(1))
    assert size == side
    assert mt.open(Body(side=side).eval(), recipe={"size": size}).layers


def test_channels():
    assert "recipe={'channels': 1}" in said(Body(channels=1), {"size": 48, "channels": 3})
    assert "it runs on 13 channels; give recipe={'channels': 13}" in said(Body(channels=13), {"size": 48, "channels": 3})
    assert mt.open(Body(channels=13).eval(), recipe={"size": 48}).recipe.channels == 13


def test_hints_are_commands_on_the_command_line():
    speak_to_shell()
    try:
        assert "--recipe size=32" in said(Body(side=32))
    finally:
        speak_to_shell(False)


def test_the_network_is_left_as_it_was():
    net = Broken().eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    said(net)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())
