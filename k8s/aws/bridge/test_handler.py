"""The handler against the Kafka that SIGHTLINE_TEST_BOOTSTRAP names; AWS's secret is made up."""

import json
import os
import sys
import types
import unittest
import unittest.mock
import uuid

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

KAFKA = {"bootstrap.servers": os.environ["SIGHTLINE_TEST_BOOTSTRAP"]}
NOBODY = {"bootstrap.servers": "127.0.0.1:1"}


class Secrets:
    def get_secret_value(self, SecretId):
        assert SecretId == "arn:the-secret"
        return {"SecretString": json.dumps({"username": "bridge", "password": "open sesame"})}


sys.modules["boto3"] = types.SimpleNamespace(client=lambda service: {"secretsmanager": Secrets()}[service])
import handler  # noqa: E402, after its boto3


def event(*bodies):
    """What Lambda is given for messages of these bodies."""
    return {"Records": [{"messageId": f"id-{n}", "body": body} for n, body in enumerate(bodies)]}


def notification(key):
    """As S3 writes it, without a blank."""
    object = {"key": key, "size": 7, "eTag": "d41d8cd98f00b204e9800998ecf8427e", "versionId": "3sL4kqtJ", "sequencer": "0055AED6DCD90281E5"}
    record = {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "images"}, "object": object}}
    return json.dumps({"Records": [record]}, separators=(",", ":"))


class Handler(unittest.TestCase):
    def setUp(self):
        self.topic = f"bridge-{uuid.uuid4()}"
        admin = AdminClient(KAFKA)
        admin.create_topics([NewTopic(self.topic, 3, 1)])[self.topic].result(10)
        environment = {"KAFKA_TOPIC": self.topic, "KAFKA_SECRET": "arn:the-secret", "KAFKA_BOOTSTRAP": "b-1:9096"}
        self.enterContext(unittest.mock.patch.dict(os.environ, environment))
        handler.bridge = None

    def read(self, count):
        consumer = Consumer({**KAFKA, "group.id": self.topic, "auto.offset.reset": "earliest"})
        consumer.subscribe([self.topic])
        records = consumer.consume(count, timeout=20)
        records += consumer.consume(1, timeout=0.5)  # one too many
        consumer.close()
        return sorted(record.value().decode() for record in records)

    def test_bodies_arrive_byte_for_byte(self):
        bodies = sorted([notification("a+photo.jpg"), notification("%C3%A4.png"), '{"Event":"s3:TestEvent"}', "ä ✓"])
        with unittest.mock.patch.object(handler, "settings", lambda: KAFKA):
            self.assertEqual(handler.handle(event(*bodies), None), {"batchItemFailures": []})
        self.assertEqual(self.read(len(bodies)), bodies)

    def test_a_second_batch_takes_the_same_producer(self):
        asked = unittest.mock.Mock(return_value=KAFKA)
        with unittest.mock.patch.object(handler, "settings", asked):
            for key in ("1.jpg", "2.jpg"):
                handler.handle(event(notification(key)), None)
        asked.assert_called_once()
        self.assertEqual(self.read(2), [notification("1.jpg"), notification("2.jpg")])

    def test_what_kafka_did_not_take_stays_in_the_queue(self):
        with unittest.mock.patch.object(handler, "settings", lambda: NOBODY), unittest.mock.patch.object(handler, "DELIVERY_SECONDS", 1):
            answer = handler.handle(event("one", "two"), None)
        self.assertEqual(answer, {"batchItemFailures": [{"itemIdentifier": "id-0"}, {"itemIdentifier": "id-1"}]})
        self.assertIsNone(handler.bridge, "the next batch begins anew")

    def test_the_connection_is_msks(self):
        settings = handler.settings()
        self.assertEqual((settings["sasl.username"], settings["sasl.password"]), ("bridge", "open sesame"))
        Producer(settings)  # refused where librdkafka was built without TLS or SCRAM


if __name__ == "__main__":
    unittest.main()
