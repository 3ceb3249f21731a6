"""What every pod has to hold to, and what it may reach."""

import ipaddress

from ..report import problem
from .objects import containers, ours, title

# Where a cloud's machines and pods get their credentials from.
METADATA = ("169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254", "fd00:ec2::23")


def restricted(where, pod):
    """The level 'restricted' of the Pod Security Standards, and what else every pod here has."""
    security = pod.get("securityContext", {})
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(field):
            problem(where, f"{field} is not restricted")
    for volume in pod.get("volumes", []):
        if not {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"} & set(volume):
            problem(where, f"volume {volume['name']} is of a kind that is not restricted")
    for container in containers(pod):
        own = container.get("securityContext", {})
        name = container["name"]
        if own.get("allowPrivilegeEscalation") is not False:
            problem(where, f"{name} may escalate privileges")
        if own.get("privileged"):
            problem(where, f"{name} is privileged")
        if own.get("capabilities", {}).get("drop") != ["ALL"] or set(own["capabilities"].get("add", [])) - {"NET_BIND_SERVICE"}:
            problem(where, f"{name} keeps capabilities")
        if own.get("runAsNonRoot", security.get("runAsNonRoot")) is not True or not own.get("runAsUser", security.get("runAsUser")):
            problem(where, f"{name} may run as root")
        if own.get("seccompProfile", security.get("seccompProfile", {})).get("type") not in ("RuntimeDefault", "Localhost"):
            problem(where, f"{name} has no seccomp profile")
        if any("hostPort" in port for port in container.get("ports", [])):
            problem(where, f"{name} takes a port of the node")
        resources = container.get("resources", {})
        for kind in ("requests", "limits"):
            for what in ("cpu", "memory"):
                if what not in resources.get(kind, {}):
                    problem(where, f"{name} has no {kind} of {what}")
        if ours(container) and own.get("readOnlyRootFilesystem") is not True:
            problem(where, f"{name} may write to its root file system")
    if pod.get("automountServiceAccountToken") is not False:
        problem(where, "mounts a token of the API")
    if pod.get("enableServiceLinks") is not False:
        problem(where, "gets variables of all Services")


def policies(overlay, items):
    found = [item for item in items if item["kind"] == "NetworkPolicy"]
    if not any(
        item["spec"]["podSelector"] == {}
        and set(item["spec"]["policyTypes"]) == {"Ingress", "Egress"}
        and not item["spec"].get("egress")
        and not item["spec"].get("ingress")
        for item in found
    ):
        problem(overlay, "no NetworkPolicy denies what is not allowed")
    for item in found:
        for rule in item["spec"].get("egress", []):
            if not rule.get("to"):
                problem(overlay, f"{title(item)} lets out to everywhere")
            for block in (peer["ipBlock"] for peer in rule.get("to", []) if "ipBlock" in peer):
                for metadata in METADATA:
                    if inside(metadata, block["cidr"]) and not any(inside(metadata, cidr) for cidr in block.get("except", [])):
                        problem(overlay, f"{title(item)} lets out to the metadata address {metadata}")


def inside(address, cidr):
    address, network = ipaddress.ip_address(address), ipaddress.ip_network(cidr)
    return address.version == network.version and address in network
