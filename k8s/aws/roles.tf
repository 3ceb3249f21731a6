# Who may do what. A role of a service account can be taken by that account only.
#
# The services. ingest has no role, because it speaks with Kafka alone. Nobody may list a bucket; S3 then says 403 of an
# object that is gone, and its dead letter's reason is access-denied.

locals {
  services = {
    preprocess = {
      objects = {
        # Notifications from a versioned bucket name the version.
        Images    = { bucket = "images", path = "*", actions = ["s3:GetObject", "s3:GetObjectVersion"] }
        Manifests = { bucket = "models", path = "*manifest.json", actions = ["s3:GetObject"] }
      }
      key = "kms:Decrypt"
    }
    infer = {
      objects = {
        Models = { bucket = "models", path = "*", actions = ["s3:GetObject"] }
      }
      key = "kms:Decrypt"
    }
    postprocess = {
      objects = {
        Thumbnails = { bucket = "thumbnails", path = "${var.thumbnail_prefix}*", actions = ["s3:PutObject"] }
      }
      key = "kms:GenerateDataKey" # encrypts what it writes, and can't read it back
    }
  }

  accounts = merge(
    { for service in keys(local.services) : service => "${var.namespace}:${service}" },
    { autoscaler = "kube-system:cluster-autoscaler", network = "kube-system:aws-node" },
  )
  issuer = replace(aws_eks_cluster.this.identity[0].oidc[0].issuer, "https://", "")
}

data "aws_iam_policy_document" "account" {
  for_each = local.accounts

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = [aws_iam_openid_connect_provider.cluster.arn]
    }
    condition {
      test     = "StringEquals"
      variable = "${local.issuer}:sub"
      values   = ["system:serviceaccount:${each.value}"]
    }
    condition {
      test     = "StringEquals"
      variable = "${local.issuer}:aud"
      values   = ["sts.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "account" {
  for_each           = local.accounts
  name               = "${var.name}-${each.key}"
  assume_role_policy = data.aws_iam_policy_document.account[each.key].json
}

data "aws_iam_policy_document" "service" {
  for_each = local.services

  dynamic "statement" {
    for_each = each.value.objects
    content {
      sid       = statement.key
      actions   = statement.value.actions
      resources = ["${local.bucket_arns[statement.value.bucket]}/${statement.value.path}"]
    }
  }

  # All roles share the key, so its use is tied to S3 and to these buckets: with bucket keys the context is the bucket.
  statement {
    sid       = "Key"
    actions   = [each.value.key]
    resources = [aws_kms_key.this.arn]
    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["s3.${var.region}.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "kms:EncryptionContext:aws:s3:arn"
      values   = distinct([for object in each.value.objects : local.bucket_arns[object.bucket]])
    }
  }
}

resource "aws_iam_role_policy" "service" {
  for_each = local.services
  name     = "objects"
  role     = aws_iam_role.account[each.key].id
  policy   = data.aws_iam_policy_document.service[each.key].json
}

# The cluster autoscaler: it sees all groups, and changes those of this cluster, which EKS tags for it.

data "aws_iam_policy_document" "autoscaler" {
  statement {
    sid = "See"
    actions = [
      "autoscaling:DescribeAutoScalingGroups",
      "autoscaling:DescribeAutoScalingInstances",
      "autoscaling:DescribeLaunchConfigurations",
      "autoscaling:DescribeScalingActivities",
      "ec2:DescribeImages",
      "ec2:DescribeInstanceTypes",
      "ec2:DescribeLaunchTemplateVersions",
      "ec2:GetInstanceTypesFromInstanceRequirements",
    ]
    resources = ["*"] # these actions know no narrower one
  }

  # Labels and taints of a group that has no node yet.
  statement {
    sid       = "SeeGroups"
    actions   = ["eks:DescribeNodegroup"]
    resources = ["arn:${local.partition}:eks:${var.region}:${local.account}:nodegroup/${var.name}/*"]
  }

  statement {
    sid       = "Scale"
    actions   = ["autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"]
    resources = ["*"]
    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/k8s.io/cluster-autoscaler/${var.name}"
      values   = ["owned"]
    }
  }
}

resource "aws_iam_role_policy" "autoscaler" {
  name   = "scale"
  role   = aws_iam_role.account["autoscaler"].id
  policy = data.aws_iam_policy_document.autoscaler.json
}

