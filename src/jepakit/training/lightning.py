"""The objective for a Lightning Trainer of your own, and callbacks that watch it without taking part in training."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from jepakit.core import JEPA, Views
from jepakit.core.diagnostics import effective_rank
from jepakit.errors import require_at_least, require_within
from jepakit.training.loader import to_device

Optimizer = Callable[[list[nn.Parameter]], OptimizerLRScheduler]


class JEPAModule(pl.LightningModule):
    """A JEPA as a LightningModule, with the update of its target after each optimiser step.

    The batches are `jepakit.core.Views`, or whatever ``views`` makes them of::

        jepa = JEPA(encoder, EMATarget(encoder), MLPPredictor(16), smooth_l1)
        module = JEPAModule(jepa, lambda parameters: torch.optim.AdamW(parameters, lr=1e-3))
        Trainer(max_epochs=10).fit(module, loader)

    It logs the mean of each loss term over an epoch: ``train/total``, ``train/predict`` and those of the regularisers.

    Args:
        jepa: the objective.
        optimizer: trainable parameters -> what ``configure_optimizers`` may return, such as an optimiser.
        views: batch -> views; None: the batches are views.
    """

    def __init__(
        self, jepa: JEPA, optimizer: Optimizer, *, views: Callable[[Any], Views | list[Views]] | None = None
    ) -> None:
        super().__init__()
        self.jepa = jepa
        self._optimizer, self._views = optimizer, views

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """What ``optimizer`` makes of the trainable parameters."""
        return self._optimizer([parameter for parameter in self.jepa.parameters() if parameter.requires_grad])

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """See `jepakit.training.loader.to_device`."""
        return to_device(batch, device)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The total loss of a batch."""
        output = self.jepa(batch if self._views is None else self._views(batch))
        terms = {"train/total": output.total.detach(), **{f"train/{name}": term for name, term in output.terms.items()}}
        # Batches count equally, as in `jepakit.training.fit`; Lightning would look for the size of a batch.
        self.log_dict(terms, on_step=False, on_epoch=True, batch_size=1, sync_dist=True)
        return output.total

    def optimizer_step(self, *arguments: Any, **options: Any) -> None:
        """An optimiser step, which may follow several batches, and the target's update."""
        super().optimizer_step(*arguments, **options)
        self.jepa.after_step()


class OnlineProbe(pl.Callback):
    """A linear classifier that is trained beside the encoder, on its embeddings without gradient.

    It shows while pre-training goes on what a probe would give. The encoder never sees a label: it is run in eval mode,
    without gradient and without drawing random numbers from the global generator, so training is the same without it.
    Embeddings are standardised by the batch, as in the linear probe of MAE (He et al. 2022, A.1).

    It logs ``NAME/accuracy``, that of each batch before the probe has learned from it, and ``NAME/held_out_accuracy``
    at the end of each epoch, if there are held-out examples. With several processes each trains a probe of its own, and
    the accuracy is their mean.

    Args:
        embed: batch -> embeddings ``[N, D]`` and classes ``[N]`` int64; a class below 0 stands for an unknown one.
        classes: how many there are.
        held_out: gives embeddings and classes of examples that are not trained on; None: there are none.
        learning_rate: of Adam.
        name: of the metrics.
        seed: of the classifier's first weights.
    """

    def __init__(
        self,
        embed: Callable[[Any], tuple[Tensor, Tensor]],
        classes: int,
        *,
        held_out: Callable[[], tuple[Tensor, Tensor]] | None = None,
        learning_rate: float = 1e-2,
        name: str = "probe",
        seed: int = 0,
    ) -> None:
        self.embed, self.classes, self.held_out = embed, classes, held_out
        self.learning_rate, self.name, self.seed = learning_rate, name, seed
        require_at_least(self, classes=2)
        require_within(self, "(0, inf)", "learning_rate")
        self._trained: tuple[nn.Module, torch.optim.Optimizer] | None = None
        self._saved: Mapping[str, Any] = {}

    @property
    def state_key(self) -> str:
        """The place of its state in a checkpoint: several probes of different names keep theirs apart."""
        return f"{type(self).__qualname__}: {self.name}"

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Scores the probe on the batch, then trains it on it."""
        with _watching(pl_module):
            embeddings, labels = _known(*self.embed(batch))
        # A single row has no spread to standardise it by.
        if len(labels) < 2:
            return
        classifier, optimizer = self._trained = self._trained or self._made(embeddings)
        with torch.enable_grad():
            logits = classifier.train()(embeddings)
            optimizer.zero_grad()
            F.cross_entropy(logits, labels).backward()
            optimizer.step()
        pl_module.log(
            f"{self.name}/accuracy",
            _accuracy(logits, labels),
            on_step=False,
            on_epoch=True,
            batch_size=len(labels),
            sync_dist=True,
        )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Scores the probe on the held-out examples."""
        if self.held_out is None or self._trained is None:
            return
        with _watching(pl_module):
            embeddings, labels = _known(*self.held_out())
            logits = self._trained[0].eval()(embeddings)
        pl_module.log(f"{self.name}/held_out_accuracy", _accuracy(logits, labels), sync_dist=True)

    def state_dict(self) -> dict[str, Any]:
        """The classifier and its optimiser, for a checkpoint."""
        if self._trained is None:
            return {}
        classifier, optimizer = self._trained
        return {"classifier": classifier.state_dict(), "optimizer": optimizer.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keeps the state of a checkpoint until the first batch says on which device it belongs."""
        self._trained, self._saved = None, state_dict

    def _made(self, embeddings: Tensor) -> tuple[nn.Module, torch.optim.Optimizer]:
        width = embeddings.shape[1]
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.seed)
            classifier = nn.Sequential(nn.BatchNorm1d(width, affine=False), nn.Linear(width, self.classes))
        classifier.to(embeddings.device)
        optimizer = torch.optim.Adam(classifier.parameters(), lr=self.learning_rate)
        if self._saved:
            classifier.load_state_dict(self._saved["classifier"])
            optimizer.load_state_dict(self._saved["optimizer"])
        return classifier, optimizer


class RankMe(pl.Callback):
    """Logs the effective rank of embeddings at the end of an epoch, which falls where they collapse.

    The metric is ``diagnostics/effective_rank``, see `jepakit.core.diagnostics.effective_rank`. Source: Garrido et al.
    2023.

    Args:
        embed: gives the embeddings ``[N, D]`` of a fixed sample, with the encoder as it is now; it is run in eval mode
            and without gradient. N should be several times D: the rank is at most the smaller of both.
        every: epochs between two measurements.
    """

    def __init__(self, embed: Callable[[], Tensor], *, every: int = 1) -> None:
        self.embed, self.every = embed, every
        require_at_least(self, every=1)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measures, in the first of every ``every`` epochs."""
        if trainer.current_epoch % self.every:
            return
        with _watching(pl_module):
            rank = effective_rank(self.embed())
        pl_module.log("diagnostics/effective_rank", rank, rank_zero_only=True)


@contextmanager
def _watching(module: nn.Module) -> Generator[None]:
    """Eval mode, no gradient, and a random state of its own; afterwards every part is in the mode that it was in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            yield
    finally:
        for part, mode in modes:
            part.training = mode


def _known(embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The rows whose class is known, in single precision."""
    known = labels >= 0
    return embeddings[known].detach().float(), labels[known].long()


def _accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    return (logits.argmax(1) == labels).float().mean()
