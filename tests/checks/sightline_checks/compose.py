#!/usr/bin/env python3
"""docker-compose.yml, Dockerfile and k8s/monitoring/prometheus.yml, held against the binaries. Needs no Docker.

usage: tests/checks/sightline_checks/compose.py FOLDER

FOLDER holds the binaries: ingest, preprocess, infer, postprocess, sightline; cargo's target/debug is one.

- each variable SIGHTLINE_… and each flag is one that the service's --help names; the service accepts the values, and
  takes its container's name for its instance's;
- ports, addresses and topics agree between the services, the servers, the health checks and Prometheus;
- each image is pinned by version and ours have the workspace's; each target is a stage of the Dockerfile;
- ports are published on loopback alone; containers have no capabilities, no root user, and write to volumes only;
- services have longer to stop than they take to drain; whatever waits for another one waits for its health or its end.

Needs Python 3 with venv; PyYAML is kept in ${XDG_CACHE_HOME:-~/.cache}/sightline.
"""

import json
import os
import re
import socket
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sightline" / "compose-check"
PACKAGE = "PyYAML==6.0.3"
SERVICES = ("ingest", "preprocess", "infer", "postprocess")
OURS = "ghcr.io/sightline/"
# Read by the AWS SDK, not a setting.
STANDARD = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
# What others' images listen on, where no setting of the compose file says it.
DEFAULT_PORTS = {"prometheus": {9090}, "grafana": {3000}, "jaeger": {16686, 4318, 13133}}
# What an image writes beside its volumes, so that its root can't be read-only.
WRITES = {"kafka": "its configuration"}
# A folder that belongs to root needs a root to give it away.
ROOT_USERS = {"bucket"}

problems = []


def problem(text):
    problems.append(text)
    print(f"compose-check: {text}", file=sys.stderr)


def yaml():
    """PyYAML, installed into an environment of its own where it is missing."""
    try:
        import yaml as module

        return module
    except ImportError:
        python = CACHE / "bin" / "python"
        if Path(sys.prefix) == CACHE:
            raise
        if not (CACHE / "complete").exists():
            venv.create(CACHE, with_pip=True, clear=True)
            subprocess.run([python, "-m", "pip", "-q", "install", "--disable-pip-version-check", PACKAGE], check=True)
            (CACHE / "complete").touch()
        os.execv(python, [python, __file__, *sys.argv[1:]])


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
    return {key: str(value) for key, value in (mapping or {}).items()}


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(ms|s|m)", text).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60}[unit]


class Binary:
    """A binary's --help: its variables, flags and defaults."""

    def __init__(self, path, command=()):
        self.path = path
        bare = {"PATH": os.environ.get("PATH", ""), "COLUMNS": "400"}
        done = subprocess.run([path, *command, "--help"], capture_output=True, text=True, env=bare)
        self.help = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
        if done.returncode:
            problem(f"{path.name} {' '.join(command)} --help fails: {done.stderr.strip()}")
        text = re.sub(r"\s+", " ", self.help)
        self.variables = set(re.findall(r"\[env: (\w+)", text))
        self.flags = set(re.findall(r"(--[a-z0-9-]+)", text))
        # Each option's text runs to the next one's flag.
        self.defaults = {}
        for option in re.split(r" (?=--[a-z0-9-]+ [<\[])", text):
            name, default = re.search(r"\[env: (\w+)", option), re.search(r"\[default: ([^\]]*)\]", option)
            if name and default:
                self.defaults[name.group(1)] = default.group(1)

    def run(self, environment, *arguments):
        bare = {"PATH": os.environ.get("PATH", "")} | environment
        return subprocess.run([self.path, *arguments], capture_output=True, text=True, env=bare, timeout=60)

    def start(self, environment):
        """Starts the service as far as its settings; gives its exit status and what it said."""
        # It reads all of them, logs them and then listens, and this machine has no such address (RFC 5737).
        done = self.run(environment | {"SIGHTLINE_HTTP_LISTEN": "192.0.2.1:8080"})
        return done.returncode, done.stderr.strip()

    def asks(self):
        """Whether it asks a service how it is; nothing listens on this port."""
        return self.run({"SIGHTLINE_HTTP_LISTEN": "127.0.0.1:1"}, "health").returncode == 1


