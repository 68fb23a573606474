"""The base model of a run of ``jepakit retrieval``: loaded, cached, and tuned where the run says so."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace

from rich.console import Console
from rich.progress import Progress

from jepakit.cli.runs import say
from jepakit.retrieval.adapter.stage import base_of, read_verdict, tune_in_run
from jepakit.retrieval.data import RetrievalDataset
from jepakit.retrieval.pretrain import TrainConfig
from jepakit.text import CachedEncoder, EmbeddingCache, SentenceEncoder, TextConfig, TextEncoder, load_text_encoder
from jepakit.training import RunFolder

__all__ = ["text_encoder", "tune_base", "untuned"]


@contextmanager
def text_encoder(config: TextConfig, *, show: bool = True) -> Generator[TextEncoder]:
    """The base model, with its cache where it has one; what it is busy with is shown while it is."""
    with _cached(load_text_encoder(config), config, show) as encoder:
        yield encoder


@contextmanager
def untuned(run: RunFolder, text: TextConfig, *, show: bool = True) -> Generator[TextEncoder | None]:
    """The base as it was before the run tuned it; None where it did not."""
    if base_of(run, text) == text:
        yield None
        return
    with text_encoder(text, show=show) as encoder:
        yield encoder


def tune_base(
    run: RunFolder, dataset: RetrievalDataset, text: TextConfig, config: TrainConfig, out: Console, *, resume: bool
) -> None:
    """The stage before the adapter, where there is one and it is not complete.

    Args:
        run: already started.
        dataset: with splits train and dev.
        text: the base.
        config: strategy and how.
        out: is told what came of it.
        resume: go on with what is there.
    """
    if config.strategy == "frozen":
        return
    verdict = read_verdict(run) if resume else None
    if verdict is None:
        # Only torch holds weights that can be trained; vectors are made as they are without training.
        encoder = load_text_encoder(replace(text, backend="torch"))
        vectors = encoder if text.backend == "torch" else load_text_encoder(text)
        with _cached(vectors, text, config.progress) as cached:
            verdict = tune_in_run(run, dataset, encoder, config, cached=cached, resume=resume)
    say(out, verdict)


@contextmanager
def _cached(encoder: SentenceEncoder, config: TextConfig, show: bool) -> Generator[TextEncoder]:
    if not config.cache:
        yield encoder
        return
    console = Console(stderr=True)
    # Where nobody looks, a bar that is taken away leaves an empty line.
    with Progress(console=console, transient=True, disable=not (show and console.is_terminal)) as bar:
        task = bar.add_task("encoding", total=None, visible=False)

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, visible=done < total)

        yield CachedEncoder(encoder, EmbeddingCache(), progress=progress)
