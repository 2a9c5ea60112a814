"""Labelled recordings: read, split by source, mix into long streams, and built-in synthetic ones."""

from lightsleeper.recordings.floor import FLOOR_LABELS, make_floor, synthetic_floor
from lightsleeper.recordings.folder import RecordingSet, read_folder
from lightsleeper.recordings.folds import assign_folds, unite_sources
from lightsleeper.recordings.recording import Recording, read_recording
from lightsleeper.recordings.scene import Scene, SceneEvent, SceneSettings, mix_scene
from lightsleeper.recordings.synthesis import synthetic_recordings

__all__ = [
    "FLOOR_LABELS",
    "Recording",
    "RecordingSet",
    "Scene",
    "SceneEvent",
    "SceneSettings",
    "assign_folds",
    "make_floor",
    "mix_scene",
    "read_folder",
    "read_recording",
    "synthetic_floor",
    "synthetic_recordings",
    "unite_sources",
]
