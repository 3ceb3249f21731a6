"""The rules, which the Prometheus operator wants in an object of its own, and the dashboards."""

import yaml

from ..environment import ROOT
from ..report import problem

K8S = ROOT / "k8s"
RULE = K8S / "components/monitoring/prometheus-rule.yaml"
COMMAND = "tests/check kubernetes --write"


def operator_rule():
    groups = []
    for path in sorted((K8S / "monitoring/rules").glob("*.yml")):
        groups += yaml.safe_load(path.read_text())["groups"]
    text = yaml.safe_dump({"groups": groups}, sort_keys=False, width=4096, allow_unicode=True)
    head = f"# Made from k8s/monitoring/rules by '{COMMAND}'.\napiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\n"
    return head + "metadata:\n  name: sightline\n  namespace: sightline\nspec:\n" + "".join(f"  {line}\n" for line in text.splitlines())


def dashboards():
    listed = {
        file
        for generator in yaml.safe_load((K8S / "monitoring/kustomization.yaml").read_text()).get("configMapGenerator", [])
        for file in generator["files"]
    }
    there = {f"dashboards/{path.name}" for path in (K8S / "monitoring/dashboards").glob("*.json")}
    if listed != there:
        problem("k8s/monitoring/kustomization.yaml", f"lists {sorted(listed - there)} that are not there, lacks {sorted(there - listed)}")
