"""The index on disk: searched, changed, shared by processes, killed, out of disk and damaged."""

from __future__ import annotations

import fcntl
import json
import resource
import shutil
import signal
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_index import DIM, Kind, build, documents_of, vectors_of

from jepakit.errors import ConfigError, DataError, ModelError
from jepakit.search.documents import Documents
from jepakit.search.index import Index
from processes import CONTEXT

kinds = pytest.mark.parametrize("kind", ["exact", "hnsw"])


def check(index: Index, wanted: dict[int, str]) -> None:
    """Each document is found by its own vector and its own words; no other is there."""
    assert len(index) == len(wanted) == int(index.alive.sum())
    for version in ("first", "second"):
        numbers = [number for number in wanted if wanted[number] == version]
        if not numbers:
            continue
        rows = index.rows_of([f"d{number}" for number in numbers])
        assert index.documents(rows) == documents_of(numbers, version)
        assert torch.allclose(index.vectors(rows), vectors_of(numbers, version))
        found = index.search_vectors(vectors_of(numbers, version), 1)
        assert found.rows[:, 0].tolist() == rows
        assert found.scores[:, 0].tolist() == pytest.approx([1] * len(numbers))
        assert index.search_words([f"word{number}" for number in numbers], 2).rows.tolist() == [[r, -1] for r in rows]
    everything = index.search_vectors(vectors_of([0]), max(len(wanted), 1) + 5).rows
    assert int((everything >= 0).sum()) == len(wanted)


