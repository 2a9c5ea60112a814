"""The digital second stage: a small convolutional network that checks, on log-mel energies, what woke the device."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from lightsleeper.averaging import PSWA
from lightsleeper.errors import InputError
from lightsleeper.learning.features import LogMel
from lightsleeper.learning.training import Curve, Task, fit
from lightsleeper.recordings import Scene

__all__ = [
    "Examples",
    "SecondStage",
    "SecondStageSettings",
    "fit_second_stage",
    "pictures_of",
    "score_windows",
    "second_stage_task",
    "stage_windows",
]

KERNEL = 5
PROBE = 128
PROBE_SEED = 1
"""Windows of the fixed sample behind the training curve, and its seed."""
NEPERS_PER_DB = np.log(10.0) / 10.0
"""Of power."""
STANDARD_DEVIATION = 2.0
"""Of log energies about their mean, roughly: brings inputs to order one."""


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """What the second stage learns from.

    Attributes:
        pressure_pa: (n, samples) windows of sound, as `stage_windows` cuts them.
        wake: (n,) True where the window holds the wake sound.
    """

    pressure_pa: NDArray[np.float32]
    wake: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.pressure_pa.ndim != 2 or self.wake.shape != self.pressure_pa.shape[:1]:
            raise InputError(
                f"second stage: windows shaped {self.pressure_pa.shape} and labels shaped {self.wake.shape} do not "
                "match; give (n, samples) and (n,)"
            )
        if not (self.wake.any() and not self.wake.all()):
            raise InputError(
                f"second stage: {int(self.wake.sum())} of {self.wake.size} windows hold the wake sound; "
                "both kinds are needed"
            )


@dataclass(frozen=True, slots=True)
class SecondStageSettings:
    """The network and how it is trained.

    Attributes:
        features: log-mel energies that it sees.
        channels: channels after the first convolution and after each depthwise-separable block.
        steps: optimizer steps.
        batch: windows in a batch; half of them hold the wake sound.
        learning_rate: highest, of AdamW under PSWA.
        weight_decay: of AdamW.
        period: steps in a period of PSWA.
        sgd_rate: learning rate of the plain SGD (momentum 0.9) in the training curve.
        gain_db: half width of the uniform spread of gain.
        shift_s: half width of the uniform spread of the window's place in time.
        mask_bands, mask_frames: widest band and longest stretch that is blanked (D. S. Park et al., SpecAugment,
            Interspeech 2019).
    """

    features: LogMel = field(default_factory=LogMel)
    channels: tuple[int, ...] = (16, 32, 64)
    steps: int = 600
    batch: int = 32
    learning_rate: float = 6e-3
    weight_decay: float = 0.01
    period: int = 50
    sgd_rate: float = 0.03
    gain_db: float = 6.0
    shift_s: float = 0.3
    mask_bands: int = 8
    mask_frames: int = 16

    def __post_init__(self) -> None:
        if not self.channels or min(self.channels) < 1:
            raise InputError(f"second stage: channels are {self.channels}; give at least one number, each 1 or more")
        for name, least in (("steps", 1), ("batch", 2)):
            if getattr(self, name) < least:
                raise InputError(f"second stage: {name} is {getattr(self, name)}; it must be at least {least}")


class SecondStage(nn.Module):
    """Convolution, depthwise-separable blocks (F. Chollet, CVPR 2017), maximum over time, one logit.

    It sees two pictures of a window: log energies over the mean of all of them, and over each band's own mean over
    time. Neither changes with the gain of the microphone.

    Args:
        features: log-mel energies that it is made for.
        samples: length of a window.
        channels: as in `SecondStageSettings`.
        seed: of the initial weights.
    """

    def __init__(
        self, features: LogMel, *, samples: int, channels: Sequence[int] = (16, 32, 64), seed: int = 0
    ) -> None:
        super().__init__()
        self.features = features
        self.samples = samples
        self.channels = tuple(channels)
        layers: list[nn.Module] = [_convolution(2, channels[0], KERNEL), nn.ReLU()]
        for inputs, outputs in pairwise(channels):
            layers += [
                _convolution(inputs, inputs, 3, groups=inputs),
                _convolution(inputs, outputs, 1, stride=1),
                nn.ReLU(),
            ]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(channels[-1] * self._sizes()[-1][1], 1, device="meta").to_empty(device="cpu")
        self._initialise(seed)

    def _initialise(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.head.weight, std=0.1 * self.head.in_features**-0.5, generator=generator)
        nn.init.zeros_(self.head.bias)

    def forward(self, log_mel: Tensor) -> Tensor:
        """(n, frames, bands) log energies -> (n,) logits."""
        logits: Tensor = self.head(self.body(pictures_of(log_mel)).amax(2).flatten(1))
        return logits[:, 0]

    def _sizes(self) -> list[tuple[int, int]]:
        """(frames, bands) after the first convolution and after each block; every one halves both."""
        frames, bands = self.features.frames(self.samples), self.features.bands
        return [(-(-frames // 2**k), -(-bands // 2**k)) for k in range(1, len(self.channels) + 1)]

    @property
    def parameter_count(self) -> int:
        """Weights and biases."""
        return sum(p.numel() for p in self.parameters())

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the network for one window; those of the log-mel energies are not in it."""
        weights = [m.weight.numel() for m in self.body if isinstance(m, nn.Conv2d)]
        places = [frames * bands for frames, bands in self._sizes()]
        # The first picture is made by one convolution, each later one by a pair.
        per_place = [weights[0], *(d + p for d, p in zip(weights[1::2], weights[2::2], strict=True))]
        return int(np.dot(per_place, places)) + self.head.in_features


