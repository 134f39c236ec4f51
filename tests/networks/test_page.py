"""The page of the mini zoo says what the cards say."""

from pathlib import Path

from microtome import networks
from microtome.images.scenes import CLASSES
from microtome.networks.page import networks_page

PAGE = Path(__file__).parents[2] / "docs" / "networks.md"


def test_the_page_is_the_one_written_from_the_cards() -> None:
    assert PAGE.read_text(encoding="utf-8") == networks_page(), "run: python -m microtome.networks.page > docs/networks.md"


def test_the_page_names_every_network_with_its_accuracy() -> None:
    text = networks_page()
    assert len(networks.NAMES) > 5
    for name in networks.NAMES:
        assert f"| `{name}` | {100 * networks.weights_card(name)['accuracy']:.1f} (" in text


def test_the_labels_on_the_cards_are_those_of_the_scenes() -> None:
    labels = {name: networks.weights_card(name)["labels"] for name in networks.NAMES}
    assert labels == {name: list(CLASSES) for name in networks.NAMES} and len(labels) > 5
