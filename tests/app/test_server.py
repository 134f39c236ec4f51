"""The server shows the folder as it is now, answers GET only, to its own names only, and never leaves the folder."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from microtome.app.server import build_application, folder_state, serve
from microtome.errors import BadOption, FindingError, MicrotomeError
from microtome.finding import Finding, array
from microtome.report.html import page_asset, report_bundle


def client(folder: Path, host: str = "127.0.0.1:8123") -> TestClient:
    return TestClient(build_application(folder), base_url=f"http://{host}")


def test_the_page_and_its_parts(results: Path) -> None:
    with client(results) as web:
        for path, name in (("/", "index.html"), ("/page.js", "page.js"), ("/page.css", "page.css")):
            answer = web.get(path)
            assert (answer.status_code, answer.text) == (200, page_asset(name))
            assert "default-src 'self'" in answer.headers["content-security-policy"]


def test_the_bundle_is_the_reports_bundle(results: Path) -> None:
    with client(results) as web:
        said = web.get("/api/bundle").json()
    assert said.pop("live") is True
    assert said.pop("state") == folder_state(results)
    assert said == json.loads(json.dumps(report_bundle(results)))


def test_the_folder_is_read_again_when_it_changes(results: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(results, folder)
    with client(folder) as web:
        before = web.get("/api/state").json()["state"]
        assert web.get("/api/state").json()["state"] == before
        assert len(web.get("/api/bundle").json()["findings"]) == 19
        Finding(analysis="cost", arrays={"a": array([1], ("layer",), "1")}, origin={"specimen": {"name": "new"}}).save(
            folder / "new" / "cost"
        )
        after = web.get("/api/state").json()["state"]
        assert after != before
        assert len(web.get("/api/bundle").json()["findings"]) == 20
        shutil.rmtree(folder / "new")
        assert (
            web.get("/api/state").json()["state"] not in (before, after) or len(web.get("/api/bundle").json()["findings"]) == 19
        )


def test_arrays_can_be_taken_away(results: Path) -> None:
    with client(results) as web:
        one = web.get("/api/bundle").json()["findings"][0]
        answer = web.get(f"/api/finding/{one['id']}/arrays.safetensors")
        assert answer.content == (results / one["folder"] / "arrays.safetensors").read_bytes()
        assert answer.headers["content-disposition"].startswith("attachment; filename=")


@pytest.mark.parametrize(
    "path",
    [
        "/api/finding/000000000000/arrays.safetensors",
        "/api/finding/../../../../etc/passwd",
        "/api/finding/%2e%2e/arrays.safetensors",
        "/api/finding/..%2f..%2frun.json/arrays.safetensors",
        "/../server.py",
        "/run.json",
        "/page.js/../server.py",
        "/static/page.js",
        "//etc/passwd",
    ],
)
def test_nothing_else_is_served(results: Path, path: str) -> None:
    with client(results) as web:
        answer = web.get(path)
        assert answer.status_code in (400, 404)
        assert "root:" not in answer.text
        assert "specimens" not in answer.text


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    Finding(analysis="cost", arrays={"a": array([1], ("layer",), "1")}).save(tmp_path / "results" / "cost")
    arrays = tmp_path / "results" / "cost" / "arrays.safetensors"
    with client(tmp_path / "results") as web:
        path = f"/api/finding/{web.get('/api/bundle').json()['findings'][0]['id']}/arrays.safetensors"
        assert web.get(path).status_code == 200
        arrays.unlink()
        arrays.symlink_to(secret)
        assert web.get(path).status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", ["/", "/api/state", "/api/bundle", "/api/finding/0/arrays.safetensors"])
def test_only_get(results: Path, method: str, path: str) -> None:
    with client(results) as web:
        assert web.request(method, path).status_code == 405


@pytest.mark.parametrize(
    ("host", "status"), [("127.0.0.1:1", 200), ("localhost:80", 200), ("evil.example", 400), ("127.0.0.1.evil.example:1", 400)]
)
def test_only_its_own_names(results: Path, host: str, status: int) -> None:
    with client(results, host) as web:
        assert web.get("/api/state").status_code == status


def test_an_empty_folder_says_what_to_do_and_a_missing_one_is_refused(tmp_path: Path) -> None:
    with client(tmp_path) as web:
        answer = web.get("/api/bundle")
        assert answer.status_code == 404
        assert "Measure something first" in answer.json()["error"]
    with pytest.raises(FindingError, match="is not a folder"):
        build_application(tmp_path / "nowhere")


def test_a_port_in_use_is_one_clear_sentence(results: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(MicrotomeError, match=rf"Port {port} is in use.*port=0") as caught:
            serve(results, port)
        assert "\n" not in str(caught.value)


def test_a_port_out_of_range_is_refused(results: Path) -> None:
    with pytest.raises(BadOption, match="70000"):
        serve(results, 70000)


def test_it_prints_its_address_and_listens_on_this_machine_only(results: Path) -> None:
    code = "import sys; from microtome.app.server import serve; serve(sys.argv[1])"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(results)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stdout
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
        assert found, line
        deadline = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(found.group(0) + "api/state", timeout=5) as answer:
                    assert "state" in json.load(answer)
                    break
            except OSError:
                assert time.monotonic() < deadline
        tables = Path("/proc/net/tcp")
        if tables.exists():
            places = {row.split()[1] for row in tables.read_text().splitlines()[1:] if row.split()[3] == "0A"}
            assert {place.split(":")[0] for place in places if int(place.split(":")[1], 16) == int(found.group(1))} == {
                "0100007F"
            }
    finally:
        process.terminate()
        process.wait(timeout=20)
        if process.stdout:
            process.stdout.close()
