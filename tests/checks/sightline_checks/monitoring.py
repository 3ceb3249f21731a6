"""The expressions of k8s/monitoring against a running Prometheus that has loaded its rules.

- parse: every expression parses; alerts, their texts and tests, and dashboards are complete;
- observe: puts images and broken images into the bucket of the services that SIGHTLINE_TEST_HTTP names, and demands that
  every expression returns a number meanwhile. 'sightline' and the AWS variables are what 'tests/services run' and
  'tests/minio run' set.

'tests/prometheus run' says where Prometheus is.
"""

import json
import math
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter

from .environment import ROOT
from .report import die

MONITORING = ROOT / "k8s" / "monitoring"
FIXTURES = ROOT / "tests" / "fixtures"
# What only a machine with a GPU exports.
GPU = "sightline_gpu_"
# What a Grafana would put in: the window of a rate, and the choice "all" of a variable.
BUILT_IN = {"__rate_interval": "15s", "__interval": "5s", "__range": "30m"}


class Prometheus:
    def __init__(self, url):
        self.url = url

    def get(self, path, **parameters):
        query = urllib.parse.urlencode(parameters, doseq=True)
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}") as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise ValueError(json.load(error)["error"]) from None

    def rules(self):
        return [rule for group in self.get("rules")["groups"] for rule in group["rules"]]

    def numbers(self, expression, begin):
        """How many series had a number since then."""
        series = self.get("query_range", query=expression, start=begin, end=time.time(), step=1)["result"]
        return sum(any(not math.isnan(float(value)) for _, value in one["values"]) for one in series)


class Page:
    def __init__(self, path):
        self.name = path.stem
        self.json = json.loads(path.read_text())
        self.panels = [inner for panel in self.json["panels"] for inner in (panel, *panel.get("panels", []))]
        self.variables = {v["name"]: v for v in self.json["templating"]["list"]}

    def expressions(self):
        for panel in self.panels:
            for target in panel.get("targets", []):
                yield f"{self.name}: {panel['title']}: {target['refId']}", target["expr"]


def fill(expression, values):
    """The expression with Grafana's variables put in, regular expressions as they are."""
    return re.sub(r"\$\{?(\w+)\}?", lambda m: (BUILT_IN | values)[m[1]], expression)


def without_thresholds(expression):
    """An alert's expression without its comparisons with numbers: it returns data where its sides do."""
    stripped, count = re.subn(r"\s*(?:==|!=|<=|>=|<|>)\s*-?[\d.]+", "", expression)
    if count == 0:
        raise ValueError("compares nothing with a number")
    return stripped


def pages():
    return [Page(path) for path in sorted((MONITORING / "dashboards").glob("*.json"))]


def choices(page, prometheus):
    """The values to try a page with: everything, then each choice of its variables but the namespace."""
    everything = {name: v.get("allValue", "") for name, v in page.variables.items()}
    stage = next((v for name, v in page.variables.items() if name.startswith("stage")), None)
    if stage is None:
        return [everything]
    selector, label = re.fullmatch(r"label_values\((.*), (\w+)\)", stage["definition"]).groups()
    values = prometheus.get(f"label/{label}/values", **{"match[]": fill(selector, everything)})
    if not values:
        raise ValueError(f"{page.name}: the variable {stage['name']} has no choices")
    return [everything | {stage["name"]: value} for value in values]


def parse(prometheus):
    problems, count = [], 0

    def parses(where, expression, values):
        nonlocal count
        count += 1
        try:
            prometheus.get("format_query", query=fill(expression, values))
        except KeyError as unknown:
            problems.append(f"{where}: unknown variable {unknown}")
        except ValueError as error:
            problems.append(f"{where}: {error}")

    everything = pages()
    uids = [page.json["uid"] for page in everything]
    for page in everything:
        values = dict.fromkeys(page.variables, "x")
        for where, expression in page.expressions():
            parses(where, expression, values)
        problems += [f"{page.name}: {text}" for text in page_problems(page, uids)]
    problems += alert_problems(prometheus.rules())
    print(f"{len(everything)} pages, {count} expressions: {len(problems)} problems", *problems, sep="\n  ")
    return not problems


def page_problems(page, uids):
    """What would make Grafana or an operator stumble."""
    if page.json["uid"] != page.name or uids.count(page.name) != 1:
        yield "its uid is not its file's name"
    for identity, times in Counter(panel["id"] for panel in page.panels).items():
        if times > 1:
            yield f"{times} panels have the id {identity}"
    for panel in page.panels:
        if panel["type"] != "row" and not panel.get("description"):
            yield f"{panel['title']}: no description"
        if any(target["datasource"]["uid"] != "${datasource}" for target in panel.get("targets", [])):
            yield f"{panel['title']}: a data source that is not the variable"
    for uid in re.findall(r'"/d/([\w-]+)', json.dumps(page.json)):
        if uid not in uids:
            yield f"links to /d/{uid}, which is not here"
    spots = [(p["gridPos"], p["title"]) for p in page.panels]
    for number, (a, title) in enumerate(spots):
        for b, other in spots[:number]:
            if a["x"] < b["x"] + b["w"] and b["x"] < a["x"] + a["w"] and a["y"] < b["y"] + b["h"] and b["y"] < a["y"] + a["h"]:
                yield f"{title} lies on {other}"


