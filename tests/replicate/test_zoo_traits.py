"""The effect is that of the analysis `traits` on the same findings."""

from pathlib import Path

from microtome.finding import Finding
from microtome.replicate import zoo_traits
from microtome.replicate.claim import RunContext
from microtome.replicate.zoo_traits import leading_effect


def test_the_effect_is_that_of_traits(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(zoo_traits, "NETWORKS", ("mini_vgg", "mini_inception"))
    effect = leading_effect(RunContext(tmp_path, tmp_path), "H1", ["objects"], 24, 3)
    (place,) = (tmp_path / "findings").rglob("traits/*/finding.json")
    traits = Finding.load(place.parent)
    place = [str(name)[:3] for name in traits["hypothesis_effect"]["criterion"].values].index("H1:")
    assert effect.value == float(traits["hypothesis_effect"][place])
    assert effect.covers.endswith("all claims of H1 together") and dict(effect.rows)["decided by"]
