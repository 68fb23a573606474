"""An encoder on disk: a folder with ``config.json``, ``model.safetensors`` and ``README.md``; nothing in it is code."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from huggingface_hub import HfApi
from torch import nn
from torch.overrides import TorchFunctionMode

from jepakit.errors import ConfigError, ModelError, require_choice
from jepakit.files import digest_of, read_json, reading, stated_digest, whole_folder, write_json, write_text
from jepakit.training.checked import checked
from jepakit.training.storage.hub import download, upload
from jepakit.training.storage.model_card import render_model_card
from jepakit.training.storage.weights import read_shapes, read_weights, require_shapes, write_weights

EncoderT = TypeVar("EncoderT", bound=nn.Module)

Role = Literal["context", "target"]

_FORMAT_VERSION = 1
_CONFIG, _WEIGHTS, _CARD = "config.json", "model.safetensors", "README.md"
_FILES = (_CONFIG, _WEIGHTS, _CARD)
#: What a fine-tuning says of the encoder; it goes with it.
_MEASURED = ("metrics.csv", "results.json", "report.html")
#: The package whose classes are imported by name.
_OURS = "jepakit."
_HUB_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[^@\s]+))?")


@dataclass(frozen=True)
class _EncoderConfig:
    """``config.json``, but for versions and digests."""

    architecture: str
    config: dict[str, object]
    role: Role


def save_encoder(
    encoder: nn.Module,
    folder: str | Path,
    *,
    config: Mapping[str, object],
    card: Mapping[str, object] | None = None,
    role: Role = "context",
) -> Path:
    """Writes an encoder folder, whole or not at all; ``config.json`` holds a digest of the weights and of itself.

    Args:
        encoder: any module. Tied weights are stored once and are tied again by the constructor.
        folder: where to write. It may exist if it is empty or an encoder folder and holds nothing else.
        config: the constructor's keywords: ``type(encoder)(**config)`` has the same tensors. Values must be JSON.
        card: what the model card says; see `jepakit.training.storage.model_card.render_model_card`.
        role: which of the two encoders of a JEPA this is.

    Returns:
        ``folder``.

    Raises:
        ConfigError: ``config`` is not JSON or does not fit the constructor, or ``card`` is malformed.
        ModelError: ``folder`` holds something else or cannot be written, or the encoder has a tensor that cannot be
            stored.
    """
    require_choice("role", role, ("context", "target"))
    architecture = f"{type(encoder).__module__}:{type(encoder).__qualname__}"
    _check_fits_constructor(type(encoder), config)
    _check_json(config)
    target = Path(folder).expanduser().resolve()
    _check_replaceable(target)
    with whole_folder(target, replace=True) as unfinished:
        weights = unfinished / _WEIGHTS
        write_weights(encoder, weights)
        readme = render_model_card(
            card or {},
            name=target.name,
            architecture=architecture,
            role=role,
            parameters=sum(parameter.numel() for parameter in encoder.parameters()),
            needs_class=not architecture.startswith(_OURS),
        )
        write_text(unfinished / _CARD, readme)
        about = {"format_version": _FORMAT_VERSION, "jepakit_version": version("jepakit")}
        saved = _EncoderConfig(architecture, dict(config), role)
        write_json(unfinished / _CONFIG, {**about, **asdict(saved), "digests": {_WEIGHTS: digest_of(weights)}})
    return Path(folder)


def load_encoder(
    source: str | Path,
    *,
    encoder_class: type[nn.Module] | None = None,
    device: str | torch.device = "cpu",
    endpoint: str | None = None,
    token: str | None = None,
) -> nn.Module:
    """Gives a saved encoder back, in eval mode.

    Args:
        source: an encoder folder, or a hub id ``user/name`` or ``user/name@revision`` where no such folder exists.
        encoder_class: the class to build. Needed when it is not one of jepakit's, for a folder must not decide which of
            your modules is imported.
        device: where to put it. Weights take the dtype that the constructor gives.
        endpoint: the hub's address; by default the hub client's.
        token: the hub's access token; by default that of the hub client's login.

    Raises:
        ConfigError: no such device.
        ModelError: no such folder or id, a file is missing or damaged, the weights belong to another architecture.
    """
    folder = _find_folder(source, HfApi(endpoint=endpoint, token=token))
    saved, file = _read_config(folder), folder / _WEIGHTS
    architecture = encoder_class or _import_class(saved.architecture, folder)
    shapes = read_shapes(file)
    # Before anything is allocated the weights are compared with the class, where it can be built without memory.
    with suppress(NotImplementedError, RuntimeError), torch.device("meta"), _NothingDrawn():
        require_shapes(_build(architecture, saved, folder), shapes, file)
    weights = read_weights(file)
    encoder = _build(architecture, saved, folder)
    require_shapes(encoder, shapes, file)
    encoder.load_state_dict(weights)
    try:
        return encoder.to(device).eval()
    except (RuntimeError, AssertionError) as error:
        raise ConfigError("device", str(device), f"a device that torch has here ({error})") from error


def load_encoder_as(kind: type[EncoderT], folder: str | Path) -> EncoderT:
    """`load_encoder`, of a folder that must hold one kind of encoder.

    Raises:
        ModelError: it holds another kind, or is damaged.
    """
    encoder = load_encoder(folder)
    if not isinstance(encoder, kind):
        raise ModelError(f"{folder}: holds an encoder of class {type(encoder).__name__}, not {kind.__name__}")
    return encoder


def architecture_of(folder: str | Path) -> str:
    """The class of a saved encoder, ``module:Class``.

    Raises:
        ModelError: it is no complete encoder folder.
    """
    return _read_config(Path(folder)).architecture


def push_to_hub(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool = True,
    token: str | None = None,
    message: str | None = None,
    endpoint: str | None = None,
) -> str:
    """Uploads an encoder folder to a hub, making the repository if there is none.

    Args:
        folder: a complete encoder folder.
        repo_id: ``user/name``.
        private: whether only its owner may see it.
        token: the hub's access token; by default that of the hub client's login.
        message: the commit message.
        endpoint: the hub's address; by default the hub client's.

    Returns:
        The address of the repository.

    Raises:
        ModelError: the folder is not a complete encoder, the hub refused, or ``repo_id`` is public though ``private``.
    """
    folder = Path(folder).expanduser()
    saved = _read_config(folder)
    read_weights(folder / _WEIGHTS)
    return upload(
        folder,
        repo_id,
        files=_FILES,
        private=private,
        message=message or f"{saved.role} encoder {saved.architecture}",
        api=HfApi(endpoint=endpoint, token=token),
    )


def _check_fits_constructor(encoder_class: type[nn.Module], config: Mapping[str, object]) -> None:
    try:
        inspect.signature(encoder_class).bind(**config)
    except TypeError as error:
        keywords = f"the keywords of {encoder_class.__qualname__}{inspect.signature(encoder_class)} ({error})"
        raise ConfigError("config", dict(config), keywords) from error


def _check_json(config: Mapping[str, object]) -> None:
    for key, value in config.items():
        try:
            kept = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"config.{key}", value, f"a value that JSON can hold ({error})") from error
        if kept != _tuples_as_lists(value):
            raise ConfigError(f"config.{key}", value, f"a value that JSON keeps as it is (it would become {kept!r})")


def _tuples_as_lists(value: object) -> object:
    if isinstance(value, dict):
        return {key: _tuples_as_lists(item) for key, item in value.items()}
    return [_tuples_as_lists(item) for item in value] if isinstance(value, list | tuple) else value


def _check_replaceable(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ModelError(f"{folder} is a file; an encoder is saved as a folder")
    entries = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    others = [name for name in entries if name not in (*_FILES, *_MEASURED)]
    if others:
        raise ModelError(f"{folder} holds {others[0]!r}, which is no part of an encoder; save into a new folder")
    if entries and not _describes_encoder(folder / _CONFIG):
        raise ModelError(f"{folder} holds files that jepakit did not write; save into a new folder, or empty this one")


def _describes_encoder(file: Path) -> bool:
    try:
        return {"format_version", "jepakit_version", "architecture"} <= read_json(file, ModelError).keys()
    except ModelError:
        return False


def _find_folder(source: str | Path, api: HfApi) -> Path:
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise ModelError(f"{folder} is a file; an encoder is a folder with {', '.join(_FILES)}")
    hub_id = _HUB_ID.fullmatch(source) if isinstance(source, str) and not source.startswith((".", "~")) else None
    # `runs/encodr` beside an existing `runs` is a misspelt path; with a revision it can only be a hub id.
    misspelt = folder.parent != Path() and folder.parent.is_dir() and "@" not in str(source)
    if hub_id is None or misspelt:
        previous = sorted(folder.parent.glob(f".{folder.name}.*.previous"))
        way_out = f"; a save was interrupted and left it as {previous[-1]}: rename it back" if previous else ""
        raise ModelError(f"{folder} does not exist{way_out}")
    return download(hub_id["repo"], revision=hub_id["revision"], files=_FILES, api=api)


def _read_config(folder: Path) -> _EncoderConfig:
    if not folder.is_dir():
        raise ModelError(f"{folder} is not a folder")
    missing = [name for name in (_CONFIG, _WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise ModelError(f"{folder} is not a complete encoder folder: {' and '.join(missing)} is missing")
    file = folder / _CONFIG
    description = read_json(file, ModelError)
    if (written := description.get("format_version")) != _FORMAT_VERSION:
        writer = description.get("jepakit_version", "of an unknown version")
        problem = f"format_version is {written!r}, written by jepakit {writer}"
        raise ModelError(f"{file}: {problem}; jepakit {version('jepakit')} reads encoders of version {_FORMAT_VERSION}")
    with reading(file, ModelError):
        saved = checked(_EncoderConfig, description)
    stated = stated_digest(folder / _WEIGHTS)
    # Folders from before digests have none.
    if description.get("digests", {_WEIGHTS: stated}) != {_WEIGHTS: stated}:
        raise ModelError(f"{folder / _WEIGHTS}: not the weights of this {_CONFIG}; save the encoder again")
    return saved


def _import_class(architecture: str, folder: Path) -> type[nn.Module]:
    module, _, qualified_name = architecture.partition(":")
    if not module.startswith(_OURS):
        raise ModelError(
            f"{folder} holds an encoder of the class {architecture}, which is not one of jepakit's; pass it: "
            "load_encoder(..., encoder_class=YourEncoder)"
        )
    try:
        named = attrgetter(qualified_name)(importlib.import_module(module))
    except (ImportError, AttributeError) as error:
        raise ModelError(
            f"{folder / _CONFIG}: {architecture} cannot be imported in jepakit {version('jepakit')}: {error}"
        ) from error
    # The class itself, not only the module it is reached through, must be jepakit's.
    if not (isinstance(named, type) and issubclass(named, nn.Module) and named.__module__.startswith(_OURS)):
        raise ModelError(f"{folder / _CONFIG}: {architecture} is no encoder class of jepakit's")
    return named


class _NothingDrawn(TorchFunctionMode):
    """Draws no normal numbers: for a tensor without memory, torch would import what takes seconds to do so."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        if func in (nn.init.normal_, torch.Tensor.normal_):
            return args[0] if args else named["tensor"]
        return func(*args, **named)


def _build(encoder_class: type[nn.Module], saved: _EncoderConfig, folder: Path) -> nn.Module:
    # The random initial weights are thrown away; drawing them must not move the caller's random state.
    with torch.random.fork_rng(devices=[]):
        try:
            return encoder_class(**saved.config)
        except (TypeError, ValueError, ConfigError) as error:
            raise ModelError(
                f"{folder / _CONFIG}: its config does not build a {encoder_class.__qualname__}: {error}"
            ) from error
