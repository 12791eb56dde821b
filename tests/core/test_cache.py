import numpy as np
import pytest

from nha.core import cache
from nha.core.cache import cached_array


@pytest.fixture
def calls(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "CACHE_FOLDER", tmp_path / "cache")
    return []


def counting(calls):
    def double(values: np.ndarray, factor: float) -> np.ndarray:
        calls.append(factor)
        return 2 * factor * values

    return double


def test_the_same_inputs_are_computed_once(calls):
    double, values = counting(calls), np.linspace(0, 1, 7, dtype=np.float32)
    first, second = (cached_array(double, 1, values, 3.0) for _ in range(2))
    assert calls == [3.0]
    assert np.array_equal(first, 6 * values)
    assert np.array_equal(first, second)
    assert first.dtype == second.dtype


def test_other_inputs_or_another_version_are_computed_anew(calls):
    double, values = counting(calls), np.arange(4.0)
    cached_array(double, 1, values, 3.0)
    cached_array(double, 2, values, 3.0)
    cached_array(double, 1, values, 4.0)
    cached_array(double, 1, values + 1, 3.0)
    cached_array(double, 1, values.reshape(2, 2), 3.0)
    cached_array(double, 1, values.astype(np.float32), 3.0)
    assert len(calls) == 6


def test_a_broken_file_or_folder_costs_only_time(calls):
    double, values = counting(calls), np.arange(4.0)
    cached_array(double, 1, values, 1.0)
    (kept,) = cache.CACHE_FOLDER.iterdir()
    kept.write_bytes(b"half a fi")
    assert np.array_equal(cached_array(double, 1, values, 1.0), 2 * values)
    kept.unlink()
    cache.CACHE_FOLDER.rmdir()
    cache.CACHE_FOLDER.write_text("not a folder")
    assert np.array_equal(cached_array(double, 1, values, 1.0), 2 * values)
    assert len(calls) == 3
