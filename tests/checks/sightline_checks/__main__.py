"""The command 'tests/check'."""

import argparse
import importlib
import sys

from . import environment

# The name of each check, which is also its module's; the group of packages in pyproject.toml that it needs; what it does.
CHECKS = {
    "compose": ("deployment", "docker-compose.yml and the Dockerfile against the binaries"),
    "kubernetes": ("deployment", "the manifests in k8s against three versions of the API and the binaries"),
    "monitoring": (None, "dashboards and rules in k8s/monitoring against a running Prometheus"),
    "agreement": ("agreement", "what preprocess made of mutated images beside what Pillow makes of them"),
    "answers": (None, "answers of the running Compose services, for tests/compose"),
    "terraform": (None, "a plan of k8s/aws, and the AWS provider's schema, for tests/terraform"),
}


def usage():
    lines = [f"  {name:11} {what}" for name, (_, what) in CHECKS.items()]
    return "\n".join(["usage: tests/check NAME [ARGUMENT]...", "       tests/check NAME --help", "", *lines])


def main():
    name = sys.argv[1] if len(sys.argv) > 1 else None
    if name in ("-h", "--help"):
        print(usage())
        return 0
    if name not in CHECKS:
        print(usage(), file=sys.stderr)
        return 2
    environment.use(CHECKS[name][0])
    check = importlib.import_module(f"{__package__}.{name}")
    parser = argparse.ArgumentParser(
        prog=f"tests/check {name}",
        description=check.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    check.arguments(parser)
    return check.main(parser.parse_args(sys.argv[2:]))


if __name__ == "__main__":
    sys.exit(main())