def images(services, stages):
    version = re.search(r'^\[workspace\.package\]\s+version = "([^"]+)"', (ROOT / "Cargo.toml").read_text(), re.M).group(1)
    for name, service in services.items():
        image = service["image"]
        tag = image.rpartition(":")[2]
        if not re.match(r"v?\d+\.\d+(\.\d+)?", tag):
            problem(f"{name}: {image} is not pinned by version")
        if not image.startswith(OURS):
            continue
        target = service["build"]["target"]
        if tag.removesuffix("-cuda") != version:
            problem(f"{name}: {image} does not have the version {version} of Cargo.toml")
        if image != f"{OURS}{target}:{tag}":
            problem(f"{name}: {image} is built from the target {target}")
        if target not in stages:
            problem(f"{name}: the Dockerfile has no stage {target}")


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
            problem(f"Dockerfile: {name} does not start {name}")
        if not any(re.match(rf'HEALTHCHECK .*CMD \["/usr/local/bin/{name}", "health"\]', line) for line in lines):
            problem(f"Dockerfile: {name} has no health check by itself")
    if "USER 65532:65532" not in stages.get("runtime", []):
        problem("Dockerfile: the images do not run as 65532")
    rust = re.search(r"^ARG RUST=(\S+)", text, re.M).group(1)
    least = re.search(r'^rust-version = "([^"]+)"', (ROOT / "Cargo.toml").read_text(), re.M).group(1)
    if [int(part) for part in rust.split(".")] < [int(part) for part in least.split(".")]:
        problem(f"Dockerfile: Rust {rust} is older than the {least} of Cargo.toml")
    return stages


def restrictions(services):
    for name, service in services.items():
        if service.get("cap_drop") != ["ALL"] or "no-new-privileges:true" not in service.get("security_opt", []):
            problem(f"{name}: keeps capabilities, or may get new ones")
        if service.get("read_only") is not True and name not in WRITES:
            problem(f"{name}: its root is not read-only")
        user = service.get("user", "")
        if name not in ROOT_USERS | {"kafka"} and (not user or user.split(":")[0] in ("0", "root")):
            problem(f"{name}: runs as root, or as whom the image says")
        if service["image"].startswith(OURS) and user != "65532:65532":
            problem(f"{name}: runs as {user}")
        if "mem_limit" not in service:
            problem(f"{name}: has no memory limit")
        if service.get("privileged") or service.get("network_mode") == "host" or "docker.sock" in str(service.get("volumes")):
            problem(f"{name}: reaches the host")
        for port in service.get("ports", []):
            if not re.fullmatch(r"127\.0\.0\.1:\d+:\d+", str(port)):
                problem(f"{name}: the port {port} is not published on loopback alone")


def volumes(services, declared):
    for name, service in services.items():
        for mount in service.get("volumes", []):
            source, target, *options = mount.split(":")
            if source.startswith("."):
                if not (ROOT / source).exists():
                    problem(f"{name}: {source} is not there")
                if options != ["ro"]:
                    problem(f"{name}: {source} can be written")
            elif source not in declared:
                problem(f"{name}: the volume {source} is not declared")
    used = {mount.split(":")[0] for service in services.values() for mount in service.get("volumes", [])}
    for name in set(declared) - used:
        problem(f"the volume {name} is used by nothing")


