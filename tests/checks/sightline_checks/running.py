"""Processes on loopback."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from .report import die


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError:
        return None
    except OSError:
        return None


class Running:
    """Processes on loopback, stopped by pid."""

    def __init__(self):
        self.home = Path(tempfile.mkdtemp(prefix="sightline-check."))
        self.processes = []

    def start(self, name, command, env):
        log = self.home / f"{name}.log"
        with log.open("w") as out:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={"PATH": os.environ["PATH"], **env},
                start_new_session=True,
            )
        self.processes.append((name, log, process))

    def wait_for(self, what, ready, limit=60):
        end = time.monotonic() + limit
        while (answer := ready()) is None or answer is False:
            ended = [(name, log) for name, log, process in self.processes if process.poll() is not None]
            if ended or time.monotonic() > end:
                name, log = (ended or [(what, self.processes[-1][1])])[0]
                die(f"{name} {'ended' if ended else f'is not ready after {limit} s'}: {log.read_text()[-2000:]}")
            time.sleep(0.1)
        return answer

    def stop(self):
        for _, _, process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for _, _, process in self.processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(self.home)
