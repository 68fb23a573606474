"""Running the objective: fit, run folders, encoder folders, reports; what a Trainer of your own needs."""

from typing import TYPE_CHECKING

from jepakit.errors import requires_extra
from jepakit.lazy import lazy_names

with requires_extra("training"):
    from jepakit.training.fit import fit
    from jepakit.training.fit_config import FitConfig, FitResult
    from jepakit.training.loader import EpochLoader
    from jepakit.training.objective import ObjectiveConfig, PredictorConfig, RegularizerConfig, TargetConfig
    from jepakit.training.results import save_trained
    from jepakit.training.run import RunFolder, is_first_process
    from jepakit.training.storage.encoder_folder import load_encoder, load_encoder_as, push_to_hub, save_encoder
    from jepakit.training.storage.hub_mixin import HubMixin
    from jepakit.training.trained_run import TrainedRun

if TYPE_CHECKING:
    from jepakit.training.lightning import JEPAModule, OnlineProbe, RankMe

__all__ = [
    "EpochLoader",
    "FitConfig",
    "FitResult",
    "HubMixin",
    "JEPAModule",
    "ObjectiveConfig",
    "OnlineProbe",
    "PredictorConfig",
    "RankMe",
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

# Lightning takes seconds to import: these names are fetched when they are first used.
__getattr__ = lazy_names(
    __name__, dict.fromkeys(("JEPAModule", "OnlineProbe", "RankMe"), "jepakit.training.lightning"), extra="training"
)