def alert_problems(rules):
    headings = {line.lstrip("# ").lower() for line in (MONITORING / "README.md").read_text().splitlines() if line.startswith("#")}
    fires, quiet = set(), set()
    for file in (MONITORING / "rules" / "tests").glob("*.yml"):
        for rest in file.read_text().split("- eval_time:")[1:]:
            # Up to the next test: its name comes after this case.
            case = rest.split("\n  - name:")[0]
            (fires if "exp_labels" in case else quiet).add(re.search(r"alertname: (\w+)", case)[1])
    alerts = [rule for rule in rules if rule["type"] == "alerting"]
    if not alerts:
        yield "no alerts are loaded"
    for rule in alerts:
        name, notes = rule["name"], rule["annotations"]
        if rule["labels"].get("severity") not in ("critical", "warning"):
            yield f"{name}: no severity"
        if not {"summary", "description", "runbook_url"} <= notes.keys() or notes["runbook_url"].partition("#")[2] != name.lower():
            yield f"{name}: lacks a summary, a description or its own runbook_url"
        if name.lower() not in headings:
            yield f"{name}: the README has no heading for it"
        if name not in fires or name not in quiet:
            yield f"{name}: not tested in both directions"
        try:
            without_thresholds(rule["query"])
        except ValueError as error:
            yield f"{name}: {error}"


def data(prometheus, begin):
    rows, missing, left_out = [], [], []
    stages = len(prometheus.get("label/stage/values"))

    def ask(group, expressions, values):
        """Counts expressions by whether they give numbers: for every value, and for every stage where that is the grouping.
        One that filters (`> 0`) has to for some value only."""
        row = Counter()
        for where, expression in expressions:
            row["expressions"] += 1
            if GPU in expression:
                row["GPU"] += 1
                left_out.append(where)
                continue
            filters = "> 0" in expression
            wanted = stages if "by (stage)" in expression and "$stage" not in expression and not filters else 1
            empty = [v for v in values if prometheus.numbers(fill(expression, v), begin) < wanted]
            if not empty or (filters and len(empty) < len(values)):
                row["data"] += 1
            else:
                of = ", ".join(filter(None, (v.get("stage") or v.get("stages") for v in empty))) or f"{wanted} series"
                missing.append(f"{where}: not for {of}: {expression}")
        rows.append((group, row))

    for page in pages():
        ask(f"page {page.name}", page.expressions(), choices(page, prometheus))
    rules = prometheus.rules()
    recorded = [rule["name"] for rule in rules if rule["type"] == "recording"]
    ask("recorded series", [(name, name) for name in recorded], [{}])
    alerts = [rule for rule in rules if rule["type"] == "alerting"]
    ask("alerts, without their thresholds", [(rule["name"], without_thresholds(rule["query"])) for rule in alerts], [{}])
    bad = [f"{rule['name']}: {rule['lastError']}" for rule in rules if rule["health"] != "ok"]

    print(f" {'':34} expressions  with data  need a GPU  missing")
    total = Counter()
    for group, row in [*rows, ("all", total)]:
        lacking = row["expressions"] - row["data"] - row["GPU"]
        print(f" {group:34} {row['expressions']:11}  {row['data']:9}  {row['GPU']:10}  {lacking:7}")
        total += row
    for title, lines in [("left out, they need a GPU", left_out), ("missing", missing), ("failing rules", bad)]:
        if lines:
            print(f"{title}:", *lines, sep="\n  ")
    raised = sorted({f"{rule['name']} ({rule['state']})" for rule in alerts if rule["state"] != "inactive"})
    print(f"alerts raised by the load: {', '.join(raised) or 'none'}")
    return not missing and not bad


def put(path, key):
    """Puts a file into the bucket."""
    place = os.environ
    keys = f"{place['AWS_ACCESS_KEY_ID']}:{place['AWS_SECRET_ACCESS_KEY']}"
    signed = ["--aws-sigv4", f"aws:amz:{place['AWS_REGION']}:s3", "--user", keys, "--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]
    url = f"{place['AWS_ENDPOINT_URL']}/images/{key}"
    subprocess.run(["curl", "--silent", "--show-error", "--fail-with-body", *signed, "--upload-file", path, url], check=True)


def scraped(prometheus):
    """How many targets answer."""
    found = prometheus.get("query", query="sum(up)")["result"]
    return int(found[0]["value"][1]) if found else 0


def observe(prometheus):
    targets = os.environ.get("SIGHTLINE_TEST_HTTP", "").split()
    if not targets:
        die("SIGHTLINE_TEST_HTTP names no services")
    # A rate sees what happens between two scrapes: nothing may happen before the first.
    deadline = time.monotonic() + 30
    while scraped(prometheus) != len(targets):
        if time.monotonic() > deadline:
            die(f"not all of {' '.join(targets)} answer to Prometheus after 30 s")
        time.sleep(0.2)
    begin = time.time()
    bench = ["sightline", "bench", "pipeline", "--rate", "10", "--duration", "20s", FIXTURES / "scenes"]
    with subprocess.Popen(bench, stdout=sys.stderr) as load:
        # Enough, and often enough, for an alert to be raised: a page shows alerts, too.
        for turn in range(1, 6):
            time.sleep(1)
            for path in sorted((FIXTURES / "broken").iterdir()):
                put(path, f"broken/{turn}-{path.name}")
    if load.returncode:
        die("the load failed")
    return data(prometheus, begin)


def arguments(parser):
    parser.add_argument("what", choices=("parse", "observe"))


def main(given):
    url = os.environ.get("SIGHTLINE_TEST_PROMETHEUS") or die("SIGHTLINE_TEST_PROMETHEUS names no Prometheus")
    prometheus = Prometheus(url)
    return 0 if {"parse": parse, "observe": observe}[given.what](prometheus) else 1
