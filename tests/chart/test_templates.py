"""What the chart renders is restricted and exactly what the project generates; wrong values are explained."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart.rendering import CHART, HOME, IMAGE, LAST_EDITOR_API, MATRIX, ROOT, Rendered, merged, run, template
from passmuster.api import admission, rbac
from passmuster.handlers.tracing import tracer_of

pytestmark = [pytest.mark.helm, pytest.mark.slow]

SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
VALUES = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
KEEP = {"helm.sh/resource-policy": "keep"}
COPIED = {"CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"} | {
    f"{verb}AdmissionPolicy{suffix}" for verb in ("Validating", "Mutating") for suffix in ("", "Binding")
}
"""Kinds that come from `crds/`."""


@pytest.fixture(scope="module")
def rendered(helm_program: Path) -> Mapping[str, Rendered]:
    """The chart under every row of the matrix."""
    return {name: template(helm_program, values) for name, values in MATRIX.items()}


@pytest.fixture(scope="module")
def default(rendered: Mapping[str, Rendered]) -> Rendered:
    """The chart with nothing but an image."""
    return rendered["defaults"]


def shipped() -> list[dict[str, Any]]:
    """Everything in `crds/`."""
    paths = sorted((ROOT / "crds").glob("*.yaml"))
    return [d for path in paths for d in yaml.safe_load_all(path.read_text(encoding="utf-8")) if d]


def without_labels(body: Mapping[str, Any]) -> dict[str, Any]:
    """An object without what the chart adds to the metadata of all."""
    metadata = {k: v for k, v in body["metadata"].items() if k not in ("labels", "annotations")}
    annotations = {k: v for k, v in body["metadata"].get("annotations", {}).items() if k not in KEEP}
    return {**body, "metadata": {**metadata, "annotations": annotations}}


def test_lint_is_strict_and_content(helm_program: Path) -> None:
    for values in MATRIX.values():
        done = run(helm_program, "lint", "--strict", str(CHART), "--namespace", HOME, values=merged(IMAGE, values))
        assert done.returncode == 0, done.stdout + done.stderr
        assert "[WARNING]" not in done.stdout


@pytest.mark.parametrize("name", MATRIX)
def test_every_row_of_the_matrix_renders(rendered: Mapping[str, Rendered], name: str) -> None:
    assert rendered[name].status == 0, rendered[name].said
    assert rendered[name].objects


@pytest.mark.parametrize("name", MATRIX)
def test_every_object_says_whose_it_is_and_none_is_there_twice(rendered: Mapping[str, Rendered], name: str) -> None:
    named = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in rendered[name].objects]
    assert len(set(named)) == len(named)
    for body in rendered[name].objects:
        labels = body["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "passmuster"
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        assert labels["helm.sh/chart"] == f"passmuster-{version()}"
        assert body["metadata"].get("namespace", HOME) == HOME


def version() -> str:
    """The version of the project."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


def test_the_chart_and_its_image_have_the_version_of_the_project(default: Rendered) -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert (chart["version"], chart["appVersion"]) == (version(), version())
    assert default.container()["image"] == f"registry.example.com/passmuster:{version()}"


def test_what_it_installs_is_what_crds_holds_and_nothing_is_lost(default: Rendered) -> None:
    made = {(o["kind"], o["metadata"]["name"]): o for o in default.objects if o["kind"] in COPIED}
    wanted = {(o["kind"], o["metadata"]["name"]): o for o in shipped() if o["kind"] in COPIED}
    assert set(made) == set(wanted)
    for key, body in wanted.items():
        assert without_labels(made[key]) == without_labels(body), key
        assert body["metadata"]["labels"].items() <= made[key]["metadata"]["labels"].items()


def test_the_operator_compares_equal_with_the_policy_that_the_chart_installs(default: Rendered) -> None:
    name = admission.APPROVAL_POLICY
    policy, binding = (
        default.one(kind, name) for kind in ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
    )
    assert admission.altered(policy, binding) is None
    policy["spec"]["validations"] = policy["spec"]["validations"][1:]
    assert admission.altered(policy, binding) is not None


