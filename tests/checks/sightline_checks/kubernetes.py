#!/usr/bin/env python3
"""The Kubernetes manifests, held against the API of three Kubernetes versions and against the binaries. Needs no cluster.

usage: tests/checks/sightline_checks/kubernetes.py [--write] FOLDER

FOLDER holds the binaries: ingest, preprocess, infer, postprocess, sightline; cargo's target/debug is one.

Every overlay is rendered and
- validated strictly against the schemas of Kubernetes and of the custom resources;
- looked over as a whole: each name that is referred to exists, each selector finds what it is for, pods satisfy the
  'restricted' level, terminate after the drain time and don't outnumber the partitions;
- compared with the binaries: settings, values, port. The topics' Job and the services are then run as the overlay 'local'
  has them, on a broker of the binary 'sightline', and every metric that rules and autoscaler ask for must be among theirs.

--write  makes k8s/components/monitoring/prometheus-rule.yaml anew from k8s/monitoring/rules; without it the file must be up to date

Needs Go and Python 3 with venv; kustomize, the schemas and their validator are kept in ${XDG_CACHE_HOME:-~/.cache}/sightline.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
K8S = ROOT / "k8s"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sightline" / "kubernetes-check"
OVERLAYS = ("local", "aws", "gpu")
VERSIONS = ("1.35", "1.36", "1.37")
PACKAGES = ("kubernetes-validate==1.37.0", "PyYAML==6.0.3")
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
SERVICES = ("ingest", "preprocess", "infer", "postprocess")
# The image `tools` is the binary `sightline`; the others are named as theirs.
BINARIES = {**{name: name for name in SERVICES}, "tools": "sightline"}
# Metrics of a build that no check has: with CUDA, on a machine with a GPU.
ELSEWHERE = re.compile(r"sightline_gpu_")
RULE = K8S / "components/monitoring/prometheus-rule.yaml"


def say(text):
    print(f"kubernetes-check: {text}", file=sys.stderr)


def die(text):
    say(text)
    sys.exit(2)


problems = []


def problem(where, text):
    problems.append(f"{where}: {text}")


# What is needed, fetched once.


def tools():
    """Runs this script again by the Python that has the packages, after making it."""
    home = CACHE / "python" / "-".join(PACKAGES).replace("==", "-")
    if not (home / "complete").exists():
        say("fetching kubernetes-validate")
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        subprocess.run([home / "bin/pip", "install", "-q", "--disable-pip-version-check", *PACKAGES], check=True, stdout=sys.stderr)
        (home / "complete").touch()
    python = home / "bin/python"
    if Path(sys.prefix) != home:
        os.execv(python, [python, __file__, *sys.argv[1:]])


def kustomize():
    folder = CACHE / f"kustomize-{KUSTOMIZE}"
    if not (folder / "kustomize").exists():
        say(f"building kustomize {KUSTOMIZE}")
        package = f"sigs.k8s.io/kustomize/kustomize/v5@{KUSTOMIZE}"
        subprocess.run(["go", "install", package], check=True, env={**os.environ, "GOBIN": str(folder)}, stdout=sys.stderr)
    return folder / "kustomize"


def custom_schemas():
    """By (apiVersion, kind)."""
    schemas = {}
    for (module, version), files in CRDS.items():
        folder = CACHE / "crds" / f"{module.replace('/', '-')}-{version}"
        if not (folder / "complete").exists():
            say(f"fetching the custom resources of {module}")
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory() as empty:
                said = subprocess.run(["go", "mod", "download", "-json", f"{module}@{version}"], cwd=empty, stdout=subprocess.PIPE, check=True)
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
    """The schema of a custom resource without room for fields that it doesn't name."""
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


# The manifests.