def order(services):
    for name, service in services.items():
        for other, condition in service.get("depends_on", {}).items():
            once = services[other].get("restart", "no").split(":")[0] in ("no", "on-failure")
            wanted = "service_completed_successfully" if once else "service_healthy"
            if condition["condition"] != wanted:
                problem(f"{name}: waits for {other} as {condition['condition']}, not {wanted}")
            checked = "healthcheck" in services[other] or services[other]["image"].startswith(OURS)
            if wanted == "service_healthy" and not checked:
                problem(f"{name}: waits for the health of {other}, which has no check")


def addresses(services):
    """Host and port of whatever the services are told to talk to, as the servers have it."""
    kafka = strings(services["kafka"]["environment"])
    advertised = dict(re.findall(r"(\w+)://([^,]+)", kafka["KAFKA_ADVERTISED_LISTENERS"]))
    listening = dict(re.findall(r"(\w+)://[^:,]*:(\d+)", kafka["KAFKA_LISTENERS"]))
    for listener, address in advertised.items():
        if listening.get(listener) != address.split(":")[1]:
            problem(f"kafka: advertises {address}, listens on {listening.get(listener)}")
    inside = {address for address in advertised.values() if address.startswith("kafka:")}
    if not {address for address in advertised.values() if f"{address}:{address.split(':')[1]}" in services["kafka"]["ports"]}:
        problem("kafka: no listener is advertised under a published port")
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
                problem(f"{name}: {variable} is {environment[variable]}, not one of {', '.join(sorted(values))}")
    keys = strings(services["s3"]["environment"])
    for name, service in services.items():
        environment = strings(service.get("environment"))
        pair = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
        if "SIGHTLINE_S3_ENDPOINT" in environment and pair != (keys["ROOT_ACCESS_KEY"], keys["ROOT_SECRET_KEY"]):
            problem(f"{name}: has other S3 keys than the store")
    ports = DEFAULT_PORTS | {"kafka": {int(port) for port in listening.values()}, "s3": {int(store.rpartition(":")[2])}}
    for name, service in services.items():
        published = {int(str(port).rpartition(":")[2]) for port in service.get("ports", [])}
        test = " ".join(service.get("healthcheck", {}).get("test", []))
        asked = {int(port) for port in re.findall(r"127\.0\.0\.1[:/](\d+)", test)}
        for port in published | asked:
            if port not in ports.get(name, set()):
                problem(f"{name}: nothing listens on {port}")


def topics(services):
    names = set(re.findall(r'=> "([a-z-]+)"', (ROOT / "shared/contracts/src/topics.rs").read_text()))
    if (topic := strings(services["s3"]["environment"])["VGW_EVENT_KAFKA_TOPIC"]) not in names:
        problem(f"s3: `sightline topics create` creates no topic {topic}")
    buckets = strings(services["ingest"]["environment"]).get("SIGHTLINE_BUCKETS", "images").split(",")
    made = " ".join(services["bucket"]["command"])
    for bucket in buckets:
        if f"/data/{bucket}" not in made:
            problem(f"bucket: does not make the bucket {bucket} that ingest lets in")


def binaries(services, folder):
    for name, service in services.items():
        if not service["image"].startswith(OURS):
            continue
        target, environment = service["build"]["target"], strings(service.get("environment"))
        command = service.get("command", [])
        words = [word for word in command if not word.startswith("-")] if target == "tools" else []
        binary = Binary(folder / ("sightline" if target == "tools" else target), words)
        for variable in environment:
            if variable not in binary.variables and variable not in STANDARD:
                problem(f"{name}: {target} has no setting {variable}")
        for flag in (word.split("=")[0] for word in command if word.startswith("-")):
            if flag not in binary.flags:
                problem(f"{name}: {target} has no flag {flag}")
        if target == "tools":
            continue
        settings = {key: value for key, value in environment.items() if key in binary.variables}
        status, said = binary.start(settings)
        if status != 1:
            problem(f"{name}: {target} refuses its settings: {said}")
        elif f" instance={re.sub('[^A-Za-z0-9._-]', '-', socket.gethostname())} " not in said:
            problem(f"{name}: its instances would not be named as their containers are, and fence each other")
        if not binary.asks():
            problem(f"{name}: `{target} health` asks nothing")
        drain = environment.get("SIGHTLINE_DRAIN_TIMEOUT", binary.defaults["SIGHTLINE_DRAIN_TIMEOUT"])
        if seconds(str(service["stop_grace_period"])) < seconds(drain) + 5:
            problem(f"{name}: is killed while it drains")
        listen = environment.get("SIGHTLINE_HTTP_LISTEN", binary.defaults["SIGHTLINE_HTTP_LISTEN"])
        yield name, target, int(listen.rpartition(":")[2])


