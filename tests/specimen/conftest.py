"""Networks opened once for all tests here: untrained, at small sizes where the architecture allows it."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from microtome.opening.opening import open as open_specimen
from microtome.specimen import Specimen

QUICK = {"timm:vgg19": {"mlp_ratio": 0.02}}  # a narrow head: its 124 million weights would take seconds to draw


@cache
def _opened(what: str, size: tuple[int, int] | None) -> Specimen:
    recipe = None if size is None else {"size": size}
    return open_specimen(what, weights=None, recipe=recipe, **QUICK.get(what, {}))


@pytest.fixture(scope="session")
def opened() -> Callable[..., Specimen]:
    """opened("timm:resnet50", (64, 64)): an untrained specimen, built and traced once for the whole session."""

    def of(what: str, size: tuple[int, int] | None = None) -> Any:
        return _opened(what, size)

    return of
