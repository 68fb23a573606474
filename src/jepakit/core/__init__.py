"""The objective: views, encoders, targets, predictors, losses, regularisers. Needs torch and nothing else."""

from jepakit.core.diagnostics import Diagnosis, diagnose
from jepakit.core.jepa import JEPA, Embeddings, JEPAOutput, Loss, Views, Where
from jepakit.core.loss import (
    LOSSES,
    InfoNCE,
    NormalizedTarget,
    StandardizedBatch,
    candidate_info_nce,
    cosine,
    huber,
    hyperbolic,
    info_nce,
    mse,
    normalized_mse,
    smooth_l1,
)
from jepakit.core.predictor import (
    BidirectionalPredictor,
    CrossAttentionPredictor,
    IdentityPredictor,
    MLPPredictor,
    PredictorPerKey,
)
from jepakit.core.regularizer import SIGReg, VICReg, decorrelation, isotropy_penalty
from jepakit.core.schedule import CosineSchedule, WarmupCosine
from jepakit.core.target import EMATarget, SeparateTarget, SharedTarget, Target

__all__ = [
    "JEPA",
    "LOSSES",
    "BidirectionalPredictor",
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
    "Target",
    "VICReg",
    "Views",
    "WarmupCosine",
    "Where",
    "candidate_info_nce",
    "cosine",
    "decorrelation",
    "diagnose",
    "huber",
    "hyperbolic",
    "info_nce",
    "isotropy_penalty",
    "mse",
    "normalized_mse",
    "smooth_l1",
]
