"""Where things are, and the Python packages that a check needs."""

import os
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sightline"
SERVICES = ("ingest", "preprocess", "infer", "postprocess")
PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def use(group):
    """Runs this program again with the packages of a group of pyproject.toml, unless it has them.

    They are installed once, into an environment in the cache.
    """
    if group is None:
        return
    packages = tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"][group]
    home = CACHE / "checks" / "-".join(packages).replace("==", "-")
    if Path(sys.prefix) == home:
        return
    python = home / "bin/python"
    if not (home / "complete").exists():
        print(f"check: fetching {', '.join(packages)}", file=sys.stderr)
        venv.create(home, with_pip=True, clear=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
        subprocess.run(install, check=True, stdout=sys.stderr)
        (home / "complete").touch()
    os.execv(python, [python, "-m", __package__, *sys.argv[1:]])
