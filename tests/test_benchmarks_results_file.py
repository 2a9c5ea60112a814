"""The file of finished runs: what is written is read, half lines are dropped, strange lines are named."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark_task import a_result
from lightsleeper.benchmarks.results_file import append_results, read_results
from lightsleeper.errors import InputError


@given(rate=st.floats(1e-9, 1e9), scores=st.lists(st.floats(0, 1), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_what_is_written_is_read_to_the_bit(tmp_path_factory, rate: float, scores: list[float], seed: int):
    path = tmp_path_factory.mktemp("results") / "runs.jsonl"
    result = a_result(scores, rate=rate, seed=seed)
    append_results(path, [result])
    assert read_results(path) == {result.key: result}


def test_no_file_holds_nothing(tmp_path: Path):
    assert read_results(tmp_path / "none.jsonl") == {}


def test_a_half_written_last_line_is_ignored_and_cut_off_by_the_next_write(tmp_path: Path):
    path = tmp_path / "runs.jsonl"
    first, second, third = (a_result([0.5], seed=seed) for seed in range(3))
    append_results(path, [first, second])
    path.write_bytes(path.read_bytes()[:-20])
    assert list(read_results(path)) == [first.key]
    append_results(path, [third])
    assert read_results(path) == {first.key: first, third.key: third}


@pytest.mark.parametrize("strange", ["{}", "not json", '{"key": {"task": 1}}', "[]"])
def test_a_strange_line_is_named(tmp_path: Path, strange: str):
    path = tmp_path / "runs.jsonl"
    append_results(path, [a_result([0.5])])
    with path.open("a") as stream:
        stream.write(strange + "\n")
    with pytest.raises(InputError, match="line 2 is no result"):
        read_results(path)
