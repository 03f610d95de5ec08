"""The template as CloudFormation resolves it: conditions decided, intrinsic functions worked out."""

import re
from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any

DEPLOY = Path(__file__).parents[2] / "deploy"
FILES = {"data": DEPLOY / "data.yaml", "worker": DEPLOY / "worker.yaml", "rights": DEPLOY / "rights.yaml"}
ALONE = {"function": DEPLOY / "function.yaml", "task": DEPLOY / "task.yaml"}
"""Templates that stand alone: parameters of the same name may mean other things."""
REGION, ACCOUNT, STACK = "eu-west-1", "123456789012", "zips"

REQUIRED = {
    "Image": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/archiver:1.0.0",
    "VpcId": "vpc-0123456789abcdef0",
    "SubnetIds": "subnet-0123456789abcdef0,subnet-0123456789abcdef1",
    "SourceBuckets": "photos,scans",
}
PEM = "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQ+/=\n-----END PUBLIC KEY-----\n"
SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:archiver/signing-AbCdEf"
SIGNED = {"SigningKey": "A", "SigningPublicKeyA": PEM, "SigningPrivateKeySecretArn": SECRET}
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/0123-4567"
EVERYTHING = (
    REQUIRED
    | SIGNED
    | {
        "RepositoryCredentialsSecretArn": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:ghcr-AbCdEf",
        "SourcePrefixes": "photos/2026/,scans/",
        "SourceKeyArns": KEY,
        "RestoreTiers": "Standard,Bulk",
        "Strategy": "auto",
        "NotifyTopicArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:answers.fifo",
        "NotifyBusArn": f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default",
        "NotifyFunctionArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:told:live",
        "PolicyFile": "/etc/archiver/policy.toml",
        "AssumeRoleArns": "arn:aws:iam::999999999999:role/exports,arn:aws:iam::888888888888:role/teams/photos",
        "AccessLogBucket": "access-logs",
        "DomainName": "files.example.com",
        "CertificateArn": f"arn:aws:acm:us-east-1:{ACCOUNT}:certificate/0123-4567",
        "SigningPublicKeyB": PEM,
        "ProgressQueue": "yes",
        "ProducerArns": "arn:aws:iam::999999999999:role/backend, arn:aws:iam::888888888888:root",
        "ConsumerArns": "arn:aws:iam::999999999999:role/backend",
        "PermissionsBoundaryArn": f"arn:aws:iam::{ACCOUNT}:policy/boundary",
        "RolePath": "/services/",
        "ArchiveKeyArn": f"{KEY}-archives",
        "QueueKeyArn": f"{KEY}-queues",
        "SecretKeyArn": f"{KEY}-secrets",
        "LogKeyArn": f"{KEY}-logs",
        "RaisedTasks": "8",
        "TimeZone": "Europe/Berlin",
        "AlarmTopicArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:alarms",
        "TicketTopicArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:tickets",
    }
)
"""Every optional parameter given but those that name what is there already."""
WITH_EXISTING_RESOURCES = REQUIRED | {
    "SourceQueueArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:theirs",
    "DeadLetterQueueArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:theirs-dead",
    "AnswerQueueArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:theirs-answers",
    "ArchiveBucketName": "their-bucket",
}
"""The worker alone, beside a bucket and queues that are there."""


class NoValue:
    """`AWS::NoValue`: what it stands in is left out."""


ARNS = {
    "AWS::SQS::Queue": "arn:aws:sqs:{region}:{account}:{name}",
    "AWS::S3::Bucket": "arn:aws:s3:::{bucket}",
    "AWS::IAM::Role": "arn:aws:iam::{account}:role/{name}",
    "AWS::SecretsManager::Secret": "arn:aws:secretsmanager:{region}:{account}:secret:{name}-AbCdEf",
    "AWS::Lambda::Function": "arn:aws:lambda:{region}:{account}:function:{name}",
    "AWS::Events::Rule": "arn:aws:events:{region}:{account}:rule/{name}",
    "AWS::CloudWatch::Alarm": "arn:aws:cloudwatch:{region}:{account}:alarm:{name}",
}
PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::StackName": STACK,
    "AWS::StackId": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{STACK}/0a1b2c3d-0000-1111-2222-333344445555",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::NoValue": NoValue,
}


@cache
def load_template(which: str) -> dict[str, Any]:
    """A template with its functions in their long form."""
    from cfnlint.decode import decode  # noqa: PLC0415 - slow to import, and collecting the tests does not need it

    template, problems = decode(str((FILES | ALONE)[which]))
    assert not problems, problems
    return dict(template)


@cache
def merged_section(section: str) -> dict[str, Any]:
    """One section of all templates."""
    return {name: told for which in FILES for name, told in load_template(which).get(section, {}).items()}


