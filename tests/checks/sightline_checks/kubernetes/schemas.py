"""Overlays rendered by kustomize, and validated strictly against the schemas of Kubernetes and of the custom resources."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml

from ..environment import CACHE, ROOT
from ..report import die, problem, say
from .objects import title

K8S = ROOT / "k8s"
FETCHED = CACHE / "kubernetes-check"
VERSIONS = ("1.35", "1.36", "1.37")
KUSTOMIZE = "v5.7.1"
CRDS = {
    ("github.com/kedacore/keda/v2", "v2.18.1"): (
        "config/crd/bases/keda.sh_scaledobjects.yaml",
        "config/crd/bases/keda.sh_triggerauthentications.yaml",
    ),
    ("github.com/prometheus-operator/prometheus-operator", "v0.85.0"): (
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
    ),
}


def kustomize():
    folder = FETCHED / f"kustomize-{KUSTOMIZE}"
    if not (folder / "kustomize").exists():
        say(f"building kustomize {KUSTOMIZE}")
        package = f"sigs.k8s.io/kustomize/kustomize/v5@{KUSTOMIZE}"
        subprocess.run(["go", "install", package], check=True, env={**os.environ, "GOBIN": str(folder)}, stdout=sys.stderr)
    return folder / "kustomize"


def custom_schemas():
    """By (apiVersion, kind)."""
    schemas = {}
    for (module, version), files in CRDS.items():
        folder = FETCHED / "crds" / f"{module.replace('/', '-')}-{version}"
        if not (folder / "complete").exists():
            say(f"fetching the custom resources of {module}")
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory() as empty:
                said = subprocess.run(
                    ["go", "mod", "download", "-json", f"{module}@{version}"], cwd=empty, stdout=subprocess.PIPE, check=True
                )
            for file in files:
                shutil.copyfile(Path(json.loads(said.stdout)["Dir"]) / file, folder / Path(file).name)
            (folder / "complete").touch()
        for file in files:
            crd = yaml.safe_load((folder / Path(file).name).read_text())["spec"]
            for served in crd["versions"]:
                name = (f"{crd['group']}/{served['name']}", crd["names"]["kind"])
                schemas[name] = strict(served["schema"]["openAPIV3Schema"])
    return schemas


def strict(schema):
    """The schema of a custom resource that refuses fields which it doesn't name."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: strict(value) for key, value in schema.items()}
    if schema.get("x-kubernetes-int-or-string"):
        schema.pop("type", None)
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object" and not open_ended:
        schema["additionalProperties"] = False
    return schema


def render(overlay):
    made = subprocess.run([kustomize(), "build", K8S / "overlays" / overlay], check=False, capture_output=True, text=True)
    if made.returncode:
        die(f"{overlay} does not render: {made.stderr.strip()}")
    if made.stderr.strip():
        problem(overlay, f"kustomize warns: {made.stderr.strip()}")
    return [item for item in yaml.safe_load_all(made.stdout) if item]


def validate(overlay, items, custom):
    for item in items:
        schema = custom.get((item["apiVersion"], item["kind"]))
        if schema is not None:
            whole = {**schema, "properties": {**schema["properties"], "metadata": {"type": "object"}}}
            for error in jsonschema.Draft202012Validator(whole).iter_errors(item):
                problem(overlay, f"{title(item)}: {error.json_path}: {error.message[:300]}")
            continue
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(item, version, strict=True)
            except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
                problem(overlay, f"{title(item)}, Kubernetes {version}: {getattr(error, 'json_path', '')} {error.message[:300]}")
