"""README.md: every fact that a stranger needs."""

import numpy as np

from microtome.export.comparison import compare_answers
from microtome.export.read_me import Facts, budget_text, read_me, removal_title
from microtome.numerics.statistics.intervals import Interval
from microtome.specimen import Recipe


def page(**changes: object) -> str:
    facts = {"title": removal_title("net", ["a.1", "b.2"]), "removed": ["a.1", "b.2"], "repair": "none",
             "parts": {"chosen": 30, "judged": 40, "reported": 50}, "judged_by": "the networks' own heads", "budget": 0.02,
             "outputs": ["cat", "dog"], "output_count": 2, "files": [("load.py", "loads")]}  # fmt: skip
    answers = np.arange(50) < 45
    compared = compare_answers(answers, answers, 0.02, Interval(1.0, 1.0, 1.0), {})
    return read_me(Facts(**(facts | changes)), Recipe(size=(224, 224), crop=0.875, interpolation="bicubic"), compared)


def test_preprocessing_classes_and_sizes() -> None:
    text = page()
    for words in ("short side to 256 px, bicubic", "224 x 224 px", "red, green, blue", "0.485, 0.456, 0.406", "0.229, 0.224, 0.225",
                  "0. cat\n1. dog", "50 images that served for nothing else; 30 others", "40 more to choose", "`a.1`, `b.2`"):  # fmt: skip
        assert words in text


def test_outputs_without_names() -> None:
    assert "7 numbers for each image; their names are not known" in page(outputs=[], output_count=7)
    assert "Maps for each image" in page(outputs=[], output_count=None)


def test_the_budget_in_a_sentence() -> None:
    right = np.arange(100) < 90
    for other, budget, words in (
        (right, 0.2, "within the budget of 20%"),
        (right, 0.001, "both sides"),
        (~right, 0.1, "beyond"),
    ):
        assert words in budget_text(compare_answers(right, other, budget, Interval(1.0, 1.0, 1.0), {}), budget)
