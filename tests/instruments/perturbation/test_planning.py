"""Plans by counting: multiply-adds by hand, every job in one group, windows that hold what is reached, and the limit."""

import numpy as np
import pytest
import torch
from torch import nn

from microtome.instruments.perturbation import planning
from microtome.instruments.perturbation.planning import cheapest_plan, living_values, node_operations
from microtome.instruments.perturbation.tape import INPUT
from microtome.instruments.perturbation.windows import reachable_nodes, spans_after
from taped_networks import small, taped


@pytest.fixture(scope="module")
def tape():
    return taped(small(), torch.randn(1, 3, 16, 20))


def spans(count: int, seed: int = 0, sides: tuple[int, int] = (16, 20)):
    drawn = np.random.default_rng(seed)
    found = []
    for side in sides:
        first = drawn.integers(0, side - 1, count)
        found.append(np.stack([first, first + drawn.integers(1, side - first + 1)], 1))
    return tuple(found)


def test_multiply_adds_by_hand(tape) -> None:
    """3 x 3 x 3 weights on 4 x 16 x 20 values, 3 x 3 x 4 on 5 x 4 x 5, and 5 x 3 of the head."""
    counts = [node_operations(node, tape.shapes) for node in tape.nodes]
    assert [count for count in counts if count] == [27 * 4 * 16 * 20, 36 * 5 * 4 * 5, 15]


def test_attention_counts_its_two_products() -> None:
    class Attending(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            tokens = x.flatten(2).transpose(1, 2)
            return (tokens @ tokens.transpose(1, 2) @ tokens).mean(1)

    class Fused(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            tokens = x.flatten(2).transpose(1, 2)[:, None]
            return nn.functional.scaled_dot_product_attention(tokens, tokens, tokens).mean(2)

    for net in (Attending(), Fused()):
        made = taped(net, torch.randn(1, 3, 4, 5))
        assert sum(node_operations(node, made.shapes) for node in made.nodes) == 2 * 20 * 20 * 3


def test_what_lives_at_a_cut_is_what_later_nodes_read(tape) -> None:
    for cut in range(len(tape.nodes) + 1):
        later = {value for node in tape.nodes[cut:] for value in node.reads} | {tape.output}
        earlier = {INPUT} | {value for node in tape.nodes[:cut] for value in node.gives}
        assert set(living_values(tape, cut)) == later & earlier


@pytest.mark.parametrize("count", [1, 7, 150])
def test_every_job_is_in_one_group_whose_windows_hold_what_it_reaches(tape, count: int) -> None:
    stop, asked = reachable_nodes(tape), spans(count)
    for cut in range(1, stop + 1):
        plan = cheapest_plan(tape, stop, asked, cut)
        assert plan.cut == cut
        assert sorted(job for group in plan.groups for job in group.jobs.tolist()) == list(range(count))
        assert max(len(group.jobs) for group in plan.groups) <= planning.MAX_JOBS
        reached = {INPUT: asked}
        for node in tape.nodes[:cut]:
            reached[node.gives[0]] = spans_after(node, reached, tape.shapes[node.gives[0]])
        for group in plan.groups:
            for value, (rows, cols) in reached.items():
                box = group.boxes[value]
                for first, size, span in ((box.rows, box.size[0], rows[group.jobs]), (box.cols, box.size[1], cols[group.jobs])):
                    assert (first <= span[:, 0]).all() and (first + size >= span[:, 1]).all()


def test_parts_of_a_group_keep_jobs_and_windows_together(tape) -> None:
    group = cheapest_plan(tape, reachable_nodes(tape), spans(9), 2).groups[0]
    part = group.part(2, 5)
    assert part.jobs.tolist() == group.jobs[2:5].tolist()
    assert all(part.boxes[value].rows.tolist() == box.rows[2:5].tolist() for value, box in group.boxes.items())


def test_where_everything_changes_nothing_can_be_saved_and_where_little_does_much(tape) -> None:
    stop = reachable_nodes(tape)
    whole = (np.array([[0, 16]] * 5), np.array([[0, 20]] * 5))
    assert cheapest_plan(tape, stop, whole, stop).limit == pytest.approx(1.0)
    pixel = (np.array([[8, 9]]), np.array([[8, 9]]))
    # 3 x 3 positions after the first kernel, and 1 x 2 after the pool and the second: the head stays
    plan = cheapest_plan(tape, stop, pixel, stop)
    full = 27 * 4 * 320 + 36 * 5 * 20 + 15
    conv2 = tape.shapes[next(node for node in reversed(tape.nodes[:stop]) if node.name == "convolution").gives[0]]
    assert conv2[2:] == (4, 5)
    assert full / (27 * 4 * 9 + 36 * 5 * 4 + 15) <= plan.limit <= full / (27 * 4 * 9 + 36 * 5 * 1 + 15)
    assert plan.saved <= plan.limit * 1.0001
