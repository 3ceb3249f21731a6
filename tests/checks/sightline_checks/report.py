"""What a check says, and the problems that it has found."""

import sys

_problems = []


def say(text):
    print(f"check: {text}", file=sys.stderr)


def die(text):
    """Ends the check, which can't go on."""
    say(text)
    sys.exit(2)


def problem(where, text):
    """Notes a problem; the check goes on and fails at its end."""
    _problems.append(f"{where}: {text}")
    say(_problems[-1])


def problems():
    """How many have been found."""
    return len(_problems)
