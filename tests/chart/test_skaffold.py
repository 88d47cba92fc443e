"""What Skaffold.yaml installs, rendered: images, ports, the verification and the live sync fit."""

from collections.abc import Mapping

import pytest
import yaml

from tests.chart.charts import ROOT, Helm, Manifests, Object
from tools.skaffold import Skaffold, read

DIGEST = "@sha256:" + "0" * 64


def rendered(helm: Helm, *profiles: str) -> Manifests:
    """Render every release but the CRDs as Skaffold does, with a full name for each image."""
    skaffold = read(ROOT, profiles=profiles, environ={})
    objects: list[Object] = []
    for release in skaffold.releases[1:]:
        arguments = release.helm_arguments(_images(skaffold))
        paths = [str(ROOT / a) if (ROOT / a).exists() else a for a in arguments if a != "--wait"]
        text = helm.run("template", *paths, "--namespace", "somewhere")
        objects += [each for each in yaml.safe_load_all(text) if each]
    return Manifests(tuple(objects))


@pytest.mark.parametrize(
    "profiles",
    [(), ("dev",), ("observability",), ("ci",), ("postgresql",), ("ci", "postgresql")],
    ids=str,
)
def test_every_pod_runs_an_image_that_was_built(helm: Helm, profiles: tuple[str, ...]) -> None:
    skaffold = read(ROOT, profiles=profiles, environ={})
    images = set(_images(skaffold).values())
    used = {
        container["image"]
        for pod in rendered(helm, *profiles).pods()
        for container in pod.containers
    }

    verified = {_images(skaffold)[each.image] for each in skaffold.verifications}
    assert used == images - verified


def test_forwarded_ports_exist(helm: Helm) -> None:
    services = _services(rendered(helm))

    for forward in read(ROOT, environ={}).port_forwards:
        assert forward.port in services[forward.service]
        assert forward.local_port == forward.port


def test_the_verification_reaches_what_it_asks(helm: Helm) -> None:
    manifests = rendered(helm)
    (verification,) = read(ROOT, environ={}).verifications
    job = yaml.safe_load((ROOT / verification.job).read_text())
    template = job["spec"]["template"]
    (container,) = template["spec"]["containers"]
    services = _services(manifests)

    assert container["name"] == verification.container
    for variable, scheme in (("GATEWAY_URL", "http"), ("STORE_URL", "grpc")):
        url = next(each["value"] for each in container["env"] if each["name"] == variable)
        host, _, port = url.removeprefix(f"{scheme}://").partition(":")
        assert int(port) in services[host]
    labels = template["metadata"]["labels"]
    peers = [
        peer["podSelector"]["matchLabels"]
        for policy in manifests.of("NetworkPolicy").values()
        if policy["metadata"]["name"] == "holdfast-store"
        for rule in policy["spec"]["ingress"]
        for peer in rule.get("from", [])
        if "podSelector" in peer
    ]
    assert any(peer.items() <= labels.items() for peer in peers), (labels, peers)


def test_the_verification_fulfils_the_strictest_profile() -> None:
    (verification,) = read(ROOT, environ={}).verifications
    pod = yaml.safe_load((ROOT / verification.job).read_text())["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_sources_can_be_changed_where_they_are_copied_to(helm: Helm) -> None:
    skaffold = read(ROOT, profiles=["dev"], environ={})
    places = {rule.dest for artifact in skaffold.artifacts for rule in artifact.sync}
    manifests = rendered(helm, "dev")
    pods = [pod for pod in manifests.pods() if pod.owner.startswith(("Deployment", "StatefulSet"))]

    for pod in pods:
        empty = {volume["name"] for volume in pod.spec["volumes"] if "emptyDir" in volume}
        writable = {m["mountPath"] for m in pod.main["volumeMounts"] if m["name"] in empty}
        assert places <= writable
        assert "watchfiles" in pod.main["command"]
    groups = manifests.of("WorkerGroup").values()
    for group in groups:
        autoscaling = group["spec"]["autoscaling"]
        assert (autoscaling["min"], autoscaling["max"]) == (1, 1), "a new pod would lack changes"
    assert len(pods) == 3 + len(groups)


def test_observability_asks_for_everything_that_the_chart_offers(helm: Helm) -> None:
    kinds = {each["kind"] for each in rendered(helm, "observability").objects}

    assert {"ServiceMonitor", "PodMonitor", "PrometheusRule", "ConfigMap"} <= kinds


def _images(skaffold: Skaffold) -> Mapping[str, str]:
    return {a.image: f"localhost:5000/{a.image}:tag{DIGEST}" for a in skaffold.artifacts}


def _services(manifests: Manifests) -> dict[str, set[int]]:
    return {
        each["metadata"]["name"]: {port["port"] for port in each["spec"]["ports"]}
        for each in manifests.of("Service").values()
    }
