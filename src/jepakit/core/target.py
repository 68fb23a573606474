"""Target encoders: a moving average of the context encoder (EMA), the context encoder itself, or another encoder."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from jepakit.errors import ConfigError, require_within

Momentum = float | Callable[[int], float]


class Target(nn.Module):
    """Encodes target views. Abstract: use `EMATarget`, `SharedTarget` or `SeparateTarget`."""

    #: Whether gradients flow into the encoder through the target's embeddings.
    trains: bool

    def forward(self, view: Any, context_encoder: nn.Module) -> Any:
        """view -> embeddings, detached unless ``trains``."""
        raise NotImplementedError

    def update(self, context_encoder: nn.Module) -> None:
        """Called once after every optimiser step."""

    def check(self, context_encoder: nn.Module) -> None:
        """Raises ConfigError where this target cannot work with ``context_encoder``."""


class EMATarget(Target):
    """An exponential moving average of the context encoder: ``ξ ← τ ξ + (1 − τ) θ`` after every optimiser step.

    Floating-point buffers (running statistics) move with the parameters, integer buffers are copied. The copy is always
    in eval mode, even after ``train()``: its dropout is off and its normalisation uses running statistics.

    Args:
        encoder: the context encoder; it is copied.
        momentum: τ, or a function of the number of steps taken, such as ``CosineSchedule(0.996, 1.0, total_steps)``.

    Raises:
        ConfigError: a constant momentum outside [0, 1].

    Source: BYOL, Grill et al. 2020, eq. 1; the schedule: their §3.3.
    """

    trains = False
    step: Tensor

    def __init__(self, encoder: nn.Module, momentum: Momentum = 0.996) -> None:
        super().__init__()
        self.momentum = momentum
        if not callable(momentum):
            require_within(self, "[0, 1]", "momentum")
        self.encoder = copy.deepcopy(encoder).requires_grad_(False).eval()
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    def forward(self, view: Any, context_encoder: nn.Module) -> Any:
        """The embeddings of the averaged encoder, without gradient."""
        with torch.no_grad():
            return self.encoder(view)

    def train(self, mode: bool = True) -> EMATarget:
        """Sets the mode; the averaged encoder stays in eval mode."""
        super().train(mode)
        self.encoder.eval()
        return self

    @torch.no_grad()
    def update(self, context_encoder: nn.Module) -> None:
        """Moves the average towards the weights of ``context_encoder``."""
        tau = self.momentum(int(self.step)) if callable(self.momentum) else self.momentum
        online = context_encoder.state_dict()
        for name, slow in self.encoder.state_dict().items():
            if slow.is_floating_point():
                slow.lerp_(online[name].to(slow.dtype), 1 - tau)
            else:
                slow.copy_(online[name])
        self.step += 1

    def check(self, context_encoder: nn.Module) -> None:
        """Raises ConfigError where the names or shapes of the weights differ."""
        ours, theirs = (
            {(name, tuple(value.shape)) for name, value in encoder.state_dict().items()}
            for encoder in (self.encoder, context_encoder)
        )
        if ours != theirs:
            different = sorted({name for name, _ in ours ^ theirs})
            raise ConfigError("target", f"differs in {different[:3]}", "an EMA of the context encoder itself")


class SharedTarget(Target):
    """The context encoder itself.

    With ``stop_gradient`` it is SimSiam (Chen & He 2021). Without, it needs a regulariser against collapse, such as
    SIGReg in LeJEPA (Balestriero & LeCun 2025).
    """

    def __init__(self, stop_gradient: bool = True) -> None:
        super().__init__()
        self.trains = not stop_gradient

    def forward(self, view: Any, context_encoder: nn.Module) -> Any:
        """The embeddings of the context encoder."""
        with torch.set_grad_enabled(self.trains and torch.is_grad_enabled()):
            return context_encoder(view)


class SeparateTarget(Target):
    """Another encoder, for targets of another kind than the context, such as documents for queries.

    ``stop_gradient`` freezes it: no gradient, eval mode.
    """

    def __init__(self, encoder: nn.Module, stop_gradient: bool = False) -> None:
        super().__init__()
        self.encoder, self.trains = encoder, not stop_gradient
        if stop_gradient:
            self.encoder.requires_grad_(False).eval()

    def forward(self, view: Any, context_encoder: nn.Module) -> Any:
        """The embeddings of the other encoder."""
        with torch.set_grad_enabled(self.trains and torch.is_grad_enabled()):
            return self.encoder(view)

    def train(self, mode: bool = True) -> SeparateTarget:
        """Sets the mode; a frozen encoder stays in eval mode."""
        super().train(mode)
        if not self.trains:
            self.encoder.eval()
        return self


#: Targets by the names that configurations use: ``(context encoder, momentum) -> target``.
TARGETS: dict[str, Callable[[nn.Module, Momentum], Target]] = {
    "ema": EMATarget,
    "simsiam": lambda _encoder, _momentum: SharedTarget(stop_gradient=True),
    "lejepa": lambda _encoder, _momentum: SharedTarget(stop_gradient=False),
}
