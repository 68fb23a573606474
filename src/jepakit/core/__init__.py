"""The objective: views, encoders, targets, predictors, losses, regularisers. Needs torch and nothing else."""

from jepakit.core.contrastive import CandidateSets, Contrast, ContrastiveJEPA, InfoNCE, near_positive
from jepakit.core.diagnostics import Diagnosis, diagnose
from jepakit.core.jepa import JEPA, Embeddings, JEPAOutput, Loss, Views, Where
from jepakit.core.loss import (
    LOSSES,
    PREDICTION_WIDTHS,
    NormalizedTarget,
    StandardizedBatch,
    cosine,
    huber,
    hyperbolic,
    mse,
    normalized_mse,
    smooth_l1,
)
from jepakit.core.predictor import (
    PREDICTORS,
    BidirectionalPredictor,
    CrossAttentionPredictor,
    IdentityPredictor,
    MLPPredictor,
    PredictorPerKey,
)
from jepakit.core.regularizer import (
    REGULARIZERS,
    SIGReg,
    Subsampled,
    UnitRows,
    VICReg,
    decorrelation,
    isotropy_penalty,
    variance_hinge,
)
from jepakit.core.schedule import CosineSchedule, WarmupCosine
from jepakit.core.target import TARGETS, EMATarget, SeparateTarget, SharedTarget, Target

__all__ = [
    "JEPA",
    "LOSSES",
    "PREDICTION_WIDTHS",
    "PREDICTORS",
    "REGULARIZERS",
    "TARGETS",
    "BidirectionalPredictor",
    "CandidateSets",
    "Contrast",
    "ContrastiveJEPA",
    "CosineSchedule",
    "CrossAttentionPredictor",
    "Diagnosis",
    "EMATarget",
    "Embeddings",
    "IdentityPredictor",
    "InfoNCE",
    "JEPAOutput",
    "Loss",
    "MLPPredictor",
    "NormalizedTarget",
    "PredictorPerKey",
    "SIGReg",
    "SeparateTarget",
    "SharedTarget",
    "StandardizedBatch",
    "Subsampled",
    "Target",
    "UnitRows",
    "VICReg",
    "Views",
    "WarmupCosine",
    "Where",
    "cosine",
    "decorrelation",
    "diagnose",
    "huber",
    "hyperbolic",
    "isotropy_penalty",
    "mse",
    "near_positive",
    "normalized_mse",
    "smooth_l1",
    "variance_hinge",
]
