"""Typed configuration, composed by Hydra from the groups in ``skelift/conf``.

One ``Config`` is the whole record of a run; every stage takes it and reads its own part.
"""

from skelift.config.compose import GROUPS, compose, to_yaml, vary
from skelift.config.schema import (
    AugmentConfig,
    CameraConfig,
    Config,
    DataConfig,
    EvaluateConfig,
    FlowConfig,
    FolderConfig,
    H36mConfig,
    HandDbConfig,
    HeadConfig,
    HeadsConfig,
    LossConfig,
    MixConfig,
    ModelConfig,
    Mpi3dhpConfig,
    Paths,
    RangeConfig,
    SourceConfig,
    StorageConfig,
    SweepConfig,
    SynthConfig,
    TrainConfig,
)

__all__ = [
    "GROUPS",
    "AugmentConfig",
    "CameraConfig",
    "Config",
    "DataConfig",
    "EvaluateConfig",
    "FlowConfig",
    "FolderConfig",
    "H36mConfig",
    "HandDbConfig",
    "HeadConfig",
    "HeadsConfig",
    "LossConfig",
    "MixConfig",
    "ModelConfig",
    "Mpi3dhpConfig",
    "Paths",
    "RangeConfig",
    "SourceConfig",
    "StorageConfig",
    "SweepConfig",
    "SynthConfig",
    "TrainConfig",
    "compose",
    "to_yaml",
    "vary",
]