def generations(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


@kinds
def test_built_opened_and_searched(kind: Kind, tmp_path: Path) -> None:
    build(tmp_path / "index", kind=kind)
    index = Index.open(tmp_path / "index", fingerprint="f1")
    check(index, dict.fromkeys(range(20), "first"))
    assert (index.manifest.base, index.manifest.dim, index.manifest.kind) == ("toy", DIM, kind)
    hits = index.search_words(["title 7", "word3 word4"], 3)
    assert index.documents(hits.rows[0, :1]).ids == ("d7",)
    assert sorted(index.documents(hits.rows[1, :2]).ids) == ["d3", "d4"]


@kinds
def test_filters_hold_for_both_searches(kind: Kind, tmp_path: Path) -> None:
    index = build(tmp_path, kind=kind)
    where = {"number": {"gte": 5, "lt": 8}}
    assert sorted(index.search_vectors(vectors_of([1]), 5, where).rows[0].tolist()) == [-1, -1, 5, 6, 7]
    assert sorted(index.search_words(["title first"], 5, where).rows[0].tolist()) == [-1, -1, 5, 6, 7]
    assert index.search_words(["word3"], 1, where).rows.tolist() == [[-1]]
    with pytest.raises(ConfigError, match=r"filter = 'numbr': expected .* \(did you mean 'number'\?\)"):
        index.search_vectors(vectors_of([1]), 5, {"numbr": 3})


@kinds
def test_any_changes_leave_what_a_dictionary_holds(kind: Kind, tmp_path: Path) -> None:
    """Documents come, are replaced and go, past several compactions; each state is whole, on disk and in memory."""
    random = np.random.default_rng(0)
    index = build(tmp_path, kind=kind)
    wanted = dict.fromkeys(range(20), "first")
    compacted = 0
    for _ in range(25):
        rows = index.rows
        if random.random() < 0.5 and wanted:
            gone = random.choice(sorted(wanted), min(len(wanted), int(random.integers(1, 6))), replace=False).tolist()
            index.delete([f"d{number}" for number in gone])
            wanted = {number: version for number, version in wanted.items() if number not in gone}
        else:
            come = random.choice(40, int(random.integers(1, 6)), replace=False).tolist()
            version = str(random.choice(["first", "second"]))
            index.add(documents_of(come, version), vectors_of(come, version))
            wanted |= dict.fromkeys(come, version)
        compacted += index.rows < rows
        check(index, wanted)
        check(Index.open(tmp_path, fingerprint="f1"), wanted)
        assert generations(tmp_path) == [index.manifest.folder_name]
    assert compacted > 0
    index.delete([f"d{number}" for number in wanted])
    check(index, {})


def test_a_deletion_writes_no_vectors(tmp_path: Path) -> None:
    index = build(tmp_path, kind="hnsw")
    inode = next(tmp_path.glob("*/vectors/vectors.faiss")).stat().st_ino
    index.delete(["d3"])
    assert next(tmp_path.glob("*/vectors/vectors.faiss")).stat().st_ino == inode


def test_readers_keep_what_they_opened(tmp_path: Path) -> None:
    writer = build(tmp_path)
    reader = Index.open(tmp_path)
    for number in range(5):
        writer.delete([f"d{number}"])
    check(reader, dict.fromkeys(range(20), "first"))
    check(writer, dict.fromkeys(range(5, 20), "first"))


def test_a_writer_adds_to_what_is_on_disk_now(tmp_path: Path) -> None:
    build(tmp_path)
    one, two = Index.open(tmp_path), Index.open(tmp_path)
    one.delete(["d0"])
    two.delete(["d1"])
    check(two, dict.fromkeys(range(2, 20), "first"))
    with pytest.raises(DataError, match="no such id in the index"):
        one.delete(["d1"])


def test_another_encoder_is_refused(tmp_path: Path) -> None:
    index = build(tmp_path)
    with pytest.raises(ModelError) as caught:
        Index.open(tmp_path, fingerprint="f2")
    for part in ("the base model or the adapter changed", "'f1', not 'f2'", "toy", "jepakit retrieval index"):
        assert part in str(caught.value)
    Index.build(tmp_path, documents_of([1]), torch.ones(1, 1), base="other", fingerprint="f2")
    assert Index.open(tmp_path, fingerprint="f2").manifest.dim == 1
    with pytest.raises(ModelError, match="the base model or the adapter changed"):
        index.delete(["d1"])


def test_bad_documents_and_vectors_change_nothing(tmp_path: Path) -> None:
    index = build(tmp_path)
    bad = vectors_of([30, 31])
    bad[1] *= 2
    with pytest.raises(DataError, match=r"vectors: row 21 \(id 'd31'\): the vector is not of length 1"):
        index.add(documents_of([30, 31]), bad)
    with pytest.raises(DataError, match=r"vectors: not one vector for each document \(found 1\); expected 2"):
        index.add(documents_of([30, 31]), bad[:1])
    with pytest.raises(DataError, match=r"vectors of another width \(found \(1, 3\)\); expected \[N, 16\]"):
        index.add(documents_of([30]), torch.ones(1, 3))
    with pytest.raises(DataError, match=r"no such id in the index \(found 'd77'\).*did you mean 'd7'\?"):
        index.delete(["d1", "d77"])
    with pytest.raises(DataError, match=r"row 1 \(id 'd31'\): the vector is not of length 1"):
        Index.build(tmp_path, documents_of([30, 31]), bad, base="toy", fingerprint="f1")
    with pytest.raises(DataError, match=r"not one vector for each document \(found 2\); expected 1"):
        Index.build(tmp_path, documents_of([30]), vectors_of([30, 31]), base="toy", fingerprint="f1")
    check(Index.open(tmp_path), dict.fromkeys(range(20), "first"))
    assert index.manifest.generation == 1


def test_folders_that_are_no_index(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no index there"):
        Index.open(tmp_path / "none")
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ModelError, match=r"holds something that is no index \(thesis\.tex\)"):
        build(tmp_path)
    with pytest.raises(ModelError, match=r"thesis\.tex: "):
        build(tmp_path / "thesis.tex")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def write_for_ever(folder: str) -> None:
    index = Index.open(folder)
    while True:
        index.add(documents_of(range(100, 130)), vectors_of(range(100, 130)))
        index.delete([f"d{number}" for number in range(100, 130)])


@kinds
def test_killed_at_any_moment(kind: Kind, tmp_path: Path) -> None:
    """What is on disk is the state before or after a change; the next writer is not kept out and clears up."""
    build(tmp_path, count=300, kind=kind)
    for delay in (0, 0.02, 0.15):
        before = Index.open(tmp_path).manifest.generation
        process = CONTEXT.Process(target=write_for_ever, args=(str(tmp_path),))
        process.start()
        while Index.open(tmp_path).manifest.generation == before or len(generations(tmp_path)) < 2:
            time.sleep(0.001)
        time.sleep(delay)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        index = Index.open(tmp_path)
        added = dict.fromkeys(range(100, 130), "first") if len(index) == 300 else {}
        check(index, {number: "first" for number in range(300) if number in added or not 100 <= number < 130})
    Index.open(tmp_path).add(documents_of([500]), vectors_of([500]))
    assert len(generations(tmp_path)) == 1


def test_a_killed_first_run_leaves_no_index_and_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "generation-0001" / "vectors").mkdir(parents=True)
    (tmp_path / "generation-0001" / "vectors" / "vectors.npy").write_bytes(b"half")
    (tmp_path / "manifest.json.partial").write_text("{")
    (tmp_path / ".manifest.json.01234567.partial").mkdir()
    with pytest.raises(ModelError, match="no index there"):
        Index.open(tmp_path)
    index = build(tmp_path)
    check(index, dict.fromkeys(range(20), "first"))
    assert generations(tmp_path) == ["generation-0001"]
    # Another writer is killed while this process goes on.
    (tmp_path / ".manifest.json.89abcdef.partial").mkdir()
    index.delete(["d0"])
    assert generations(tmp_path) == ["generation-0002"]