def test_definitions_and_approvals_outlive_the_release_unless_told_otherwise(rendered: Mapping[str, Rendered]) -> None:
    guarded = {"CustomResourceDefinition"} | {kind for kind in COPIED if "AdmissionPolicy" in kind}
    for name, kept in (("defaults", True), ("not kept, not aggregated", False)):
        for body in rendered[name].objects:
            annotations = body["metadata"].get("annotations", {})
            assert (KEEP.items() <= annotations.items()) == (kept and body["kind"] in guarded), body["kind"]


def test_the_last_editor_is_recorded_where_the_api_server_can(helm_program: Path, default: Rendered) -> None:
    assert "MutatingAdmissionPolicy" in default.kinds()
    older = template(helm_program, kubernetes="1.32.0", apis=())
    assert not {kind for kind in older.kinds() if kind.startswith("Mutating")}
    assert "ValidatingAdmissionPolicy" in older.kinds()


def test_roles_for_people_are_separate_where_asked(rendered: Mapping[str, Rendered]) -> None:
    def aggregated(made: Rendered) -> set[str]:
        labels = [(o["metadata"]["name"], label) for o in made.objects for label in o["metadata"]["labels"]]
        return {name for name, label in labels if label.startswith("rbac.authorization.k8s.io/aggregate")}

    assert aggregated(rendered["defaults"]) == {"passmuster-viewer", "passmuster-editor"}
    assert aggregated(rendered["not kept, not aggregated"]) == set()
    rules = {o["metadata"]["name"]: o["rules"] for o in rbac.objects() if o["kind"] == "ClusterRole"}
    made = {o["metadata"]["name"]: o["rules"] for o in rendered["defaults"].objects if o["kind"] == "ClusterRole"}
    assert made == rules


def test_an_installation_by_others_leaves_their_objects_to_them(rendered: Mapping[str, Rendered]) -> None:
    assert rendered["by others"].kinds() & COPIED == set()
    assert "Deployment" in rendered["by others"].kinds()


@pytest.mark.parametrize("name", MATRIX)
def test_the_pod_is_restricted(rendered: Mapping[str, Rendered], name: str) -> None:
    """Pod Security's level restricted, and a root file system that cannot be written."""
    pod = rendered[name].one("Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert {next(k for k in volume if k != "name") for volume in pod["volumes"]} <= {
        "emptyDir",
        "secret",
        "persistentVolumeClaim",
    }
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]


def test_two_processes_are_spread_and_never_drained_together(rendered: Mapping[str, Rendered]) -> None:
    made = rendered["defaults"]
    deployment = made.one("Deployment")["spec"]
    selector = deployment["selector"]["matchLabels"]
    assert deployment["replicas"] == 2
    assert made.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == selector
    assert made.one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == selector
    assert made.one("Service")["spec"]["selector"] == selector
    spread = deployment["template"]["spec"]["topologySpreadConstraints"]
    assert [one["topologyKey"] for one in spread] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    assert all(one["labelSelector"]["matchLabels"] == selector for one in spread)
    assert "PodDisruptionBudget" not in rendered["one process"].kinds()


def test_the_flags_are_those_of_the_command(rendered: Mapping[str, Rendered]) -> None:
    import typer

    from passmuster.cli.main import app

    command = typer.main.get_command(app).commands["operator"]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in parameter.opts}
    used = {word.partition("=")[0] for made in rendered.values() for word in made.container()["args"][1:]}
    assert used <= known
    assert used >= {"--namespace", "--alerts-token-file", "--evidence-dir", "--workers", "--requests-per-second"}
    two = rendered["two namespaces"].container()["args"]
    assert two[2:4] == ["--workers=8", "--requests-per-second=2.5"]
    assert two[4:] == ["--lease-duration=20", "--namespace=shop", "--namespace=pay"]


def test_credentials_come_from_where_the_values_say(rendered: Mapping[str, Rendered]) -> None:
    def environment(name: str) -> set[str]:
        return {one["name"] for one in rendered[name].container()["env"]}

    def addresses(name: str) -> set[str]:
        rules = rendered[name].one("NetworkPolicy")["spec"]["egress"]
        return {peer["ipBlock"]["cidr"] for rule in rules for peer in rule.get("to", ())}

    role = rendered["irsa"].one("ServiceAccount")["metadata"]["annotations"]
    assert role["eks.amazonaws.com/role-arn"] == "arn:aws:iam::111111111111:role/passmuster-operator"
    assert "annotations" not in rendered["defaults"].one("ServiceAccount")["metadata"]
    assert addresses("defaults") == {"169.254.170.23/32", "fd00:ec2::23/128"}
    assert addresses("instance profile") == {"169.254.169.254/32", "fd00:ec2::254/128"}
    assert addresses("irsa") == addresses("access keys") == set()
    keys = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
    assert environment("access keys") >= keys
    assert environment("irsa") & keys == set()
    assert "AWS_EC2_METADATA_DISABLED" in environment("defaults")
    assert "AWS_EC2_METADATA_DISABLED" not in environment("instance profile")


