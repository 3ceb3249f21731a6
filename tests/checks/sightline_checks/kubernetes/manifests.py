"""An overlay as a whole: what no schema of one object can say."""

from ..binaries import Help, seconds
from ..environment import SERVICES
from ..report import problem
from .objects import containers, environment, ours, spec_of_pods, title
from .pods import policies, restricted


def whole(overlay, items):
    """What no schema of one object can say."""
    keys = [(item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]) for item in items]
    names = {(kind, name) for kind, _, name in keys}
    for key in sorted({key for key in keys if keys.count(key) > 1}):
        problem(overlay, f"{key[0]} {key[2]} is there twice")
    for kind, namespace, name in keys:
        if kind != "Namespace" and namespace != "sightline":
            problem(overlay, f"{kind} {name} is in the namespace {namespace}")
    level = [item["metadata"].get("labels", {}) for item in items if item["kind"] == "Namespace"]
    if not level or any(level[0].get(f"pod-security.kubernetes.io/{mode}") != "restricted" for mode in ("enforce", "warn", "audit")):
        problem(overlay, "the namespace is not restricted")

    pods = {title(item): (item, *spec_of_pods(item)) for item in items if spec_of_pods(item)[1]}
    services = {item["metadata"]["name"]: item for item in items if item["kind"] == "Service"}

    def selected(selector):
        wanted = selector.get("matchLabels", selector if "matchExpressions" not in selector else {})
        return [name for name, (_, labels, _) in pods.items() if wanted.items() <= labels.items()]

    for name, (item, _, pod) in pods.items():
        where = f"{overlay}, {name}"
        restricted(where, pod)
        if ("ServiceAccount", pod.get("serviceAccountName", "default")) not in names and any(map(ours, pod["containers"])):
            problem(where, f"has no ServiceAccount {pod.get('serviceAccountName')}")
        if item["kind"] == "StatefulSet" and item["spec"]["serviceName"] not in services:
            problem(where, f"has no Service {item['spec']['serviceName']}")
        mounts = [(volume.get("configMap", {}).get("name"), volume.get("secret", {})) for volume in pod.get("volumes", [])]
        for config, secret in mounts:
            if config and ("ConfigMap", config) not in names:
                problem(where, f"there is no ConfigMap {config}")
            if secret and not secret.get("optional") and ("Secret", secret["secretName"]) not in names:
                problem(where, f"there is no Secret {secret['secretName']}")
        for container in containers(pod):
            for source in container.get("envFrom", []):
                if ("ConfigMap", source["configMapRef"]["name"]) not in names:
                    problem(where, f"there is no ConfigMap {source['configMapRef']['name']}")
            for variable in container.get("env", []):
                secret = variable.get("valueFrom", {}).get("secretKeyRef")
                if secret and not secret.get("optional") and ("Secret", secret["name"]) not in names:
                    problem(where, f"there is no Secret {secret['name']}")
            ports = {port.get("name") for port in container.get("ports", [])}
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                for way in ("httpGet", "tcpSocket"):
                    port = container.get(probe, {}).get(way, {}).get("port")
                    if isinstance(port, str) and port not in ports:
                        problem(where, f"{probe} asks at a port {port} that is not there")
            if ours(container) in SERVICES:
                for probe, path in (("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
                    if container.get(probe, {}).get("httpGet", {}).get("path") != path:
                        problem(where, f"{probe} does not ask {path}")
    for name, service in services.items():
        found = selected(service["spec"]["selector"])
        if len(found) != 1:
            problem(overlay, f"Service {name} finds {found or 'no pods'}")
        for port in service["spec"]["ports"]:
            offered = {
                offer.get("name") for match in found for container in pods[match][2]["containers"] for offer in container.get("ports", [])
            }
            if port["targetPort"] not in offered:
                problem(overlay, f"Service {name} leads to a port {port['targetPort']} that its pods don't have")
    for item in items:
        where = f"{overlay}, {title(item)}"
        if item["kind"] == "PodDisruptionBudget" and len(selected(item["spec"]["selector"])) != 1:
            problem(where, "does not find one workload")
        if item["kind"] == "ServiceMonitor":
            wanted = item["spec"]["selector"]["matchLabels"].items()
            matched = {name for name, service in services.items() if wanted <= service["metadata"].get("labels", {}).items()}
            if matched != set(SERVICES):
                problem(where, f"scrapes {sorted(matched)}")
        if item["kind"] == "TriggerAuthentication":
            users = [
                t.get("authenticationRef", {}).get("name") for i in items if i["kind"] == "ScaledObject" for t in i["spec"]["triggers"]
            ]
            if item["metadata"]["name"] not in users:
                problem(where, "is used by nobody")
    policies(overlay, items)
    autoscaler(overlay, items)


def autoscaler(overlay, items):
    by_title = {title(item): item for item in items}
    found = [item for item in items if item["kind"] in ("HorizontalPodAutoscaler", "ScaledObject")]
    if len(found) != 1:
        problem(overlay, f"{len(found)} autoscalers")
        return
    spec, where = found[0]["spec"], f"{overlay}, {title(found[0])}"
    target = by_title.get("{kind} {name}".format(**spec["scaleTargetRef"]))
    if target is None:
        problem(where, "scales what is not there")
        return
    if "replicas" in target["spec"]:
        problem(where, f"{title(target)} has a number of replicas, which every apply would set back")
    topics = by_title["Job topics"]["spec"]["template"]["spec"]["containers"][0]
    partitions = environment(items, topics)["SIGHTLINE_PARTITIONS"]
    if not partitions.isdecimal():
        problem(overlay, f"{partitions} is no number of partitions")
        return
    partitions = int(partitions)
    most = spec.get("maxReplicas", spec.get("maxReplicaCount"))
    least = spec.get("minReplicas", spec.get("minReplicaCount"))
    if not 1 <= least <= most <= partitions:
        problem(where, f"{least} to {most} replicas for {partitions} partitions")
    for item in items:
        if item["kind"] == "StatefulSet" and item["spec"].get("replicas", 1) > partitions:
            problem(where, f"{title(item)} has more replicas than there are partitions")
    container = target["spec"]["template"]["spec"]["containers"][0]
    for trigger in spec.get("triggers", []):
        data = trigger["metadata"]
        if trigger["type"] == "kafka":
            if data["bootstrapServersFromEnv"] not in environment(items, container):
                problem(where, f"{container['name']} has no {data['bootstrapServersFromEnv']}")
            if data["topic"] != "tensors" or data["consumerGroup"] != "infer":
                problem(where, "looks at the lag of something else than infer on tensors")
            login = environment(items, container).get("SIGHTLINE_KAFKA_SECURITY_PROTOCOL", "plaintext")
            if login.startswith("sasl") != ("sasl" in data) or login.endswith("ssl") != (data.get("tls") == "enable"):
                problem(where, f"signs in to Kafka in another way than the services, which use {login}")
        reference = trigger.get("authenticationRef", {}).get("name")
        if reference and f"TriggerAuthentication {reference}" not in by_title:
            problem(where, f"there is no TriggerAuthentication {reference}")


def behaviour(items):
    for item in items:
        if item["kind"] == "HorizontalPodAutoscaler":
            return item["spec"]["behavior"]
        if item["kind"] == "ScaledObject":
            return item["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    return None


def against_binaries(folder, overlay, items):
    for item in items:
        _, pod = spec_of_pods(item)
        for container in containers(pod) if pod else []:
            binary = ours(container)
            if binary is None:
                continue
            where = f"{overlay}, {title(item)}"
            known = Help(folder / binary, *container.get("args", [])).settings
            given = environment(items, container)
            for name, value in given.items():
                if not name.startswith("SIGHTLINE_"):
                    continue
                if name not in known:
                    problem(where, f"{binary} has no setting {name}")
                elif value is not None and known[name].values and value not in known[name].values:
                    problem(where, f"{name} can't be {value}, only one of {', '.join(known[name].values)}")
            if binary not in SERVICES:
                continue
            listen = given.get("SIGHTLINE_HTTP_LISTEN") or known["SIGHTLINE_HTTP_LISTEN"].default
            if [port["containerPort"] for port in container.get("ports", [])] != [int(listen.rsplit(":", 1)[1])]:
                problem(where, f"its port is not that of {listen}")
            drain = seconds(given.get("SIGHTLINE_DRAIN_TIMEOUT") or known["SIGHTLINE_DRAIN_TIMEOUT"].default)
            if drain is None or pod.get("terminationGracePeriodSeconds", 30) < drain + 5:
                problem(where, f"is killed before its drain time of {drain} s and five more are over")
            if given.get("SIGHTLINE_INSTANCE", "") is not None:
                problem(where, "SIGHTLINE_INSTANCE does not come from the pod's name")