def test_two_writers(tmp_path: Path) -> None:
    index = build(tmp_path)
    with (tmp_path / ".lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for write in (lambda: index.delete(["d1"]), lambda: build(tmp_path)):
            with pytest.raises(ModelError, match="another process is writing"):
                write()
        check(Index.open(tmp_path), dict.fromkeys(range(20), "first"))
    index.delete(["d1"])
    assert len(index) == 19


def test_readers_beside_a_writer_never_wait_and_never_fail(tmp_path: Path) -> None:
    build(tmp_path, count=200)
    process = CONTEXT.Process(target=write_for_ever, args=(str(tmp_path),))
    process.start()
    seen = set[int]()
    try:
        start = time.monotonic()
        while len(seen) < 8 and time.monotonic() - start < 600:
            index = Index.open(tmp_path)
            assert len(index) in (170, 200)
            assert index.search_vectors(vectors_of([7]), 1).rows[0, 0] == index.rows_of(["d7"])[0]
            seen.add(index.manifest.generation)
    finally:
        process.kill()
        process.join()
    assert len(seen) >= 8


def write_with_little_disk(folder: str, limits: list[int], report: str) -> None:
    index = Index.open(folder)
    messages: list[str] = []
    for limit in limits:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            index.add(documents_of(range(1_000, 1_300)), vectors_of(range(1_000, 1_300)))
            messages.append("written")
        except ModelError as error:
            messages.append(str(error))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    Path(report).write_text(json.dumps(messages))


@kinds
def test_a_full_disk_leaves_the_old_generation_in_use(kind: Kind, tmp_path: Path) -> None:
    """The system itself refuses to write on, in whatever file comes first to the limit."""
    folder, report = tmp_path / "index", tmp_path / "report.json"
    build(folder, count=300, kind=kind)
    sizes = sorted(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    limits = [0, 100, *sizes[-8:], sizes[-1] + 5_000]
    process = CONTEXT.Process(target=write_with_little_disk, args=(str(folder), limits, str(report)))
    process.start()
    process.join()
    messages = json.loads(report.read_text())
    assert len(messages) == len(limits)
    for message in messages:
        assert message.startswith(f"{folder}: the index could not be written (")
        assert message.endswith("what was there stays in use")
    check(Index.open(folder), dict.fromkeys(range(300), "first"))
    assert generations(folder) == ["generation-0001"]


def test_every_file_cut_short_changed_or_gone_is_named(tmp_path: Path) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "index"
    build(whole)
    files = [path.relative_to(whole) for path in whole.rglob("*") if path.is_file() and path.name != ".lock"]
    assert len(files) == 13
    for name in files:
        shutil.copytree(whole, folder)
        content = (folder / name).read_bytes()
        middle = len(content) // 2
        for damaged in (content[:-1], content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]):
            (folder / name).write_bytes(damaged)
            with pytest.raises(ModelError, match=rf"{name.name}(:\d+)?: "):
                Index.open(folder)
        (folder / name).unlink()
        with pytest.raises(ModelError, match=rf"{name.name}: no such file.*jepakit retrieval index|no index there"):
            Index.open(folder)
        shutil.rmtree(folder)


def test_a_flipped_bit_of_the_manifest_is_seen(tmp_path: Path) -> None:
    build(tmp_path)
    file = tmp_path / "manifest.json"
    whole = file.read_bytes()
    for place in range(0, len(whole), 3):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 7
        if json_of(flipped) == json_of(whole):
            continue
        file.write_bytes(flipped)
        with pytest.raises(ModelError, match=r"manifest\.json(:\d+)?: "):
            Index.open(tmp_path)
    check(build(tmp_path), dict.fromkeys(range(20), "first"))
    assert len(generations(tmp_path)) == 1


def json_of(content: bytes | bytearray) -> object:
    """What JSON reads, which white space does not change."""
    try:
        return json.loads(content)
    except ValueError:
        return None


def test_an_index_of_a_later_version_is_refused_and_outlives_a_failing_build(tmp_path: Path) -> None:
    build(tmp_path)
    file = tmp_path / "manifest.json"
    now = file.read_text()
    later = {name: value for name, value in json.loads(now).items() if name != "checksum"} | {"format_version": 2}
    checksum = f"{zlib.crc32(json.dumps(later, sort_keys=True).encode()):08x}"
    file.write_text(json.dumps(later | {"checksum": checksum}))
    with pytest.raises(ModelError, match=r"manifest\.json: another format \(version 2, by jepakit .*reads version 1\)"):
        Index.open(tmp_path)
    with pytest.raises(DataError, match="not of length 1"):
        Index.build(tmp_path, documents_of([1]), vectors_of([1]) * 2, base="toy", fingerprint="f1")
    unwritable = Documents(("d1",), ("",), ("",), ({"k": float("nan")},))
    with pytest.raises(DataError, match="metadata of the document 'd1' cannot be stored"):
        Index.build(tmp_path, unwritable, vectors_of([1]), base="toy", fingerprint="f1")
    file.write_text(now)
    check(Index.open(tmp_path), dict.fromkeys(range(20), "first"))
