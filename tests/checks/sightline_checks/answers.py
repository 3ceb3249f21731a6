"""Answers of the running Compose services: results, traces, metrics and dashboards."""

import json
import sys
from collections import Counter
from pathlib import Path

from .environment import SERVICES


def lines(path):
    return path.read_text().splitlines()


def images():
    """The service and the image of each, of the output of 'docker compose config --format json'."""
    for name, service in json.load(sys.stdin)["services"].items():
        print(name, service["image"])
    return 0


def results(seen, keys):
    """Compares the results with the images that were put in: 0 when each has one and nothing else does, 2 when some are yet
    to come, 1 when it is wrong."""
    times, right = Counter(), 0
    for line in lines(seen):
        result = json.loads(line)
        key = result["image"]["key"]
        times[key] += 1
        right += key.split("/")[-1].split("__")[0].replace("-", " ") == result["labels"][0]["label"]
    wanted = set(lines(keys))
    missing, foreign = wanted - times.keys(), times.keys() - wanted
    doubled = [key for key, count in times.items() if count > 1]
    print(
        f"{len(wanted) - len(missing)} of {len(wanted)} images have a result, {len(doubled)} more than one, "
        f"{len(foreign)} results are of no image; {right} bear the label that was drawn"
    )
    return 1 if doubled or foreign else 2 if missing else 0


def image_id(seen, key):
    """The id of an image in the results."""
    found = (json.loads(line)["image"] for line in lines(seen))
    print(next(image["id"] for image in found if image["key"] == key))
    return 0


def traces(path, spans):
    """Whether all traces of Jaeger's answer go through all four services."""
    found = json.loads(path.read_text())["data"] or []
    wanted = {f"sightline-{service}" for service in SERVICES}

    def service(trace, span):
        return trace["processes"][span["processID"]]["serviceName"]

    whole = [trace for trace in found if wanted <= {service(trace, span) for span in trace["spans"]}]
    if spans:
        for trace in found:
            told = (
                f"{service(trace, span).removeprefix('sightline-')}: {span['operationName']} {span['duration'] / 1000:.1f} ms"
                for span in sorted(trace["spans"], key=lambda span: span["startTime"])
            )
            print(trace["traceID"] + ": " + ", ".join(told))
    else:
        print(f"{len(whole)} of {len(found)} traces go through all four services")
    return 0 if found and len(whole) == len(found) else 1


def series():
    """Labels and value of each series of Prometheus' answer, a line each, sorted."""
    told = []
    for result in json.load(sys.stdin)["data"]["result"]:
        labels = (value for name, value in sorted(result["metric"].items()) if name != "__name__")
        told.append(" ".join([*labels, result["value"][1]]))
    for line in sorted(told):
        print(line)
    return 0


def rules():
    """Whether Prometheus can evaluate all its rules."""
    found = [rule for group in json.load(sys.stdin)["data"]["groups"] for rule in group["rules"]]
    bad = [rule["name"] for rule in found if rule["health"] != "ok"]
    firing = [rule["name"] for rule in found if rule.get("state") == "firing"]
    print(f"   {len(found)} rules, in error: {bad or None}, firing: {firing or None}")
    return 1 if bad else 0


def dashboards():
    """The titles that Grafana has."""
    print("   dashboards in Grafana:", ", ".join(board["title"] for board in json.load(sys.stdin)))
    return 0


def arguments(parser):
    what = parser.add_subparsers(dest="what", required=True)
    for ask in (images, series, rules, dashboards):
        what.add_parser(ask.__name__, help=ask.__doc__).set_defaults(ask=lambda given, ask=ask: ask())
    command = what.add_parser("results", help=results.__doc__)
    command.add_argument("seen", type=Path)
    command.add_argument("keys", type=Path)
    command.set_defaults(ask=lambda given: results(given.seen, given.keys))
    command = what.add_parser("image-id", help=image_id.__doc__)
    command.add_argument("seen", type=Path)
    command.add_argument("key")
    command.set_defaults(ask=lambda given: image_id(given.seen, given.key))
    command = what.add_parser("traces", help=traces.__doc__)
    command.add_argument("path", type=Path)
    command.add_argument("--spans", action="store_true", help="prints the spans of each")
    command.set_defaults(ask=lambda given: traces(given.path, given.spans))


def main(given):
    return given.ask(given)