def pictures_of(log_mel: Tensor) -> Tensor:
    """What the network sees, (n, 2, frames, bands): energies over the mean of all and over each band's own mean."""
    overall, each = log_mel.mean((1, 2), keepdim=True), log_mel.mean(1, keepdim=True)
    return torch.stack([log_mel - overall, log_mel - each], 1) / STANDARD_DEVIATION


def _convolution(inputs: int, outputs: int, kernel: int, *, stride: int = 2, groups: int = 1) -> nn.Conv2d:
    """A layer without values: made on the CPU at once, it would draw them from the global generator."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, groups=groups, device="meta")
    return layer.to_empty(device="cpu")


def stage_windows(
    scenes: Sequence[Scene], times_s: Sequence[ArrayLike], *, window_s: float = 2.0, before_s: float = 0.5
) -> NDArray[np.float32]:
    """What the converter hears around wakes, (n, samples) pressure in Pa, scene after scene.

    Args:
        scenes: streams of one sample rate.
        times_s: for each scene the times of its wakes.
        window_s: length of a window.
        before_s: the part of it that lies before the wake and comes from the pre-roll memory.

    Where a window reaches over the start or the end of its scene it holds zeros. Raises `InputError` where scenes and
    lists of times do not pair, or sample rates differ.
    """
    if len(scenes) != len(times_s):
        raise InputError(
            f"second stage: {len(scenes)} scenes but {len(times_s)} lists of times; give one for each scene"
        )
    if not scenes or len({scene.rate_hz for scene in scenes}) > 1:
        raise InputError("second stage: the scenes must be at least one, and of one sample rate")
    if not 0.0 <= before_s <= window_s:
        raise InputError(f"second stage: before_s is {before_s:g}; it must lie between 0 and window_s = {window_s:g}")
    if not all(np.isfinite(each).all() for each in times_s):
        raise InputError("second stage: a wake is at NaN or infinity, which is not a finite time; leave it out")
    rate_hz = scenes[0].rate_hz
    length = round(window_s * rate_hz)
    starts = [np.round((np.atleast_1d(np.asarray(t, np.float64)) - before_s) * rate_hz).astype(int) for t in times_s]
    windows = np.zeros((sum(s.size for s in starts), length), np.float32)
    row = 0
    for scene, each in zip(scenes, starts, strict=True):
        for start in each:
            first, last = max(start, 0), min(start + length, scene.pressure_pa.size)
            if last > first:
                windows[row, first - start : last - start] = scene.pressure_pa[first:last]
            row += 1
    return windows


def _log_mels(features: LogMel, pressure_pa: NDArray[np.float32], batch: int) -> Tensor:
    """(n, frames, bands); in batches, for the frames of all windows at once would take gigabytes."""
    out = np.empty((len(pressure_pa), features.frames(pressure_pa.shape[1]), features.bands), np.float32)
    for i in range(0, len(pressure_pa), batch):
        out[i : i + batch] = features(pressure_pa[i : i + batch])
    return torch.from_numpy(out)


class _Batches:
    """Endless random batches, half of them wake sounds, varied in level, time, and by blanks."""

    def __init__(self, log_mel: Tensor, wake: NDArray[np.bool_], settings: SecondStageSettings, *, seed: int) -> None:
        self._log_mel, self._settings = log_mel, settings
        self._rng = np.random.default_rng(seed)
        self._wake, self._other = np.flatnonzero(wake), np.flatnonzero(~wake)

    def next(self) -> tuple[Tensor, Tensor]:
        """Log energies (n, frames, bands) and target (n,)."""
        half = self._settings.batch // 2
        rest = self._settings.batch - half
        index = np.concatenate([self._rng.choice(self._wake, half), self._rng.choice(self._other, rest)])
        target = torch.cat([torch.ones(half), torch.zeros(rest)])
        return self._masked(self._gained(self._shifted(index))), target

    def _shifted(self, index: NDArray[np.int64]) -> Tensor:
        """Examples moved in time; the frame at the edge fills what becomes empty."""
        frames = self._log_mel.shape[1]
        most = round(self._settings.shift_s / self._settings.features.hop_s)
        shift = self._rng.integers(-most, most + 1, index.size)
        place = np.clip(np.arange(frames) + shift[:, None], 0, frames - 1)
        return self._log_mel[torch.from_numpy(index)[:, None], torch.from_numpy(place)]

    def _gained(self, log_mel: Tensor) -> Tensor:
        gain_db = self._rng.uniform(-1.0, 1.0, (len(log_mel), 1, 1)) * self._settings.gain_db
        gain = torch.from_numpy(np.exp(gain_db * NEPERS_PER_DB).astype(np.float32))
        floor = self._settings.features.floor_pa2
        return torch.log((torch.exp(log_mel) - floor).clamp(min=0.0) * gain + floor)

    def _masked(self, log_mel: Tensor) -> Tensor:
        """A random band range and a random stretch of time set to the window's mean."""
        n, frames, bands = log_mel.shape
        mask = self._stretch(n, frames, self._settings.mask_frames)[:, :, None]
        mask = mask | self._stretch(n, bands, self._settings.mask_bands)[:, None, :]
        return torch.where(torch.from_numpy(mask), log_mel.mean((1, 2), keepdim=True), log_mel)

    def _stretch(self, n: int, length: int, longest: int) -> NDArray[np.bool_]:
        width = self._rng.integers(0, longest + 1, (n, 1))
        start = self._rng.integers(0, length, (n, 1))
        place = np.arange(length)
        return (place >= start) & (place < start + width)


