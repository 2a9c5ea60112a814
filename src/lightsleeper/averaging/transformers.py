"""A Hugging Face callback: evaluation and checkpoints use the averaged weights.

Needs ``pip install lightsleeper[transformers]``; nothing else of lightsleeper imports it.
"""

from typing import Any

from torch.optim import Optimizer

try:
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
except ImportError as error:
    raise ImportError("this module needs transformers: pip install lightsleeper[transformers]") from error

from lightsleeper.averaging.averaged_view import (
    AveragedView,
    averaging_optimizers,
    leave_averaged,
    warn_of_a_short_run,
)

__all__ = ["AveragedWeights"]


class AveragedWeights(TrainerCallback):
    """Show the average of the trainer's optimizer (PSWA and its kin) to all that judges or keeps the model.

    Give it as the last of ``Trainer(optimizers=(PSWA(...), None), callbacks=[..., AveragedWeights()])``.

    - Evaluations and checkpoints that fall due at a step see the averaged weights; training then goes on from its own.
      So the saved model is the evaluated one, also for ``load_best_model_at_end``.
    - ``optimizer.pt`` in a checkpoint holds the run's own weights, from which ``resume_from_checkpoint`` goes on.
    - After training the model keeps the average, or the best checkpoint where the trainer loaded that.

    The trainer steps without a closure, so a NaN loss cannot be caught before the step here. A period longer than the
    run brings a warning as training begins.

    Raises:
        InputError: as training begins, where the trainer's optimizer does not average.
    """

    def __init__(self) -> None:
        self._view = AveragedView()
        self._save_may_follow = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Look for the optimizer and at the length of the run."""
        self._view.close()
        warn_of_a_short_run(_of(kwargs), state.max_steps)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Show the average, where the trainer will evaluate or save next."""
        if control.should_evaluate or control.should_save:
            self._view.open(_of(kwargs))

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Show the average, where the trainer will evaluate or save next."""
        self.on_step_end(args, state, control, **kwargs)

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Give the run its own weights again, but where a save follows, or may after a look at the metrics."""
        self._save_may_follow = args.save_strategy == "best"
        if not (control.should_save or self._save_may_follow):
            self._view.close()

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Give the run its own weights again where no save followed; the trainer logs before it loads the best."""
        if self._save_may_follow:
            self._view.close()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Give the run its own weights again where no save followed."""
        self._view.close()

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Give the run its own weights again."""
        self._view.close()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Leave the average in the model, but where the trainer has loaded the best one."""
        self._view.close()
        if not (args.load_best_model_at_end and state.best_model_checkpoint):
            leave_averaged(_of(kwargs))


def _of(kwargs: dict[str, Any]) -> list[Any]:
    optimizer: Optimizer = kwargs["optimizer"]
    return averaging_optimizers([optimizer])
