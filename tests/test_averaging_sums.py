"""Running sums in one to three bytes a weight."""

from typing import Any

import pytest
import torch

from lightsleeper.averaging import PSWA, WeightDistribution
from lightsleeper.averaging.sums import CompactSums
from lightsleeper.errors import InputError

STORAGES = ("bfloat16", "float16", "int8")


def _trained(kind: str) -> torch.Tensor:
    """A thousand samples of bfloat16 weights that jitter around a value, or drift by 5 % of it."""
    generator = torch.Generator().manual_seed(0)
    centre = torch.randn(200, generator=generator, dtype=torch.float64)
    if kind == "jitter":
        return (centre + 0.1 * torch.randn(1000, 200, generator=generator, dtype=torch.float64)).bfloat16()
    return (centre * (1.0 + 0.05 * torch.linspace(0, 1, 1000, dtype=torch.float64)[:, None])).bfloat16()


def _stream(samples: torch.Tensor, **options: Any) -> WeightDistribution:
    weight = torch.zeros_like(samples[0])
    distribution = WeightDistribution([weight], **options)
    for sample in samples:
        weight.copy_(sample)
        distribution.update()
    return distribution


@pytest.mark.parametrize("kind", ["jitter", "drift"])
@pytest.mark.parametrize("storage", STORAGES)
def test_mean_of_a_thousand_bfloat16_weights_is_right_to_a_thousandth(kind: str, storage: Any) -> None:
    samples = _trained(kind)
    truth = samples.double().mean(0)
    error = (_stream(samples, variance=False, storage=storage).mean()[0].double() - truth).abs()
    if storage == "int8":
        assert error.max() < 2e-3 * truth.abs().max()
    else:
        assert (error / truth.abs()).max() < 1e-3

    plain = torch.zeros_like(samples[0])
    for n, sample in enumerate(samples, start=1):
        plain += (sample - plain) / n
    assert ((plain.double() - truth).abs() / truth.abs()).max() > 1e-2


@pytest.mark.parametrize("storage", STORAGES)
def test_variance_in_small_storage(storage: Any) -> None:
    samples = _trained("jitter")
    variance = _stream(samples, storage=storage).variance()[0].double()
    torch.testing.assert_close(variance, samples.double().var(0), rtol=5e-3, atol=0.0)


@pytest.mark.parametrize("storage", STORAGES)
def test_stochastic_rounding_alone_is_unbiased(storage: Any) -> None:
    """Over many equal weights the rounding errors of a mean cancel; plain rounding's would not."""
    value = 0.3003
    weight = torch.full((20_000,), value)
    weight[0] = 1.0
    sums = CompactSums([weight], storage=storage, error_feedback=False, seed=7)
    sums.write([weight])
    kept = sums.read()[0][1:].double()
    assert len(kept.unique()) == 2
    assert abs(kept.mean() - value) < 4 * float(kept.std()) / len(kept) ** 0.5


@pytest.mark.parametrize("storage", STORAGES)
def test_slow_growth_is_never_held_fast(storage: Any) -> None:
    """Steps far below the last place, across every place of the rest byte and over powers of two."""
    value = torch.linspace(0.9, 1.1, 50)
    sums = CompactSums([value], storage=storage, error_feedback=True, seed=1)
    sums.write([value])
    step = 2e-5
    for _ in range(2000):
        sums.write([sums.read()[0] + step])
    grown = sums.read()[0] - value
    torch.testing.assert_close(grown, torch.full_like(grown, 2000 * step), rtol=0.1, atol=0.0)


def test_values_come_back_within_half_a_hundredth_of_the_last_place() -> None:
    value = torch.cat(
        [torch.randn(500, generator=torch.Generator().manual_seed(2)), torch.tensor([0.0, -2.0, 1.0, 255.9])]
    )
    for storage, place in (("bfloat16", 2.0**-7), ("float16", 2.0**-10)):
        sums = CompactSums([value], storage=storage, error_feedback=True, seed=0)  # type: ignore[arg-type]
        sums.write([value])
        assert ((sums.read()[0] - value).abs() <= value.abs() * place / 252 + 1e-9).all()


def test_state_round_trip_continues_to_the_bit() -> None:
    samples = _trained("jitter")[:40]
    for storage in STORAGES:
        whole = _stream(samples, storage=storage, seed=3)
        weight = samples[0].clone()
        resumed = WeightDistribution([weight], storage=storage, seed=3)  # type: ignore[arg-type]
        resumed.load_state_dict(_stream(samples[:15], storage=storage, seed=3).state_dict())
        for sample in samples[15:]:
            weight.copy_(sample)
            resumed.update()
        assert torch.equal(resumed.mean()[0], whole.mean()[0])
        assert torch.equal(resumed.variance()[0], whole.variance()[0])


def test_bytes_and_infinities_and_names() -> None:
    weights = [torch.ones(100), torch.ones(50)]
    sizes = {("bfloat16", True): 450, ("float16", False): 300, ("int8", True): 308, ("int8", False): 158}
    for (storage, feedback), size in sizes.items():
        distribution = WeightDistribution(weights, variance=False, storage=storage, error_feedback=feedback)  # type: ignore[arg-type]
        assert distribution.nbytes == size
    for storage in STORAGES:
        poisoned = _stream(torch.tensor([[1.0, 2.0], [float("inf"), 2.0], [1.0, 2.0]]), storage=storage)
        assert not torch.isfinite(poisoned.mean()[0]).all()
    with pytest.raises(InputError, match="storage is 'int4'"):
        WeightDistribution(weights, storage="int4")  # type: ignore[arg-type]


def test_pswa_in_small_storage_saves_bytes_and_hardly_moves_the_mean() -> None:
    averages = {}
    for storage, size in (("float32", 400), ("float16", 300), ("int8", 204)):
        weight = torch.nn.Parameter(torch.ones(100))
        base = torch.optim.SGD([weight], lr=0.1)
        optimizer = PSWA(base, period=20, sample_share=1.0, storage=storage)  # type: ignore[arg-type]
        generator = torch.Generator().manual_seed(0)
        for _ in range(20):
            weight.grad = torch.randn(100, generator=generator)
            optimizer.step()
        assert optimizer.nbytes == size
        averages[storage] = weight.detach()
    torch.testing.assert_close(averages["float16"], averages["float32"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(averages["int8"], averages["float32"], rtol=0.0, atol=1e-3)
