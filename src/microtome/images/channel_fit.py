"""Whether images have as many channels as a network takes, and what to do where they have not."""

from microtome.errors import hint
from microtome.prose import plural


def channel_misfit(name: str, kind: str, have: int, channels: int) -> str:
    """Why a network of so many channels cannot be given the images of a set, and what would do; empty where it can.

    `name` and `kind` are those of the set, `have` the channels of its images. One channel and three go together.
    """
    if channels == have or {channels, have} == {1, 3}:
        return ""
    start = f"the network takes {plural(channels, 'channel')} and '{name}' holds images of {have}"
    if have > channels and kind != "tensors":
        some = ",".join(map(str, range(1, channels + 1)))
        return f"{start}; choose those to give it, for example " + hint(
            f"--bands {some}", f"bands=({some}{',' if channels == 1 else ''})"
        )
    files = f"give .npy, .npz or TIFF files of {plural(channels, 'channel')}"
    return f"{start}; {files}, or a network built for {have} (in_chans={have} in timm)"
