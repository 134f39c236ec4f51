"""Words for several kinds of map."""

import pytest

from microtome.errors import UnknownName
from microtome.instruments.attribution import map_kind
from microtome.instruments.faithfulness.kind_choice import cheap_kinds, named_kinds
from microtome.map_kinds import map_kind_names


def test_cheap_kinds_need_no_package_and_no_pass_for_each_unit() -> None:
    assert {"gradcam", "gaussian", "inputgradient"} <= set(cheap_kinds())
    assert not {"scorecam", "ablationcam"} & set(cheap_kinds())
    assert not any(map_kind(name).package for name in cheap_kinds())


def test_words_and_names_are_joined_without_repeats() -> None:
    assert named_kinds(("scorecam", "cheap", "gradcam")) == ("scorecam", *cheap_kinds())
    assert set(named_kinds(("all",))) <= set(map_kind_names()) and {"scorecam", *cheap_kinds()} <= set(named_kinds(("all",)))
    with pytest.raises(UnknownName, match="gradcam"):
        named_kinds(("gradcm",))
