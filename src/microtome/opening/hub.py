"""Pretrained weights from the hubs of timm and torchvision: from the local cache if they are there, else one quick attempt."""

import contextlib
import io
import os
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlparse

import torch

from microtome.errors import BadOption, MicrotomeError, NoNetwork, SpecimenError, hint

CONNECT_TIMEOUT_S = 5.0  # seconds until a silent server counts as absent
Result = TypeVar("Result")


def load_from_hub(name: str, make: Callable[[], Result], address: str | None = None) -> Result:
    """What `make` gives, which loads weights from a hub. Raises NoNetwork at once where no server answers.

    First without the network: a weights file in the Hugging Face or torch cache is enough. `address` is the server to look for.
    """
    import huggingface_hub.constants as settings

    try:
        with _offline(settings), _without_progress():
            return make()
    except MicrotomeError as error:
        if not _is_hub_error(error):
            raise
    host = urlparse(address or str(settings.ENDPOINT)).hostname or "huggingface.co"
    if settings.HF_HUB_OFFLINE or not (urllib.request.getproxies() or _is_reachable(host)):
        raise NoNetwork(_offline_advice(name, host))
    try:
        with _without_progress():
            return make()
    except MicrotomeError as error:
        if not _is_hub_error(error):
            raise
        raise NoNetwork(_offline_advice(name, host)) from error


def hub_call(name: str, call: Callable[..., Result]) -> Callable[..., Result]:
    """The same call of a factory whose configuration lies on a hub, with one sentence where no server answers."""

    def through_hub(**options: Any) -> Result:
        def make() -> Result:
            try:
                return call(**options)
            except OSError as error:
                raise SpecimenError(str(error)) from error

        return load_from_hub(name, make)

    return through_hub


def _offline_advice(name: str, host: str) -> str:
    from huggingface_hub.constants import HF_HUB_CACHE

    if ":hf-hub:" in name:
        how = hint("microtome layers FOLDER", "mt.open('FOLDER')")
        return (
            f"{name.removeprefix('timm:')} is not on this machine, configuration and weights, and {host} does not answer; give its folder "
            f"with config.json and the weights ({how}), or copy it into the cache ({HF_HUB_CACHE})."
        )
    return (
        f"The pretrained weights of {name} are not on this machine and {host} does not answer; "
        f"use {hint('--weights none', 'weights=None')} for an untrained network, {hint('--weights FILE', 'weights=FILE')} for a file "
        "you have, "
        f"or copy them into the cache ({HF_HUB_CACHE}, {torch.hub.get_dir()})."
    )


def _is_hub_error(error: MicrotomeError) -> bool:
    """Whether an error of building a network comes from fetching its weights rather than from its options."""
    if isinstance(error, BadOption):
        return False
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError | urllib.error.URLError | ConnectionError | TimeoutError):
            return True
        if type(cause).__module__.split(".")[0] in ("huggingface_hub", "requests", "httpx", "httpcore", "urllib3"):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _is_reachable(host: str) -> bool:
    try:
        with socket.create_connection((host, 443), timeout=CONNECT_TIMEOUT_S):
            return True
    except OSError:
        return False


@contextmanager
def _offline(settings: Any) -> Generator[None]:
    """Inside, the Hugging Face client reads its cache only, and no other socket waits longer than `CONNECT_TIMEOUT_S`."""
    before, waiting = settings.HF_HUB_OFFLINE, socket.getdefaulttimeout()
    settings.HF_HUB_OFFLINE = True
    socket.setdefaulttimeout(CONNECT_TIMEOUT_S)
    try:
        yield
    finally:
        settings.HF_HUB_OFFLINE = before
        socket.setdefaulttimeout(waiting)


@contextmanager
def _without_progress() -> Generator[None]:
    """Inside, progress bars and notices of the hub clients are discarded."""
    before = os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS")
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        if before is None:
            del os.environ["HF_HUB_DISABLE_PROGRESS_BARS"]
        else:
            os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = before
