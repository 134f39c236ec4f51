"""The error tree: one root, drawn in the module's docstring; names that are near are found."""

import inspect

from microtome import errors


def test_the_drawn_tree_is_the_real_one() -> None:
    drawn = {line.split("─")[-1].split()[0] for line in (errors.__doc__ or "").splitlines() if "─ " in line}
    real = {name for name, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.MicrotomeError)}
    assert drawn | {"MicrotomeError"} == real


def test_nearest() -> None:
    assert errors.nearest_names("resnet5O", ["resnet50", "vgg19", "resnet18"])[0] == "resnet50"
    assert errors.nearest_names("LAYER4", ["layer4", "layer3"])[0] == "layer4"
    assert errors.nearest_names("zzzz", ["layer4"]) == []


def test_did_you_mean() -> None:
    assert errors.did_you_mean("cm", ["cam", "weights"]) == " Did you mean 'cam'?"
    assert errors.did_you_mean("zzzz", ["cam", "weights"]) == " There are: cam, weights."
    assert errors.did_you_mean("zzzz", [str(n) for n in range(99)]) == ""
