"""The metrics that rules and autoscaler ask for, beside those that the services have.

The services are run as an overlay has them, on a broker of the binary 'sightline'.
"""

import re
import socket
import subprocess
import time
from functools import partial

import yaml

from ..environment import ROOT, SERVICES
from ..report import die, problem
from ..running import Running, free_port, get
from .objects import environment, ours, spec_of_pods, title

# Metrics of a build that no check has: with CUDA, on a machine with a GPU.
ELSEWHERE = re.compile(r"sightline_gpu_")
K8S = ROOT / "k8s"


def asked(text):
    """Names of our metrics in an expression; recorded series have a colon and are none."""
    return {name for name in re.findall(r"[\w:]+", re.sub(r'"[^"]*"', "", text)) if re.fullmatch(r"(sightline|process)_\w+", name)}


def offered(folder, items):
    """The names of all samples that the services have, run as the manifests say."""
    running = Running()
    try:
        port = free_port()
        running.start("broker", [folder / "sightline", "broker", "--listen", f"127.0.0.1:{port}", "--data", running.home / "broker"], {})
        running.wait_for("broker", lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
        elsewhere = {
            "SIGHTLINE_KAFKA_BOOTSTRAP": f"127.0.0.1:{port}",
            "SIGHTLINE_S3_ENDPOINT": "http://127.0.0.1:9",
            "AWS_ACCESS_KEY_ID": "none",
            "AWS_SECRET_ACCESS_KEY": "none",
        }
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
                    made = subprocess.run(
                        command, check=False, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60
                    )
                    if made.returncode:
                        die(f"{title(item)} fails with {made.returncode}: {made.stdout.strip()}")
                    continue
                places[binary] = f"127.0.0.1:{free_port()}"
                running.start(binary, command, {**env, "SIGHTLINE_INSTANCE": f"{binary}-0", "SIGHTLINE_HTTP_LISTEN": places[binary]})
        names = set()
        for binary, place in places.items():
            for path in ("/livez", "/readyz"):
                running.wait_for(f"{binary}{path}", partial(get, f"http://{place}{path}"))
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
