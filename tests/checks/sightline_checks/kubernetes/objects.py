"""Objects of a rendered overlay: plain dictionaries, as YAML has them."""

import re

from ..binaries import BINARIES


def title(item):
    return f"{item['kind']} {item['metadata']['name']}"


def spec_of_pods(item):
    template = item.get("spec", {}).get("template") if item["kind"] in ("StatefulSet", "Deployment", "DaemonSet", "Job") else None
    return (template["metadata"].get("labels", {}), template["spec"]) if template else (None, None)


def containers(pod):
    return [*pod.get("initContainers", []), *pod["containers"]]


def ours(container):
    """The binary of a container of ours, by its image."""
    image = re.fullmatch(r"ghcr\.io/sightline/(\w+):[\w.-]+", container["image"])
    return BINARIES.get(image[1]) if image else None


def environment(items, container):
    """Name and value of each variable; the value is None where a secret or a field has it."""
    maps = {item["metadata"]["name"]: item["data"] for item in items if item["kind"] == "ConfigMap"}
    found = {}
    for source in container.get("envFrom", []):
        found.update(maps.get(source["configMapRef"]["name"], {}))
    for variable in container.get("env", []):
        found[variable["name"]] = variable.get("value")
    return found
