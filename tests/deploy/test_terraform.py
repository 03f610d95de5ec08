"""The Terraform module: what the provider takes, what the templates know, and what it makes of its variables."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import hcl2
import pytest

from .template import DEPLOY, load_template

MODULE = DEPLOY / "terraform"
TEXT = "\n".join(file.read_text() for file in sorted(MODULE.glob("*.tf")))
ARGUMENTS = {"name", "template_body", "parameters", "capabilities", "tags", "timeouts", "count"}
"""Of aws_cloudformation_stack, as far as they are in use; `count` is of every resource."""


MARKS = {"__is_block__", "__comments__", "__inline_comments__"}
"""What the parser adds to blocks."""


def unquoted(value: object) -> Any:
    """*value* without what the parser adds to it: quotes around texts, and MARKS."""
    if isinstance(value, dict):
        return {unquoted(name): unquoted(inner) for name, inner in value.items() if name not in MARKS}
    if isinstance(value, list):
        return [unquoted(inner) for inner in value]
    return value.strip('"') if isinstance(value, str) else value


PARSED: dict[str, Any] = unquoted(hcl2.loads(TEXT))
STACKS: dict[str, dict[str, Any]] = {
    name: stack for block in PARSED["resource"] for kind in block.values() for name, stack in kind.items()
}
VARIABLES: dict[str, dict[str, Any]] = {name: told for block in PARSED["variable"] for name, told in block.items()}
REQUIRED = {name for name, variable in VARIABLES.items() if "default" not in variable}


def terraform(*arguments: str, folder: Path = MODULE, given: str = "") -> str:
    """What terraform prints, without a provider or the network."""
    if shutil.which("terraform") is None:
        pytest.skip("needs terraform")
    ran = subprocess.run(
        ["terraform", *arguments], cwd=folder, input=given, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def evaluated(tmp_path: Path, for_worker: str, **variables: object) -> Any:
    """The parameters of the worker's stack, as Terraform evaluates them."""
    for name in ("variables.tf", "parameters.tf"):
        shutil.copy(MODULE / name, tmp_path)
    (tmp_path / "data.tf.json").write_text(json.dumps({"locals": {"for_worker": for_worker}}))
    (tmp_path / "terraform.tfvars.json").write_text(json.dumps(variables))
    told = terraform("console", folder=tmp_path, given="jsonencode(local.worker_parameters)\n")
    return json.loads(json.loads(told))


def test_stacks_have_arguments_that_the_provider_takes() -> None:
    assert set(STACKS) == {"data", "worker"}
    assert [list(block) for block in PARSED["resource"]] == [["aws_cloudformation_stack"]] * 2
    for name, stack in STACKS.items():
        assert set(stack) <= ARGUMENTS
        assert {"name", "template_body", "parameters", "tags"} <= set(stack)
        (path,) = re.findall(r'file\("\$\{path\.module\}/([^"]+)"\)', stack["template_body"])
        assert (MODULE / path).resolve() == DEPLOY / f"{name}.yaml"
    assert STACKS["worker"]["capabilities"] == ["CAPABILITY_IAM"]
    assert "capabilities" not in STACKS["data"]


def test_every_variable_is_used_and_every_used_one_is_there() -> None:
    assert set(re.findall(r"\bvar\.(\w+)", TEXT)) == set(VARIABLES)
    assert all(variable["description"] and variable["type"] for variable in VARIABLES.values())


def test_locals_are_there_once_and_used() -> None:
    names = [name for block in PARSED["locals"] for name in block]

    assert len(names) == len(set(names))
    assert set(re.findall(r"\blocal\.(\w+)", TEXT)) == set(names)


def test_parameters_and_outputs_are_those_of_the_templates() -> None:
    data, worker = load_template("data"), load_template("worker")
    given = re.findall(r"^ +([A-Z]\w+) += ", TEXT, re.MULTILINE)

    assert {"Image", "SourceBuckets", "VpcId", "SubnetIds"} == set(given) < set(worker["Parameters"])
    assert set(re.findall(r'local\.data, "(\w+)"', TEXT)) <= set(data["Outputs"])
    assert set(re.findall(r'worker\.outputs\["(\w+)"\]', TEXT)) == set(worker["Outputs"])


def test_what_the_worker_needs_is_asked_for_or_comes_from_the_other_stack() -> None:
    needed = {name for name, told in load_template("worker")["Parameters"].items() if "Default" not in told}
    told = str(load_template("data")["Outputs"]["ForWorker"]["Value"])

    assert needed <= {"Image", "SourceBuckets", "VpcId", "SubnetIds"} | set(re.findall(r"(\w+)=", told))
    assert {"image", "source_buckets", "vpc_id", "subnet_ids"} == REQUIRED


def test_the_page_gives_every_required_variable_and_no_unknown_one() -> None:
    page = (DEPLOY.parent / "docs" / "deploy.md").read_text()
    (block,) = re.findall(r"```hcl\n(.*?)```", page, re.DOTALL)
    (module,) = (told for one in unquoted(hcl2.loads(block))["module"] for told in one.values())

    assert REQUIRED | {"source"} <= set(module) <= set(VARIABLES) | {"source"}
    assert module["source"].endswith("deploy/terraform")
    for which in ("data", "worker"):
        assert set(module.get(f"{which}_parameters", {})) <= set(load_template(which)["Parameters"])


def test_terraform_would_format_it_like_this() -> None:
    terraform("fmt", "-check", "-diff")


def test_terraform_makes_parameters_of_the_other_stacks_output_and_of_its_variables(tmp_path: Path) -> None:
    given = {
        "image": "archiver:1.0.0",
        "source_buckets": ["photos", "scans"],
        "vpc_id": "vpc-0",
        "subnet_ids": ["a", "b"],
    }
    told = "SourceQueueArn=arn:aws:sqs:eu-west-1:123456789012:requests ArchiveKeyArn= BaseUrl=https://files.example.com/?a=b"

    assert evaluated(tmp_path, told, **given, worker_parameters={"TaskSize": "small", "ArchiveKeyArn": "mine"}) == {
        "SourceQueueArn": "arn:aws:sqs:eu-west-1:123456789012:requests",
        "ArchiveKeyArn": "mine",
        "BaseUrl": "https://files.example.com/?a=b",
        "Image": "archiver:1.0.0",
        "SourceBuckets": "photos,scans",
        "VpcId": "vpc-0",
        "SubnetIds": "a,b",
        "TaskSize": "small",
    }
    assert "SourceQueueArn" not in evaluated(tmp_path, "", **given)
