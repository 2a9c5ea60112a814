"""A Lightning callback: validation, checkpoints and what is left after training are the averaged weights.

Needs ``pip install lightsleeper[lightning]``; nothing else of lightsleeper imports it.
"""

from typing import Any

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.trainer.states import TrainerFn
except ImportError as error:
    raise ImportError("this module needs Lightning: pip install lightsleeper[lightning]") from error

from lightsleeper.averaging.averaged_view import (
    AveragedView,
    averaging_optimizers,
    leave_averaged,
    warn_of_a_short_run,
)

__all__ = ["AveragedWeights"]


class AveragedWeights(Callback):
    """Show the average of the module's optimizers (PSWA and its kin) to all that judges or keeps the model.

    - Validation inside ``fit`` sees the averaged weights; training then goes on from its own.
    - A checkpoint's ``state_dict`` is the average, so ``load_from_checkpoint`` gives the model that was validated. The
      optimizer's part holds the run's own weights, from which ``fit(ckpt_path=...)`` goes on to the same bits.
    - After ``fit`` the module keeps the average.

    With automatic optimization Lightning steps through a closure, so a NaN or infinite loss is caught, as by
    ``step(loss=...)``. Sharded strategies (FSDP, DeepSpeed) are not supported.

    A period longer than the run brings a warning as ``fit`` begins.

    Raises:
        InputError: as ``fit`` begins, where none of the module's optimizers averages.
    """

    def __init__(self) -> None:
        self._view = AveragedView()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look for the optimizers and at the length of the run."""
        warn_of_a_short_run(averaging_optimizers(trainer.optimizers), trainer.estimated_stepping_batches)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the average inside ``fit``; ``validate`` judges the weights that it was given."""
        if trainer.state.fn == TrainerFn.FITTING:
            self._view.open(averaging_optimizers(trainer.optimizers))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the run its own weights again."""
        self._view.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the run its own weights again."""
        self._view.close()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Put the average into the checkpoint, and the run's own weights into its optimizer states."""
        if trainer.state.fn != TrainerFn.FITTING:
            return
        view = AveragedView()
        view.open(averaging_optimizers(trainer.optimizers))
        try:
            state = trainer.strategy.lightning_module_state_dict()
            checkpoint["state_dict"] = {name: value.detach().clone() for name, value in state.items()}
            if "optimizer_states" in checkpoint:
                states = [trainer.strategy.optimizer_state(optimizer) for optimizer in trainer.optimizers]
                checkpoint["optimizer_states"] = states
        finally:
            view.close()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the average in the module."""
        leave_averaged(averaging_optimizers(trainer.optimizers))
