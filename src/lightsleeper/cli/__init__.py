"""Verbs of the command line: they parse and print, and decide nothing."""

from lightsleeper.cli import bench, design, export, manufacture, train, verify
from lightsleeper.cli.app import app, main, run

__all__ = ["app", "bench", "design", "export", "main", "manufacture", "run", "train", "verify"]