# The pod network gives pods their addresses. It has a role of its own so that the nodes need not have these rights.
resource "aws_iam_role_policy_attachment" "network" {
  role       = aws_iam_role.account["network"].name
  policy_arn = "arn:${local.partition}:iam::aws:policy/AmazonEKS_CNI_Policy"
}

# What AWS's own services take

locals {
  asked_by = {
    cluster  = "arn:${local.partition}:eks:${var.region}:${local.account}:cluster/${var.name}"
    flow_log = "arn:${local.partition}:ec2:${var.region}:${local.account}:vpc-flow-log/*"
  }
}

data "aws_iam_policy_document" "trust" {
  for_each = {
    cluster  = "eks.amazonaws.com"
    node     = "ec2.amazonaws.com"
    flow_log = "vpc-flow-logs.amazonaws.com"
    bridge   = "lambda.amazonaws.com"
  }

  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = [each.value]
    }
    # Not on behalf of another account. EC2 and Lambda don't say for whom they ask.
    dynamic "condition" {
      for_each = compact([lookup(local.asked_by, each.key, "")])
      content {
        test     = "ArnLike"
        variable = "aws:SourceArn"
        values   = [condition.value]
      }
    }
  }
}

resource "aws_iam_role" "cluster" {
  name               = "${var.name}-cluster"
  assume_role_policy = data.aws_iam_policy_document.trust["cluster"].json
}

resource "aws_iam_role_policy_attachment" "cluster" {
  role       = aws_iam_role.cluster.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/AmazonEKSClusterPolicy"
}

resource "aws_iam_role" "node" {
  name               = "${var.name}-node"
  assume_role_policy = data.aws_iam_policy_document.trust["node"].json
}

resource "aws_iam_role_policy_attachment" "node" {
  for_each   = toset(["AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly"])
  role       = aws_iam_role.node.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/${each.key}"
}

resource "aws_iam_role" "flow_log" {
  name               = "${var.name}-flow-log"
  assume_role_policy = data.aws_iam_policy_document.trust["flow_log"].json
}

data "aws_iam_policy_document" "flow_log" {
  statement {
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"]
    resources = ["${aws_cloudwatch_log_group.flow.arn}:*"]
  }
}

resource "aws_iam_role_policy" "flow_log" {
  name   = "write"
  role   = aws_iam_role.flow_log.id
  policy = data.aws_iam_policy_document.flow_log.json
}

resource "aws_iam_role" "bridge" {
  name               = "${var.name}-bridge"
  assume_role_policy = data.aws_iam_policy_document.trust["bridge"].json
}

data "aws_iam_policy_document" "bridge" {
  statement {
    sid       = "Queue"
    actions   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
    resources = [aws_sqs_queue.notifications.arn]
  }

  statement {
    sid       = "Password"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [aws_secretsmanager_secret.kafka["bridge"].arn]
  }

  statement {
    sid       = "Key"
    actions   = ["kms:Decrypt"]
    resources = [aws_kms_key.this.arn]
    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = [for service in ["sqs", "secretsmanager"] : "${service}.${var.region}.amazonaws.com"]
    }
  }

  statement {
    sid       = "Logs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.bridge.arn}:*"]
  }

  # A function in a VPC: Lambda makes its network interfaces with the function's role.
  statement {
    sid = "Interfaces"
    actions = [
      "ec2:AssignPrivateIpAddresses",
      "ec2:CreateNetworkInterface",
      "ec2:DeleteNetworkInterface",
      "ec2:DescribeNetworkInterfaces",
      "ec2:DescribeSubnets",
      "ec2:UnassignPrivateIpAddresses",
    ]
    resources = ["*"]
  }

  # Lambda needs these rights, the code in it does not.
  statement {
    sid       = "NotFromWithin"
    effect    = "Deny"
    actions   = ["ec2:*"]
    resources = ["*"]
    condition {
      test     = "ArnLike"
      variable = "lambda:SourceFunctionArn"
      values   = ["arn:${local.partition}:lambda:${var.region}:${local.account}:function:${var.name}-bridge"]
    }
  }
}

resource "aws_iam_role_policy" "bridge" {
  name   = "bridge"
  role   = aws_iam_role.bridge.id
  policy = data.aws_iam_policy_document.bridge.json
}
