"""Phase 8: uninstalling leaves the CRDs and the data, and nothing else."""

import pytest

from tests.e2e.deployment import CRD, OWNER, Deployment
from tests.e2e.figures import Figures
from tests.e2e.waiting import until

pytestmark = [pytest.mark.timeout(600)]

# What every namespace has, and what only tells of the past.
OF_KUBERNETES = {"configmap/kube-root-ca.crt", "serviceaccount/default"}
PAST = {"events", "events.events.k8s.io"}
CLAIMS = {"persistentvolumeclaim/data-holdfast-store-0", "persistentvolumeclaim/holdfast-db"}


def test_uninstalling_leaves_the_definitions_and_the_data(
    deployment: Deployment, figures: Figures
) -> None:
    deployment.kubectl("delete", "job", "holdfast-verify", "--ignore-not-found", "--wait")
    wide_before = _cluster_wide(deployment)

    with figures.seconds("helm uninstall --wait"):
        deployment.uninstall()
    left = until(
        lambda: found if (found := _namespaced(deployment)) <= CLAIMS else None,
        "only claims are left",
        seconds=60,
    )

    assert left == CLAIMS
    wide = _cluster_wide(deployment)
    assert wide <= {f"CustomResourceDefinition/{CRD}"}, wide
    assert deployment.cluster.exists("customresourcedefinition", CRD)
    figures.add("left in the namespace by helm uninstall", ", ".join(sorted(left)))
    figures.add("left in the cluster by helm uninstall", ", ".join(sorted(wide)) or "nothing")
    assert wide <= wide_before


def _namespaced(deployment: Deployment) -> set[str]:
    kinds = deployment.cluster.kubectl(
        "api-resources", "--namespaced", "--verbs=list,delete", "--output=name"
    ).split()
    wanted = ",".join(kind for kind in kinds if kind not in PAST)
    names = set(deployment.kubectl("get", wanted, "--output", "name").split())
    return names - OF_KUBERNETES


def _cluster_wide(deployment: Deployment) -> set[str]:
    """Objects without a namespace that a release of this one made."""
    kinds = deployment.cluster.kubectl(
        "api-resources", "--namespaced=false", "--verbs=list,delete", "--output=name"
    ).split()
    template = (
        '{{range .items}}{{with .metadata.annotations}}{{index . "' + OWNER[1] + '"}} {{end}}'
        '{{.kind}}/{{.metadata.name}}{{"\\n"}}{{end}}'
    )
    lines = deployment.cluster.kubectl(
        "get", ",".join(kinds), "--output", f"go-template={template}"
    ).splitlines()
    return {line.split()[1] for line in lines if line.split()[:1] == [deployment.namespace]}
