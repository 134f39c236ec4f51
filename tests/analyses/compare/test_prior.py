"""Published results: joined by name, never guessed, and refused in one sentence."""

from pathlib import Path

import numpy as np
import pytest

from microtome.analyses.compare.prior import column_unit, prior_digest, read_prior
from microtome.errors import BadOption

TEXT = """model,img_size,top1,top5,param_count,crop
resnet50.a1_in1k,224,80.216,94.8,25.56,bicubic
vgg19.tv_in1k,224,72.37,90.87,"1,143.67",bilinear
deit_small.a,224,79.85,95.04,22.05,x
deit_small.b,224,81.2,95.9,22.05,x
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "results.csv").write_text(TEXT)
    return str(tmp_path / "results.csv")


def test_joined_by_name(file: str) -> None:
    names = [
        "timm:resnet50.a1_in1k",
        "timm:vgg19",
        "torchvision:resnet50",
        "timm:deit_small",
        "timm:vgg19.tv_in1k (weights none)",
    ]
    prior = read_prior(file, names)
    assert prior.source == "results.csv" and list(prior.columns) == ["img_size", "top1", "top5", "param_count"]
    assert prior.columns["top1"].tolist() == pytest.approx([0.80216, 0.7237, np.nan, np.nan, 0.7237], nan_ok=True)
    assert prior.columns["param_count"][1] == 1143.67
    assert prior.ambiguous == ["timm:deit_small"] and prior.lead == "top1"
    assert (column_unit("top1"), column_unit("param_count")) == ("fraction", "1")


def test_no_network_in_it(file: str) -> None:
    prior = read_prior(file, ["microtome:mini_vgg"])
    assert prior.columns == {} and prior.lead == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [("modle,top1\na,1\n", "no column 'model'. Did you mean 'modle'"), ("model,top1\na,x\n", "holds no numbers")],
)
def test_files_that_are_none(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "f.csv").write_text(text)
    with pytest.raises(BadOption, match=words):
        read_prior(str(tmp_path / "f.csv"), ["a"])


def test_a_missing_file_and_bytes_that_are_no_text(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="cannot be read as CSV"):
        read_prior(str(tmp_path / "none.csv"), ["a"])
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(BadOption, match="cannot be read as CSV"):
        read_prior(str(tmp_path / "b.csv"), ["a"])
    assert prior_digest(str(tmp_path / "none.csv")) == "" and len(prior_digest(str(tmp_path / "b.csv"))) == 16
