"""BatchNorm statistics for averaged weights."""

import pytest
import torch
from torch import nn

from lightsleeper.averaging import PSWA, BatchNormRefresh, reestimate_batch_norm
from lightsleeper.errors import InputError


def _batches(count: int = 6, size: int = 16) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [3.0 + 2.0 * torch.randn(size, 4, generator=generator) for _ in range(count)]


def _model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 3), nn.BatchNorm1d(3))


def _expected(model: nn.Sequential, batches: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    hidden = [model[0](batch) for batch in batches]
    return torch.stack([h.mean(0) for h in hidden]).mean(0), torch.stack([h.var(0) for h in hidden]).mean(0)


def test_statistics_are_the_mean_over_batches() -> None:
    model = _model()
    mean, variance = _expected(model, _batches())
    assert reestimate_batch_norm(model, _batches()) == 6
    torch.testing.assert_close(model[1].running_mean, mean)
    torch.testing.assert_close(model[1].running_var, variance)


def test_modes_and_momenta_are_put_back_and_dropout_is_off() -> None:
    model = _model()
    model[2].eval()
    modes = [module.training for module in model.modules()]
    reestimate_batch_norm(model, _batches())
    first = model[4].running_mean.clone()
    reestimate_batch_norm(model, _batches())
    assert torch.equal(first, model[4].running_mean)
    assert [module.training for module in model.modules()] == modes
    assert model[1].momentum == model[4].momentum == 0.1


def test_takes_pairs_a_limit_and_a_forward() -> None:
    model, batches = _model(), _batches()
    pairs = [(batch, "label") for batch in batches]
    assert reestimate_batch_norm(model, pairs, limit=2) == 2
    torch.testing.assert_close(model[1].running_mean, _expected(model, batches[:2])[0])
    rows = [{"x": batch} for batch in batches]
    assert reestimate_batch_norm(model, rows, forward=lambda m, row: m(row["x"])) == 6


def test_an_error_puts_the_statistics_back() -> None:
    model = _model()
    reestimate_batch_norm(model, _batches(2))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(InputError, match="no batch"):
        reestimate_batch_norm(model, [])
    with pytest.raises(RuntimeError):
        reestimate_batch_norm(model, [_batches()[0], torch.zeros(2, 9)])
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert model.training


def test_a_model_without_statistics_draws_no_batch() -> None:
    def explode() -> object:
        raise AssertionError("drawn")
        yield

    assert reestimate_batch_norm(nn.Linear(4, 2), explode()) == 0  # type: ignore[arg-type]


def test_refresh_is_the_mean_of_the_next_batches_then_momentum() -> None:
    model, batches = _model(), _batches()
    model(torch.full((8, 4), 1e6))
    refresh = BatchNormRefresh(model, batches=3)
    refresh()
    stale = model[1].running_mean.clone()
    model.eval()
    model(batches[0])
    assert torch.equal(model[1].running_mean, stale)
    model.train()
    for batch in batches[:3]:
        model(batch)
    mean, _ = _expected(model, batches[:3])
    torch.testing.assert_close(model[1].running_mean, mean)
    assert model[1].momentum == 0.1
    model(batches[3])
    torch.testing.assert_close(model[1].running_mean, 0.9 * mean + 0.1 * model[0](batches[3]).mean(0))


def test_refresh_called_again_under_way_begins_anew_and_keeps_the_momentum() -> None:
    model, batches = _model(), _batches()
    refresh = BatchNormRefresh(model, batches=4)
    refresh()
    model(batches[0])
    refresh()
    for batch in batches[1:5]:
        model(batch)
    torch.testing.assert_close(model[1].running_mean, _expected(model, batches[1:5])[0])
    assert model[1].momentum == 0.1
    assert not model[1]._forward_hooks


def test_refresh_follows_write_backs() -> None:
    model, batches = _model(), _batches(8)
    calls = []
    refresh = BatchNormRefresh(model, batches=1)
    optimizer = PSWA(
        torch.optim.SGD(model.parameters(), lr=0.1), period=4, after_write_back=lambda: (calls.append(1), refresh())
    )
    for batch in batches[:4]:
        optimizer.zero_grad()
        model(batch).square().mean().backward()
        optimizer.step()
    assert calls == [1]
    model(batches[4])
    torch.testing.assert_close(model[1].running_mean, model[0](batches[4]).mean(0))


def test_refresh_refuses_nonsense() -> None:
    with pytest.raises(InputError, match="batches is 0"):
        BatchNormRefresh(_model(), batches=0)
    with pytest.raises(InputError, match="no BatchNorm layer"):
        BatchNormRefresh(nn.Linear(2, 2), batches=3)
