# From the queue into the topic `ingest`, which is where the service ingest looks today. Once it reads a queue itself, this
# file can go.

locals {
  bridge_timeout = 30
}

resource "aws_lambda_function" "bridge" {
  function_name    = "${var.name}-bridge"
  description      = "Carries S3 notifications from SQS into Kafka"
  filename         = var.bridge_package
  source_code_hash = filebase64sha256(var.bridge_package)
  runtime          = "python3.13"
  architectures    = ["x86_64"]
  handler          = "handler.handle"
  role             = aws_iam_role.bridge.arn
  memory_size      = 256
  timeout          = local.bridge_timeout

  environment {
    variables = {
      KAFKA_BOOTSTRAP = aws_msk_cluster.this.bootstrap_brokers_sasl_scram
      KAFKA_SECRET    = aws_secretsmanager_secret.kafka["bridge"].arn
      KAFKA_TOPIC     = "ingest"
    }
  }

  vpc_config {
    subnet_ids         = aws_subnet.nodes[*].id
    security_group_ids = [aws_security_group.bridge.id]
  }

  logging_config {
    log_format = "JSON"
    log_group  = aws_cloudwatch_log_group.bridge.name
  }

  depends_on = [aws_iam_role_policy.bridge, aws_msk_scram_secret_association.this]
}

resource "aws_lambda_event_source_mapping" "bridge" {
  event_source_arn = aws_sqs_queue.notifications.arn
  function_name    = aws_lambda_function.bridge.arn
  batch_size       = 10 # the most without a waiting time, which each image would pay
  # What Kafka did not acknowledge stays in the queue; the rest of the batch is not sent again.
  function_response_types = ["ReportBatchItemFailures"]

  scaling_config {
    maximum_concurrency = 10
  }
}

resource "aws_cloudwatch_log_group" "bridge" {
  name              = "/${var.name}/bridge"
  retention_in_days = var.log_days
  kms_key_id        = aws_kms_key.this.arn
}
