"""Vectors on disk: what was kept is found, in every process; what is damaged, full or forbidden only costs the time."""

from __future__ import annotations

import hashlib
import logging
import os
import resource
import shutil
import signal
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from jepakit.errors import ModelError
from jepakit.text import CachedEncoder, EmbeddingCache, Kind
from processes import CONTEXT

DIM = 12
NOBODY = 65534
#: Files that processes begin together; now and then, a moment of the first writes decides.
ROUNDS = 60


class Counting:
    """An encoder that remembers what it was asked for; a text's vector depends on text and kind alone."""

    def __init__(self, *, dim: int = DIM, fingerprint: str = "f1", fails_after: int | None = None) -> None:
        self.name, self.dim, self.fingerprint = "counting", dim, fingerprint
        self.fails_after = fails_after
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str], kind: Kind) -> Tensor:
        if self.fails_after is not None and len(self.asked) >= self.fails_after:
            raise ModelError("killed")
        self.asked += texts
        return vectors_of([f"{kind}:{text}" for text in texts], self.dim)


def vectors_of(names: Sequence[str], dim: int = DIM) -> Tensor:
    rows = np.zeros((len(names), dim), np.float32)
    for row, name in enumerate(names):
        seed = int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
        rows[row] = np.random.default_rng(seed).standard_normal(dim)
    return torch.nn.functional.normalize(torch.from_numpy(rows), dim=-1)


def key_of(number: int) -> bytes:
    return hashlib.blake2b(str(number).encode(), digest_size=16).digest()


def many(numbers: Sequence[int], dim: int = DIM) -> dict[bytes, np.ndarray]:
    vectors = vectors_of([f"n{number}" for number in numbers], dim).numpy()
    return {key_of(number): vector for number, vector in zip(numbers, vectors, strict=True)}


def assert_all_true(found: dict[bytes, np.ndarray], expected: dict[bytes, np.ndarray]) -> None:
    for key, vector in found.items():
        np.testing.assert_array_equal(vector, expected[key])


def overwrite(file: Path, statement: str, values: Sequence[object] = ()) -> None:
    db = sqlite3.connect(file)
    with db:
        db.execute(statement, values)
    db.close()


@pytest.fixture
def cache(tmp_path: Path) -> EmbeddingCache:
    return EmbeddingCache(tmp_path / "deep" / "embeddings.sqlite")


# --- what is kept ---


def test_what_was_put_is_found_by_another_cache_on_the_same_file(cache: EmbeddingCache) -> None:
    expected = many(range(1300))
    cache.put(expected)
    found = EmbeddingCache(cache.file).get([*expected, key_of(5000), key_of(0)], DIM)
    assert found.keys() == expected.keys()
    assert_all_true(found, expected)
    assert cache.get([], DIM) == {}
    cache.put({})
    newer = {key_of(3): np.zeros(DIM, np.float32)}
    cache.put(newer)
    assert_all_true(cache.get([key_of(3)], DIM), newer)


def test_a_cache_is_in_the_cache_folder_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    EmbeddingCache().put(many([1]))
    assert (tmp_path / "home" / "jepakit" / "embeddings.sqlite").is_file()


def test_a_vector_of_another_width_is_unknown(cache: EmbeddingCache) -> None:
    expected = many([1, 2])
    cache.put(expected)
    # One number more takes the bytes of the checksum that an older file may lack.
    for dim in (DIM - 1, DIM + 1, 1, 2 * DIM):
        assert cache.get(list(expected), dim) == {}
    overwrite(cache.file, "UPDATE vectors SET vector = ? WHERE key = ?", [expected[key_of(1)].tobytes(), key_of(1)])
    assert cache.get(list(expected), DIM).keys() == {key_of(2)}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_vector_that_is_not_finite_is_unknown(value: float, cache: EmbeddingCache) -> None:
    expected = many([1, 2])
    cache.put({**expected, key_of(1): np.full(DIM, value, np.float32)})
    found = cache.get(list(expected), DIM)
    assert found.keys() == {key_of(2)}
    assert_all_true(found, expected)


