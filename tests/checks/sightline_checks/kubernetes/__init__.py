"""The Kubernetes manifests, held against the API of three Kubernetes versions and against the binaries. Needs no cluster.

Every overlay is rendered and
- validated strictly against the schemas of Kubernetes and of the custom resources;
- looked over as a whole: each name that is referred to exists, each selector finds what it is for, pods satisfy the
  'restricted' level, terminate after the drain time and don't outnumber the partitions;
- compared with the binaries: settings, values, port. The topics' Job and the services are then run as the overlay 'local'
  has them, on a broker of the binary 'sightline', and every metric that rules and autoscaler ask for must be among theirs.

Needs Go; kustomize, the schemas and their validator are kept in ${XDG_CACHE_HOME:-~/.cache}/sightline.
"""

import json

from ..binaries import add_folder, checked
from ..environment import ROOT
from ..report import problem, problems, say
from .manifests import against_binaries, behaviour, whole
from .metrics import metrics
from .rules import COMMAND, RULE, dashboards, operator_rule
from .schemas import VERSIONS, custom_schemas, render, validate

OVERLAYS = ("local", "aws", "gpu")


def arguments(parser):
    add_folder(parser)
    made = RULE.relative_to(ROOT)
    parser.add_argument(
        "--write", action="store_true", help=f"makes {made} anew from k8s/monitoring/rules; without it the file must be up to date"
    )


def main(given):
    folder = checked(given.folder)
    rule = operator_rule()
    if given.write:
        RULE.write_text(rule)
    elif RULE.read_text() != rule:
        problem(RULE.relative_to(ROOT), f"is not what '{COMMAND}' makes of the rules")
    dashboards()
    custom = custom_schemas()
    rendered = {overlay: render(overlay) for overlay in OVERLAYS}
    before = problems()
    for overlay, items in rendered.items():
        validate(overlay, items, custom)
    if problems() > before:
        return 1  # what is below expects what the schemas demand
    for overlay, items in rendered.items():
        whole(overlay, items)
        against_binaries(folder, overlay, items)
    if len({json.dumps(behaviour(items), sort_keys=True) for items in rendered.values()}) != 1:
        problem("overlays", "the autoscalers behave differently")
    asked_for = metrics(folder, rendered)
    if problems():
        return 1
    objects = ", ".join(f"{overlay} {len(items)}" for overlay, items in rendered.items())
    say(f"{objects} objects hold for Kubernetes {', '.join(VERSIONS)} and the binaries, {asked_for} metrics are there")
    return 0