class Stack:
    """
    One of the templates with *given* parameters. Resources are named by their logical ids, buckets in small letters;
    but queues that have names.
    """

    def __init__(self, which: str, given: Mapping[str, str], region: str = REGION) -> None:
        self.template = load_template(which)
        self.pseudo = PSEUDO | {"AWS::Region": region}
        self.given = {name: value for name, value in given.items() if name in self.template["Parameters"]}
        self.parameters = {
            name: self.given.get(name, str(told.get("Default", "")))
            for name, told in self.template["Parameters"].items()
        }
        self._kept = {name: told for name, told in self.template["Resources"].items() if self._is_there(told)}
        self.types = {name: str(told["Type"]) for name, told in self._kept.items()}

    @cached_property
    def resources(self) -> dict[str, Any]:
        """The properties of all resources, by their logical ids."""
        return {name: self.value(told.get("Properties", {})) for name, told in self._kept.items()}

    @cached_property
    def outputs(self) -> dict[str, Any]:
        told = self.template["Outputs"]
        return {name: self.value(one["Value"]) for name, one in told.items() if self._is_there(one)}

    def of_type(self, kind: str) -> dict[str, Any]:
        """The properties of the resources of one type, by their logical ids."""
        return {name: self.resources[name] for name, is_of in self.types.items() if is_of == kind}

    def broken_rules(self) -> list[str]:
        """The descriptions of the assertions that the parameters do not meet."""
        return [
            str(told["AssertDescription"])
            for rule in self.template["Rules"].values()
            if self._truth(rule.get("RuleCondition", True))
            for told in rule["Assertions"]
            if not self._truth(told["Assert"])
        ]

    def value(self, node: Any) -> Any:
        """*node* with all its functions worked out."""
        if isinstance(node, list):
            return [made for made in map(self.value, node) if made is not NoValue]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((name, told),) = node.items()
            if name == "Ref" or str(name).startswith("Fn::"):
                return getattr(self, f"_{str(name).removeprefix('Fn::').lower()}")(told)
        made = {str(key): self.value(value) for key, value in node.items()}
        return {key: value for key, value in made.items() if value is not NoValue}

    def _is_there(self, told: Mapping[str, Any]) -> bool:
        return "Condition" not in told or self._truth({"Condition": told["Condition"]})

    def _truth(self, node: Any) -> bool:
        if isinstance(node, bool):
            return node
        ((name, told),) = node.items()
        if name == "Condition":
            return self._truth(self.template["Conditions"][told])
        if name == "Fn::Equals":
            left, right = (str(self.value(one)) for one in told)
            return left == right
        answers = [self._truth(one) for one in told]
        return {"Fn::Not": not answers[0], "Fn::And": all(answers), "Fn::Or": any(answers)}[str(name)]

    def _ref(self, name: str) -> Any:
        if name in self.pseudo:
            return self.pseudo[name]
        if name not in self.parameters:
            kind = self.types[name]
            if kind == "AWS::SQS::Queue":
                return f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{self._name(name)}"
            return self._arn(name) if kind == "AWS::SecretsManager::Secret" else self._name(name)
        text = self.parameters[name]
        kind = self.template["Parameters"][name]["Type"]
        return (
            [part.strip() for part in text.split(",")]
            if kind == "CommaDelimitedList" or kind.startswith("List<")
            else text
        )

    def _getatt(self, told: Any) -> str:
        name, attribute = told.split(".", 1) if isinstance(told, str) else told
        assert name in self.types, f"{name} is not there"
        known = {"Arn": self._arn, "Name": self._name}
        return known[attribute](name) if attribute in known else f"{name}.{attribute}"

    def _name(self, name: str) -> str:
        assert name in self.types, f"{name} is not there"
        if "QueueName" in self._kept[name].get("Properties", {}):
            return str(self.value(self._kept[name]["Properties"]["QueueName"]))
        return name.lower() if self.types[name] == "AWS::S3::Bucket" else name

    def _arn(self, name: str) -> str:
        form = ARNS[self.types[name]]
        return form.format(region=REGION, account=ACCOUNT, name=self._name(name), bucket=name.lower())

    def _sub(self, told: Any) -> str:
        text, given = (told, {}) if isinstance(told, str) else told
        variables = {name: self.value(value) for name, value in given.items()}

        def put(match: re.Match[str]) -> str:
            name = match[1]
            if name in variables:
                return str(variables[name])
            return str(self._getatt(name) if "." in name else self._ref(name))

        return re.sub(r"\$\{([^!}]+)\}", put, text)

    def _if(self, told: list[Any]) -> Any:
        condition, true, false = told
        return self.value(true if self._truth({"Condition": condition}) else false)

    def _join(self, told: list[Any]) -> str:
        delimiter, parts = told
        return str(delimiter).join(str(part) for part in self.value(parts))

    def _split(self, told: list[Any]) -> list[str]:
        delimiter, text = told
        return str(self.value(text)).split(delimiter)

    def _select(self, told: list[Any]) -> Any:
        index, parts = told
        return self.value(parts)[int(index)]

    def _findinmap(self, told: list[Any]) -> Any:
        name, first, second = (self.value(one) for one in told)
        return self.value(self.template["Mappings"][name][first][second])


class BothStacks:
    """Both templates, one after the other: the worker's with what the data's says of itself."""

    def __init__(self, given: Mapping[str, str], region: str = REGION) -> None:
        assert set(given) <= set(merged_section("Parameters")), "a parameter that neither knows"
        self.data = Stack("data", given, region)
        pairs = [pair.partition("=") for pair in str(self.data.outputs["ForWorker"]).split()]
        self.worker = Stack("worker", {**given, **{name: value for name, _, value in pairs}}, region)
        self.types = self.data.types | self.worker.types
        self.resources = self.data.resources | self.worker.resources
        self.outputs = self.data.outputs | self.worker.outputs
        self.parameters = self.data.parameters | self.worker.parameters

    def of_type(self, kind: str) -> dict[str, Any]:
        """The properties of the resources of one type, by their logical ids."""
        return {name: self.resources[name] for name, is_of in self.types.items() if is_of == kind}

    def broken_rules(self) -> list[str]:
        return self.data.broken_rules() + self.worker.broken_rules()
