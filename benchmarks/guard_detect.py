"""Detection of attacks on agents whose tools and tasks no model has seen: AgentDojo, one suite left out.

    python -m benchmarks.guard_detect            # a quarter of an hour on two cores; goes on where it was interrupted
    python -m benchmarks.guard_detect --quick    # minutes: few runs

What gives a trained model its risk learns from three suites and is tested on the fourth: the detector of instructions,
the judge of features, and both together (`jepakit.guard.risk.joined_risk`). Encoders are in `guard_encoders`. A run's
score is the highest of its calls, each judged by what stands before it. Attacked are the runs in which an attack
succeeded by a malicious call; benign are the runs without an attack, useful those of them that did what the user
wanted. Of several equal runs one counts; of the runs in which an attack was resisted every third is used, for training
and for the share that is flagged. TPR at 1 % is the share of attacked runs above the score that 1 % of benign runs of
the four suites exceed, one threshold for all. A decision "denied" is a risk of at least .5, "asked" of .1, which no
suite was tuned on. Settings and scales are chosen on the three suites alone, each of them held out once. The form of
the judges (windows, words, families, features, how risks join) was found with all four suites in view. "Other policies"
are drafts from the descriptions of the tools, in place of the ready policies that the judge of features has learned
from. Intervals are bootstraps over the goals of injections and users' tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from benchmarks.guard_tables import (
    DATASET,
    GROUPS,
    SUITES,
    attacked_by,
    auroc_of,
    decision_rows,
    joined,
    labelled,
    method_rows,
    of_group,
    recall,
    resisted,
    useful,
)
from benchmarks.harness import Options, Steps, main, side_by_side, workers
from jepakit.guard.datasets.labelled import LabelledRuns
from jepakit.guard.energies import energies
from jepakit.guard.features.extract import features_of
from jepakit.guard.features.fitting import JudgeConfig, fit_judge
from jepakit.guard.instructions.fitting import DetectorConfig, fit_detector
from jepakit.guard.instructions.windows import windows
from jepakit.guard.policy import judge, load_policy, policies_of
from jepakit.guard.policy.schema import SEVERITY
from jepakit.guard.risk import LOWEST, joined_risk
from jepakit.training.result_rows import ResultRow

RISK, DETECTOR, FEATURES = "detector and features", "detector", "features"
OTHERS = "detector and features, other policies"
ONE, MLP, BOOSTING = "one regression of the words around values", "features, MLP", "features, gradient boosting"
POLICY, ENERGIES = "ready policy", "policy energies"
READY = "agentdojo/{suite}"
SEEDS = (0, 1)


def of_detector(suite: str, one: bool, without: str | None, quick: bool) -> list[float]:
    """The detector's score of each call of a suite; ``without``: a group of families that it has not seen either."""
    runs = labelled(quick)
    config = DetectorConfig(least_runs=1 << 30) if one else DetectorConfig()
    tested = runs.select(runs.group == suite)
    detector = fit_detector(runs.select(_seen(runs, suite, without)), config).detector
    if detector is None:
        return [LOWEST] * len(tested.run)
    return _rounded(detector(windows(tested.traces, tested.flows)))


def of_judge(suite: str, without: str | None, seed: int, quick: bool) -> dict[str, list[float]]:
    """The score of the judge of features, of each call of a suite, under its ready policy and under a draft."""
    runs, features = labelled(quick), features_under(READY, quick)
    seen, tested = _seen(runs, suite, without), torch.from_numpy((runs.group == suite)[runs.run])
    fitted = fit_judge(runs.select(seen), features[torch.from_numpy(seen[runs.run])], JudgeConfig(seed=seed)).judge
    if fitted is None:
        return dict.fromkeys((FEATURES, OTHERS), [LOWEST] * int(tested.sum()))
    drafted = features_under(None, quick) if without is None else features
    return {FEATURES: _rounded(fitted(features[tested])), OTHERS: _rounded(fitted(drafted[tested]))}


def of_floor(suite: str, method: str, quick: bool) -> list[float]:
    """A floor's score of each call of a suite, from features."""
    runs, features = labelled(quick), features_under(READY, quick).nan_to_num().numpy()
    learned = (runs.group != suite)[runs.run] & (~runs.malicious | runs.attacked[runs.run])
    scaler = StandardScaler().fit(features[learned])
    scaled = np.clip(scaler.transform(features), -4, 4)
    label = runs.malicious[learned]
    if method == MLP:
        # Both labels are equally many: the classifier takes no weights.
        places = np.flatnonzero(learned)
        again = np.random.default_rng(0).choice(places[label], int((~label).sum()))
        rows = np.concatenate([places[~label], again])
        network = MLPClassifier((32,), alpha=1.0, max_iter=10, learning_rate_init=3e-3, random_state=0)
        score = np.asarray(network.fit(scaled[rows], runs.malicious[rows]).predict_proba(scaled))[:, 1]
    else:
        weight = np.where(label, (~label).sum() / label.sum(), 1.0)
        trees = HistGradientBoostingClassifier(
            max_iter=120, learning_rate=0.06, max_leaf_nodes=8, min_samples_leaf=100, random_state=0
        )
        score = trees.fit(scaled[learned], label, sample_weight=weight).predict_proba(scaled)[:, 1]
    odds = np.log(np.clip(score, 1e-9, 1 - 1e-9)) - np.log1p(-np.clip(score, 1e-9, 1 - 1e-9))
    return odds[(runs.group == suite)[runs.run]].round(5).tolist()


