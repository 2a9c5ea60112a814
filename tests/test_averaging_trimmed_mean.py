"""The streaming trimmed mean against sorting."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightsleeper.averaging import TrimmedMean
from lightsleeper.errors import InputError


def _stream(samples: torch.Tensor, trim: int) -> TrimmedMean:
    weight = torch.zeros_like(samples[0])
    mean = TrimmedMean([weight], trim=trim)
    for sample in samples:
        weight.copy_(sample)
        mean.update()
    return mean


@given(st.integers(1, 3), st.integers(1, 20), st.integers(0, 2**20))
@settings(max_examples=40, deadline=None)
def test_equals_sorting(trim: int, more: int, seed: int) -> None:
    samples = torch.randn(2 * trim + more, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    expected = samples.sort(dim=0).values[trim : len(samples) - trim].mean(dim=0)
    torch.testing.assert_close(_stream(samples, trim).mean()[0], expected)


def test_a_wild_sample_leaves_no_trace() -> None:
    calm = 1.0 + 1e-3 * torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    wild = calm.clone()
    wild[[0, 13]] = torch.tensor([[1e30], [float("inf")]])
    mean = _stream(wild, trim=2).mean()[0]
    assert (mean - calm.mean(dim=0)).abs().max() < 1e-3


def test_bytes_and_refusals() -> None:
    assert _stream(torch.zeros(6, 10), trim=2).nbytes == 5 * 40
    with pytest.raises(InputError, match="needs over 2 samples, there are 2"):
        _stream(torch.zeros(2, 3), trim=1).mean()
    with pytest.raises(InputError, match="trim is 0"):
        TrimmedMean([torch.zeros(1)], trim=0)
    with pytest.raises(InputError, match="no weights"):
        TrimmedMean([])
