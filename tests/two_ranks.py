"""Two processes that train together."""

import gc
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import distributed, multiprocessing

__all__ = ["on_two_ranks"]


def on_two_ranks(train: Callable[..., dict[str, Any]], *more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What `train(rank, *more)`, a function of a module, returns on either rank of a process group."""
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(_on_rank, args=(folder, train, more), nprocs=2)
        first, second = (torch.load(Path(folder) / f"{rank}.pt") for rank in (0, 1))
    return first, second


def _on_rank(rank: int, folder: str, train: Callable[..., dict[str, Any]], more: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    torch.save(train(rank, *more), f"{folder}/{rank}.pt")
    # DistributedDataParallel keeps the group's threads alive, and one that outlives the interpreter aborts the process.
    gc.collect()
    distributed.destroy_process_group()
