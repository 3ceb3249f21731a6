"""docker-compose.yml, Dockerfile and k8s/monitoring/prometheus.yml, held against the binaries. Needs no Docker.

- each variable SIGHTLINE_… and each flag is one that the service's --help names; the service accepts the values, and
  takes its container's name for its instance's;
- ports, addresses and topics agree between the services, the servers, the health checks and Prometheus;
- each image is pinned by version and ours have the workspace's; each target is a stage of the Dockerfile;
- ports are published on loopback alone; containers have no capabilities, no root user, and write to volumes only;
- services have longer to stop than they take to drain; whatever waits for another one waits for its health or its end.
"""

import json
import os
import re
import socket
import subprocess

import yaml

from .binaries import Help, add_folder, checked, seconds
from .environment import ROOT, SERVICES
from .report import problem, problems

OURS = "ghcr.io/sightline/"
# Read by the AWS SDK and by the client of Hugging Face's hub, not settings.
STANDARD = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "HF_ENDPOINT", "HF_HOME", "HF_TOKEN"}
# What others' images listen on, where no setting of the compose file says it.
DEFAULT_PORTS = {"prometheus": {9090}, "grafana": {3000}, "jaeger": {16686, 4318, 13133}}
# What an image writes beside its volumes, so that its root can't be read-only.
WRITES = {"kafka": "its configuration"}
# A folder that belongs to root needs a root to give it away.
ROOT_USERS = {"bucket"}


def interpolated(value):
    """The value with the defaults of its variables: `${NAME:-default}`."""
    if isinstance(value, str):
        return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)
    if isinstance(value, dict):
        return {key: interpolated(each) for key, each in value.items()}
    if isinstance(value, list):
        return [interpolated(each) for each in value]
    return value


def strings(mapping):
    """Without what has no value here: Compose passes it through where it is set."""
    return {key: str(value) for key, value in (mapping or {}).items() if value is not None}


def run(program, environment, *arguments):
    bare = {"PATH": os.environ.get("PATH", "")} | environment
    return subprocess.run([program, *arguments], check=False, capture_output=True, text=True, env=bare, timeout=60)


def start(program, environment):
    """Starts a service as far as its settings; gives its exit status and what it said."""
    # It reads all of them, logs them and then listens, and this machine has no such address (RFC 5737).
    done = run(program, environment | {"SIGHTLINE_HTTP_LISTEN": "192.0.2.1:8080"})
    return done.returncode, done.stderr.strip()


def asks(program):
    """Whether it asks a service how it is; nothing listens on this port."""
    return run(program, {"SIGHTLINE_HTTP_LISTEN": "127.0.0.1:1"}, "health").returncode == 1


def images(services, stages):
    version = re.search(r'^\[workspace\.package\]\s+version = "([^"]+)"', (ROOT / "Cargo.toml").read_text(), re.M).group(1)
    for name, service in services.items():
        image = service["image"]
        tag = image.rpartition(":")[2]
        if not re.match(r"v?\d+\.\d+(\.\d+)?", tag):
            problem(name, f"{image} is not pinned by version")
        if not image.startswith(OURS):
            continue
        target = service["build"]["target"]
        if tag.removesuffix("-cuda") != version:
            problem(name, f"{image} does not have the version {version} of Cargo.toml")
        if image != f"{OURS}{target}:{tag}":
            problem(name, f"{image} is built from the target {target}")
        if target not in stages:
            problem(name, f"the Dockerfile has no stage {target}")