def fit_second_stage(
    examples: Examples,
    *,
    seed: int,
    settings: SecondStageSettings | None = None,
    compare: bool = True,
    report: Callable[[int], None] | None = None,
) -> tuple[SecondStage, Curve]:
    """Train a second stage with PSWA around AdamW.

    Args:
        examples: windows with and without the wake sound.
        seed: of the initial weights, of the batches and of their variation.
        settings: see `SecondStageSettings`.
        compare: record the training curve, with that of plain SGD beside it.
        report: called with 1 after every step.

    Returns:
        The network with averaged weights, and its training curve.
    """
    settings = settings or SecondStageSettings()

    def optimizer(model: SecondStage) -> PSWA:
        base = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
        return PSWA(base, period=settings.period)

    start = second_stage_task(examples, seed=seed, settings=settings)
    sgd_rate = settings.sgd_rate if compare else None
    model, curve = fit(start, optimizer, steps=settings.steps, sgd_rate=sgd_rate, report=report)
    return model.to(memory_format=torch.contiguous_format), curve  # type: ignore[call-overload]


def second_stage_task(
    examples: Examples, *, seed: int, settings: SecondStageSettings
) -> Callable[[], tuple[SecondStage, Task[tuple[Tensor, Tensor]]]]:
    """Gives at every call the same untrained network and what it is trained on; arguments as `fit_second_stage`."""
    log_mel = _log_mels(settings.features, examples.pressure_pa, 256)

    def start() -> tuple[SecondStage, Task[tuple[Tensor, Tensor]]]:
        samples = examples.pressure_pa.shape[1]
        model = SecondStage(settings.features, samples=samples, channels=settings.channels, seed=seed)
        # Convolutions with their channels innermost train nearly twice as fast on a CPU.
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        probe = dataclasses.replace(settings, batch=PROBE)
        return model, Task(
            next_batch=_Batches(log_mel, examples.wake, settings, seed=seed).next,
            loss=lambda batch: binary_cross_entropy_with_logits(model(batch[0]), batch[1]),
            probe=_Batches(log_mel, examples.wake, probe, seed=PROBE_SEED).next(),
        )

    return start


@torch.no_grad()
def score_windows(model: SecondStage, pressure_pa: NDArray[np.float32], *, batch: int = 256) -> NDArray[np.float64]:
    """Probability (n,) that each window (n, samples) in Pa holds the wake sound, where half of all did in training.

    Raises `InputError` where windows have another length than the network was trained on.
    """
    if pressure_pa.ndim != 2 or pressure_pa.shape[1] != model.samples:
        raise InputError(
            f"second stage: windows are shaped {pressure_pa.shape} but the network hears {model.samples} samples; "
            f"{pressure_pa.shape[-1]} samples do not fit, cut them with stage_windows"
        )
    parts = [
        torch.sigmoid(model(torch.from_numpy(model.features(pressure_pa[i : i + batch]))).double()).numpy()
        for i in range(0, len(pressure_pa), batch)
    ]
    return np.concatenate(parts) if parts else np.zeros(0)
