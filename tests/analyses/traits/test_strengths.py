"""Lines on a family, by hand: the side of the effect, from either family, and whether more is better."""

from microtome.analyses.traits.claims import Judgement
from microtome.analyses.traits.strengths import FamilyLine, effect_text, family_lines
from microtome.numerics.statistics.intervals import Interval

LIFT = Judgement(
    "H2", "lift on small objects", "deeper", "wider", 1, "points", "objects", Interval(3.0, 1.0, 5.0), 50, better=1
)


def test_a_strength_of_one_family_is_a_weakness_of_the_other() -> None:
    text = "Lift on small objects: {} than in {} networks ({} points, 95% interval)."
    assert family_lines([LIFT], "deeper") == [FamilyLine("H2", "strength", text.format("higher", "wider", "3 [1, 5]"))]
    assert family_lines([LIFT], "wider") == [FamilyLine("H2", "weakness", text.format("lower", "deeper", "-3 [-5, -1]"))]
    assert family_lines([LIFT], "attention") == []


def test_of_a_loss_less_is_better() -> None:
    loss = LIFT._replace(better=-1)
    assert [line.kind for line in family_lines([loss], "deeper")] == ["weakness"]
    assert [line.kind for line in family_lines([loss._replace(better=0)], "deeper")] == ["trait"]


def test_no_significance_is_never_called_equal() -> None:
    (line,) = family_lines([LIFT._replace(interval=Interval(1.0, -1.0, 3.0))], "wider")
    assert line.kind == "undecided" and line.sentence.startswith(
        "Lift on small objects: no significant difference from deeper networks (-1 [-3, 1]"
    )
    (line,) = family_lines([LIFT._replace(reason="too few images")], "wider")
    assert line == FamilyLine("H2", "not measured", "Lift on small objects, against deeper networks: too few images.")


def test_ratios_are_turned_over_for_the_other_family() -> None:
    ratio = LIFT._replace(interval=Interval(2.0, 1.25, 4.0), null=1.0, unit="times the twins'")
    assert effect_text(ratio) == "2.00 [1.25, 4.00] times the twins'"
    (line,) = family_lines([ratio], "wider")
    assert "lower than in deeper networks (0.500 [0.250, 0.800] times" in line.sentence


def test_strengths_come_first() -> None:
    lines = family_lines([LIFT._replace(reason="no masks"), LIFT._replace(better=-1), LIFT], "deeper")
    assert [line.kind for line in lines] == ["strength", "weakness", "not measured"]
