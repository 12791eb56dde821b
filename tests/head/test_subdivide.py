import numpy as np

from nha.head.subdivide import subdivide

SQUARE = np.array([[0, 1, 2], [0, 2, 3]])


def slow(faces, split, n_vertices):
    """Subdivision as a loop over triangles."""
    midpoint, edges, children = {}, [], []
    for a, b, c in faces[split]:
        new = []
        for edge in ((a, b), (b, c), (c, a)):
            key = tuple(sorted(edge))
            if key not in midpoint:
                midpoint[key] = n_vertices + len(edges)
                edges.append(edge)
            new.append(midpoint[key])
        ab, bc, ca = new
        children += [(a, ab, ca), (ab, b, bc), (ca, ab, bc), (ca, bc, c)]
    return np.concatenate([faces, np.array(children).reshape(-1, 3)]), np.array(edges).reshape(-1, 2)


def test_a_square_by_hand():
    cut = subdivide(SQUARE, np.array([True, True]), 4)
    assert cut.faces[2:].tolist() == [
        [0, 4, 6],
        [4, 1, 5],
        [6, 4, 5],
        [6, 5, 2],
        [0, 6, 8],
        [6, 2, 7],
        [8, 6, 7],
        [8, 7, 3],
    ]
    assert cut.edges.tolist() == [[0, 1], [1, 2], [2, 0], [2, 3], [3, 0]]


def test_equals_a_loop_over_random_triangles():
    rng = np.random.default_rng(0)
    faces = np.stack([rng.choice(30, 3, replace=False) for _ in range(60)])
    split = rng.random(60) < 0.7
    cut = subdivide(faces, split, 30)
    slow_faces, slow_edges = slow(faces, split, 30)
    assert np.array_equal(cut.faces, slow_faces)
    assert np.array_equal(cut.edges, slow_edges)


def test_nothing_to_split():
    cut = subdivide(SQUARE, np.array([False, False]), 4)
    assert np.array_equal(cut.faces, SQUARE)
    assert cut.extend(np.arange(4.0)).tolist() == [0, 1, 2, 3]


def test_tables_of_new_vertices():
    cut = subdivide(SQUARE, np.array([True, False]), 4)
    assert cut.extend(np.array([0.0, 2, 4, 6]))[4:].tolist() == [1, 3, 2]
    member = np.array([True, True, False, False])
    assert cut.extend_membership(member)[4:].tolist() == [True, False, False]
