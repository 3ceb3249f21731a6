"""A plan of k8s/aws, and the AWS provider's schema."""

import json
import re
import sys
from pathlib import Path

from . import aws_schema

# The ways out of the subnets with NAT, and the nodes on port 443.
OPEN = {"aws_route_table.public", "aws_route_table.nodes", "aws_vpc_security_group_egress_rule.nodes_https"}


def names_everybody(value):
    if isinstance(value, dict):
        value = list(value.values())
    return any(map(names_everybody, value)) if isinstance(value, list) else value in ("0.0.0.0/0", "::/0")


def open_to_everybody(plan):
    """Whether the resources that name the whole internet, anywhere, are those that are known."""
    resources = plan["planned_values"]["root_module"]["resources"]
    found = {re.sub(r"\[.*", "", each["address"]) for each in resources if names_everybody(each["values"])}
    print(f"{len(resources)} resources, {len(found)} kinds that name the whole internet:", *sorted(found))
    if found != OPEN:
        print("expected:", *sorted(OPEN), file=sys.stderr)
    return found == OPEN


def arguments(parser):
    what = parser.add_subparsers(dest="what", required=True)
    what.add_parser("open", help="reads a plan as JSON and names what is open to the whole internet")
    schema = what.add_parser("schema", help="prints the schema of the types that a folder of Terraform files uses")
    schema.add_argument("wheel", type=Path, help="bindings to the AWS provider, generated from its schema")
    schema.add_argument("folder", type=Path)


def main(given):
    if given.what == "open":
        return 0 if open_to_everybody(json.load(sys.stdin)) else 1
    print(aws_schema.schema(given.wheel, given.folder), end="")
    return 0
