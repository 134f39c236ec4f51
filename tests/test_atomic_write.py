"""Files that are there whole or not at all: killed, full, read-only, linked, open elsewhere; and no other module moves files."""

import ast
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import nn

from microtome import atomic_write as module
from microtome.atomic_write import (
    ASIDE,
    LEFTOVER_AGE_S,
    SCRATCH,
    atomic_folder,
    atomic_write,
    sweep_leftovers,
    write_json,
)
from microtome.errors import WriteError
from microtome.specimen.saving import save_network

SOURCE = Path(module.__file__).parent
POSIX = pytest.mark.skipif(os.name == "nt", reason="POSIX permissions and signals")


def put(path: Path, payload: bytes) -> None:
    with atomic_write(path) as file:
        file.write(payload)


def names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


def test_a_file_is_written_whole_and_its_folder_made(tmp_path: Path) -> None:
    put(tmp_path / "new" / "deep" / "a.txt", b"one")
    put(tmp_path / "new" / "deep" / "a.txt", b"two")
    assert (tmp_path / "new" / "deep" / "a.txt").read_bytes() == b"two"
    assert names(tmp_path / "new" / "deep") == ["a.txt"]


def test_the_old_file_stays_until_the_block_ends(tmp_path: Path) -> None:
    put(tmp_path / "a", b"old")
    with atomic_write(tmp_path / "a") as file:
        file.write(b"new")
        file.flush()
        assert (tmp_path / "a").read_bytes() == b"old"
    assert (tmp_path / "a").read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    def fail_in_a_file() -> None:
        with atomic_write(tmp_path / "a") as file:
            file.write(b"half")
            raise error

    def fail_in_a_folder() -> None:
        with atomic_folder(tmp_path / "folder") as scratch:
            (scratch / "x").write_bytes(b"half")
            raise error

    put(tmp_path / "a", b"old")
    for fail in (fail_in_a_file, fail_in_a_folder):
        with pytest.raises(error):
            fail()
    assert names(tmp_path) == ["a"] and (tmp_path / "a").read_bytes() == b"old"


def test_what_is_moved_into_place_was_flushed_to_the_disk_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[str, object]] = []
    flush, replace, rename = os.fsync, os.replace, os.rename

    def fsync(handle: int) -> None:
        done.append(("flushed", os.fstat(handle).st_ino))
        flush(handle)

    def move(how: Callable[[Path, Path], None]) -> Callable[[Path, Path], None]:
        def moved(source: Path, target: Path) -> None:
            files = [source] if source.is_file() else sorted(source.iterdir())
            done.append(("moved", [one.stat().st_ino for one in files]))
            how(source, target)

        return moved

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", move(replace))
    monkeypatch.setattr(os, "rename", move(rename))
    put(tmp_path / "a", b"x" * 10)
    with atomic_folder(tmp_path / "f") as scratch:
        (scratch / "one").write_bytes(b"1")
        (scratch / "two").write_bytes(b"2")
    first = (tmp_path / "a").stat().st_ino
    both = [(tmp_path / "f" / name).stat().st_ino for name in ("one", "two")]
    assert done == [
        ("flushed", first), ("moved", [first]), ("flushed", both[0]), ("flushed", both[1]), ("moved", both),
    ]  # fmt: skip


