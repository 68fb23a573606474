"""AWS IAM as AWS evaluates it, by hand and on all managed policies; service policies with the tools of their tasks."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from jepakit.errors import DataError
from jepakit.guard.data import Call, Trace
from jepakit.guard.policy import iam_policies, iam_policy, judge, service_policy
from jepakit.guard.traces.provenance import data_flow


def decided(statements: list[dict[str, Any]], tool: str, resource: str | None = None) -> str:
    document: dict[str, Any] = {"Version": "2012-10-17", "Statement": [{"Resource": "*", **one} for one in statements]}
    for one in document["Statement"]:
        if "NotResource" in one:
            del one["Resource"]
    policy = iam_policy(document, resource_argument="/arn")
    arguments = {} if resource is None else {"arn": resource}
    trace = Trace(calls=(Call(id="c", tool=tool, arguments=arguments),))
    return judge(policy, trace, data_flow(trace))[0].decision


def allow(action: Any, **further: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, **further}


def deny(action: Any, **further: Any) -> dict[str, Any]:
    return {"Effect": "Deny", "Action": action, **further}


BUCKET = "arn:aws:s3:::mine/*"


@pytest.mark.parametrize(
    ("statements", "tool", "resource", "decision"),
    [
        ([allow("s3:Get*")], "s3:GetObject", None, "allow"),
        ([allow("s3:Get*")], "S3:getobject", None, "allow"),
        ([allow("s3:Get*")], "s3:PutObject", None, "deny"),
        ([allow("s3:Get?")], "s3:Get", None, "deny"),
        ([allow("s3:Get?*t")], "s3:GetXt", None, "allow"),
        ([allow("*")], "anything", None, "allow"),
        ([allow(["a:B", "c:D"])], "c:D", None, "allow"),
        # A point is a point, and a pattern is of the whole name.
        ([allow("s3.Get*")], "s3:GetObject", None, "deny"),
        ([allow("s3:Get")], "xs3:Get", None, "deny"),
        ([allow("*"), deny("iam:*")], "iam:CreateUser", None, "deny"),
        ([{"Effect": "Allow", "NotAction": ["iam:*"]}], "iam:CreateUser", None, "deny"),
        ([{"Effect": "Allow", "NotAction": ["iam:*"]}], "ec2:Run", None, "allow"),
        ([allow("s3:*", Resource=BUCKET)], "s3:Get", "arn:aws:s3:::mine/a", "allow"),
        ([allow("s3:*", Resource=BUCKET)], "s3:Get", "arn:aws:s3:::Mine/a", "deny"),
        ([allow("s3:*", Resource=BUCKET)], "s3:Get", None, "ask"),
        ([allow("s3:*", Resource="arn:${aws:username}")], "s3:Get", "arn:x", "ask"),
        ([allow("s3:*", NotResource=BUCKET)], "s3:Get", "arn:aws:s3:::mine/a", "deny"),
        ([allow("s3:*", NotResource=BUCKET)], "s3:Get", "arn:aws:s3:::theirs/a", "allow"),
        ([allow("s3:*", Condition={"Bool": {"x": "true"}})], "s3:Get", None, "ask"),
        ([allow("s3:*", Condition={"Bool": {"x": "true"}}), allow("s3:Get")], "s3:Get", None, "allow"),
        ([allow("*"), deny("s3:*", Condition={"Bool": {"x": "true"}})], "s3:Get", None, "ask"),
        ([allow("*"), deny("s3:*", Resource=BUCKET)], "s3:Get", "arn:aws:s3:::mine/a", "deny"),
        ([allow("*"), deny("s3:*", Resource=BUCKET)], "s3:Get", "arn:aws:s3:::theirs/a", "allow"),
    ],
)
def test_statements_by_hand(statements: list[dict[str, Any]], tool: str, resource: str | None, decision: str) -> None:
    assert decided(statements, tool, resource) == decision


@pytest.mark.parametrize(
    ("statement", "field"),
    [
        ({"Effect": "Allow"}, "Statement[0]"),
        ({"Effect": "allow", "Action": "*"}, "Statement[0].Effect"),
        ({"Effect": "Allow", "Action": [1]}, "Statement[0].Action"),
        ({"Effect": "Allow", "Action": []}, "Statement[0].Action"),
        ({"Effect": "Allow", "Actions": "*"}, "Statement[0].Actions"),
        ({"Effect": "Allow", "Action": "*", "Condition": "x"}, "Statement[0].Condition"),
        ("*", "Statement[0]"),
    ],
)
def test_documents_that_are_none(statement: Any, field: str) -> None:
    with pytest.raises(DataError) as caught:
        iam_policy({"Statement": [statement]})
    assert caught.value.field == field


def test_faults_name_the_line(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    good = json.dumps({"name": "a", "document": {"Statement": allow("*", Resource="*")}})
    for bad, field in (('{"name": "b"}', "document"), ("{", None), ("[]", None)):
        file.write_text(f"{good}\n\n{bad}\n")
        read = iam_policies(file)
        assert next(read).name == "a"
        with pytest.raises(DataError) as caught:
            next(read)
        assert (caught.value.file, caught.value.line, caught.value.field) == (file, 3, field)


def test_all_managed_policies_load_and_keep_their_documents(data_dir: Path) -> None:
    file = data_dir / "guard/policies/aws_iam_managed/policies.jsonl.gz"
    policies = list(iam_policies(file))
    assert len(policies) == 1641
    with gzip.open(file, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    assert [policy.document for policy in policies] == [row["document"] for row in rows]
    assert sum(len(policy.grants) for policy in policies) == sum(len(row["document"]["Statement"]) for row in rows)
    by_name = {policy.name: policy for policy in policies}
    tools = ("s3:GetObject", "s3:PutObject")
    trace = Trace(calls=tuple(Call(id=tool, tool=tool, arguments={}) for tool in tools))
    verdicts = judge(by_name["AmazonS3ReadOnlyAccess"], trace, data_flow(trace))
    assert [one.decision for one in verdicts] == ["allow", "deny"]


@pytest.mark.parametrize(("domain", "tools"), [("airline", 10), ("retail", 15)])
def test_service_policies(data_dir: Path, domain: str, tools: int) -> None:
    folder = data_dir / "guard/policies/tau2_domains" / domain
    policy = service_policy(folder)
    assert policy.document == (folder / "policy.md").read_text("utf-8")
    assert len(policy.tools) == tools
    effects = {tool.name: tool.effect for tool in policy.tools}
    assert effects["get_user_details"] == "read"
    assert {effect for name, effect in effects.items() if name.startswith(("cancel", "modify", "update"))} <= {
        "write",
        "external",
    }
