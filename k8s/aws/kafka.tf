# Kafka on MSK: three brokers in three zones, TLS, passwords.

resource "aws_msk_configuration" "this" {
  # A configuration is for named versions and its name is taken once: the one of the next version is made beside it.
  name           = "${var.name}-${replace(var.kafka_version, ".", "-")}"
  kafka_versions = [var.kafka_version]

  # Exactly once rests on these: no acknowledged record is lost with one broker, and none is undone by electing a replica
  # that lags. A transaction that hangs holds up every reader of its partitions; the services ask for 10 s, and none may
  # ask for more than a minute.
  server_properties = <<-EOT
    auto.create.topics.enable=false
    default.replication.factor=3
    min.insync.replicas=2
    unclean.leader.election.enable=false
    offsets.topic.replication.factor=3
    transaction.state.log.replication.factor=3
    transaction.state.log.min.isr=2
    transaction.max.timeout.ms=60000
  EOT

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_msk_cluster" "this" {
  cluster_name           = var.name
  kafka_version          = var.kafka_version
  number_of_broker_nodes = 3

  configuration_info {
    arn      = aws_msk_configuration.this.arn
    revision = aws_msk_configuration.this.latest_revision
  }

  broker_node_group_info {
    instance_type   = var.kafka_instance_type
    client_subnets  = aws_subnet.kafka[*].id
    security_groups = [aws_security_group.kafka.id]

    storage_info {
      ebs_storage_info {
        volume_size = var.kafka_volume_gib
      }
    }

    connectivity_info {
      public_access {
        type = "DISABLED"
      }
    }
  }

  client_authentication {
    unauthenticated = false
    sasl {
      scram = true
    }
  }

  encryption_info {
    encryption_at_rest_kms_key_arn = aws_kms_key.this.arn
    encryption_in_transit {
      client_broker = "TLS"
      in_cluster    = true
    }
  }

  logging_info {
    broker_logs {
      cloudwatch_logs {
        enabled   = true
        log_group = aws_cloudwatch_log_group.kafka.name
      }
    }
  }
}

resource "aws_cloudwatch_log_group" "kafka" {
  name              = "/${var.name}/kafka"
  retention_in_days = var.log_days
  kms_key_id        = aws_kms_key.this.arn
}

# Users. MSK reads their passwords from secrets whose names begin with AmazonMSK_ and that a key of one's own encrypts.
# Passwords are made while Terraform runs and written once; neither plan nor state holds them.

locals {
  kafka_users = toset(["sightline", "bridge"])
}

ephemeral "aws_secretsmanager_random_password" "kafka" {
  for_each            = local.kafka_users
  password_length     = 32
  exclude_punctuation = true # goes through shells, YAML and properties unharmed
}

resource "aws_secretsmanager_secret" "kafka" {
  for_each                = local.kafka_users
  name                    = "AmazonMSK_${var.name}_${each.key}"
  description             = "Kafka user ${each.key} of ${var.name}"
  kms_key_id              = aws_kms_key.this.arn
  recovery_window_in_days = 7
}

resource "aws_secretsmanager_secret_version" "kafka" {
  for_each  = local.kafka_users
  secret_id = aws_secretsmanager_secret.kafka[each.key].id
  secret_string_wo = jsonencode({
    username = each.key
    password = ephemeral.aws_secretsmanager_random_password.kafka[each.key].random_password
  })
  secret_string_wo_version = var.kafka_password_version
}

data "aws_iam_policy_document" "kafka_secret" {
  for_each = local.kafka_users

  statement {
    sid       = "Msk"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [aws_secretsmanager_secret.kafka[each.key].arn]
    principals {
      type        = "Service"
      identifiers = ["kafka.amazonaws.com"]
    }
  }
}

resource "aws_secretsmanager_secret_policy" "kafka" {
  for_each   = local.kafka_users
  secret_arn = aws_secretsmanager_secret.kafka[each.key].arn
  policy     = data.aws_iam_policy_document.kafka_secret[each.key].json
}

resource "aws_msk_scram_secret_association" "this" {
  cluster_arn     = aws_msk_cluster.this.arn
  secret_arn_list = [for user in local.kafka_users : aws_secretsmanager_secret.kafka[user].arn]
  depends_on      = [aws_secretsmanager_secret_version.kafka, aws_secretsmanager_secret_policy.kafka]
}

resource "aws_cloudwatch_metric_alarm" "kafka_disk" {
  count               = 3
  alarm_name          = "${var.name}-kafka-disk-${count.index + 1}"
  alarm_description   = "A broker's disk is 80 % full. Raise kafka_volume_gib, or shorten the topics' retention."
  namespace           = "AWS/Kafka"
  metric_name         = "KafkaDataLogsDiskUsed"
  dimensions          = { "Cluster Name" = aws_msk_cluster.this.cluster_name, "Broker ID" = tostring(count.index + 1) }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 80
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
}
