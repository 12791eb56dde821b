import numpy as np

from nha.head import soft_labels as soft


def grid(rows: int, columns: int, step: float) -> tuple[np.ndarray, np.ndarray]:
    """A flat grid with its horizontal, vertical and one set of diagonal edges."""
    y, x = np.mgrid[:rows, :columns]
    vertices = np.stack([x.ravel() * step, y.ravel() * step, np.zeros(rows * columns)], 1)
    ids = np.arange(rows * columns).reshape(rows, columns)
    pairs = [(ids[:, :-1], ids[:, 1:]), (ids[:-1], ids[1:]), (ids[:-1, :-1], ids[1:, 1:])]
    return vertices, np.concatenate([np.stack([a.ravel(), b.ravel()], 1) for a, b in pairs])


def slow_distances(vertices: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The published relaxation as plain loops in float64."""
    count = len(vertices)
    distance = np.ones((count, count))
    np.fill_diagonal(distance, 0)
    for a, b in edges:
        distance[a, b] = distance[b, a] = np.linalg.norm(vertices[a] - vertices[b])
    k = int(2 * np.mean((distance < 1).sum(1) - 1))
    for _ in range(5):
        before = distance.copy()
        for i in range(count):
            nearest = np.argsort(before[i], kind="stable")[:k]
            through = before[i, nearest][:, None] + before[nearest]
            distance[i] = np.minimum(before[i], through.min(0))
    return distance


def test_distances_equal_a_loop():
    rng = np.random.default_rng(0)
    vertices, edges = grid(9, 11, 0.01)
    vertices = vertices + 0.002 * rng.normal(size=vertices.shape)  # no ties, so that "k nearest" is unique
    ours = soft.surface_distances(vertices.astype(np.float32), edges)
    np.testing.assert_allclose(ours, slow_distances(vertices, edges), atol=2e-6)


def test_labels_are_averages():
    vertices, edges = grid(9, 11, 0.01)
    hard = np.zeros((99, 2), bool)
    hard[:, 0] = vertices[:, 0] < 0.05
    hard[:, 1] = True
    labels = soft.soft_labels(vertices.astype(np.float32), edges, hard, sigma=0.01)
    np.testing.assert_allclose(labels[:, 1], 1, atol=1e-6)
    assert (labels >= 0).all()
    assert labels[0, 0] > 0.99  # five steps from the border
    assert labels[10, 0] < 0.01
    row = labels[44:55, 0]
    assert (np.diff(row) <= 1e-6).all()


def test_a_narrow_blur_changes_nothing():
    vertices, edges = grid(4, 4, 0.01)
    hard = np.eye(16, dtype=bool)[:, :3]
    np.testing.assert_allclose(
        soft.soft_labels(vertices.astype(np.float32), edges, hard, 1e-3), hard, atol=1e-6
    )
