"""Library or not: told by the file that the code comes from, so that no decorator or patch hides the user's own."""

import functools
import json
import os

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from microtome.networks.gates import SqueezeExciteGate
from microtome.specimen.library_code import (
    is_library_class,
    is_library_file,
    is_library_function,
    library_versions,
    replaced_members,
)


def mine(x):
    return x


@pytest.mark.parametrize("function", [F.relu, json.dumps, os.path.join, nn.ReLU.forward, functools.wraps])
def test_functions_of_libraries(function):
    assert is_library_function(function)


def test_functions_of_the_user_even_under_a_library_s_name():
    assert not is_library_function(mine)
    assert not is_library_function(functools.wraps(F.relu)(lambda x: mine(x)))
    assert not is_library_file("/home/someone/project/torch/nets.py")
    assert not is_library_file("<string>")


def test_networks_of_our_own_are_read_like_the_user_s():
    assert not is_library_class(SqueezeExciteGate)
    assert not is_library_function(SqueezeExciteGate.forward)


def test_what_was_put_into_a_class(monkeypatch):
    assert not list(replaced_members(nn.ReLU))
    monkeypatch.setattr(nn.ReLU, "forward", mine)
    assert list(replaced_members(nn.ReLU)) == [("forward", mine)]


def test_versions_hold_those_that_make_numbers():
    found = dict(library_versions())
    assert found["torch"].startswith(torch.__version__.split("+")[0])
    assert {"timm", "torchvision", "Pillow", "python"} <= found.keys()
