"""The verb train: what the words mean, lines and JSON, an interrupt that names the command, and one sentence for wrong calls."""

import json
from pathlib import Path

import pytest

from microtome.cli import training as verb
from microtome.training import train as lab
from shell import call

SMALL = ("--epochs", "2", "--set", "data.size=16", "--set", "run.batch=16")
WORDS = ("tiny_trainables:conv_net", "scenes:40,size=16")


def test_a_training_prints_its_epochs_and_leaves_a_report(tmp_path: Path) -> None:
    code, out, err = call("train", *WORDS, "--out", str(tmp_path / "a"), *SMALL)
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert [line.split(":")[0] for line in lines] == ["epoch 1/2", "First report", "epoch 2/2", "Weights", "Report"]
    assert "validation accuracy" in lines[0]
    page = (tmp_path / "a" / "report.html").read_text()
    assert "after 2 of 2 epochs" in page  # the finding of the last epoch
    code, out, _ = call("train", *WORDS, "--out", str(tmp_path / "a"), *SMALL)
    assert (code, [line.split(":")[0] for line in out.splitlines()]) == (0, ["Weights", "Report"])  # finished


def test_a_file_gives_the_recipe_and_words_and_set_replace_its_values(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text(
        '[network]\nname = "mini_vgg"\n[data]\nimages = "scenes:40,size=16"\nsize = 16\n[run]\nepochs = 7\nbatch = 16\n'
    )
    recipe = verb._recipe(
        (str(file),), {"recipe": None, "changes": ("optimiser.lr=0.5",), "epochs": 1, "threads": 2, "count": None}
    )
    assert (recipe.network.name, recipe.optimiser.lr, recipe.run.epochs, recipe.run.threads) == ("mini_vgg", 0.5, 1, 2)
    given = {"recipe": str(file), "changes": (), "epochs": None, "threads": None, "count": None}
    recipe = verb._recipe(WORDS, given)
    assert (recipe.network.name, recipe.data.images, recipe.run.epochs) == (*WORDS, 7)


def test_json_has_a_line_for_each_update_and_epoch_and_an_end(tmp_path: Path) -> None:
    code, out, err = call("train", *WORDS, "--out", str(tmp_path), *SMALL, "--json")
    events = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert [event["event"] for event in events] == ["step", "epoch"] * 2 + ["end"]  # 30 images train, one update of 16
    assert events[-1]["weights"] == str(tmp_path / "weights.safetensors")


def test_quiet_says_results_only(tmp_path: Path) -> None:
    code, out, _ = call("train", *WORDS, "--out", str(tmp_path), *SMALL, "--quiet")
    assert code == 0
    assert not any(line.startswith("First report") for line in out.splitlines())


def test_an_interrupt_names_the_command_that_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(lab, "train", stop)
    monkeypatch.setattr("sys.argv", ["microtome", "train", *WORDS, "--out", "my runs"])
    code, _, err = call("train", *WORDS, "--out", str(tmp_path))
    assert code == 130
    assert err == (
        "microtome: interrupted; it goes on from the last state with the same command: microtome train "
        f"{WORDS[0]} {WORDS[1]} --out 'my runs'\n"
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("timm:resnet18",), "'timm:resnet18' has no images to learn; write microtome train timm:resnet18 IMAGES"),
        (("mini_vggg",), "Did you mean 'mini_vgg'"),
        (("mini_vgg", "--set", "run.epochs=1"), "trained by its own"),
        ((*WORDS, "more"), "is not understood; write microtome train SPECIMEN IMAGES"),
        ((*WORDS, "--set", "run.epoch=1"), "Did you mean 'run.epochs'"),
        ((*WORDS, "--count", "99"), "--count is for shipped networks"),
        (("scenes:40", "mini_vgg"), "networks come first: mini_vgg scenes:40"),
        ((*WORDS, "--recipe", "none.toml"), "cannot be read"),
        (("none.toml",), "cannot be read"),
    ],
)
def test_wrong_calls_end_with_one_sentence(words: tuple[str, ...], sentence: str, tmp_path: Path) -> None:
    code, _, err = call("train", *words, "--out", str(tmp_path / "out"))
    assert code == 2
    assert sentence in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
