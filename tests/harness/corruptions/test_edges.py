from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from harness.corruptions.edges import canny, distance_to

MOVES = [
    (down, right) for down in range(-2, 3) for right in range(-2, 3) if {abs(down), abs(right)} != {0, 2}
]


def steps(height: int, width: int) -> Iterator[tuple[int, int, float]]:
    """From, to, length: a king's and a knight's moves."""
    lengths = {1: 1.0, 2: 1.4, 5: 2.1969}
    for row in range(height):
        for column in range(width):
            for down, right in MOVES:
                there, length = (row + down, column + right), lengths.get(down**2 + right**2)
                if length and 0 <= there[0] < height and 0 <= there[1] < width:
                    yield row * width + column, there[0] * width + there[1], length


def test_the_distance_is_that_of_the_shortest_way() -> None:
    marked = torch.rand(5, 1, 11, 14, generator=torch.Generator().manual_seed(0)) < 0.02
    marked[:, 0, 3, 4] = True
    sources, targets, lengths = zip(*steps(11, 14), strict=True)
    graph = coo_array((lengths, (sources, targets)), shape=(154, 154)).tocsr()
    for found, marks in zip(distance_to(marked), marked, strict=True):
        starts = marks.flatten().nonzero()[:, 0].numpy()
        expected = dijkstra(graph, indices=starts).min(axis=0)
        assert np.allclose(found.flatten().numpy(), expected, atol=1e-4)


def test_with_nothing_marked_everything_is_far_away() -> None:
    assert (distance_to(torch.zeros(2, 1, 8, 8, dtype=torch.bool)) > 20).all()


def test_the_edge_of_a_square_is_a_thin_closed_line() -> None:
    levels = torch.zeros(1, 1, 20, 20, dtype=torch.int32)
    levels[:, :, 6:14, 6:14] = 200
    edges = canny(levels, 50, 150)[0, 0].numpy()
    outside, num_parts = ndimage.label(~edges)
    assert num_parts == 2
    assert outside[0, 0] != outside[10, 10]
    assert edges.sum() < 40


def test_faint_edges_count_only_beside_strong_ones() -> None:
    levels = torch.zeros(2, 1, 20, 20, dtype=torch.int32)
    levels[:, :, :, 10:] = 25  # a gradient of 100
    levels[1, :, :5, 10:] = 60  # of 240
    edges = canny(levels, 50, 150)
    assert not edges[0].any()
    assert edges[1, 0, 15].any()


def test_flat_images_have_no_edges() -> None:
    assert not canny(torch.full((1, 1, 8, 8), 200, dtype=torch.int32), 50, 150).any()
