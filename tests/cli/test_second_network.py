"""The second network of a run: which one a name, a number or nothing stands for."""

import pytest

from microtome.cli.second_network import PAIRED, open_second
from microtome.errors import UnknownName, UsageError

NAMES = ["microtome:mini_resnet", "microtome:mini_vgg", "microtome:mini_vgg"]
GIVEN = {"weights": ("pretrained", "none", "pretrained"), "recipe": ("", "size=40", "size=48"), "seed": 0, "outputs": ""}


def opened(to: str, only: tuple[str, ...] = (), names: list[str] = NAMES) -> object:
    given = GIVEN | {name: GIVEN[name][: len(names)] for name in ("weights", "recipe")}
    return open_second(names, only, {PAIRED: {"to": to}} if to else {}, given).get(PAIRED, {}).get("to")


def test_a_network_of_the_run_keeps_its_weights_and_recipe() -> None:
    second = opened("2")
    assert second.trained is False and second.recipe.size == (40, 40)  # type: ignore[attr-defined]
    third = opened("3")
    assert third.trained is True and third.recipe.size == (48, 48)  # type: ignore[attr-defined]
    assert opened("microtome:mini_resnet").name == "microtome:mini_resnet"  # type: ignore[attr-defined]
    assert opened("microtome:mini_vgg", names=NAMES[:1]).recipe.size != (40, 40)  # type: ignore[attr-defined]


def test_asked_for_by_only_the_last_network_is_the_second() -> None:
    assert opened("", (PAIRED,)).recipe.size == (48, 48)  # type: ignore[attr-defined]
    assert opened("") is None and opened("", (PAIRED,), NAMES[:1]) is None


def test_what_names_no_one_network_is_refused() -> None:
    with pytest.raises(UsageError, match=r"names several networks of this run; give its number, 2 or 3\."):
        opened("microtome:mini_vgg")
    with pytest.raises(UsageError, match="no network number 4 among the 3 of this run"):
        opened("4")
    with pytest.raises(UnknownName, match="'mini_vg'. Did you mean 'mini_vgg'"):
        opened("microtome:mini_vg")