def test_the_token_of_alerts_is_a_file_and_never_a_value(rendered: Mapping[str, Rendered]) -> None:
    made = rendered["alerts and evidence"]
    assert "Secret" not in made.kinds()
    assert "--alerts-token-file=/var/run/passmuster/alerts/token" in made.container()["args"]
    mounts = {one["name"]: one["mountPath"] for one in made.container()["volumeMounts"]}
    volumes = {one["name"]: one for one in made.one("Deployment")["spec"]["template"]["spec"]["volumes"]}
    assert mounts["alerts"] == "/var/run/passmuster/alerts"
    assert volumes["alerts"]["secret"]["secretName"] == "passmuster-alerts"
    assert volumes["evidence"]["persistentVolumeClaim"]["claimName"] == "reports"
    assert set(mounts) == set(volumes)


def test_spans_are_sent_where_the_values_say_with_headers_that_stay_in_their_secret(
    rendered: Mapping[str, Rendered],
) -> None:
    def environment(name: str) -> dict[str, Any]:
        told = rendered[name].container()["env"]
        return {one["name"]: one.get("value", one.get("valueFrom")) for one in told if one["name"].startswith("OTEL_")}

    def ports(name: str) -> set[int]:
        rules = rendered[name].one("NetworkPolicy")["spec"]["egress"]
        return {port["port"] for rule in rules for port in rule["ports"]}

    assert environment("defaults") == {}
    assert environment("traced") == {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://otel.observability:4318",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "1",
        "OTEL_EXPORTER_OTLP_HEADERS": {"secretKeyRef": {"name": "collector", "key": "headers"}},
    }
    assert environment("traced by a vendor")["OTEL_TRACES_SAMPLER_ARG"] == "0.25"
    assert "OTEL_EXPORTER_OTLP_HEADERS" not in environment("traced by a vendor")
    assert ports("traced") == ports("defaults") | {4318}
    assert ports("traced by a vendor") == ports("defaults")


def test_the_operator_takes_the_environment_that_the_chart_gives_it(
    rendered: Mapping[str, Rendered], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [one for one in rendered["traced"].container()["env"] if one["name"].startswith("OTEL_")]
    environment = {one["name"]: one.get("value", "api-key=word") for one in given}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    tracer = tracer_of(environment, "one")
    with tracer.trace("turn", {}) as turn:
        assert turn.trace_id
    tracer.close()


def test_rules_and_dashboards_are_those_that_the_project_generates(rendered: Mapping[str, Rendered]) -> None:
    made = rendered["monitored"]
    rules = yaml.safe_load((CHART / "rules" / "passmuster.rules.yaml").read_text(encoding="utf-8"))
    assert made.one("PrometheusRule")["spec"] == rules
    assert made.one("PrometheusRule")["metadata"]["labels"]["release"] == "prometheus"
    boards = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in (CHART / "dashboards").glob("*.json")}
    maps = [o for o in made.objects if o["kind"] == "ConfigMap"]
    assert len(boards) >= 4
    assert {name: json.loads(text) for one in maps for name, text in one["data"].items()} == boards
    assert all(one["metadata"]["labels"]["grafana_dashboard"] == "1" for one in maps)
    assert made.one("ServiceMonitor")["spec"]["endpoints"][0]["port"] == "http"
    selected = made.one("ServiceMonitor")["spec"]["selector"]["matchLabels"]
    assert selected.items() <= made.one("Service")["metadata"]["labels"].items()


