#!/usr/bin/env bash
exec java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Dlog4j2.level=error -cp "/opt/kafka/libs/*" \
  org.apache.kafka.tools.consumer.group.ConsumerGroupCommand "$@"
