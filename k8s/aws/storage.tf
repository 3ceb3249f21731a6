# Buckets, the queue of notifications, and the key that encrypts all of it.
#
# Thumbnails have a bucket of their own: what postprocess writes then never makes a notification, and the right to write
# thumbnails is no right to touch an image.

resource "aws_kms_key" "this" {
  description         = "${var.name}: buckets, queues, Kafka, Kubernetes secrets, logs"
  enable_key_rotation = true
  policy              = data.aws_iam_policy_document.key.json
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.this.key_id
}

data "aws_iam_policy_document" "key" {
  # Hands the decision to IAM; without it the key could never be changed again.
  statement {
    sid       = "Account"
    actions   = ["kms:*"]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = ["arn:${local.partition}:iam::${local.account}:root"]
    }
  }

  # S3 puts notifications into the encrypted queue.
  statement {
    sid       = "Notifications"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = ["*"]
    principals {
      type        = "Service"
      identifiers = ["s3.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [local.bucket_arns.images]
    }
  }

  statement {
    sid       = "Logs"
    actions   = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
    resources = ["*"]
    principals {
      type        = "Service"
      identifiers = ["logs.${var.region}.amazonaws.com"]
    }
    condition {
      test     = "ArnLike"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values   = ["arn:${local.partition}:logs:${var.region}:${local.account}:log-group:*"]
    }
  }
}

# Buckets

locals {
  buckets = toset(["images", "thumbnails", "models"])
  # Bucket names are one namespace for everybody. They are built here rather than read back, because the key's policy needs
  # them before there is a bucket.
  bucket_names = { for bucket in local.buckets : bucket => "${var.name}-${bucket}-${local.account}-${var.region}" }
  bucket_arns  = { for bucket, name in local.bucket_names : bucket => "arn:${local.partition}:s3:::${name}" }
}

resource "aws_s3_bucket" "this" {
  for_each = local.buckets
  bucket   = local.bucket_names[each.key]
}

resource "aws_s3_bucket_public_access_block" "this" {
  for_each                = local.buckets
  bucket                  = aws_s3_bucket.this[each.key].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  for_each = local.buckets
  bucket   = aws_s3_bucket.this[each.key].id
  rule {
    object_ownership = "BucketOwnerEnforced" # no access lists: policies alone decide
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  for_each = local.buckets
  bucket   = aws_s3_bucket.this[each.key].id
  rule {
    bucket_key_enabled = true # asks KMS once in a while instead of once an image
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.this.arn
    }
  }
}

# A notification names the version that it means; with versions an image that is overwritten meanwhile is still that image.
# A thumbnail is written again byte for byte, so its older versions would be worth nothing.
resource "aws_s3_bucket_versioning" "this" {
  for_each = setsubtract(local.buckets, ["thumbnails"])
  bucket   = aws_s3_bucket.this[each.key].id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  for_each   = local.buckets
  bucket     = aws_s3_bucket.this[each.key].id
  depends_on = [aws_s3_bucket_versioning.this]

  rule {
    id     = "broken-off uploads"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  dynamic "rule" {
    for_each = each.key == "thumbnails" ? [] : ["old versions"]
    content {
      id     = rule.value
      status = "Enabled"
      filter {}
      noncurrent_version_expiration {
        noncurrent_days = var.old_version_days
      }
      expiration {
        expired_object_delete_marker = true
      }
    }
  }

  dynamic "rule" {
    for_each = each.key == "thumbnails" ? ["old thumbnails"] : []
    content {
      id     = rule.value
      status = "Enabled"
      filter {
        prefix = var.thumbnail_prefix
      }
      expiration {
        days = var.thumbnail_days
      }
    }
  }
}

data "aws_iam_policy_document" "bucket" {
  for_each = local.buckets

  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [local.bucket_arns[each.key], "${local.bucket_arns[each.key]}/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "this" {
  for_each   = local.buckets
  bucket     = aws_s3_bucket.this[each.key].id
  policy     = data.aws_iam_policy_document.bucket[each.key].json
  depends_on = [aws_s3_bucket_public_access_block.this]
}

# Notifications. S3 writes them straight into the queue, in the shape that ingest reads; EventBridge would wrap them in one
# of its own.

resource "aws_sqs_queue" "notifications" {
  name                       = "${var.name}-notifications"
  kms_master_key_id          = aws_kms_key.this.arn
  message_retention_seconds  = 14 * 24 * 3600           # the most there is: Kafka may be away for a while
  visibility_timeout_seconds = 6 * local.bridge_timeout # what AWS asks for in front of a function
  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.undelivered.arn
    # Nearly every failure is Kafka being away, and then each message is tried every three minutes: this is 24 hours.
    maxReceiveCount = 480
  })
}

resource "aws_sqs_queue" "undelivered" {
  name                      = "${var.name}-notifications-undelivered"
  kms_master_key_id         = aws_kms_key.this.arn
  message_retention_seconds = 14 * 24 * 3600
}

resource "aws_sqs_queue_redrive_allow_policy" "undelivered" {
  queue_url = aws_sqs_queue.undelivered.id
  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.notifications.arn]
  })
}

data "aws_iam_policy_document" "queue" {
  statement {
    sid       = "ImagesOnly"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.notifications.arn]
    principals {
      type        = "Service"
      identifiers = ["s3.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [local.bucket_arns.images]
    }
  }
}

resource "aws_sqs_queue_policy" "notifications" {
  queue_url = aws_sqs_queue.notifications.id
  policy    = data.aws_iam_policy_document.queue.json
}

resource "aws_s3_bucket_notification" "images" {
  bucket     = aws_s3_bucket.this["images"].id
  depends_on = [aws_sqs_queue_policy.notifications] # S3 tries it out before it accepts it

  queue {
    queue_arn = aws_sqs_queue.notifications.arn
    events    = ["s3:ObjectCreated:*"]
  }
}

# What has not reached Kafka is not in Sightline's own metrics.

resource "aws_cloudwatch_metric_alarm" "waiting" {
  alarm_name          = "${var.name}-notifications-wait"
  alarm_description   = "Notifications of new images have waited for five minutes and more: the bridge or Kafka is down."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateAgeOfOldestMessage"
  dimensions          = { QueueName = aws_sqs_queue.notifications.name }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = 300
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
}

resource "aws_cloudwatch_metric_alarm" "undelivered" {
  alarm_name          = "${var.name}-notifications-undelivered"
  alarm_description   = "Notifications were given up. Look at one, mend the cause, then redrive the queue."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = aws_sqs_queue.undelivered.name }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
}
