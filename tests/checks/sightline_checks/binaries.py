"""The services and the command line, asked for their settings."""

import os
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

from .environment import SERVICES
from .report import die

# The image `tools` is the binary `sightline`; the others are named as theirs.
BINARIES = {**{name: name for name in SERVICES}, "tools": "sightline"}


class Setting(NamedTuple):
    default: str | None
    # The values it can have; none where any text will do.
    values: list[str] | None


class Help:
    """What a binary's --help says: its settings by variable, and its flags."""

    def __init__(self, program, *command):
        bare = {"PATH": os.environ.get("PATH", ""), "COLUMNS": "400"}
        said = subprocess.run([program, *command, "--help"], check=False, capture_output=True, text=True, env=bare)
        if said.returncode:
            die(f"'{program.name} {' '.join(command)} --help' fails: {said.stderr.strip()}")
        text = re.sub(r"\s+", " ", re.sub(r"\x1b\[[0-9;]*m", "", said.stdout))
        self.flags = set(re.findall(r"(--[a-z0-9-]+)", text))
        self.settings = {}
        for name, rest in re.findall(r"\[env: (\w+)=?[^\]]*\]((?: \[[^\]]*\])*)", text):
            default = re.search(r"\[default: ([^\]]*)\]", rest)
            values = re.search(r"\[possible values: ([^\]]*)\]", rest)
            self.settings[name] = Setting(default and default[1], values and values[1].split(", "))


def add_folder(parser):
    parser.add_argument("folder", type=Path, help="holds the services and 'sightline', as cargo's target/debug does")


def checked(folder):
    """The folder, if it holds all binaries."""
    folder = folder.resolve()
    missing = [name for name in BINARIES.values() if not os.access(folder / name, os.X_OK)]
    if missing:
        die(f"{folder} has no {', '.join(missing)}")
    return folder


def seconds(text):
    """A duration as the settings have it: `20s`, `1m 30s`. None where it is something else."""
    if not re.fullmatch(r"(\d+(ms|s|m|h) ?)+", text):
        return None
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)(ms|s|m|h)", text))
