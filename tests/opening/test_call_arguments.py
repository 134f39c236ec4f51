"""Options as text: whatever literals Python writes come back, nothing else is read, and misspelt ones are told the nearest."""

import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from microtome.errors import BadOption, UsageError
from microtome.opening.call_arguments import call_arguments
from microtome.opening.opening import open as open_specimen

LITERALS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=4,
)
WORDS = st.text(string.ascii_lowercase, min_size=1, max_size=8).map(lambda word: f"o_{word}")
NAMES = st.sampled_from(
    ["resnet18", "resnet50.a1_in1k", "vit_base_patch16_224.augreg2_in21k_ft_in1k", "make", "Outer.make", "hf_hub:timm/x.y-z"]
)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
@given(NAMES, st.dictionaries(WORDS, LITERALS, max_size=3))
def test_what_is_written_comes_back(name, options):
    text = f"{name}({', '.join(f'{key}={value!r}' for key, value in options.items())})"
    assert call_arguments(text, text) == (name, options)
    assert call_arguments(name, name) == (name, {})


@pytest.mark.parametrize(
    "text",
    [
        "net(3)", "net(**x)", "net(a=b)", "net(a=print(1))", "net(a=__import__('os').remove('x'))", "net(a=1", "net(a=1))", "net(a=1)(b=2)",
        "net(a=1).b", "net(a=[i for i in range(3)])", "net(a:=1)", "net(a=lambda: 1)", "net)", "(a=1)+1", "net(a=f'{1}')", "",
    ],
)  # fmt: skip
def test_nothing_but_literals_is_read(text):
    with pytest.raises(BadOption):
        call_arguments(text, text)


@pytest.mark.parametrize("source", ["timm:", "torchvision:", ""])
def test_library_networks_take_options_in_brackets(source):
    net = open_specimen(f"{source}resnet18(num_classes=10)", weights=None)
    assert net.outputs == 10
    assert net.labels is None
    assert open_specimen(net.opened_as["what"], weights=None).outputs == 10


def test_options_that_change_the_input_change_the_recipe():
    net = open_specimen("timm:vit_tiny_patch16_224(img_size=64, in_chans=1)", weights=None)
    assert net.recipe.size == (64, 64)
    assert net.recipe.channels == 1
    assert net.layers


@pytest.mark.parametrize(
    ("what", "near"),
    [
        ("timm:resnet18(num_clases=10)", "num_classes"),
        ("torchvision:resnet18(num_clases=10)", "num_classes"),
        ("timm:vit_tiny_patch16_224(img_sze=64)", "img_size"),
        ("microtome:densenet_cifar(dept=40)", "depth"),
    ],
)
def test_misspelt_options_are_told_the_nearest(what, near):
    with pytest.raises(UsageError, match=f"Did you mean '{near}'"):
        open_specimen(what, weights=None)


@pytest.mark.parametrize("option", ["pretrained=True", "weights='DEFAULT'", "checkpoint_path='x.pth'"])
def test_weights_are_no_option(option):
    with pytest.raises(BadOption, match="takes its weights from weights,"):
        open_specimen(f"timm:resnet18({option})")
