"""Generated images by a word, such as scenes:200,size=64,seed=1 or micro_objects:400,turn=90; the options are the generator's own.

A new generator is a function of `count`, `seed`, `size` and options of its own, with defaults, that gives Images; its line in
`GENERATORS` is all that the command line and recipes need.
"""

import importlib
import inspect
from collections.abc import Callable
from typing import Any, cast

from microtome.errors import BadOption, did_you_mean
from microtome.images.collection import Images
from microtome.images.scenes import Controls, Range
from microtome.images.turning import turn_images

GENERATORS = {  # word -> module:function
    "scenes": "microtome.images.words:plain_scenes",
    "cues": "microtome.images.distant_cues:distant_cues",
    "micro_objects": "microtome.images.micro_objects:micro_objects",
    "horizon": "microtome.images.horizon:horizon_images",
}
TURNING = {"turn": "none", "turn_seed": 0}  # what every word takes besides


def plain_scenes(
    count: int = 200, seed: int = 0, size: int = 64, area: Range = Controls.area, clutter: Range = Controls.clutter
) -> Images:
    """Generated scenes; `area` and `clutter` are the ranges of two of their controls, see `Images.scenes`."""
    controls = {name: value for name, value in (("area", area), ("clutter", clutter)) if value != getattr(Controls, name)}
    return Images.scenes(count, seed, size, **controls)


def is_generated(word: str) -> bool:
    """Whether a word names a generator rather than a place of files."""
    return word.partition(":")[0] in GENERATORS


def generate_images(word: str) -> Images:
    """The images that a generator's word stands for: NAME, NAME:COUNT or NAME:COUNT,option=value,…

    Raises:
        BadOption: no such generator or option, or a value that it does not take.
    """
    name, _, rest = word.partition(":")
    if name not in GENERATORS:
        raise BadOption(f"No generator of images is called '{name}'.{did_you_mean(name, GENERATORS)}")
    generator = generator_named(name)
    defaults = {key: parameter.default for key, parameter in inspect.signature(generator).parameters.items()} | TURNING
    given: dict[str, Any] = {}
    for part in filter(None, (each.strip() for each in rest.split(","))):
        key, sign, text = part.partition("=")
        key, text = (key.strip(), text.strip()) if sign else ("count", part)
        value = _value(text, defaults.get(key))
        if value is None:
            near = "" if key in defaults else did_you_mean(key, defaults)
            raise BadOption(f"'{part}' in '{word}' is not understood; write for example {name}:200,size=64,seed=1.{near}")
        given[key] = value
    turning = {key: given.pop(key, default) for key, default in TURNING.items()}
    return turn_images(generator(**given), cast(str, turning["turn"]), cast(int, turning["turn_seed"]))


def generator_named(name: str) -> Callable[..., Images]:
    """The function behind a generator's word."""
    module, _, function = GENERATORS[name].partition(":")
    return getattr(importlib.import_module(module), function)


def _value(text: str, default: Any) -> Any:
    """A text as a value of the default's kind, None where it is none: whole numbers, 1-3 for a pair, true or false, numbers, words."""
    if isinstance(default, bool):
        return {"true": True, "false": False}.get(text.lower())
    if isinstance(default, int):
        return int(text) if text.isascii() and text.isdigit() else None
    if isinstance(default, tuple):
        ends = text.split("-") if "-" in text else [text, text]
        kind = type(cast(Any, default)[0])
        values = [_value(end, kind()) for end in ends]
        return tuple(values) if len(values) == 2 and None not in values else None
    if isinstance(default, float):
        try:
            return float(text)
        except ValueError:
            return None
    return text if isinstance(default, str) and text else None
