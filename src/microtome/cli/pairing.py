"""Commands that take two networks: `microtome cross_similarity FIRST SECOND IMAGES`, and `similarity` with `--to SECOND`."""

from collections.abc import Sequence
from typing import Any

import click

from microtome.cli import arguments
from microtome.cli.measuring import measure
from microtome.cli.second_network import PAIRED
from microtome.errors import UsageError

EXAMPLE = f"microtome {PAIRED} timm:resnet18 timm:vgg11 photos/"


def with_second_network(command: click.Command) -> click.Command:
    """The command of an analysis that also takes FIRST SECOND IMAGES, which compares the layers of both."""
    own = command.callback
    assert own is not None
    command.params = [param for param in command.params if not isinstance(param, click.Argument)]
    second = " SECOND" if command.name == PAIRED else " [SECOND]"
    command.params.insert(0, click.Argument(["words"], nargs=-1, required=True, metavar=f"FIRST{second} [IMAGES]"))
    if not any(param.name == "own_to" for param in command.params):
        command.params.append(click.Option(["--to", "own_to"], help=f"Second network to compare with, as by {PAIRED}."))

    def run(words: Sequence[str], wanted: bool, own_to: str | None, **given: Any) -> int:
        first, to, images = _split(str(command.name), words, own_to)
        if to is None:
            return own(specimen=first, images=images, wanted=wanted, **given)
        options = {name.removeprefix("own_"): given.pop(name) for name in list(given) if name.startswith("own_")}
        settings = {name: value for name, value in options.items() if value is not None}
        opened = arguments.specimen_openers([first, to], given)[1]()  # before anything is measured: a misspelt name ends here
        single = {name: tuple(given[name][:1]) for name in ("weights", "recipe")}
        return measure([first], images, [PAIRED], [], {PAIRED: settings | {"to": opened}}, wanted, given | single)

    command.callback = run
    return command


def _split(verb: str, words: Sequence[str], to: str | None) -> tuple[str, str | None, str | None]:
    """First network, second network, images from the words of the command and its --to."""
    if len(words) > 3 or (len(words) == 3 and to):
        raise UsageError(f"{verb} takes two networks and images, and was given {len(words)} words; for example: {EXAMPLE}")
    if len(words) == 3:
        return words[0], words[1], words[2]
    rest = words[1] if len(words) == 2 else None
    if verb == PAIRED and to is None:
        if rest is not None and not arguments.means_images(rest):
            return words[0], rest, None
        raise UsageError(f"{verb} compares two networks and was given one; name a second one, for example: {EXAMPLE}")
    return words[0], to, rest
