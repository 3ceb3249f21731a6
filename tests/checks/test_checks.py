"""Of the checks' own parts, what no run of 'tests/check' on a whole checkout would show."""

import contextlib
import io
import json
import tempfile
import unittest
from pathlib import Path

from sightline_checks import answers, binaries, monitoring, terraform


def result(key, label):
    return json.dumps({"image": {"id": f"id of {key}", "key": key}, "labels": [{"label": label}]})


class Quiet(unittest.TestCase):
    """What the functions print is kept."""

    def setUp(self):
        self.printed = self.enterContext(contextlib.redirect_stdout(io.StringIO()))
        self.enterContext(contextlib.redirect_stderr(io.StringIO()))
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def file(self, name, *lines):
        path = self.folder / name
        path.write_text("".join(f"{line}\n" for line in lines))
        return path


class Results(Quiet):
    def compared(self, *seen):
        return answers.results(self.file("results", *seen), self.file("keys", "a/stop__1.png", "a/no-entry__2.png"))

    def test_each_image_once(self):
        status = self.compared(result("a/stop__1.png", "stop"), result("a/no-entry__2.png", "no entry"))
        self.assertEqual(status, 0)
        self.assertIn("2 of 2 images have a result", self.printed.getvalue())
        self.assertIn("2 bear the label", self.printed.getvalue())

    def test_some_are_yet_to_come(self):
        self.assertEqual(self.compared(result("a/stop__1.png", "stop")), 2)

    def test_twice_and_of_no_image(self):
        once = result("a/stop__1.png", "stop")
        self.assertEqual(self.compared(once, once), 1)
        self.assertEqual(self.compared(once, result("b", "stop")), 1)

    def test_the_id_of_an_image(self):
        self.assertEqual(answers.image_id(self.file("results", result("b", "bus"), result("a", "bus")), "a"), 0)
        self.assertEqual(self.printed.getvalue(), "id of a\n")


class Traces(Quiet):
    def test_all_four_services(self):
        services = ("ingest", "preprocess", "infer", "postprocess")
        span = {"operationName": "it", "duration": 1500, "startTime": 1}
        for number, status in ((4, 0), (3, 1), (0, 1)):
            trace = {
                "traceID": "t",
                "processes": {name: {"serviceName": f"sightline-{name}"} for name in services},
                "spans": [span | {"processID": name} for name in services[:number]],
            }
            path = self.file("traces", json.dumps({"data": [trace] if number else []}))
            self.assertEqual(answers.traces(path, spans=False), status)
        self.assertEqual(answers.traces(self.file("traces", json.dumps({"data": [trace]})), spans=True), 1)


class Plans(Quiet):
    def test_what_is_open_to_everybody(self):
        def plan(*addresses):
            resources = [{"address": address, "values": {"rules": [{"cidr": "0.0.0.0/0"}]}} for address in addresses]
            return {"planned_values": {"root_module": {"resources": resources}}}

        self.assertTrue(terraform.open_to_everybody(plan(*(f"{name}[0]" for name in terraform.OPEN))))
        self.assertFalse(terraform.open_to_everybody(plan(*terraform.OPEN, "aws_security_group.all")))


class Texts(unittest.TestCase):
    def test_durations(self):
        self.assertEqual([binaries.seconds(text) for text in ("20s", "1m 30s", "500ms", "20")], [20, 90, 0.5, None])

    def test_thresholds_go(self):
        self.assertEqual(monitoring.without_thresholds("rate(a[5m]) > 0.5 and b == 1"), "rate(a[5m]) and b")
        with self.assertRaises(ValueError):
            monitoring.without_thresholds("a")


if __name__ == "__main__":
    unittest.main()