def test_a_flipped_bit_and_a_vector_under_a_wrong_key_are_unknown(cache: EmbeddingCache) -> None:
    expected = many([1, 2, 3, 4])
    cache.put(expected)
    db = sqlite3.connect(cache.file)
    stored = dict(db.execute("SELECT key, vector FROM vectors").fetchall())
    db.close()
    flipped = bytearray(stored[key_of(1)])
    flipped[20] ^= 1
    for number, blob in ((1, bytes(flipped)), (2, stored[key_of(3)]), (3, "text"), (4, stored[key_of(4)])):
        overwrite(cache.file, "UPDATE vectors SET vector = ? WHERE key = ?", [blob, key_of(number)])
    found = cache.get(list(expected), DIM)
    assert found.keys() == {key_of(4)}
    assert_all_true(found, expected)


# --- CachedEncoder ---


def test_encoder_keeps_order_and_encodes_each_text_once(cache: EmbeddingCache) -> None:
    inner = Counting()
    cached = CachedEncoder(inner, cache, block=2)
    texts = ["b", "aaa", "", "b", "lone \ud800", "cc", "aaa", "b"]
    expected = vectors_of([f"document:{text}" for text in texts])
    assert torch.equal(cached.encode(texts, "document"), expected)
    # The longest first: a batch is as long as its longest.
    assert inner.asked == ["lone \ud800", "aaa", "cc", "b", ""]
    assert torch.equal(CachedEncoder(Counting(fails_after=0), cache).encode(texts[::-1], "document"), expected.flip(0))
    assert CachedEncoder(inner, cache).encode([], "query").shape == (0, DIM)
    assert (cached.name, cached.dim, cached.fingerprint) == ("counting", DIM, "f1")


def test_kinds_and_models_do_not_share_vectors(cache: EmbeddingCache) -> None:
    for encoder in (Counting(), Counting(fingerprint="f2"), Counting(dim=DIM + 1)):
        cached = CachedEncoder(encoder, cache)
        for kind in ("query", "document"):
            assert torch.equal(cached.encode(["a"], kind), vectors_of([f"{kind}:a"], encoder.dim))
        assert encoder.asked == ["a", "a"]


def test_what_was_encoded_before_a_kill_is_kept(cache: EmbeddingCache) -> None:
    texts = [f"text {number}" for number in range(100)]
    with pytest.raises(ModelError, match="killed"):
        CachedEncoder(Counting(fails_after=60), cache, block=20).encode(texts, "query")
    rest = Counting()
    cached = CachedEncoder(rest, cache, block=20)
    assert torch.equal(cached.encode(texts, "query"), vectors_of([f"query:{text}" for text in texts]))
    assert len(rest.asked) == 40


def test_what_is_returned_may_be_changed(cache: EmbeddingCache) -> None:
    cached = CachedEncoder(Counting(), cache)
    for _ in range(2):
        found = cached.encode(["a", "a"], "query")
        assert torch.equal(found, vectors_of(["query:a", "query:a"]))
        found.zero_()


def test_twenty_thousand_are_found_at_once(cache: EmbeddingCache) -> None:
    rows = np.random.default_rng(0).standard_normal((40_000, 384)).astype(np.float32)
    everything = {key_of(number): row for number, row in enumerate(rows)}
    cache.put(everything)
    wanted = [key_of(number) for number in range(0, 40_000, 2)]
    start = time.process_time()
    for key in wanted[:1000]:
        cache.get([key], 384)
    one_by_one = (time.process_time() - start) * len(wanted) / 1000
    start = time.process_time()
    found = cache.get(wanted, 384)
    assert time.process_time() - start < one_by_one / 3
    assert found.keys() == set(wanted)
    assert_all_true(found, everything)


# --- files that cannot be used ---


def check_useless(cache: EmbeddingCache, caplog: pytest.LogCaptureFixture, message: str) -> None:
    """The vectors are right, every text is encoded, and one warning says why."""
    inner = Counting()
    cached = CachedEncoder(inner, cache, block=5)
    texts = [f"text {number}" for number in range(30)]
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert torch.equal(cached.encode(texts, "query"), vectors_of([f"query:{text}" for text in texts]))
    assert len(inner.asked) == 60
    assert len(caplog.messages) == 1
    assert message in caplog.messages[0]
    assert str(cache.file) in caplog.messages[0]


