"""The page from a folder of findings, live: 127.0.0.1 only, GET only, nothing outside the folder.

The page asks `/api/state` every few seconds and fetches `/api/bundle` anew when a finding was added, replaced or removed.
"""

import errno
import json
import os
import socket
import webbrowser
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from microtome.errors import BadOption, FindingError, hint
from microtome.finding import ARRAYS, CARD
from microtome.report.html import RUN, find_findings, page_asset, read_run, report_bundle

HOST = "127.0.0.1"
# Names a browser may call this server by. Any other name means that a foreign page pointed its own domain at this machine.
NAMES = ("127.0.0.1", "localhost")
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
PAGE = {"": ("index.html", "text/html"), "page.js": ("page.js", "text/javascript"), "page.css": ("page.css", "text/css")}


def build_application(folder: str | os.PathLike[str]) -> Starlette:
    """The app that shows `folder`.

    Raises:
        FindingError: the folder does not exist.
    """
    root = Path(folder)
    read_run(root)
    routes = [Route(f"/{name}", _file_route(*what)) for name, what in PAGE.items()]
    routes += [
        Route("/api/state", _state_route(root)),
        Route("/api/bundle", _bundle_route(root)),
        Route("/api/finding/{id}/" + ARRAYS, _arrays_route(root)),
    ]
    guards = [Middleware(TrustedHostMiddleware, allowed_hosts=list(NAMES), www_redirect=False), Middleware(GZipMiddleware)]
    return Starlette(routes=routes, middleware=guards)


def serve(folder: str | os.PathLike[str], port: int = 0, open_browser: bool = False) -> None:
    """Show `folder` on 127.0.0.1 until interrupted; prints the address. Port 0 means any free one.

    Raises:
        FindingError: the folder does not exist.
        BadOption: the port is out of range, taken, or not permitted.
    """
    import uvicorn  # here, so that whoever only wants `build_application` does not wait for it

    app = build_application(folder)
    with _listening_socket(folder, port) as listener:
        address = f"http://{HOST}:{listener.getsockname()[1]}/"
        print(f"microtome shows {folder} at {address} (Ctrl+C stops)", flush=True)
        if open_browser:
            webbrowser.open(address)
        uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off")).run(sockets=[listener])


def _listening_socket(folder: str | os.PathLike[str], port: int) -> socket.socket:
    """A socket that already queues connections on 127.0.0.1."""
    other = "Take any free one: " + hint(f"microtome view {folder} --port 0", "port=0")
    if not 0 <= port <= 65535:
        raise BadOption(f"Port {port} does not exist: ports go from 0 to 65535. {other}")
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(64)
    except OSError as error:
        listener.close()
        reason = "is in use by another program" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
        raise BadOption(f"Port {port} {reason}. {other}") from None
    return listener


def _file_route(name: str, media: str) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        return Response(page_asset(name), media_type=media, headers=HEADERS)

    return answer


def _state_route(root: Path) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        return JSONResponse({"state": await run_in_threadpool(folder_state, root)}, headers=HEADERS)

    return answer


def _bundle_route(root: Path) -> Callable[[Request], Any]:
    kept: dict[str, bytes] = {}

    async def answer(request: Request) -> Response:
        now = await run_in_threadpool(folder_state, root)
        if now not in kept:
            try:
                data = await run_in_threadpool(report_bundle, root)
            except FindingError as error:
                return JSONResponse({"error": str(error)}, status_code=404, headers=HEADERS)
            text = json.dumps(data | {"live": True, "state": now}, ensure_ascii=False, allow_nan=False)
            kept.clear()
            kept[now] = text.encode()
        return Response(kept[now], media_type="application/json", headers=HEADERS)

    return answer


def _arrays_route(root: Path) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        # The id is looked up among what exists and never becomes part of a path.
        wanted = request.path_params["id"]
        place = next((finding for finding in find_findings(root) if finding.id == wanted), None)
        path = place.folder / ARRAYS if place else None
        if path is None or not path.is_file() or not path.resolve().is_relative_to(root.resolve()):
            return JSONResponse({"error": f"No finding has the id {wanted[:40]}."}, status_code=404, headers=HEADERS)
        named = path.parent.relative_to(root).as_posix().replace("/", "_").encode("ascii", "replace").decode().replace('"', "_")
        headers = HEADERS | {"Content-Disposition": f'attachment; filename="{named}.safetensors"'}
        return Response(path.read_bytes(), media_type="application/octet-stream", headers=headers)

    return answer


def folder_state(root: Path) -> str:
    """A text that changes whenever a finding or the run below `root` was written, replaced or removed."""
    seen = sha256()
    for place, below, names in os.walk(root):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in (CARD, RUN):
            if name in names:
                path = Path(place) / name
                try:
                    facts = path.stat()
                except FileNotFoundError:
                    continue  # replaced while we looked; the next question sees it
                seen.update(f"{path}\0{facts.st_mtime_ns}\0{facts.st_size}\0{facts.st_ino}\n".encode())
    return seen.hexdigest()[:16]
