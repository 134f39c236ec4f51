"""captum is loaded when asked for, and its random numbers and warnings stay inside."""

import sys
import warnings

import pytest
import torch

from microtome.errors import MissingExtra
from microtome.instruments.attribution.captum_methods import captum_methods, isolated_call


def test_without_captum_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "captum.attr", None)  # what Python does with a module that is not there
    with pytest.raises(
        MissingExtra, match=r"KernelSHAP comes with captum; install it with: pip install 'microtome\[captum\]'\."
    ):
        captum_methods("KernelSHAP")


def test_random_numbers_follow_from_the_seed_and_leave_no_trace():
    before = torch.get_rng_state()
    drawn = []
    for seed in (1, 1, 2):
        with isolated_call(seed):
            drawn.append(torch.rand(3))
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    with pytest.raises(ZeroDivisionError), isolated_call(3):
        drawn.append(torch.rand(1) / (1 // 0))
    assert torch.equal(torch.get_rng_state(), before)


def test_warnings_are_not_shown():
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with isolated_call(0):
            warnings.warn("loud", stacklevel=1)
    assert not seen
