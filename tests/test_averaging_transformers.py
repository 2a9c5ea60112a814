"""The Hugging Face callback in real training loops, on a model made from its configuration."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from lightsleeper.averaging import PSWA
from lightsleeper.errors import InputError

pytestmark = pytest.mark.slow
transformers = pytest.importorskip("transformers", reason="needs transformers: pip install lightsleeper[transformers]")
pytest.importorskip("accelerate", reason="needs accelerate: pip install lightsleeper[transformers]")

from lightsleeper.averaging.transformers import AveragedWeights  # noqa: E402


class _Sentences(Dataset[dict[str, torch.Tensor]]):
    def __len__(self) -> int:
        return 32

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        words = torch.randint(1, 20, (5,), generator=torch.Generator().manual_seed(index))
        return {"input_ids": words, "labels": words[0] % 2}


def _model() -> nn.Module:
    config = transformers.BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, num_labels=2,
        max_position_embeddings=8, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    torch.manual_seed(0)
    model: nn.Module = transformers.BertForSequenceClassification(config)
    return model


class _Watch(transformers.TrainerCallback):  # type: ignore[misc,name-defined]
    """Keeps the classifier's weights as evaluation batches and as training steps see them."""

    def __init__(self) -> None:
        self.evaluated: list[torch.Tensor] = []
        self.begun: list[torch.Tensor] = []

    def on_prediction_step(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self.evaluated.append(model.classifier.weight.detach().clone())

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self.begun.append(model.classifier.weight.detach().clone())


def _trainer(folder: Path, *, period: int = 3, plain: bool = False, **options: Any) -> tuple[Any, _Watch]:
    arguments = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 4,
        "per_device_eval_batch_size": 32,
        "max_steps": 10,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "use_cpu": True,
        "logging_strategy": "no",
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0.0,
    }
    model = _model()
    base = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    watch = _Watch()
    trainer = transformers.Trainer(
        model=model,
        args=transformers.TrainingArguments(**(arguments | options)),
        train_dataset=_Sentences(),
        eval_dataset=_Sentences(),
        optimizers=(base if plain else PSWA(base, period=period), None),
        callbacks=[watch, AveragedWeights()],
    )
    return trainer, watch


def _weight(trainer: Any) -> torch.Tensor:
    weight: torch.Tensor = trainer.model.classifier.weight.detach()
    return weight


@pytest.fixture(scope="module")
def plain_run(tmp_path_factory: pytest.TempPathFactory) -> _Watch:
    """Ten steps without any evaluation: the weights before each step's update."""
    trainer, watch = _trainer(tmp_path_factory.mktemp("plain"))
    trainer.train()
    return watch


def test_evaluates_the_average_and_trains_on_its_own(tmp_path: Path, plain_run: _Watch) -> None:
    trainer, watch = _trainer(tmp_path, eval_strategy="steps", eval_steps=2)
    trainer.train()
    assert len(watch.evaluated) == 5
    for with_evaluation, without in zip(watch.begun, plain_run.begun, strict=True):
        assert torch.equal(with_evaluation, without)
    # period 3, so after step 2 the mean is of steps 2 alone, after step 4 what step 3 wrote back
    assert torch.equal(watch.evaluated[0], plain_run.begun[2])
    assert torch.equal(watch.evaluated[1], plain_run.begun[3])
    assert not torch.equal(watch.evaluated[1], plain_run.begun[4])
    with trainer.optimizer.optimizer.averaged():
        average = _weight(trainer).clone()
    assert torch.equal(_weight(trainer), average)


@pytest.mark.parametrize("strategy", ["steps", "best"])
def test_checkpoint_is_what_was_evaluated_and_resumes_to_the_bit(
    tmp_path: Path, plain_run: _Watch, strategy: str
) -> None:
    options = {
        "eval_strategy": "steps",
        "eval_steps": 4,
        "save_strategy": strategy,
        "save_steps": 4,
        "metric_for_best_model": "loss",
        "load_best_model_at_end": True,
    }
    trainer, watch = _trainer(tmp_path, **options)
    trainer.train()
    for with_evaluation, without in zip(watch.begun, plain_run.begun, strict=True):
        assert torch.equal(with_evaluation, without)
    best = Path(trainer.state.best_model_checkpoint)
    step = int(best.name.removeprefix("checkpoint-"))
    assert torch.equal(_weight(trainer), watch.evaluated[step // 4 - 1])
    saved = transformers.BertForSequenceClassification.from_pretrained(best)
    assert torch.equal(saved.classifier.weight, watch.evaluated[step // 4 - 1])

    resumed, seen = _trainer(tmp_path, **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert len(seen.begun) == 6
    for weight, without in zip(seen.begun, plain_run.begun[4:], strict=True):
        assert torch.equal(weight, without)


def test_says_what_is_wrong_with_the_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no optimizer of the trainer averages"):
        _trainer(tmp_path, plain=True)[0].train()
    with pytest.warns(UserWarning, match="writes back each 50 steps and the run has 10: it trains as"):
        _trainer(tmp_path, period=50)[0].train()