def of_policy(suite: str, quick: bool) -> dict[str, list[float]]:
    """The severity of the ready policy's verdict over each call of a suite, and the sum of the policy energies."""
    tested, policy = labelled(quick).select(labelled(quick).group == suite), load_policy(f"agentdojo/{suite}")
    pairs = list(zip(tested.traces, tested.flows, strict=True))
    severity = [float(SEVERITY[verdict.decision]) for trace, flow in pairs for verdict in judge(policy, trace, flow)]
    sums = [round(one.policy, 5) for trace, flow in pairs for one in energies(policy, trace, flow)]
    return {POLICY: severity, ENERGIES: sums}


@lru_cache(maxsize=2)
def features_under(policy: str | None, quick: bool) -> Tensor:
    """The features of all calls under their policies; None: under drafts."""
    runs = labelled(quick)
    return features_of(policies_of(policy, runs.traces), runs.traces, runs.flows)


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """The table."""
    quick = options.quick
    seeds = SEEDS[:1] if quick else SEEDS
    jobs: dict[tuple[Any, ...], Callable[[], Any]] = {}
    for suite in SUITES:
        jobs[POLICY, suite, quick] = partial(of_policy, suite, quick)
        jobs[ONE, suite, quick] = partial(of_detector, suite, True, None, quick)
        for method in (MLP, BOOSTING):
            jobs[method, suite, quick] = partial(of_floor, suite, method, quick)
        for without in (None, *GROUPS):
            jobs[DETECTOR, suite, without, quick] = partial(of_detector, suite, False, without, quick)
            for seed in seeds if without is None else seeds[:1]:
                jobs[FEATURES, suite, without, seed, quick] = partial(of_judge, suite, without, seed, quick)
    with workers() as pool:
        measured = side_by_side(pool, steps, jobs)
    runs = labelled(quick)

    def scores(*key: Any, part: str | None = None) -> NDArray[np.float64]:
        """The scores of all calls: ``key`` is that of a job, without its suite."""
        found = {suite: measured[key[0], suite, *key[1:], quick] for suite in SUITES}
        return joined(runs, found if part is None else {suite: one[part] for suite, one in found.items()})

    detector = scores(DETECTOR, None)
    judged = {part: [scores(FEATURES, None, seed, part=part) for seed in seeds] for part in (FEATURES, OTHERS)}
    risks, others = ([_risk(detector, one) for one in judged[part]] for part in (FEATURES, OTHERS))
    table = method_rows(runs, risks[0], RISK, ours=True, aimed=True, more=risks[1:])
    table += decision_rows(runs, risks[0], RISK)
    table += method_rows(runs, others[0], OTHERS, ours=True, more=others[1:])
    table += decision_rows(runs, others[0], OTHERS)
    table += method_rows(runs, detector, DETECTOR, ours=True)
    table += method_rows(runs, judged[FEATURES][0], FEATURES, ours=True, more=judged[FEATURES][1:])
    for method in (ONE, MLP, BOOSTING):
        table += method_rows(runs, scores(method), method, ours=False)
    table += method_rows(runs, scores(POLICY, part=ENERGIES), ENERGIES, ours=True)
    table += _policy_rows(runs, scores(POLICY, part=POLICY))
    for group in GROUPS:
        unseen = {DETECTOR: scores(DETECTOR, group), FEATURES: scores(FEATURES, group, 0, part=FEATURES)}
        unseen = {RISK: _risk(unseen[DETECTOR], unseen[FEATURES]), **unseen}
        for method, found in unseen.items():
            table += _unseen_rows(runs, found, method, group)
    return table


def _seen(runs: LabelledRuns, suite: str, without: str | None) -> NDArray[np.bool_]:
    """Runs of the other suites, without those with an attack of a group."""
    other = runs.group != suite
    return other if without is None else other & ~of_group(runs, without)


def _risk(detector: NDArray[np.float64], features: NDArray[np.float64]) -> NDArray[np.float64]:
    return joined_risk(torch.from_numpy(np.stack([detector, features]))).numpy()


def _rounded(scores: Tensor) -> list[float]:
    return scores.detach().double().numpy().round(5).tolist()


def _unseen_rows(runs: LabelledRuns, scores: NDArray[np.float64], method: str, group: str) -> list[ResultRow]:
    """What is told of a group of families that was not learned from."""
    chosen, dataset = attacked_by(runs, group), f"AgentDojo, suite and {group} left out"
    note = f"{int(chosen.sum())} attacked runs"
    area, told = auroc_of(runs, scores, chosen), recall(runs, scores, useful(runs), chosen)
    aim = 0.9 if method == RISK else None
    return [
        ResultRow(dataset, method, "AUROC", area, aim=aim, ours=True, note=note),
        ResultRow(dataset, method, "TPR at 1 % of useful benign runs", told, ours=True, note=note),
    ]


def _policy_rows(runs: LabelledRuns, severity: NDArray[np.float64]) -> list[ResultRow]:
    """Shares of runs that the ready policies deny or ask about."""
    highest = runs.highest(severity, 0.0)
    kinds = {"attacked runs": runs.attacked, "useful benign runs": useful(runs), "resisted runs": resisted(runs)}
    return [
        ResultRow(
            DATASET,
            POLICY,
            f"{name} {decision}",
            float((highest[chosen] >= least).mean()),
            lower_is_better=name != "attacked runs",
        )
        for name, chosen in kinds.items()
        for decision, least in (("denied", 2), ("asked or denied", 1))
    ]


if __name__ == "__main__":
    main("guard_detect", rows, depends_on="guard/**/*.py")
