"""Collations: what they read is in their origin and decides their key; a network alone is refused."""

from collections.abc import Sequence
from typing import Any

import pytest

import microtome as mt
from microtome.analysis import Arrays, Collation, collation_key, option
from microtome.errors import Unmeasurable
from microtome.finding import Finding, array
from microtome.key_numbers import KeyNumber


class Counting(Collation):
    """How many findings there are."""

    twice: bool = option(False, "count each twice")

    def collate(self, findings: Sequence[Finding]) -> Arrays:
        return {"count": array([len(findings) * (1 + self.twice)], ("source",), "1")}

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        return [KeyNumber(name="findings", value=float(finding["count"][0]))]

    def headline(self, finding: Finding) -> str:
        return f"{finding.key('findings').text} findings."

    def panels(self, finding: Finding) -> Sequence[Any]:
        return []

    def caveats(self, finding: Finding) -> Sequence[str]:
        return []


def source(name: str, key: str, digest: str = "") -> Finding:
    origin = {"specimen": {"name": name}, "key": key, "images": {"digest": digest, "name": "set"} if digest else {}}
    return Finding(analysis="an", arrays={}, origin=origin)


def test_the_origin_names_what_was_read_once_each() -> None:
    finding = Counting().of([source("a", "2"), source("a", "1", "d"), source("b", "3")])
    assert finding.headline == "3 findings." and finding.analysis == "test_collation"
    assert finding.origin["specimens"] == ["a", "b"] and finding.origin["findings"] == ["1", "2", "3"]
    assert finding.origin["images"] == {"digest": "d", "name": "set"}


def test_the_key_follows_what_was_read_and_the_options_but_not_the_order() -> None:
    one, other = source("a", "1"), source("b", "2")
    key = collation_key(Counting(), [one, other])
    assert key == collation_key(Counting(), [other, one]) == Counting().of([one, other]).origin["key"]
    assert len({key, collation_key(Counting(), [one]), collation_key(Counting(twice=True), [one, other])}) == 3


def test_a_network_is_refused_with_the_call_that_would_do(net: mt.Specimen) -> None:
    with pytest.raises(Unmeasurable, match=r"it reads findings, not a network: Counting\(\)\.of\(\[finding, …\]\)"):
        Counting()(net)