@POSIX
def test_permissions_are_those_of_any_new_file_or_of_the_old_one(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        put(tmp_path / "a", b"x")
        with atomic_folder(tmp_path / "f") as scratch:
            (scratch / "b").write_bytes(b"x")
    finally:
        os.umask(before)
    shown = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", "f", "f/b")}
    assert shown == {"a": 0o640, "f": 0o750, "f/b": 0o640}
    (tmp_path / "a").chmod(0o604)
    put(tmp_path / "a", b"y")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o604


@POSIX
def test_a_link_still_points_where_it_pointed(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    put(tmp_path / "there" / "a", b"old")
    (tmp_path / "link").symlink_to(tmp_path / "there" / "a")
    put(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "there" / "a").read_bytes() == b"new"


@POSIX
def test_a_device_is_written_and_not_replaced(tmp_path: Path) -> None:
    code = "from microtome.atomic_write import atomic_write\nwith atomic_write('/dev/stdout') as file: file.write(b'seen')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"seen"
    with (tmp_path / "into").open("wb") as into:
        subprocess.run([sys.executable, "-c", code], stdout=into, check=True)
        assert os.fstat(into.fileno()).st_ino == (tmp_path / "into").stat().st_ino  # written, not replaced
    assert (tmp_path / "into").read_bytes() == b"seen" and Path("/dev/stdout").is_symlink()
    put(Path("/dev/null"), b"gone")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_folders_files_in_the_way_and_read_only_places_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(
        WriteError, match=r"folder cannot be written \(Is a directory\)\. Free some space, or name another place\."
    ):
        put(tmp_path / "folder", b"")
    put(tmp_path / "file", b"")
    with pytest.raises(WriteError, match=r"file/a cannot be written \((Not a directory|File exists)\)\. Say where: --out FILE"):
        with atomic_write(tmp_path / "file" / "a", "Say where: --out FILE"):
            pass
    with pytest.raises(WriteError, match=r"file/f cannot be written \((Not a directory|File exists)\)"):
        with atomic_folder(tmp_path / "file" / "f"):
            pass


@POSIX
def test_a_full_disk_is_one_sentence_and_leaves_the_old_file(tmp_path: Path) -> None:
    """A process that may write no file above 64 kB fails as on a full disk: in the middle of the write, by the system itself."""
    save_network(nn.Linear(2, 2), {}, tmp_path / "net.safetensors")
    put(tmp_path / "bytes", b"old")
    put(tmp_path / "scenes.npz", b"old")
    before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}
    code = f"""
import resource, numpy, torch
from pathlib import Path
from microtome.atomic_write import atomic_write, atomic_folder
from microtome.errors import WriteError
from microtome.specimen.saving import save_network
folder = Path({str(tmp_path)!r})
def write_bytes():
    with atomic_write(folder / "bytes") as file: file.write(bytes(10**6))
def write_scenes():
    with atomic_write(folder / "scenes.npz") as file: numpy.savez(file, one=numpy.zeros(10**5), two=numpy.zeros(10**5))
def write_network():
    save_network(torch.nn.Linear(1000, 1000), {{}}, folder / "net.safetensors")
def write_folder():
    with atomic_folder(folder / "finding") as scratch: (scratch / "arrays").write_bytes(bytes(10**6))
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
for write in (write_bytes, write_scenes, write_network, write_folder):
    try:
        write()
    except WriteError as error:
        print(str(error).replace(str(folder), "DIR"))
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.partition(" cannot be written (")[0] for line in said] == [
        "DIR/bytes", "DIR/scenes.npz", "DIR/net.safetensors", "DIR/finding",
    ]  # fmt: skip
    assert all("File too large" in line and line.endswith("Free some space, or name another place.") for line in said)
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == before


@POSIX
def test_kill_minus_nine_leaves_the_old_file_and_what_it_left_is_removed_later(tmp_path: Path) -> None:
    put(tmp_path / "a", b"old")
    put(tmp_path / "b", b"old")
    code = f"""
import time
from pathlib import Path
from microtome.atomic_write import atomic_folder, atomic_write
folder = Path({str(tmp_path)!r})
with atomic_write(folder / "a") as file, atomic_folder(folder / "f") as scratch:
    file.write(b"half")
    file.flush()
    print("begun", flush=True)
    time.sleep(60)
"""
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None and writer.stdout.readline() == "begun\n"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    assert (tmp_path / "a").read_bytes() == b"old"
    (left,) = tmp_path.glob(f"{SCRATCH}a-*")
    put(tmp_path / "a", b"new")
    assert left.exists(), "another process might still write it"
    old = time.time() - LEFTOVER_AGE_S - 60
    os.utime(left, (old, old))
    put(tmp_path / "b", b"new")
    assert left.exists(), "it is of another file"
    put(tmp_path / "a", b"newer")
    assert not left.exists() and len(list(tmp_path.glob(f"{SCRATCH}f-*"))) == 1
    sweep_leftovers(tmp_path)
    assert names(tmp_path) == ["a", "b"]


def test_a_folder_replaces_an_older_one_whole(tmp_path: Path) -> None:
    for name in ("old", "new"):
        with atomic_folder(tmp_path / "f") as scratch:
            (scratch / name).write_bytes(b"")
    assert names(tmp_path) == ["f"] and names(tmp_path / "f") == ["new"]


def test_a_folder_that_cannot_move_in_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with atomic_folder(tmp_path / "f") as scratch:
        (scratch / "old").write_bytes(b"")
    rename = os.rename

    def refuse(source: Path, target: Path) -> None:
        if Path(source).name.startswith(SCRATCH):
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(WriteError, match="No space left on device"), atomic_folder(tmp_path / "f") as scratch:
        (scratch / "new").write_bytes(b"")
    assert names(tmp_path) == ["f"] and names(tmp_path / "f") == ["old"]


def test_a_folder_killed_between_its_two_moves_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with atomic_folder(tmp_path / "deep" / "f") as scratch:
        (scratch / "old").write_bytes(b"")
    aside = tmp_path / "deep" / f"{ASIDE}1234"  # as `kill -9` leaves it: the old one aside, the new one not moved yet
    aside.mkdir()
    (tmp_path / "deep" / "f").rename(aside / "f")
    (tmp_path / "deep" / f"{SCRATCH}f-1234").mkdir()
    sweep_leftovers(tmp_path)
    assert names(tmp_path / "deep") == ["f"] and names(tmp_path / "deep" / "f") == ["old"]
    (aside / "f").mkdir(parents=True)  # killed after both: the old one is only waiting to be removed
    sweep_leftovers(tmp_path)
    assert names(tmp_path / "deep") == ["f"] and names(tmp_path / "deep" / "f") == ["old"]


def busy_file(monkeypatch: pytest.MonkeyPatch, refusals: int) -> list[float]:
    """Windows, where a file that another program has open cannot be replaced so many times; the delays waited come back."""
    delays: list[float] = []
    replace = os.replace

    def refuse(source: Path, target: Path) -> None:
        if len(delays) < refusals:
            raise PermissionError(13, "Permission denied")
        replace(source, target)

    monkeypatch.setattr(module, "_on_windows", lambda: True)
    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(time, "sleep", delays.append)
    return delays


def test_a_file_open_elsewhere_on_windows_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "a", b"old")
    delays = busy_file(monkeypatch, refusals=3)
    put(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new" and len(delays) == 3 and delays == sorted(delays)


def test_a_file_that_stays_open_elsewhere_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "a", b"old")
    delays = busy_file(monkeypatch, refusals=10**6)
    with pytest.raises(WriteError, match=r"a cannot be written \(Permission denied\)"):
        put(tmp_path / "a", b"new")
    assert 1 < sum(delays) < 5 and names(tmp_path) == ["a"] and (tmp_path / "a").read_bytes() == b"old"


# What moves or creates files by itself; `.replace` with one argument is that of a path, not that of a text.
MOVERS = {"rename", "renames", "NamedTemporaryFile", "mkstemp", "mkdtemp"}
WRITERS = {"write_text", "write_bytes"}
# files of a folder that `atomic_folder` moves, or, of `folders.py`, findings copied from one such folder to another
INSIDE_A_FOLDER = {"finding.py", "export/files.py", "export/folders.py", "export/slim_run.py"}


def file_calls(tree: ast.AST) -> list[str]:
    """The calls that move, create or write files."""
    found: list[str] = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func).rpartition(".")[2]
        modes = [one.value for one in [*node.args[:2], *(key.value for key in node.keywords)] if isinstance(one, ast.Constant)]
        by_path = name == "replace" and len(node.args) == 1 and not node.keywords
        of_os = ast.unparse(node.func) in ("os.replace", "shutil.move", "shutil.copytree", "shutil.copyfile")
        to_write = name in ("open", "fdopen") and any(
            isinstance(mode, str) and mode.rstrip("b+t") in ("w", "x") for mode in modes
        )
        if name in MOVERS | WRITERS or by_path or of_os or to_write:
            found.append(name)
    return found


def test_calls_that_move_or_write_files_are_known() -> None:
    text = "os.replace(a, b)\nos.rename(a, b)\npath.rename(b)\npath.replace(b)\nshutil.move(a, b)\ntempfile.mkstemp()\n"
    text += "path.write_text('')\nopen(path, 'w')\npath.open('wb')\npath.open(mode='x')\n"
    assert len(file_calls(ast.parse(text))) == 10
    assert file_calls(ast.parse("'a'.replace('a', 'b')\nreplace(one, x=1)\nopen(path)\npath.open('rb')\nlog.open('a')\n")) == []


def test_no_other_module_moves_or_writes_files_by_itself() -> None:
    calls = {
        path.relative_to(SOURCE).as_posix(): file_calls(ast.parse(path.read_text(encoding="utf-8")))
        for path in SOURCE.rglob("*.py")
    }
    assert {"rename", "replace"} <= set(calls.pop("atomic_write.py"))
    assert {path for path, found in calls.items() if found} == INSIDE_A_FOLDER
    copied = {"export/folders.py": {"copytree"}}
    assert all(set(calls[path]) <= copied.get(path, WRITERS) for path in INSIDE_A_FOLDER)


def test_plain_values_as_json_and_no_number_that_json_lacks(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"name": "ü", "values": [1, None]})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"name": "ü", "values": [1, None]} and "ü" in text and text.endswith("}\n")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", [float("nan")])
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == text  # what was there stays
