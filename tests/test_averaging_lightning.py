"""The Lightning callback in real training loops."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightsleeper.averaging import PSWA
from lightsleeper.errors import InputError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*(num_workers|GPU|TPU|litlogger|`isinstance).*"),
]
lightning = pytest.importorskip("lightning.pytorch", reason="needs Lightning: pip install lightsleeper[lightning]")

from lightsleeper.averaging.lightning import AveragedWeights  # noqa: E402


def _data() -> TensorDataset:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(32, 3, generator=generator)
    return TensorDataset(x, x[:, :1] * x[:, 1:2])


def _loader() -> Any:
    return DataLoader(_data(), batch_size=4)


class _Module(lightning.LightningModule):  # type: ignore[misc,name-defined]
    """Trains with PSWA and keeps the weights that each validation and each step saw."""

    def __init__(self, *, period: int = 5, bad_step: int | None = None, plain: bool = False) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.net = nn.Linear(3, 1)
        self.period, self.bad_step, self.plain = period, bad_step, plain
        self.validated: list[torch.Tensor] = []
        self.trained: list[torch.Tensor] = []
        self.fail_in_validation = False

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        self.trained.append(self.net.weight.detach().clone())
        loss: torch.Tensor = (self.net(batch[0]) - batch[1]).square().mean()
        return loss * float("nan") if self.global_step == self.bad_step else loss

    def validation_step(self, batch: Any, index: int) -> None:
        self.validated.append(self.net.weight.detach().clone())
        if self.fail_in_validation:
            raise RuntimeError("in validation")

    def test_step(self, batch: Any, index: int) -> None:
        self.validated.append(self.net.weight.detach().clone())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        base = torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)
        if self.plain:
            return base
        self.optimizer = PSWA(base, period=self.period, nonfinite="raise" if self.bad_step is None else "skip")
        return self.optimizer


def _trainer(folder: Path, *callbacks: Any, **options: Any) -> Any:
    quiet = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "accelerator": "cpu",
        "limit_val_batches": 1,
        "default_root_dir": folder,
    }
    return lightning.Trainer(callbacks=[AveragedWeights(), *callbacks], **(quiet | options))


def _alone(steps: int) -> tuple[nn.Linear, PSWA]:
    """The same run without Lightning."""
    module = _Module()
    optimizer = module.configure_optimizers()
    assert isinstance(optimizer, PSWA)
    batches = list(_loader())
    for step in range(steps):
        optimizer.zero_grad()
        module.training_step(batches[step % len(batches)], step).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return module.net, optimizer


def test_validates_the_average_trains_on_its_own_and_ends_averaged(tmp_path: Path) -> None:
    module = _Module()
    trainer = _trainer(tmp_path, max_epochs=2, num_sanity_val_steps=0, enable_checkpointing=False)
    trainer.fit(module, _loader(), _loader())
    for epoch, steps in enumerate((8, 16)):
        net, optimizer = _alone(steps)
        own = net.weight.detach().clone()
        with optimizer.averaged():
            assert torch.equal(module.validated[epoch], net.weight)
            assert not torch.equal(net.weight, own)
        if steps == 8:
            assert torch.equal(module.trained[8], own)
        else:
            with optimizer.averaged():
                assert torch.equal(module.net.weight, net.weight)
    trainer.test(module, _loader(), verbose=False)
    assert torch.equal(module.validated[-1], module.net.weight)


def test_checkpoint_is_the_average_and_resumes_to_the_bit(tmp_path: Path) -> None:
    keep = lightning.callbacks.ModelCheckpoint(dirpath=tmp_path, save_top_k=-1, filename="{step}")
    _trainer(tmp_path, keep, max_epochs=1).fit(_Module(), _loader(), _loader())
    file = tmp_path / "step=8.ckpt"
    net, optimizer = _alone(8)
    saved = _Module.load_from_checkpoint(file)
    with optimizer.averaged():
        assert torch.equal(saved.net.weight, net.weight)

    other = _Module()
    later = _trainer(tmp_path, max_epochs=2, num_sanity_val_steps=0, enable_checkpointing=False)
    later.fit(other, _loader(), _loader())
    later.validate(other, _loader(), ckpt_path=file, verbose=False)
    assert torch.equal(other.validated[-1], saved.net.weight)
    assert not torch.equal(other.validated[-2], saved.net.weight)

    resumed = _Module()
    trainer = _trainer(tmp_path, max_epochs=2, enable_checkpointing=False)
    trainer.fit(resumed, _loader(), _loader(), ckpt_path=file)
    assert torch.equal(resumed.trained[0], net.weight)
    net, optimizer = _alone(16)
    with optimizer.averaged():
        assert torch.equal(resumed.net.weight, net.weight)


def test_a_bad_loss_is_skipped_in_automatic_optimization(tmp_path: Path) -> None:
    module = _Module(bad_step=3)
    _trainer(tmp_path, max_epochs=1, enable_checkpointing=False).fit(module, _loader())
    assert module.optimizer.skipped_steps >= 1
    assert bool(torch.isfinite(module.net.weight).all())


def test_weights_are_restored_when_validation_fails(tmp_path: Path) -> None:
    module = _Module()
    module.fail_in_validation = True
    with pytest.raises(RuntimeError, match="in validation"):
        _trainer(tmp_path, max_epochs=1, num_sanity_val_steps=0, enable_checkpointing=False).fit(
            module, _loader(), _loader()
        )
    assert torch.equal(module.net.weight, _alone(8)[0].weight)
    assert not torch.equal(module.validated[0], module.net.weight)


def test_says_what_is_wrong_with_the_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no optimizer of the trainer averages"):
        _trainer(tmp_path, max_steps=1, enable_checkpointing=False).fit(_Module(plain=True), _loader())
    with pytest.warns(UserWarning, match="writes back each 50 steps and the run has 8: it trains as"):
        _trainer(tmp_path, max_epochs=1, enable_checkpointing=False).fit(_Module(period=50), _loader())
