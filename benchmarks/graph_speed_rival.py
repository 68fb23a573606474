"""Runs geriskenderi/graph-jepa from a checkout, in a process of its own, and times what `benchmarks.graph_speed` asks.

Started in an empty folder with the arguments below. It answers one line of JSON, ``{"graphs": G}``, then
``{"seconds": s}`` for each line it reads:

- ``epoch``: its training function over its own data loader, which cuts every graph into METIS patches anew each epoch;
- ``steps``: the same function over batches that are ready;
- ``embed``: its encoder, in eval mode, over its own data loader;
- ``encode``: the same over batches that are ready.

It is the checkout's own code with its own settings for the data set, but for hidden size, batch size and workers.
Packages it imports that are not installed are stood in for by the few lines at the end: each maps the one function that
is used to its equivalent in an installed package, or is a class that is only named.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import sys
import time
import types
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("checkout", type=Path)
    parser.add_argument("raw", type=Path, help="folder of the data set's files")
    parser.add_argument("dataset")
    for number in ("limit", "hidden", "batch_size", "threads"):
        parser.add_argument(number, type=int)
    options = parser.parse_args()
    # Its code prints; the answers need a stream of their own.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    sys.stdout = sys.stderr
    torch.set_num_threads(options.threads)
    clock = clock_for(options.threads)
    install_stand_ins()
    sys.path.insert(0, str(options.checkout))
    jobs, graphs = prepare(options)
    answers.write(json.dumps({"graphs": graphs}) + "\n")
    answers.flush()
    for line in sys.stdin:
        start = clock()
        jobs[line.strip()]()
        answers.write(json.dumps({"seconds": clock() - start}) + "\n")
        answers.flush()


def clock_for(threads: int) -> Callable[[], float]:
    """The clock both sides are timed with: on one thread processor time, which other programs do not disturb."""
    return time.process_time if threads == 1 else time.perf_counter


def prepare(options: argparse.Namespace) -> tuple[dict[str, Callable[[], None]], int]:
    """The jobs by name, warmed up, and the number of graphs each goes through."""
    from torch_geometric.loader import DataLoader

    cfg, create_dataset, create_model, train = rival_parts(options)
    target = Path("dataset/TUD") / options.dataset
    target.mkdir(parents=True)
    (target / "raw").symlink_to(options.raw.resolve())
    torch.manual_seed(0)
    everything, transform, evaluation_transform = create_dataset(cfg)
    dataset, evaluated = everything[: options.limit], everything[: options.limit]
    dataset.transform, evaluated.transform = transform, evaluation_transform
    model = create_model(cfg)
    optimizer = torch.optim.Adam(model.parameters(), lr=cfg.train.lr, weight_decay=cfg.train.wd)
    # A worker a thread, and none where there is one: eight, its default, would fight over two cores.
    workers = options.threads if options.threads > 1 else 0
    loader = DataLoader(dataset, options.batch_size, shuffle=True, num_workers=workers)
    evaluation_loader = DataLoader(evaluated, options.batch_size, num_workers=workers)
    batches, evaluation_batches = list(loader), list(evaluation_loader)

    def train_on(data: Iterable[Any]) -> None:
        model.train()
        train(data, model, optimizer, evaluator=None, device="cpu", momentum_weight=0.996)

    def encode(data: Iterable[Any]) -> None:
        model.eval()
        with torch.no_grad():
            for batch in data:
                model.encode(batch)

    train_on(batches[:1])
    encode(evaluation_batches[:1])
    return {
        "epoch": lambda: train_on(loader),
        "steps": lambda: train_on(batches),
        "embed": lambda: encode(evaluation_loader),
        "encode": lambda: encode(evaluation_batches),
    }, len(dataset)


def rival_parts(options: argparse.Namespace) -> tuple[Any, Any, Any, Any]:
    """Its configuration for the data set, and its functions that make the data, the model and a training epoch."""
    config = importlib.import_module("core.config")
    name = options.dataset.lower().replace("-binary", "b")
    cfg = config.cfg
    cfg.merge_from_file(str(options.checkout / "train" / "configs" / f"{name}.yaml"))
    cfg = config.update_cfg(cfg, "")
    cfg.model.hidden_size, cfg.train.batch_size = options.hidden, options.batch_size
    cfg.device = "cpu"
    create_dataset = importlib.import_module("core.get_data").create_dataset
    create_model = importlib.import_module("core.get_model").create_model
    return cfg, create_dataset, create_model, importlib.import_module(f"train.{name}").train


def install_stand_ins() -> None:
    """Puts a stand-in into ``sys.modules`` for each package that cannot be imported."""
    stand_ins = {
        "torch_scatter": {"scatter": _scatter},
        "torch_sparse": {"SparseTensor": _SparseTensor},
        "metis": {"part_graph": _part_graph},
        "yacs": {},
        "yacs.config": {"CfgNode": _CfgNode},
        "einops": {},
        "einops.layers": {},
        "einops.layers.torch": {"Rearrange": _Unused},
        "ogb": {},
        "ogb.graphproppred": {},
        "ogb.graphproppred.mol_encoder": {"AtomEncoder": _Unused, "BondEncoder": _Unused},
    }
    missing = [name for name in stand_ins if "." not in name and importlib.util.find_spec(name) is None]
    for name, members in stand_ins.items():
        if name.split(".")[0] in missing:
            module = types.ModuleType(name)
            module.__dict__.update(members)
            sys.modules[name] = module


def _scatter(src: torch.Tensor, index: torch.Tensor, dim: int = 0, reduce: str = "sum") -> torch.Tensor:
    from torch_geometric.utils import scatter

    return scatter(src, index, dim=dim, reduce=reduce)


class _SparseTensor:
    def __init__(self, row: torch.Tensor, col: torch.Tensor, sparse_sizes: tuple[int, int]) -> None:
        self.matrix = torch.sparse_coo_tensor(torch.stack([row, col]), torch.ones(len(row)), sparse_sizes)

    def matmul(self, dense: torch.Tensor) -> torch.Tensor:
        return self.matrix @ dense


def _part_graph(graph: Any, parts: int, recursive: bool) -> Any:
    import pymetis

    adjacency = [list(graph.neighbors(node)) for node in range(graph.number_of_nodes())]
    return pymetis.part_graph(parts, adjacency, recursive=recursive)


class _CfgNode(dict[str, Any]):
    __getattr__ = dict.__getitem__
    __setattr__ = dict.__setitem__

    def merge_from_file(self, path: str) -> None:
        import yaml

        self._merge(yaml.safe_load(Path(path).read_text("utf-8")))

    def merge_from_list(self, options: list[str]) -> None:
        assert not options

    def clone(self) -> _CfgNode:
        return _CfgNode({k: v.clone() if isinstance(v, _CfgNode) else v for k, v in self.items()})

    def _merge(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            if isinstance(value, dict):
                self[name]._merge(value)
            else:
                self[name] = value


class _Unused(torch.nn.Module):
    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__()


if __name__ == "__main__":
    main()
