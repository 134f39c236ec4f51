"""The verb slim: exit codes, one sentence for wrong calls, JSON."""

import json
from pathlib import Path

import pytest

from shell import call

NETS = Path(__file__).parent.parent / "cancelling_blocks.py"
RECIPE = "size=8,mean=.5/.5/.5,std=1/1/1,crop=1"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    import numpy as np
    from PIL import Image

    generator = np.random.default_rng(0)
    for name, low in (("dark", 0), ("bright", 150)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(60):
            pixels = generator.integers(low, low + 100, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"


def slim(photos: Path, *words: str) -> tuple[int, str, str]:
    network = [f"{NETS}:make", "--recipe", RECIPE, "--repeats", "3"]
    (photos.parent / "names.txt").write_text("dark\nbright\n")
    return call("slim", network[0], "photos", *network[1:], "--outputs", "names.txt", *words, cwd=photos.parent)


def test_nothing_to_remove_is_exit_code_1(photos: Path) -> None:
    code, out, err = slim(photos, "--max-drop", "0.1")
    assert code == 1 and "Nothing was removed" in err and "10% may be lost" in err and "Written" in out
    assert not (photos.parent / "slim" / "load.py").exists() and (photos.parent / "slim" / "report.html").exists()


def test_something_removed_is_exit_code_0(photos: Path) -> None:
    code, out, err = slim(photos, "--max-drop", "70%", "--out", "home", "--json", "--quiet")
    assert (code, err) == (0, "")
    last = json.loads(out.splitlines()[-1])
    assert last["code"] == 0 and len(last["removed"]) == 1 and (photos.parent / "home" / "load.py").is_file()


def test_linear_maps_keep_every_answer(photos: Path) -> None:
    """Each block adds a constant, which a linear map with a constant is; a limit that is never reached changes nothing."""
    code, out, err = slim(
        photos, "--max-drop", "0", "--repair", "linear", "--target-macs", "1%", "--out", "home", "--json", "--quiet"
    )
    assert (code, err) == (0, "") and len(json.loads(out.splitlines()[-1])["removed"]) == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--max-drop", "-1%"), "max_drop is '-1%'; write a fraction"),
        (("--max-drop", "lots"), "max_drop is 'lots'; write a fraction"),
        (("--out", "photos"), "name a new folder: --out photos-slim"),
        (("--labels", "none"), "label"),
        (("--search", "all"), "--search"),
        (("--repair", "glue"), "--repair"),
        (("--target-macs", "lots"), "target_macs is 'lots'; write a fraction"),
    ],
)
def test_wrong_calls_end_with_one_sentence(photos: Path, words: tuple[str, ...], sentence: str) -> None:
    code, _, err = slim(photos, *words)
    assert code in (1, 2) and sentence in err and "Traceback" not in err and len(err.strip().splitlines()) == 1
    assert sorted(path.name for path in photos.parent.iterdir()) == ["names.txt", "photos"]