def dockerfile():
    """The stages of the Dockerfile, each with its lines."""
    stages, text = {}, (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if start := re.match(r"FROM \S+ AS (\S+)", line):
            stages[start.group(1)] = current = []
        elif stages:
            current.append(line)
    for name in SERVICES:
        lines = stages.get(name, [])
        if f'ENTRYPOINT ["/usr/local/bin/{name}"]' not in lines:
            problem("Dockerfile", f"{name} does not start {name}")
        if not any(re.match(rf'HEALTHCHECK .*CMD \["/usr/local/bin/{name}", "health"\]', line) for line in lines):
            problem("Dockerfile", f"{name} has no health check by itself")
    if "USER 65532:65532" not in stages.get("runtime", []):
        problem("Dockerfile", "the images do not run as 65532")
    rust = re.search(r"^ARG RUST=(\S+)", text, re.M).group(1)
    least = re.search(r'^rust-version = "([^"]+)"', (ROOT / "Cargo.toml").read_text(), re.M).group(1)
    if [int(part) for part in rust.split(".")] < [int(part) for part in least.split(".")]:
        problem("Dockerfile", f"Rust {rust} is older than the {least} of Cargo.toml")
    return stages


def restrictions(services):
    for name, service in services.items():
        if service.get("cap_drop") != ["ALL"] or "no-new-privileges:true" not in service.get("security_opt", []):
            problem(name, "keeps capabilities, or may get new ones")
        if service.get("read_only") is not True and name not in WRITES:
            problem(name, "its root is not read-only")
        user = service.get("user", "")
        if name not in ROOT_USERS | {"kafka"} and (not user or user.split(":")[0] in ("0", "root")):
            problem(name, "runs as root, or as whom the image says")
        if service["image"].startswith(OURS) and user != "65532:65532":
            problem(name, f"runs as {user}")
        if "mem_limit" not in service:
            problem(name, "has no memory limit")
        if service.get("privileged") or service.get("network_mode") == "host" or "docker.sock" in str(service.get("volumes")):
            problem(name, "reaches the host")
        for port in service.get("ports", []):
            if not re.fullmatch(r"127\.0\.0\.1:\d+:\d+", str(port)):
                problem(name, f"the port {port} is not published on loopback alone")


def volumes(services, declared):
    for name, service in services.items():
        for mount in service.get("volumes", []):
            source, _, *options = mount.split(":")
            if source.startswith("."):
                if not (ROOT / source).exists():
                    problem(name, f"{source} is not there")
                if options != ["ro"]:
                    problem(name, f"{source} can be written")
            elif source not in declared:
                problem(name, f"the volume {source} is not declared")
    used = {mount.split(":")[0] for service in services.values() for mount in service.get("volumes", [])}
    for name in set(declared) - used:
        problem(name, "the volume is used by nothing")


def order(services):
    for name, service in services.items():
        for other, condition in service.get("depends_on", {}).items():
            once = services[other].get("restart", "no").split(":")[0] in ("no", "on-failure")
            wanted = "service_completed_successfully" if once else "service_healthy"
            if condition["condition"] != wanted:
                problem(name, f"waits for {other} as {condition['condition']}, not {wanted}")
            checked = "healthcheck" in services[other] or services[other]["image"].startswith(OURS)
            if wanted == "service_healthy" and not checked:
                problem(name, f"waits for the health of {other}, which has no check")


def addresses(services):
    """Host and port of whatever the services are told to talk to, as the servers have it."""
    kafka = strings(services["kafka"]["environment"])
    advertised = dict(re.findall(r"(\w+)://([^,]+)", kafka["KAFKA_ADVERTISED_LISTENERS"]))
    listening = dict(re.findall(r"(\w+)://[^:,]*:(\d+)", kafka["KAFKA_LISTENERS"]))
    for listener, address in advertised.items():
        if listening.get(listener) != address.split(":")[1]:
            problem("kafka", f"advertises {address}, listens on {listening.get(listener)}")
    inside = {address for address in advertised.values() if address.startswith("kafka:")}
    if not {address for address in advertised.values() if f"{address}:{address.split(':')[1]}" in services["kafka"]["ports"]}:
        problem("kafka", "no listener is advertised under a published port")
    store = f"http://s3{strings(services['s3']['environment'])['VGW_PORT']}"
    known = {
        "SIGHTLINE_KAFKA_BOOTSTRAP": inside,
        "VGW_EVENT_KAFKA_URL": inside,
        "SIGHTLINE_S3_ENDPOINT": {store},
        "OTEL_EXPORTER_OTLP_ENDPOINT": {"http://jaeger:4318"},
        "VGW_EVENT_KAFKA_TOPIC": {"ingest"},
    }
    for name, service in services.items():
        environment = strings(service.get("environment"))
        for variable, values in known.items():
            if variable in environment and environment[variable] not in values:
                problem(name, f"{variable} is {environment[variable]}, not one of {', '.join(sorted(values))}")
    keys = strings(services["s3"]["environment"])
    for name, service in services.items():
        environment = strings(service.get("environment"))
        pair = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
        if "SIGHTLINE_S3_ENDPOINT" in environment and pair != (keys["ROOT_ACCESS_KEY"], keys["ROOT_SECRET_KEY"]):
            problem(name, "has other S3 keys than the store")
    ports = DEFAULT_PORTS | {"kafka": {int(port) for port in listening.values()}, "s3": {int(store.rpartition(":")[2])}}
    for name, service in services.items():
        published = {int(str(port).rpartition(":")[2]) for port in service.get("ports", [])}
        test = " ".join(service.get("healthcheck", {}).get("test", []))
        asked = {int(port) for port in re.findall(r"127\.0\.0\.1[:/](\d+)", test)}
        for port in published | asked:
            if port not in ports.get(name, set()):
                problem(name, f"nothing listens on {port}")


def topics(services):
    names = set(re.findall(r'=> "([a-z-]+)"', (ROOT / "shared/contracts/src/topics.rs").read_text()))
    if (topic := strings(services["s3"]["environment"])["VGW_EVENT_KAFKA_TOPIC"]) not in names:
        problem("s3", f"`sightline topics create` creates no topic {topic}")
    buckets = strings(services["ingest"]["environment"]).get("SIGHTLINE_BUCKETS", "images").split(",")
    made = " ".join(services["bucket"]["command"])
    for bucket in buckets:
        if f"/data/{bucket}" not in made:
            problem("bucket", f"does not make the bucket {bucket} that ingest lets in")


def binaries(services, folder):
    for name, service in services.items():
        if not service["image"].startswith(OURS):
            continue
        target, environment = service["build"]["target"], strings(service.get("environment"))
        command = service.get("command", [])
        words = [word for word in command if not word.startswith("-")] if target == "tools" else []
        program = folder / ("sightline" if target == "tools" else target)
        known = Help(program, *words)
        for variable in service.get("environment") or {}:
            if variable not in known.settings and variable not in STANDARD:
                problem(name, f"{target} has no setting {variable}")
        for flag in (word.split("=")[0] for word in command if word.startswith("-")):
            if flag not in known.flags:
                problem(name, f"{target} has no flag {flag}")
        if target == "tools":
            continue
        settings = {key: value for key, value in environment.items() if key in known.settings}
        status, said = start(program, settings)
        if status != 1:
            problem(name, f"{target} refuses its settings: {said}")
        elif f" instance={re.sub('[^A-Za-z0-9._-]', '-', socket.gethostname())} " not in said:
            problem(name, "its instances would not be named as their containers are, and fence each other")
        if not asks(program):
            problem(name, f"`{target} health` asks nothing")
        drain = environment.get("SIGHTLINE_DRAIN_TIMEOUT", known.settings["SIGHTLINE_DRAIN_TIMEOUT"].default)
        if seconds(str(service["stop_grace_period"])) < seconds(drain) + 5:
            problem(name, "is killed while it drains")
        listen = environment.get("SIGHTLINE_HTTP_LISTEN", known.settings["SIGHTLINE_HTTP_LISTEN"].default)
        yield name, target, int(listen.rpartition(":")[2])


def scraping(services, listening, prometheus):
    jobs = {job["job_name"]: job["dns_sd_configs"][0] for job in prometheus["scrape_configs"]}
    if set(jobs) != set(SERVICES):
        problem("prometheus.yml", f"its jobs are {', '.join(jobs)}")
    for name, target, port in listening:
        if jobs.get(target, {}).get("port") != port:
            problem("prometheus.yml", f"{target} listens on {port}")
        aliases = services[name].get("networks", {}).get("default", {}).get("aliases", [])
        if not set(jobs.get(target, {}).get("names", [])) & {name, *aliases}:
            problem("prometheus.yml", f"{name} is not scraped")
    mounted = {mount.split(":")[1] for mount in services["prometheus"]["volumes"]}
    for pattern in prometheus["rule_files"]:
        if os.path.dirname(pattern) not in mounted:
            problem("prometheus.yml", f"{pattern} is not mounted")


def dashboards(services):
    mounts = dict(mount.split(":")[:2][::-1] for mount in services["grafana"]["volumes"])
    for variable, path in strings(services["grafana"]["environment"]).items():
        if variable.endswith("_PATH"):
            folder, name = os.path.split(path)
            if not (ROOT / mounts.get(folder, "-") / name).exists():
                problem("grafana", f"{variable} names {path}, which is not mounted")
    for file in sorted((ROOT / "k8s/monitoring/grafana/provisioning/dashboards").glob("*.yml")):
        for provider in yaml.safe_load(file.read_text())["providers"]:
            if provider["options"]["path"] not in mounts:
                problem(file.name, f"{provider['options']['path']} is not mounted")
    for file in sorted((ROOT / "k8s/monitoring/grafana/provisioning/datasources").glob("*.yml")):
        for source in yaml.safe_load(file.read_text())["datasources"]:
            host, port = re.fullmatch(r"http://(\w+):(\d+)/?", source["url"]).groups()
            if int(port) not in DEFAULT_PORTS.get(host, set()) or host not in services:
                problem(file.name, f"nothing answers at {source['url']}")
    for file in sorted((ROOT / "k8s/monitoring/dashboards").glob("*.json")):
        json.loads(file.read_text())


def arguments(parser):
    add_folder(parser)


def main(given):
    folder = checked(given.folder)
    compose = interpolated(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))
    prometheus = yaml.safe_load((ROOT / "k8s/monitoring/prometheus.yml").read_text())
    services = compose["services"]
    images(services, dockerfile())
    restrictions(services)
    volumes(services, compose["volumes"])
    order(services)
    addresses(services)
    topics(services)
    scraping(services, list(binaries(services, folder)), prometheus)
    dashboards(services)
    if problems():
        return 1
    print(f"check: {len(services)} services agree with the binaries in {folder}")
    return 0
