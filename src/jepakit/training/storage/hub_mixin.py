"""Encoders that save, load and publish themselves, under the names that a model hub's users know."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import torch
from torch import nn

from jepakit.errors import ModelError
from jepakit.training.storage.encoder_folder import Role, load_encoder, push_to_hub, save_encoder


class HubMixin(nn.Module):
    """``save_pretrained``, ``from_pretrained`` and ``push_to_hub`` of an encoder.

    What they write and read are encoder folders, those of `jepakit.training.save_encoder` and `load_encoder`.
    A class of one's own inherits from this one and has a property `arguments`.
    """

    @property
    def arguments(self) -> Mapping[str, object]:
        """The constructor's keywords, which JSON can hold: ``type(self)(**arguments)`` has the same tensors."""
        raise NotImplementedError(f"{type(self).__qualname__} has no property `arguments`")

    def save_pretrained(
        self, folder: str | Path, *, card: Mapping[str, object] | None = None, role: Role = "context"
    ) -> Path:
        """Writes an encoder folder, see `jepakit.training.save_encoder`."""
        return save_encoder(self, folder, config=self.arguments, card=card, role=role)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        device: str | torch.device = "cpu",
        endpoint: str | None = None,
        token: str | None = None,
    ) -> Self:
        """What `jepakit.training.load_encoder` gives for a folder or a hub id, of this class.

        Raises:
            ConfigError: no such device.
            ModelError: there is no such folder or id, it holds an encoder of another class, or it is damaged.
        """
        # A folder must not decide which module of the user's is imported; those of jepakit it may name.
        own = None if cls.__module__.startswith("jepakit.") else cls
        encoder = load_encoder(source, encoder_class=own, device=device, endpoint=endpoint, token=token)
        if not isinstance(encoder, cls):
            raise ModelError(f"{source}: holds an encoder of class {type(encoder).__name__}, not {cls.__name__}")
        return encoder

    def push_to_hub(
        self,
        repo_id: str,
        *,
        card: Mapping[str, object] | None = None,
        private: bool = True,
        token: str | None = None,
        message: str | None = None,
        endpoint: str | None = None,
    ) -> str:
        """Uploads the encoder, see `jepakit.training.push_to_hub`; returns the address of the repository."""
        with TemporaryDirectory() as folder:
            # The name of the folder is the title of the card.
            saved = self.save_pretrained(Path(folder) / repo_id.rpartition("/")[2], card=card)
            options = {"token": token, "message": message, "endpoint": endpoint}
            return push_to_hub(saved, repo_id, private=private, **options)
