"""Running the objective: fit, run folders, encoder folders, reports."""

from jepakit.errors import requires_extra

with requires_extra("training"):
    from jepakit.training.fit import fit
    from jepakit.training.fit_config import FitConfig, FitResult
    from jepakit.training.loader import EpochLoader
    from jepakit.training.objective import ObjectiveConfig, PredictorConfig, RegularizerConfig, TargetConfig
    from jepakit.training.results import save_trained
    from jepakit.training.run import RunFolder, is_first_process
    from jepakit.training.storage.encoder_folder import load_encoder, load_encoder_as, push_to_hub, save_encoder
    from jepakit.training.trained_run import TrainedRun

__all__ = [
    "EpochLoader",
    "FitConfig",
    "FitResult",
    "ObjectiveConfig",
    "PredictorConfig",
    "RegularizerConfig",
    "RunFolder",
    "TargetConfig",
    "TrainedRun",
    "fit",
    "is_first_process",
    "load_encoder",
    "load_encoder_as",
    "push_to_hub",
    "save_encoder",
    "save_trained",
]
