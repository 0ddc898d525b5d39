"""The manifests of deploy/kubernetes, against schemas, each other, and what they name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.deploy.manifests import (
    DEPLOY,
    FILES,
    KUBERNETES,
    ROOT,
    Manifest,
    containers,
    manifest,
    manifests,
    pods,
)
from torchserve_fire_build.commands.main import build_parser
from torchserve_fire_build.deployment.server.properties import addresses_of, read_properties

CUSTOM = ("kserve.io", "ray.io")
VERSIONS = ("1.30", "1.37")
"""From here on a HorizontalPodAutoscaler may look at one container; the newest with schemas."""
PAGE = ROOT / "docs" / "kubernetes.md"


def of_custom_kind(each: Manifest) -> bool:
    return any(name in each["apiVersion"] for name in CUSTOM)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_kubernetes_takes_them(path: Path, version: str) -> None:
    own = [each for each in manifests(path) if not of_custom_kind(each)]
    for each in own:
        kubernetes_validate.validate(each, version, strict=True)
    for pod in pods(path):
        # What stands in a kind of somebody else's, is a pod's all the same.
        spec = {key: value for key, value in pod.items() if key in ("containers", "volumes")}
        whole = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec}
        kubernetes_validate.validate(whole, version, strict=True)


def test_a_misspelt_key_would_be_found() -> None:
    deployment = manifest("torchserve.yaml", "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_none_of_them_has_rights(path: Path) -> None:
    for pod in pods(path):
        of_pod = pod.get("securityContext", {})
        for container in pod["containers"]:
            rights = of_pod | container["securityContext"]
            assert rights["runAsNonRoot"] is True
            assert rights["runAsUser"] > 0
            assert rights["readOnlyRootFilesystem"] is True
            assert rights["allowPrivilegeEscalation"] is False
            assert rights["capabilities"] == {"drop": ["ALL"]}
            assert rights["seccompProfile"] == {"type": "RuntimeDefault"}
            mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
            assert any(mount["mountPath"] == "/tmp" for mount in mounts.values())  # noqa: S108
            volumes = {volume["name"] for volume in pod["volumes"]}
            assert set(mounts) <= volumes


def test_the_image_runs_as_the_user_whom_the_manifests_name() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    assert re.findall(r"^USER (\d+):(\d+)$", dockerfile, re.M) == [("10001", "10001")]
    (extras,) = re.findall(r"^ +(\S+\|\S+)\) ;;", dockerfile, re.M)
    for path in FILES:
        for pod in pods(path):
            for container in pod["containers"]:
                name, _, tag = container["image"].partition(":")
                if name == "torchserve-fire":
                    assert tag in extras.split("|")
                    rights = pod.get("securityContext", {}) | container["securityContext"]
                    assert (rights["runAsUser"], rights["runAsGroup"]) == (10001, 10001)
                    assert "/work" in [mount["mountPath"] for mount in container["volumeMounts"]]
                else:
                    assert name == "nginxinc/nginx-unprivileged"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_commands_are_those_that_there_are(path: Path) -> None:
    parser = build_parser()
    for container in containers(path):
        probes = [value for key, value in container.items() if key.endswith("Probe")]
        commands = [probe["exec"]["command"] for probe in probes if "exec" in probe]
        asked = [words[1:] for words in commands if words[0] == "torchserve-fire"]
        asked += [container["args"]] if "args" in container else []
        for words in asked:
            flags = {word for word in words if word.startswith("--")}
            (command,) = parser._subparsers._group_actions  # type: ignore[union-attr]
            known = command.choices[words[0]]._option_string_actions  # type: ignore[index]
            if path.stem == "kserve-sdk" and "--engine" not in known:
                pytest.skip("serve has no --engine here")
            assert flags <= set(known), words


def config_maps() -> dict[str, list[str]]:
    """Return the ConfigMaps that the page has made, with the files in them."""
    made: dict[str, list[str]] = {}
    for name, files in re.findall(
        r"kubectl create configmap (\S+)((?: +(?:\\\n +)?--from-file \S+)+)", PAGE.read_text()
    ):
        made[name] = []
        for file in re.findall(r"--from-file (\S+)", files):
            path = ROOT / file
            assert path.exists(), file
            made[name] += sorted(p.name for p in path.iterdir()) if path.is_dir() else [path.name]
    return made


def secrets() -> dict[str, list[str]]:
    made = {
        name: re.findall(r"--from-(?:file|literal) ([^=\s]+)=", rest)
        for name, rest in re.findall(
            r"kubectl create secret generic (\S+)((?: +(?:\\\n +)?--from-\S+ \S+)+)",
            PAGE.read_text(),
        )
    }
    (tls,) = re.findall(r"kubectl create secret tls (\S+)", PAGE.read_text())
    return made | {tls: ["tls.crt", "tls.key"]}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_they_name_is_made_by_the_page(path: Path) -> None:
    claims = {manifest("store.yaml", "PersistentVolumeClaim")["metadata"]["name"]}
    for pod in pods(path):
        for volume in pod["volumes"]:
            if "configMap" in volume:
                assert volume["configMap"]["name"] in config_maps()
            elif "secret" in volume:
                assert volume["secret"]["secretName"] in secrets()
            elif "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in claims
            else:
                assert "emptyDir" in volume
        for container in pod["containers"]:
            for variable in container.get("env", []):
                source = variable["valueFrom"]["secretKeyRef"]
                assert source["key"] in secrets()[source["name"]]
                assert f"$({variable['name']})" in container["args"]
    for each in manifests(path):
        if each["kind"] == "InferenceService":
            uri = each["spec"]["predictor"]["model"]["storageUri"]
            assert uri.removeprefix("pvc://").partition("/")[0] in claims


def path_in(container: Manifest, pod: Manifest, path: str) -> list[str]:
    """Return the files of the ConfigMap that is mounted where a path lies."""
    folder = str(Path(path).parent)
    (name,) = [m["name"] for m in container["volumeMounts"] if m["mountPath"] == folder]
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == name]
    return config_maps()[volume["configMap"]["name"]]


def settings_of(container: Manifest, pod: Manifest) -> dict[str, str]:
    args: list[str] = container["args"]
    config = args[args.index("--ts-config") + 1]
    files = path_in(container, pod, config)
    assert {Path(config).name, "metrics.yaml"} <= set(files)
    return read_properties(KUBERNETES / Path(config).name)


OTHERS: dict[str, dict[str, str]] = {
    "torchserve.yaml": {
        "metrics_address": "http://0.0.0.0:8082",
        "disable_token_authorization": "true",
        "enable_model_api": "false",
    },
    "kserve-torchserve.yaml": {
        "inference_address": "http://0.0.0.0:8080",
        "metrics_address": "http://0.0.0.0:8082",
        "disable_token_authorization": "true",
        "enable_model_api": "false",
    },
}


@pytest.mark.parametrize("file", OTHERS)
def test_the_configuration_is_this_projects_but_for_what_is_marked(file: str) -> None:
    (pod,) = pods(KUBERNETES / file)
    settings = settings_of(pod["containers"][0], pod)
    own = read_properties(ROOT / "config.properties")
    assert settings.keys() == own.keys()
    assert dict(settings.items() - own.items()) == OTHERS[file]
    # Whoever could reach it without a token would run code.
    assert addresses_of(settings).management.startswith("http://127.0.0.1:")


@pytest.mark.parametrize("file", OTHERS)
def test_ports_and_probes_are_those_of_the_configuration(file: str) -> None:
    (pod,) = pods(KUBERNETES / file)
    container = pod["containers"][0]
    settings = settings_of(container, pod)
    args = container["args"]
    listens = {int(address.rpartition(":")[2]) for address in settings_of_addresses(settings)}
    assert {port["containerPort"] for port in container["ports"]} <= listens
    named = {port["name"]: port["containerPort"] for port in container["ports"]}
    (model,) = args[args.index("--models") + 1 : args.index("--ts-config")]
    for key, probe in container.items():
        if key.endswith("Probe") and "exec" in probe:
            words = probe["exec"]["command"]
            assert words[:2] == ["torchserve-fire", "ready"]
            # It asks at the addresses of its own defaults.
            assert settings["inference_address"].endswith(":8080")
            assert settings["management_address"].endswith(":8081")
            assert words[words.index("--model-name") + 1] == model.partition("=")[0]
            assert probe["timeoutSeconds"] > float(words[words.index("--timeout") + 1])
        elif key.endswith("Probe"):
            assert named[probe["httpGet"]["port"]] == 8082
    # It stands in the annotations by which Prometheus finds it.
    text = (KUBERNETES / file).read_text()
    assert re.findall(r'prometheus\S*/port: "(\d+)"', text) == ["8082"]


def settings_of_addresses(settings: dict[str, str]) -> list[str]:
    return [value for key, value in settings.items() if key.endswith("_address") and ":" in value]


def test_nginx_listens_where_the_service_sends_and_reads_what_is_mounted() -> None:
    deployment = manifest("torchserve.yaml", "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    torchserve, nginx = pod["containers"]
    settings = settings_of(torchserve, pod)
    text = (DEPLOY / "nginx" / "torchserve.conf").read_text()
    (port,) = re.findall(r"listen (\d+) ssl;", text)
    assert nginx["ports"] == [{"name": "https", "containerPort": int(port)}]
    assert set(re.findall(r"proxy_pass (\S+);", text)) == {settings["inference_address"]}
    assert nginx["readinessProbe"]["httpGet"]["path"] == "/ping"
    main = nginx["command"][2]
    files = path_in(nginx, pod, main)
    included = re.findall(r"include (\S+\.conf);", (DEPLOY / "nginx" / "nginx.conf").read_text())
    assert {Path(main).name, *included} <= set(files)
    assert list((DEPLOY / "nginx").glob("torchserve-check*.conf"))
    mounted = [mount["mountPath"] for mount in nginx["volumeMounts"]]
    (tokens,) = re.findall(r"include (\S+)/\*\.conf;", (DEPLOY / "nginx/clients.conf").read_text())
    (certificate,) = re.findall(r"ssl_certificate +(\S+)/tls\.crt;", text)
    assert {tokens, certificate} <= set(mounted)
    service = manifest("torchserve.yaml", "Service")["spec"]
    assert [each["targetPort"] for each in service["ports"]] == ["https"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    policy = manifest("torchserve.yaml", "NetworkPolicy")["spec"]
    for selector in (
        service["selector"],
        deployment["spec"]["selector"]["matchLabels"],
        policy["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
    named = {each["name"] for container in pod["containers"] for each in container["ports"]}
    assert {p["port"] for rule in policy["ingress"] for p in rule["ports"]} == named
    scaler = manifest("torchserve.yaml", "HorizontalPodAutoscaler")["spec"]
    assert scaler["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    (metric,) = scaler["metrics"]
    assert metric["containerResource"]["container"] == torchserve["name"]
    # Longer than a request may take.
    read = int(re.findall(r"proxy_read_timeout +(\d+)s;", text)[0])
    assert pod["terminationGracePeriodSeconds"] > read


@pytest.mark.parametrize("file", ["kserve-torchserve.yaml", "kserve-sdk.yaml"])
def test_an_inference_service_asks_for_its_runtime(file: str) -> None:
    runtime, service = (manifest(file, kind) for kind in ("ServingRuntime", "InferenceService"))
    model = service["spec"]["predictor"]["model"]
    assert model["runtime"] == runtime["metadata"]["name"]
    assert model["modelFormat"]["name"] in [
        each["name"] for each in runtime["spec"]["supportedModelFormats"]
    ]
    assert model["protocolVersion"] in runtime["spec"]["protocolVersions"]
    (container,) = runtime["spec"]["containers"]
    # The name by which KServe finds it, and the place where it puts a model.
    assert container["name"] == "kserve-container"
    assert any("/mnt/models" in word for word in container["args"])


@pytest.mark.parametrize("file", ["kserve-torchserve.yaml", "kserve-sdk.yaml"])
def test_the_kserve_sdk_knows_each_field(file: str) -> None:
    kserve = pytest.importorskip("kserve", reason="needs the extra kserve")
    for kind in ("ServingRuntime", "InferenceService"):
        found = manifest(file, kind)
        version = found["apiVersion"].partition("/")[2]
        check_fields(kserve, f"{version.capitalize()}{kind}", found, kind)


def check_fields(kserve: Any, model: str, value: Any, where: str) -> None:
    """See that each field is one of the SDK's class for it, down to what is Kubernetes' own."""
    if match := re.fullmatch(r"list\[(.+)\]", model):
        assert isinstance(value, list), where
        for each in value:
            check_fields(kserve, match.group(1), each, where)
        return
    described = getattr(kserve.models, model, None) or getattr(kserve, model, None)
    if described is None:
        return
    names = {json: python for python, json in described.attribute_map.items()}
    assert set(value) <= set(names), where
    for json, each in value.items():
        check_fields(kserve, described.openapi_types[names[json]], each, f"{where}.{json}")


def test_ray_serve_takes_its_configuration() -> None:
    schema = pytest.importorskip("ray.serve.schema", reason="needs the extra ray")
    service = manifest("rayservice.yaml", "RayService")
    config = yaml.safe_load(service["spec"]["serveConfigV2"])
    parsed = schema.ServeDeploySchema.model_validate(config)
    (application,) = parsed.applications
    assert application.import_path == "torchserve_fire.ray:app"
    assert {each.name for each in application.deployments} == {"FireModel"}


def test_ray_finds_the_store_where_its_pods_have_it() -> None:
    service = manifest("rayservice.yaml", "RayService")
    (application,) = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"]
    for container in containers(KUBERNETES / "rayservice.yaml"):
        mounted = [mount["mountPath"] for mount in container["volumeMounts"]]
        assert any(application["args"]["archive"].startswith(f"{path}/") for path in mounted)
