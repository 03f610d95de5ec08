"""The Kubernetes manifests: what an API server and KEDA accept, and what the worker and its image are."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonpatch
import jsonschema
import pytest
import yaml

from archiver.settings import Settings, load_settings
from archiver.telemetry.health_server import _application

from .exposition import problems, scraped
from .template import DEPLOY

ROOT = DEPLOY / "kubernetes"
BASE, KEDA, EXAMPLE = ROOT / "base", ROOT / "components" / "keda", ROOT / "overlays" / "example"
WAITING = ROOT / "components" / "keda-waiting"
SCHEMAS = json.loads(Path(__file__).with_name("kubernetes-schemas.json").read_text())
MANIFESTS = sorted(file for folder in (BASE, KEDA) for file in folder.glob("*.yaml") if file.stem != "kustomization")
FIELDS = {
    "apiVersion",
    "kind",
    "namespace",
    "resources",
    "components",
    "images",
    "configMapGenerator",
    "labels",
    "patches",
}
"""Of kustomizations: those in use, none of which is deprecated."""
PLAN = 100  # MiB: of the largest requests (docs/performance.md)

each = pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: file.stem)


def read(file: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(file.read_text()))


def wrong(manifest: dict[str, Any]) -> list[str]:
    """What an API server would refuse or drop in *manifest*."""
    schema = SCHEMAS["kinds"][f"{manifest['apiVersion']} {manifest['kind']}"]
    validator = jsonschema.Draft202012Validator(schema | {"$defs": SCHEMAS["$defs"]})
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(manifest)]


def literals(folder: Path) -> dict[str, str]:
    """The settings that a kustomization gives."""
    (generator,) = read(folder / "kustomization.yaml")["configMapGenerator"]
    return dict(literal.split("=", 1) for literal in generator["literals"])


DEPLOYMENT = read(BASE / "deployment.yaml")
POD = DEPLOYMENT["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
LABELS = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
SETTINGS = literals(BASE) | literals(EXAMPLE)
SCALED = read(KEDA / "scaled-object.yaml")
(TRIGGER,) = SCALED["spec"]["triggers"]


@each
def test_an_api_server_accepts_all_of_it(file: Path) -> None:
    assert wrong(read(file)) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.template.spec.terminationGracePeriod", 120),
        ("spec.template.spec.terminationGracePeriodSeconds", "120"),
        ("spec.template.spec.securityContext.runAsNonroot", True),
        ("spec.strategy.rollingUpdate.maxSurge", ["1"]),
    ],
)
def test_a_field_that_is_misspelt_or_of_another_type_is_found(path: str, value: object) -> None:
    """The judge itself: an API server drops what it does not know, with no more than a warning."""
    manifest = read(BASE / "deployment.yaml")
    *parents, last = path.split(".")
    at = manifest
    for parent in parents:
        at = at[parent]
    at[last] = value

    assert len(wrong(manifest)) == 1


@pytest.mark.parametrize("folder", [BASE, KEDA, WAITING, EXAMPLE], ids=lambda folder: folder.name)
def test_a_kustomization_names_every_file_of_its_folder_and_nothing_else(folder: Path) -> None:
    kustomization = read(folder / "kustomization.yaml")
    named = [*kustomization.get("resources", []), *(patch["path"] for patch in kustomization.get("patches", []))]
    files = {name for name in named if not name.startswith("..")}

    assert set(kustomization) <= FIELDS
    assert files == {file.name for file in folder.iterdir()} - {"kustomization.yaml"}
    assert all((folder / name).exists() for name in [*named, *kustomization.get("components", [])])


def test_kustomize_builds_what_an_api_server_accepts_with_one_set_of_settings() -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("needs kubectl")
    built = subprocess.run(["kubectl", "kustomize", EXAMPLE], capture_output=True, text=True, timeout=60, check=True)
    manifests = list(yaml.safe_load_all(built.stdout))
    (settings,) = [one for one in manifests if one["kind"] == "ConfigMap"]
    (deployment,) = [one for one in manifests if one["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    (scaled,) = [one for one in manifests if one["kind"] == "ScaledObject"]

    assert [problem for one in manifests for problem in wrong(one)] == []
    assert settings["data"] == SETTINGS
    assert container["envFrom"] == [{"configMapRef": {"name": settings["metadata"]["name"]}}]
    assert ":" in container["image"]
    assert scaled["spec"]["triggers"][0]["metadata"]["awsRegion"] == SETTINGS["AWS_REGION"]
    assert {one["metadata"]["namespace"] for one in manifests} == {"archiver"}


def test_the_settings_are_settings_that_a_worker_starts_with() -> None:
    values = SETTINGS | {"ARCHIVE_KEY_SECRET": "what Secrets Manager holds"}
    settings = load_settings(values)

    assert settings.health_port == CONTAINER["ports"][0]["containerPort"]
    assert settings.health_host == "0.0.0.0"
    known = {str(field.validation_alias) for field in Settings.model_fields.values()}
    assert all(any(name in alias for alias in known) for name in SETTINGS if name != "AWS_REGION")


def test_values_of_the_base_are_the_defaults_of_the_worker() -> None:
    """But for the address of the probes; the memory limit and the grace periods are made for these."""
    defaults = {str(field.validation_alias): field.default for field in Settings.model_fields.values()}
    told = {name: float(value) for name, value in literals(BASE).items() if not name.startswith("HEALTH_")}

    assert told == {name: defaults[name] for name in told}
    assert {"MAX_CONCURRENT_JOBS", "MEMORY_BUDGET_MIB", "SHUTDOWN_GRACE_SECONDS"} == set(told)


def test_probes_and_scrapes_ask_at_paths_that_are_served() -> None:
    served = {route.resource.canonical for route in _application(lambda: None, bytes).router.routes() if route.resource}
    annotations = DEPLOYMENT["spec"]["template"]["metadata"]["annotations"]
    (port,) = CONTAINER["ports"]
    probes = {kind: CONTAINER[f"{kind}Probe"] for kind in ("startup", "liveness", "readiness")}

    assert {kind: probe["httpGet"]["path"] for kind, probe in probes.items()} == {
        "startup": "/health/live",
        "liveness": "/health/live",  # never ready's: a paused worker would be restarted
        "readiness": "/health/ready",
    }
    assert {probe["httpGet"]["path"] for probe in probes.values()} < served
    assert {probe["httpGet"]["port"] for probe in probes.values()} == {port["name"]}
    assert annotations["prometheus.io/path"] in served
    assert annotations["prometheus.io/port"] == str(port["containerPort"]) == SETTINGS["HEALTH_PORT"]


def test_a_pod_stops_later_than_its_worker() -> None:
    assert POD["terminationGracePeriodSeconds"] >= float(SETTINGS["SHUTDOWN_GRACE_SECONDS"]) + 15


def test_a_pod_is_of_the_images_user_and_can_do_nothing_else() -> None:
    """What the Pod Security Standard `restricted` asks for, and a root file system that is not written to."""
    (user,) = re.findall(r"^USER (\d+)$", (DEPLOY.parent / "Dockerfile").read_text(), re.MULTILINE)
    pod = POD["securityContext"]

    assert (pod["runAsNonRoot"], pod["runAsUser"], pod["seccompProfile"]) == (
        True,
        int(user),
        {"type": "RuntimeDefault"},
    )
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC", "volumes"} & set(POD)
    assert not {"command", "args"} & set(CONTAINER)
    assert POD["automountServiceAccountToken"] is False


def test_a_pod_has_the_memory_that_its_worker_takes_and_is_not_throttled() -> None:
    requested, limit = (
        int(CONTAINER["resources"][kind]["memory"].removesuffix("Mi")) for kind in ("requests", "limits")
    )
    usual = 110 + int(SETTINGS["MEMORY_BUDGET_MIB"])  # docs/performance.md, "Memory"

    assert requested >= usual
    assert limit >= usual + PLAN
    assert "cpu" not in CONTAINER["resources"]["limits"]


def test_everything_is_about_the_pods_of_the_deployment() -> None:
    budget, policy = read(BASE / "disruption-budget.yaml"), read(BASE / "network-policy.yaml")
    (spread,) = POD["topologySpreadConstraints"]
    selectors = [
        DEPLOYMENT["spec"]["selector"],
        budget["spec"]["selector"],
        policy["spec"]["podSelector"],
        spread["labelSelector"],
    ]

    assert [selector["matchLabels"] for selector in selectors] == [LABELS] * len(selectors)
    assert SCALED["spec"]["scaleTargetRef"] == {"name": DEPLOYMENT["metadata"]["name"]}
    assert POD["serviceAccountName"] == read(BASE / "service-account.yaml")["metadata"]["name"]
    assert TRIGGER["authenticationRef"]["name"] == read(KEDA / "trigger-authentication.yaml")["metadata"]["name"]


def test_a_drain_is_never_blocked() -> None:
    """One pod is what a service has at night: with minAvailable its node could not be drained."""
    assert read(BASE / "disruption-budget.yaml")["spec"]["maxUnavailable"] == 1


def test_pods_are_for_messages_that_wait_and_in_flight() -> None:
    asked = TRIGGER["metadata"]
    (patch,) = yaml.safe_load((EXAMPLE / "region.yaml").read_text())
    url = re.fullmatch(r"https://sqs\.([a-z0-9-]+)\.amazonaws\.com/\d{12}/[\w-]+", SETTINGS[asked["queueURLFromEnv"]])

    assert "replicas" not in DEPLOYMENT["spec"]  # it would undo what the scaler did, at each apply
    assert asked["scaleOnInFlight"] == "true"
    assert asked["queueLength"] == SETTINGS["MAX_CONCURRENT_JOBS"]
    assert url  # KEDA reads no ARN
    assert patch["value"] == SETTINGS["AWS_REGION"] == url[1]
    assert set(asked) == {"queueURLFromEnv", "awsRegion", "queueLength", "scaleOnInFlight", "scaleOnDelayed"}
    assert all(isinstance(value, str) for value in asked.values())


def test_jobs_that_wait_for_objects_can_be_subtracted() -> None:
    patched = jsonpatch.apply_patch(SCALED, yaml.safe_load((WAITING / "waiting.yaml").read_text()))
    queue, waiting = patched["spec"]["triggers"]
    modifiers = patched["spec"]["advanced"]["scalingModifiers"]
    query = waiting["metadata"]["query"]

    assert wrong(patched) == []
    assert queue["type"] == TRIGGER["type"]
    assert modifiers["formula"] == f"{queue['name']} - {waiting['name']}"
    assert modifiers["target"] == SETTINGS["MAX_CONCURRENT_JOBS"]
    assert problems(query, scraped()) == []
    assert f'service="{Settings.model_fields["service_name"].default}"' in query
    assert "SERVICE_NAME" not in SETTINGS


def test_a_pod_with_jobs_is_removed_late() -> None:
    down = SCALED["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
    (policy,) = down["policies"]

    assert down["stabilizationWindowSeconds"] == 900
    assert policy["periodSeconds"] >= POD["terminationGracePeriodSeconds"]
    assert SCALED["spec"]["fallback"]["behavior"] == "currentReplicasIfHigher"