def render(overlay):
    made = subprocess.run([kustomize(), "build", K8S / "overlays" / overlay], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if made.returncode:
        die(f"{overlay} does not render: {made.stderr.strip()}")
    if made.stderr.strip():
        problem(overlay, f"kustomize warns: {made.stderr.strip()}")
    return [item for item in yaml.safe_load_all(made.stdout) if item]


def title(item):
    return f"{item['kind']} {item['metadata']['name']}"


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


def spec_of_pods(item):
    template = item.get("spec", {}).get("template") if item["kind"] in ("StatefulSet", "Deployment", "DaemonSet", "Job") else None
    return (template["metadata"].get("labels", {}), template["spec"]) if template else (None, None)


def containers(pod):
    return [*pod.get("initContainers", []), *pod["containers"]]


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


def ours(container):
    """The binary of a container of ours, by its image."""
    image = re.fullmatch(r"ghcr\.io/sightline/(\w+):[\w.-]+", container["image"])
    return BINARIES.get(image[1]) if image else None


def seconds(text):
    found = re.fullmatch(r"(\d+)(ms|s|m)", text)
    return int(found[1]) * {"ms": 0.001, "s": 1, "m": 60}[found[2]] if found else None


def environment(items, container):
    """Name and value of each variable; the value is None where a secret or a field has it."""
    maps = {item["metadata"]["name"]: item["data"] for item in items if item["kind"] == "ConfigMap"}
    found = {}
    for source in container.get("envFrom", []):
        found.update(maps.get(source["configMapRef"]["name"], {}))
    for variable in container.get("env", []):
        found[variable["name"]] = variable.get("value")
    return found


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

    for name, (item, labels, pod) in pods.items():
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
            offered = {offer.get("name") for match in found for container in pods[match][2]["containers"] for offer in container.get("ports", [])}
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
            users = [t.get("authenticationRef", {}).get("name") for i in items if i["kind"] == "ScaledObject" for t in i["spec"]["triggers"]]
            if item["metadata"]["name"] not in users:
                problem(where, "is used by nobody")
    policies(overlay, items)
    autoscaler(overlay, items)


def policies(overlay, items):
    found = [item for item in items if item["kind"] == "NetworkPolicy"]
    if not any(item["spec"]["podSelector"] == {} and set(item["spec"]["policyTypes"]) == {"Ingress", "Egress"} and
               not item["spec"].get("egress") and not item["spec"].get("ingress") for item in found):
        problem(overlay, "no NetworkPolicy denies what is not allowed")
    for item in found:
        for rule in item["spec"].get("egress", []):
            if not rule.get("to"):
                problem(overlay, f"{title(item)} lets out to everywhere")
            for block in (peer["ipBlock"] for peer in rule.get("to", []) if "ipBlock" in peer):
                network = ipaddress.ip_network(block["cidr"])
                for metadata in map(ipaddress.ip_address, ("169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254", "fd00:ec2::23")):
                    inside = lambda cidr: metadata.version == cidr.version and metadata in cidr
                    if inside(network) and not any(inside(ipaddress.ip_network(cidr)) for cidr in block.get("except", [])):
                        problem(overlay, f"{title(item)} lets out to the metadata address {metadata}")


def autoscaler(overlay, items):
    by_title = {title(item): item for item in items}
    found = [item for item in items if item["kind"] in ("HorizontalPodAutoscaler", "ScaledObject")]
    if len(found) != 1:
        return problem(overlay, f"{len(found)} autoscalers")
    spec, where = found[0]["spec"], f"{overlay}, {title(found[0])}"
    target = by_title.get("{kind} {name}".format(**spec["scaleTargetRef"]))
    if target is None:
        return problem(where, "scales what is not there")
    if "replicas" in target["spec"]:
        problem(where, f"{title(target)} has a number of replicas, which every apply would set back")
    topics = by_title["Job topics"]["spec"]["template"]["spec"]["containers"][0]
    partitions = environment(items, topics)["SIGHTLINE_PARTITIONS"]
    if not partitions.isdecimal():
        return problem(overlay, f"{partitions} is no number of partitions")
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


# The binaries.


def run_help(folder, *command):
    said = subprocess.run([folder / command[0], *command[1:], "--help"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={"PATH": os.environ["PATH"]})
    if said.returncode:
        die(f"'{' '.join(command)} --help' fails: {said.stdout.strip()}")
    return re.sub(r"\s+", " ", re.sub(r"\x1b\[[0-9;]*m", "", said.stdout))


def settings(text):
    """Of a help text: each variable with its default and its possible values."""
    found = {}
    for name, rest in re.findall(r"\[env: (\w+)=?[^\]]*\]((?: \[[^\]]*\])*)", text):
        values = re.search(r"\[possible values: ([^\]]*)\]", rest)
        default = re.search(r"\[default: ([^\]]*)\]", rest)
        found[name] = (default[1] if default else None, values[1].split(", ") if values else None)
    return found


def against_binaries(folder, overlay, items):
    for item in items:
        labels, pod = spec_of_pods(item)
        for container in containers(pod) if pod else []:
            binary = ours(container)
            if binary is None:
                continue
            where = f"{overlay}, {title(item)}"
            known = settings(run_help(folder, binary, *container.get("args", [])))
            given = environment(items, container)
            for name, value in given.items():
                if not name.startswith("SIGHTLINE_"):
                    continue
                if name not in known:
                    problem(where, f"{binary} has no setting {name}")
                elif value is not None and known[name][1] and value not in known[name][1]:
                    problem(where, f"{name} can't be {value}, only one of {', '.join(known[name][1])}")
            if binary not in SERVICES:
                continue
            listen = given.get("SIGHTLINE_HTTP_LISTEN") or known["SIGHTLINE_HTTP_LISTEN"][0]
            if [port["containerPort"] for port in container.get("ports", [])] != [int(listen.rsplit(":", 1)[1])]:
                problem(where, f"its port is not that of {listen}")
            drain = seconds(given.get("SIGHTLINE_DRAIN_TIMEOUT") or known["SIGHTLINE_DRAIN_TIMEOUT"][0])
            if drain is None or pod.get("terminationGracePeriodSeconds", 30) < drain + 5:
                problem(where, f"is killed before its drain time of {drain} s and five more are over")
            if given.get("SIGHTLINE_INSTANCE", "") is not None:
                problem(where, "SIGHTLINE_INSTANCE does not come from the pod's name")


# The metrics.


def asked(text):
    """Names of our metrics in an expression; recorded series have a colon and are none."""
    return {name for name in re.findall(r"[\w:]+", re.sub(r'"[^"]*"', "", text)) if re.fullmatch(r"(sightline|process)_\w+", name)}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError:
        return None
    except OSError:
        return None


class Running:
    """Processes on loopback, stopped by pid."""

    def __init__(self):
        self.home = Path(tempfile.mkdtemp(prefix="sightline-kubernetes-check."))
        self.processes = []

    def start(self, name, command, env):
        log = self.home / f"{name}.log"
        self.processes.append((name, log, subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log.open("w"), stderr=subprocess.STDOUT,
                                                           env={"PATH": os.environ["PATH"], **env}, start_new_session=True)))

    def wait_for(self, what, ready, limit=60):
        end = time.monotonic() + limit
        while (answer := ready()) is None or answer is False:
            ended = [(name, log) for name, log, process in self.processes if process.poll() is not None]
            if ended or time.monotonic() > end:
                name, log = (ended or [(what, self.processes[-1][1])])[0]
                die(f"{name} {'ended' if ended else f'is not ready after {limit} s'}: {log.read_text()[-2000:]}")
            time.sleep(0.1)
        return answer

    def stop(self):
        for _, _, process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for _, _, process in self.processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(self.home)


def offered(folder, items):
    """The names of all samples that the services have, run as the manifests say."""
    running = Running()
    try:
        port = free_port()
        running.start("broker", [folder / "sightline", "broker", "--listen", f"127.0.0.1:{port}", "--data", running.home / "broker"], {})
        running.wait_for("broker", lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
        elsewhere = {"SIGHTLINE_KAFKA_BOOTSTRAP": f"127.0.0.1:{port}", "SIGHTLINE_S3_ENDPOINT": "http://127.0.0.1:9",
                     "AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none"}
        places = {}
        for item in sorted(items, key=lambda item: item["kind"] != "Job"):
            _, pod = spec_of_pods(item)
            for container in pod["containers"] if pod else []:
                binary = ours(container)
                if binary is None:
                    continue
                env = {name: value for name, value in environment(items, container).items() if value is not None} | elsewhere
                command = [folder / binary, *container.get("args", [])]
                if binary not in SERVICES:
                    made = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
                    if made.returncode:
                        die(f"{title(item)} fails with {made.returncode}: {made.stdout.strip()}")
                    continue
                places[binary] = f"127.0.0.1:{free_port()}"
                running.start(binary, command, {**env, "SIGHTLINE_INSTANCE": f"{binary}-0", "SIGHTLINE_HTTP_LISTEN": places[binary]})
        names = set()
        for binary, place in places.items():
            for path in ("/livez", "/readyz"):
                running.wait_for(f"{binary}{path}", lambda: get(f"http://{place}{path}"))
            # The lag has a series once partitions are assigned and the broker's statistics have come.
            end = time.monotonic() + 15
            while "lag_records{" not in (text := get(f"http://{place}/metrics") or "") and time.monotonic() < end:
                time.sleep(0.2)
            names |= set(re.findall(r"^([a-zA-Z_:][\w:]*)[{ ]", text, re.M))
            # Families of which nothing happened yet have a type, and samples whose names follow from it.
            for family, kind in re.findall(r"^# TYPE (\S+) (\w+)$", text, re.M):
                names |= {family + end for end in {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(kind, ("",))}
        return names
    finally:
        running.stop()


def metrics(folder, rendered):
    wanted = {}
    for path in sorted((K8S / "monitoring/rules").glob("*.yml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                for name in asked(rule["expr"]):
                    wanted.setdefault(name, f"{path.name}, {rule.get('alert') or rule.get('record')}")
    for overlay, items in rendered.items():
        for item in items:
            for trigger in item["spec"].get("triggers", []) if item["kind"] == "ScaledObject" else []:
                for name in asked(trigger["metadata"].get("query", "")):
                    wanted.setdefault(name, f"{overlay}, the trigger {trigger['name']}")
    names = offered(folder, rendered["local"])
    for name, where in sorted(wanted.items()):
        if name not in names and not ELSEWHERE.match(name):
            problem(where, f"no service has the metric {name}")
    return len(wanted)


# The rules, which the Prometheus operator wants in an object of its own.


def operator_rule():
    groups = []
    for path in sorted((K8S / "monitoring/rules").glob("*.yml")):
        groups += yaml.safe_load(path.read_text())["groups"]
    text = yaml.safe_dump({"groups": groups}, sort_keys=False, width=4096, allow_unicode=True)
    head = "# Made from k8s/monitoring/rules by 'tests/checks/sightline_checks/kubernetes.py --write'.\napiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\n"
    return head + "metadata:\n  name: sightline\n  namespace: sightline\nspec:\n" + "".join(f"  {line}\n" for line in text.splitlines())


def dashboards():
    listed = {file for generator in yaml.safe_load((K8S / "monitoring/kustomization.yaml").read_text()).get("configMapGenerator", [])
              for file in generator["files"]}
    there = {f"dashboards/{path.name}" for path in (K8S / "monitoring/dashboards").glob("*.json")}
    if listed != there:
        problem("k8s/monitoring/kustomization.yaml", f"lists {sorted(listed - there)} that are not there, lacks {sorted(there - listed)}")


def report():
    for text in problems:
        say(text)
    if problems:
        sys.exit(1)


def main():
    arguments = sys.argv[1:]
    if "-h" in arguments or "--help" in arguments:
        return print(__doc__.strip())
    write = "--write" in arguments
    folders = [argument for argument in arguments if not argument.startswith("-")]
    if len(folders) != 1 or set(arguments) - {*folders, "--write"}:
        print(__doc__.strip(), file=sys.stderr)
        sys.exit(2)
    folder = Path(folders[0]).resolve()
    for binary in BINARIES.values():
        if not os.access(folder / binary, os.X_OK):
            die(f"{folder} has no {binary}")
    rule = operator_rule()
    if write:
        RULE.write_text(rule)
    elif RULE.read_text() != rule:
        problem(RULE.relative_to(ROOT), "is not what 'tests/checks/sightline_checks/kubernetes.py --write' makes of the rules")
    dashboards()
    custom = custom_schemas()
    rendered = {overlay: render(overlay) for overlay in OVERLAYS}
    before = len(problems)
    for overlay, items in rendered.items():
        validate(overlay, items, custom)
    if len(problems) > before:
        report()  # what is below expects what the schemas demand
    for overlay, items in rendered.items():
        whole(overlay, items)
        against_binaries(folder, overlay, items)
    if len({json.dumps(behaviour(items), sort_keys=True) for items in rendered.values()}) != 1:
        problem("overlays", "the autoscalers behave differently")
    asked_for = metrics(folder, rendered)
    report()
    objects = ", ".join(f"{overlay} {len(items)}" for overlay, items in rendered.items())
    say(f"{objects} objects hold for Kubernetes {', '.join(VERSIONS)} and the binaries, {asked_for} metrics are there")


if __name__ == "__main__":
    tools()
    import ipaddress

    import jsonschema
    import kubernetes_validate
    import yaml

    main()