def test_a_file_of_random_bytes(cache: EmbeddingCache, caplog: pytest.LogCaptureFixture) -> None:
    cache.file.parent.mkdir()
    noise = np.random.default_rng(0).bytes(100_000)
    cache.file.write_bytes(noise)
    check_useless(cache, caplog, "(file is not a database): texts are encoded again; delete it if this goes on")
    # It is the user's to delete: it may be anything.
    assert cache.file.read_bytes() == noise


def test_a_folder_in_place_of_the_file(cache: EmbeddingCache, caplog: pytest.LogCaptureFixture) -> None:
    cache.file.mkdir(parents=True)
    check_useless(cache, caplog, "unable to open database file")


def test_a_file_in_place_of_the_folder(cache: EmbeddingCache, caplog: pytest.LogCaptureFixture) -> None:
    cache.file.parent.write_text("")
    check_useless(cache, caplog, "File exists")


def test_another_table_of_that_name(cache: EmbeddingCache, caplog: pytest.LogCaptureFixture) -> None:
    cache.file.parent.mkdir()
    overwrite(cache.file, "CREATE TABLE vectors (name TEXT)")
    check_useless(cache, caplog, "no such column")


def test_a_file_that_another_program_keeps_locked(
    cache: EmbeddingCache, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jepakit.text.cache._LOCK_TIMEOUT_SECONDS", 0.05)
    cache.put(many([1]))
    holder = sqlite3.connect(cache.file, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    inner = Counting()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            CachedEncoder(inner, cache, block=1).encode(["a", "b"], "query")
    assert len(inner.asked) == 6
    assert [message.partition("embeddings.sqlite ")[2] for message in caplog.messages] == [
        "cannot be written (database is locked): new vectors are not kept"
    ]
    # What is in it is still found.
    assert_all_true(cache.get([key_of(1)], DIM), many([1]))
    holder.close()


@pytest.mark.parametrize("seed", range(12))
def test_damage_within_the_file_never_gives_a_wrong_vector(seed: int, cache: EmbeddingCache) -> None:
    expected = many(range(400), 40)
    for start in range(0, 400, 50):
        cache.put({key_of(number): expected[key_of(number)] for number in range(start, start + 50)})
    draw = np.random.default_rng(seed)
    content = bytearray(cache.file.read_bytes())
    for place in draw.integers(100, len(content) - 300, 12):
        content[place : place + 300] = draw.bytes(300)
    if seed % 3 == 0:
        del content[int(draw.integers(1000, len(content))) :]
    cache.file.write_bytes(bytes(content))
    damaged = EmbeddingCache(cache.file)
    found = damaged.get(list(expected), 40)
    assert len(found) < 400
    assert_all_true(found, expected)
    damaged.put(many(range(400, 450), 40))
    assert_all_true(damaged.get([key_of(number) for number in range(450)], 40), many(range(450), 40))


# --- other users, other processes ---


def use_as_nobody(file: str, log: str) -> None:
    if os.geteuid() == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    logging.basicConfig(filename=log, level=logging.WARNING, format="%(message)s", force=True)
    use(file, 30)


def use_with_little_disk(file: str, limit: int, log: str) -> None:
    logging.basicConfig(filename=log, level=logging.WARNING, format="%(message)s", force=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    use(file, 300)


def use(file: str, count: int) -> None:
    cached = CachedEncoder(Counting(dim=100), EmbeddingCache(Path(file)), block=10)
    texts = [f"text {number}" for number in range(count)]
    expected = vectors_of([f"query:{text}" for text in texts], 100)
    for _ in range(2):
        assert torch.equal(cached.encode(texts, "query"), expected)


def put_together(folder: str, barrier: Barrier, number: int, log: str) -> None:
    logging.basicConfig(filename=log, level=logging.WARNING, format="%(message)s", force=True)
    expected = many(range(60))
    keys = list(expected)
    for round_ in range(ROUNDS):
        cache = EmbeddingCache(Path(folder) / f"{round_}.sqlite")
        barrier.wait(60)
        for start in range(0, 60, 20):
            # Every process has its own order, and puts what the others put as well.
            some = [keys[(start + number * 15 + place) % 60] for place in range(20)]
            cache.put({key: expected[key] for key in some})
            found = cache.get(some, DIM)
            assert found.keys() == set(some)
            assert_all_true(found, expected)


def put_for_ever(file: str) -> None:
    cache, start = EmbeddingCache(Path(file)), 0
    while True:
        cache.put(many(range(start, start + 50)))
        start += 50


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that other users may look into, which those of pytest are not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.parametrize("filled", [False, True])
def test_a_folder_that_may_not_be_written(filled: bool, public_folder: Path) -> None:
    file, log = public_folder / "embeddings.sqlite", public_folder / "log"
    if filled:
        EmbeddingCache(file).put(many(range(10)))
        file.chmod(0o444)
    log.touch()
    log.chmod(0o666)
    public_folder.chmod(0o555)
    process = CONTEXT.Process(target=use_as_nobody, args=(str(file), str(log)))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert len(log.read_text().splitlines()) == 1
    assert log.read_text().startswith(f"{file} cannot be ")


def test_a_full_disk(tmp_path: Path) -> None:
    file, log = tmp_path / "embeddings.sqlite", tmp_path / "log"
    EmbeddingCache(file).put(many(range(20), 100))
    before = many(range(20), 100)
    # From no room at all to room for some of the blocks.
    for limit in (1000, 40_000, 100_000, 140_000):
        log.unlink(missing_ok=True)
        process = CONTEXT.Process(target=use_with_little_disk, args=(str(file), limit, str(log)))
        process.start()
        process.join()
        assert process.exitcode == 0
        assert len(log.read_text().splitlines()) == 1
        assert_all_true(found := EmbeddingCache(file).get(list(before), 100), before)
        assert len(found) == 20
    inner = Counting(dim=100)
    texts = [f"text {number}" for number in range(300)]
    expected = vectors_of([f"query:{text}" for text in texts], 100)
    assert torch.equal(CachedEncoder(inner, EmbeddingCache(file)).encode(texts, "query"), expected)
    assert 0 < len(inner.asked) < 300
    # With room again, all is kept.
    inner = Counting(dim=100, fails_after=0)
    assert torch.equal(CachedEncoder(inner, EmbeddingCache(file)).encode(texts, "query"), expected)


def test_processes_share_files_that_none_of_them_found(tmp_path: Path) -> None:
    barrier = CONTEXT.Barrier(8)
    logs = [tmp_path / f"log{number}" for number in range(8)]
    processes = [
        CONTEXT.Process(target=put_together, args=(str(tmp_path / "new"), barrier, number, str(log)))
        for number, log in enumerate(logs)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 8
    assert [log.read_text() for log in logs] == [""] * 8
    expected = many(range(60))
    for round_ in range(ROUNDS):
        found = EmbeddingCache(tmp_path / "new" / f"{round_}.sqlite").get(list(expected), DIM)
        assert len(found) == 60
        assert_all_true(found, expected)


def test_a_process_killed_while_it_writes(tmp_path: Path) -> None:
    file = tmp_path / "embeddings.sqlite"
    expected = many(range(20_000))
    cache, count = EmbeddingCache(file), 0
    for delay in (0.0, 0.013, 0.031):
        process = CONTEXT.Process(target=put_for_ever, args=(str(file),))
        process.start()
        deadline = time.monotonic() + 600
        while key_of(count) not in cache.get([key_of(count)], DIM):
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(delay)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        found = cache.get(list(expected), DIM)
        assert_all_true(found, expected)
        # A block is there as a whole or not at all.
        assert len(found) % 50 == 0
        count = len(found)
    cache.put({b"last": expected[key_of(0)]})
    assert cache.get([b"last"], DIM).keys() == {b"last"}


def test_threads_share_a_cache(cache: EmbeddingCache, caplog: pytest.LogCaptureFixture) -> None:
    expected, wrong = many(range(200)), list[int]()

    def work(number: int) -> None:
        keys = list(expected)[number * 20 :] + list(expected)[: number * 20]
        for start in range(0, 200, 10):
            some = keys[start : start + 10]
            cache.put({key: expected[key] for key in some})
            found = cache.get(some, DIM)
            if len(found) != 10 or any(not np.array_equal(found[key], expected[key]) for key in some):
                wrong.append(start)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (wrong, caplog.messages) == ([], [])
    assert len(cache.get(list(expected), DIM)) == 200
