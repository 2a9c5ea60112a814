"""When to train, how long, and when to wait: decisions alone, without a clock or a device of its own."""

from dataclasses import dataclass

from lightsleeper.device.budget import Limits
from lightsleeper.device.pressure import Readings

__all__ = ["Governor", "TokenBucket"]

_SHORTEST_WAIT_S = 1e-6
_SHORTEST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
# After so long without a reason to pause, the next pause is a short one again.
_CALM_S = 10.0


class TokenBucket:
    """Processor time that may be spent: it flows in at a rate, is kept up to a limit, and may be overdrawn.

    Args:
        rate: seconds of processor time a second.
        kept_s: most processor time that is kept, s.
        now_s: of a steady clock.
    """

    def __init__(self, *, rate: float, kept_s: float, now_s: float) -> None:
        self._rate = rate
        self._kept_s = kept_s
        self._at_s = now_s
        self._held_s = 0.0

    def spend(self, cpu_s: float) -> None:
        """Processor time was used."""
        self._held_s -= cpu_s

    def wait_s(self, cpu_s: float, *, now_s: float) -> float:
        """Time until `cpu_s` may be spent; 0 where it may at once. `cpu_s` over what is kept waits for that."""
        self._held_s = min(self._kept_s, self._held_s + (now_s - self._at_s) * self._rate)
        self._at_s = now_s
        wait_s = (min(cpu_s, self._kept_s) - self._held_s) / self._rate
        # What is left by rounding may be too short to move a clock at all.
        return wait_s if wait_s > _SHORTEST_WAIT_S else 0.0


@dataclass(frozen=True)
class _Rule:
    reason: str
    reading: float | None
    limit: float
    below: bool = False

    def broken(self, margin: float) -> bool:
        """With a margin, so that a reading at its limit does not switch training on and off."""
        if self.reading is None:
            return False
        return self.reading < self.limit + margin if self.below else self.reading > self.limit - margin


class Governor:
    """Says from readings whether training has to pause, and for how long.

    A pause lasts half a second, and twice as long each time that its reason is still there, up to half a minute.
    While a pause lasts, its reading has to fall a tenth below the limit (5 C, 5 % of charge).

    Args:
        limits: from where on training waits.
        now_s: of a steady clock.
    """

    def __init__(self, limits: Limits, *, now_s: float) -> None:
        self._limits = limits
        self._pause_s = _SHORTEST_PAUSE_S
        self._calm_since_s = now_s
        self._paused_for: str | None = None

    def pause(self, readings: Readings, *, contention: float | None, now_s: float) -> tuple[float, str] | None:
        """Time to wait and the reason, or None where training may go on.

        Args:
            readings: of the device.
            contention: share of its running time that training waited for a processor; None where it did not run.
            now_s: of the same clock.
        """
        reason = self._reason(readings, contention)
        if reason is None:
            if self._paused_for is not None:
                self._calm_since_s = now_s
            elif now_s - self._calm_since_s >= _CALM_S:
                self._pause_s = _SHORTEST_PAUSE_S
            self._paused_for = None
            return None
        self._paused_for = reason
        wait_s, self._pause_s = self._pause_s, min(2.0 * self._pause_s, _LONGEST_PAUSE_S)
        return wait_s, reason

    def _reason(self, readings: Readings, contention: float | None) -> str | None:
        limits = self._limits
        rules = (
            (_Rule("battery", readings.battery_charge, limits.battery_charge, below=True), 0.05),
            (_Rule("temperature", readings.temperature_c, limits.temperature_c), 5.0),
            (_Rule("memory pressure", readings.memory_pressure, limits.memory_pressure), 0.1 * limits.memory_pressure),
            (_Rule("contention", contention, limits.contention), 0.1 * limits.contention),
            (_Rule("CPU pressure", readings.cpu_pressure, limits.cpu_pressure), 0.1 * limits.cpu_pressure),
            (_Rule("load", readings.others_share, limits.others_share), 0.1 * limits.others_share),
        )
        for rule, margin in rules:
            if rule.broken(margin if self._paused_for == rule.reason else 0.0):
                return rule.reason
        return None