REFUSED: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "a name of other charts": ({"replicaCount": 2}, "'replicaCount'.*must be one of .*'replicas'"),
    "no replica": ({"replicas": 0}, "/replicas.*minimum.*1"),
    "a word for a number": ({"operator": {"workers": "four"}}, "/operator/workers.*want integer"),
    "an unknown way": ({"aws": {"credentials": "Vault"}}, "must be one of 'PodIdentity', 'IRSA'"),
    "a misspelt switch": ({"monitoring": {"rules": {"enable": True}}}, "'enable'.*must be one of 'enabled', 'labels'"),
    "no image": ({"image": {"repository": ""}}, "image.repository is empty: name the image in your registry"),
    "a tag in the name": ({"image": {"repository": "r.example.com/p:1"}}, "leave tag and digest out"),
    "half a digest": ({"image": {"digest": "sha256:abc"}}, "64 hexadecimal digits"),
    "irsa without a role": ({"aws": {"credentials": "IRSA"}}, "needs the ARN of the operator's role"),
    "a user's arn": ({"aws": {"credentials": "IRSA", "roleArn": "arn:aws:iam::111111111111:user/x"}}, "needs the ARN"),
    "a role without irsa": ({"aws": {"roleArn": "arn:aws:iam::111111111111:role/x"}}, "set aws.credentials to IRSA"),
    "keys without a secret": ({"aws": {"credentials": "Secret"}}, "aws.secretName is empty"),
    "a secret for nothing": ({"aws": {"secretName": "keys"}}, "set aws.credentials to Secret"),
    "a zone": ({"aws": {"region": "eu-central-1a"}}, "write for example eu-central-1"),
    "no address": ({"tracing": {"endpoint": "otel:4318"}}, "write it like http://otel-collector"),
    "a password in an address": (
        {"tracing": {"endpoint": "http://a:b@otel:4318"}},
        "into the Secret tracing.secretName",
    ),
    "headers for nothing": ({"tracing": {"secretName": "collector"}}, "tracing.endpoint is empty"),
    "more than every turn": ({"tracing": {"samplingRatio": 100}}, "/tracing/samplingRatio.*maximum.*1"),
    "a namespace in capitals": ({"operator": {"namespaces": ["Shop"]}}, "no name of a namespace"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_values_are_refused_with_what_to_write_instead(helm_program: Path, name: str) -> None:
    values, sentence = REFUSED[name]
    made = template(helm_program, values)
    assert made.status != 0
    assert re.search(sentence, made.said.replace("\n", " ")), made.said


def test_another_namespace_is_refused_because_approvals_would_not_be_guarded(helm_program: Path) -> None:
    made = template(helm_program, namespace="default")
    assert made.status != 0
    assert "--namespace passmuster-system --create-namespace" in made.said


def test_everything_that_is_wrong_is_said_at_once(helm_program: Path) -> None:
    made = template(helm_program, {"image": {"repository": ""}, "aws": {"credentials": "Secret"}}, namespace="default")
    assert all(word in made.said for word in ("--namespace", "image.repository", "aws.secretName"))


def test_an_old_cluster_is_refused(helm_program: Path) -> None:
    made = template(helm_program, kubernetes="1.31.0")
    assert made.status != 0
    assert "1.32" in made.said


def _objects(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, member in schema.get("properties", {}).items():
        yield f"{path}.{name}".strip("."), member
        yield from _objects(member, f"{path}.{name}")


def test_the_schema_knows_every_value_and_nothing_else() -> None:
    def leaves(values: Mapping[str, Any], path: str = "") -> Iterator[str]:
        for name, value in values.items():
            where = f"{path}.{name}".strip(".")
            yield where
            if isinstance(value, dict) and "properties" in known.get(where, {}):
                yield from leaves(value, where)

    known = dict(_objects(SCHEMA))
    assert set(leaves(VALUES)) | {"global"} == {path for path in known if "pullSecrets." not in path}
    for path, member in [("", SCHEMA), *known.items()]:
        if "properties" in member:
            assert member["propertyNames"] == {"enum": sorted(member["properties"])}, path
        else:
            assert path.startswith("image.pullSecrets") or member["description"].endswith("."), path


def test_the_release_fits_into_the_secret_that_helm_keeps_it_in(helm_program: Path, tmp_path: Path) -> None:
    done = run(helm_program, "package", str(CHART), "--destination", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert next(tmp_path.glob("*.tgz")).stat().st_size < 400_000


def test_capabilities_are_asked_for_by_the_name_that_the_tests_serve() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (CHART / "templates").iterdir()]
    asked = {name for text in texts for name in re.findall(r'APIVersions\.Has "([^"]+)"', text)}
    assert asked == {LAST_EDITOR_API}
