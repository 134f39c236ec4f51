"""Signs that differ and how far features move, against plain loops over pairs of images and sklearn's kappa."""

from itertools import combinations

import numpy as np
import pytest
import torch
from sklearn.metrics import cohen_kappa_score

from microtome.analyses.correspondence.summary import ClassRow, add_class, agreement_arrays, correspondence_arrays


def looks(seed: int, images: int, draws: int = 3, features: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    drawn = torch.Generator().manual_seed(seed)
    clean = torch.randn(images, features, generator=drawn)
    return clean + torch.randint(-1, 2, (1 + draws, images, features), generator=drawn), clean


def numbers(one: torch.Tensor, clean: torch.Tensor) -> tuple[list[float], list[float], list[float]]:
    signs, pairs = (one - clean).round().numpy(), list(combinations(range(len(clean)), 2))
    differ = [float((signs[a] != signs[b]).mean()) for a, b in pairs]
    kappas = [cohen_kappa_score(signs[a], signs[b]) for a, b in pairs]
    return differ, kappas, ((one - clean).norm(dim=1) / clean.norm(dim=1)).tolist()


def test_each_number_is_that_of_a_loop_over_pairs_and_classes() -> None:
    row, classes = ClassRow(), [looks(0, 4), looks(1, 3)]
    for masked, clean in classes:
        add_class(row, masked, clean)
    own = [numbers(masked[0], clean) for masked, clean in classes]
    random = [[numbers(masked[draw], clean) for masked, clean in classes] for draw in (1, 2, 3)]
    found = correspondence_arrays({("a", "object"): row}, {("a", "object"): row}, ["a"], ["object"])

    def flat(parts, which):
        return [number for part in parts for number in part[which]]

    assert found["delta"].item() == pytest.approx(np.mean(flat(own, 0)))
    assert found["delta_sd"].item() == pytest.approx(np.std(flat(own, 0)))
    assert found["kappa"].item() == pytest.approx(np.mean(flat(own, 1)))
    assert found["strength"].item() == pytest.approx(np.mean(flat(own, 2)))
    assert found["random"].item() == pytest.approx(np.mean([flat(one, 0) for one in random]))
    assert found["random_kappa"].item() == pytest.approx(np.mean([flat(one, 1) for one in random]))
    assert found["random_strength"].item() == pytest.approx(np.mean([flat(one, 2) for one in random]))
    assert found["wins"].item() == sum(np.mean(flat(one, 1)) < np.mean(flat(own, 1)) for one in random)
    assert found["twin_delta"].item() == found["delta"].item()


def test_places_elsewhere_as_strong_are_chosen_image_by_image() -> None:
    """Draw 1 moves image 0 and draw 2 moves image 1 exactly as far as the part does; in both the signs are the opposite."""
    clean = torch.ones(2, 4)
    change = torch.tensor([[1.0, 1, 0, 0], [0, 0, 2.0, 2]])
    far = torch.full((2, 4), 9.0)
    masked = torch.stack([clean + change, clean + torch.stack([-change[0], far[1]]), clean + torch.stack([far[0], -change[1]])])
    row = ClassRow()
    add_class(row, masked, clean)
    assert [part.tolist() for part in row.matched] == [[1.0]]  # (-, -, 0, 0) against (0, 0, -, -)
    assert [part[:, 0].tolist() for part in row.random] == [[1.0, 1.0]]


def test_the_table_has_a_row_for_every_part_and_place_and_last_is_the_last_layer() -> None:
    rows = {(layer, part): ClassRow() for layer in ("a", "b") for part in ("upper", "lower")}
    for number, row in enumerate(rows.values()):
        add_class(row, *looks(number, 3))
    found = correspondence_arrays(rows, rows, ["a", "b"], ["upper", "lower"])
    assert found["table"].part_.values.tolist() == [
        f"{part}{suffix}" for part in ("upper", "lower") for suffix in ("", ", elsewhere", ", elsewhere, as strong")
    ]
    cell = found["table"].sel(part_="lower, elsewhere", layer="b").item()
    assert cell == f"{found['random'].sel(part='lower', layer='b'):.3f} ± {found['random_sd'].sel(part='lower', layer='b'):.3f}"
    assert found["kappa_last"].sel(part="upper").item() == found["kappa"].sel(part="upper", layer="b").item()


def test_each_twin_answers_for_its_own_parts_in_turn() -> None:
    """Two classes and two parts: the first twin saw class 0 upper and class 1 upper, the second the lower parts."""
    tables = [{("a", part): ClassRow() for part in ("upper", "lower")} for _ in range(2)]
    for number, row in enumerate([*tables[0].values(), *tables[1].values()]):
        for group in range(2):
            add_class(row, *looks(10 * number + group, 4))
    own, null = tables
    cells = [(group, part) for group in range(2) for part in ("upper", "lower")]
    found = agreement_arrays(own, null, "a", cells, 2, "")
    beyond = [np.mean([np.nanmean(row.kappa[g]) - np.nanmean(row.random_kappa[g]) for g in range(2)]) for row in null.values()]
    ends = [found[f"twin_agreement{end}"].item() for end in ("_low", "", "_high")]
    assert ends == pytest.approx([min(beyond), np.mean(beyond), max(beyond)])
    assert found["agreement_against_twins"].item() == "within the twins' range"
    assert agreement_arrays(own, null, "a", cells, 2, "trained")["agreement_against_twins"].item() == "no verdict"
    assert list(agreement_arrays(own, null, "a", cells, 0, "")) == ["agreement_against_twins"]
