"""Keeps the messages of model libraries out of a command's output."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any


@contextmanager
def quiet() -> Generator[list[str]]:
    """Hides progress bars and log messages of transformers and sentence-transformers; yields the list of messages.

    Earlier settings are restored afterwards. Progress bars of downloads are still shown.
    """
    from transformers.utils.logging import set_tqdm_hook

    messages: list[str] = []
    handler = _Collector(messages)
    loggers = [logging.getLogger(name) for name in ("sentence_transformers", "transformers")]
    before = [(logger.handlers, logger.level, logger.propagate) for logger in loggers]
    hook = set_tqdm_hook(_hidden_bar)
    for logger in loggers:
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.WARNING)
    try:
        yield messages
    finally:
        set_tqdm_hook(hook)
        for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)


def _hidden_bar(bar: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    return bar(*args, **{**options, "disable": True})


class _Collector(logging.Handler):
    def __init__(self, messages: list[str]) -> None:
        super().__init__()
        self.messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
