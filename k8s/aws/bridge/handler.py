"""Carries S3 notifications from SQS into the topic that ingest reads.

A message's body goes into Kafka byte for byte. SQS forgets a message only once the brokers have acknowledged it, so nothing
is lost; one that is delivered twice is the same image to Sightline.
"""

import json
import os

import boto3
from confluent_kafka import Producer

# Less than the function's own 30 s, so that it still answers for the part of a batch that did arrive.
DELIVERY_SECONDS = 20


def settings():
    secret = boto3.client("secretsmanager").get_secret_value(SecretId=os.environ["KAFKA_SECRET"])
    user = json.loads(secret["SecretString"])
    return {
        "bootstrap.servers": os.environ["KAFKA_BOOTSTRAP"],
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": user["username"],
        "sasl.password": user["password"],
    }


class Bridge:
    def __init__(self, connection, topic):
        self.topic = topic
        self.producer = Producer(
            {
                **connection,
                "client.id": "sightline-bridge",
                "enable.idempotence": True,
                "linger.ms": 0,
                "delivery.timeout.ms": DELIVERY_SECONDS * 1000,
            }
        )

    def carry(self, messages):
        """Ids of the messages that Kafka did not take."""
        left = {message["messageId"] for message in messages}
        for message in messages:
            self.producer.produce(self.topic, message["body"].encode(), on_delivery=self._taken(message["messageId"], left))
        self.producer.flush(DELIVERY_SECONDS + 2)
        return sorted(left)

    @staticmethod
    def _taken(message, left):
        def acknowledged(error, _record):
            if error is None:
                left.discard(message)
            else:
                print(json.dumps({"level": "error", "message": "not delivered", "id": message, "error": str(error)}))

        return acknowledged


bridge = None


def handle(event, _context):
    global bridge
    if bridge is None:  # kept for as long as Lambda keeps the process
        bridge = Bridge(settings(), os.environ["KAFKA_TOPIC"])
    left = bridge.carry(event["Records"])
    if left:
        bridge = None  # begin anew: the password may have changed, or the producer may be beyond repair
    return {"batchItemFailures": [{"itemIdentifier": message} for message in left]}