def scraping(services, listening, prometheus):
    jobs = {job["job_name"]: job["dns_sd_configs"][0] for job in prometheus["scrape_configs"]}
    if set(jobs) != set(SERVICES):
        problem(f"prometheus.yml: its jobs are {', '.join(jobs)}")
    for name, target, port in listening:
        if jobs.get(target, {}).get("port") != port:
            problem(f"prometheus.yml: {target} listens on {port}")
        aliases = services[name].get("networks", {}).get("default", {}).get("aliases", [])
        if not set(jobs.get(target, {}).get("names", [])) & {name, *aliases}:
            problem(f"prometheus.yml: {name} is not scraped")
    mounted = {mount.split(":")[1] for mount in services["prometheus"]["volumes"]}
    for pattern in prometheus["rule_files"]:
        if os.path.dirname(pattern) not in mounted:
            problem(f"prometheus.yml: {pattern} is not mounted")


def dashboards(services):
    mounts = dict(mount.split(":")[:2][::-1] for mount in services["grafana"]["volumes"])
    for variable, path in strings(services["grafana"]["environment"]).items():
        if variable.endswith("_PATH"):
            folder, name = os.path.split(path)
            if not (ROOT / mounts.get(folder, "-") / name).exists():
                problem(f"grafana: {variable} names {path}, which is not mounted")
    loader = yaml()
    for file in sorted((ROOT / "k8s/monitoring/grafana/provisioning/dashboards").glob("*.yml")):
        for provider in loader.safe_load(file.read_text())["providers"]:
            if provider["options"]["path"] not in mounts:
                problem(f"{file.name}: {provider['options']['path']} is not mounted")
    for file in sorted((ROOT / "k8s/monitoring/grafana/provisioning/datasources").glob("*.yml")):
        for source in loader.safe_load(file.read_text())["datasources"]:
            host, port = re.fullmatch(r"http://(\w+):(\d+)/?", source["url"]).groups()
            if int(port) not in DEFAULT_PORTS.get(host, set()) or host not in services:
                problem(f"{file.name}: nothing answers at {source['url']}")
    for file in sorted((ROOT / "k8s/monitoring/dashboards").glob("*.json")):
        json.loads(file.read_text())


def main():
    if len(sys.argv) != 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        return 0 if len(sys.argv) == 2 else 2
    folder = Path(sys.argv[1]).resolve()
    missing = [name for name in (*SERVICES, "sightline") if not (folder / name).exists()]
    if missing:
        problem(f"{folder} has no {', '.join(missing)}")
        return 2
    loader = yaml()
    compose = interpolated(loader.safe_load((ROOT / "docker-compose.yml").read_text()))
    prometheus = loader.safe_load((ROOT / "k8s/monitoring/prometheus.yml").read_text())
    services = compose["services"]
    images(services, dockerfile())
    restrictions(services)
    volumes(services, compose["volumes"])
    order(services)
    addresses(services)
    topics(services)
    scraping(services, list(binaries(services, folder)), prometheus)
    dashboards(services)
    if problems:
        return 1
    print(f"compose-check: {len(services)} services agree with the binaries in {folder}")
    return 0


sys.exit(main())
