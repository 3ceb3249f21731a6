# What must hold of the plan, whatever AWS would answer. tests/terraform runs it with a stand-in for the AWS provider, for the
# account and the region that are named here; there is no such region.

# For bridge_package any file will do.
variables {
  region          = "xx-test-1"
  admin_role_arns = ["arn:aws:iam::111122223333:role/admin"]
  bridge_package  = "versions.tf"
}

run "defaults" {
  command = plan

  # Network

  assert {
    condition = alltrue([
      for rule in concat(
        values(aws_vpc_security_group_ingress_rule.flow),
        values(aws_vpc_security_group_ingress_rule.operators),
        [aws_vpc_security_group_ingress_rule.nodes_self],
      ) : rule.cidr_ipv4 == null && rule.cidr_ipv6 == null
    ])
    error_message = "by default no security group lets an address range in, only other groups"
  }

  assert {
    condition = alltrue([
      for rule in values(aws_vpc_security_group_egress_rule.flow) : rule.cidr_ipv4 == null && rule.cidr_ipv6 == null
    ])
    error_message = "only nodes_https may go beyond the VPC"
  }

  assert {
    condition = (
      aws_vpc_security_group_egress_rule.nodes_https.ip_protocol == "tcp" &&
      aws_vpc_security_group_egress_rule.nodes_https.from_port == 443 &&
      aws_vpc_security_group_egress_rule.nodes_https.to_port == 443
    )
    error_message = "to the internet TLS only"
  }

  assert {
    condition     = length(distinct(aws_subnet.nodes[*].availability_zone)) == 3 && length(distinct(aws_subnet.kafka[*].availability_zone)) == 3
    error_message = "three zones"
  }

  assert {
    condition     = length(distinct(concat(aws_subnet.nodes[*].cidr_block, aws_subnet.kafka[*].cidr_block, aws_subnet.public[*].cidr_block))) == 9
    error_message = "nine subnets"
  }

  assert {
    condition     = alltrue([for subnet in concat(aws_subnet.nodes, aws_subnet.kafka, aws_subnet.public) : subnet.map_public_ip_on_launch != true])
    error_message = "nothing gets a public address by itself"
  }

  # Kubernetes

  assert {
    condition     = !aws_eks_cluster.this.vpc_config[0].endpoint_public_access && aws_eks_cluster.this.vpc_config[0].endpoint_private_access
    error_message = "the Kubernetes API is private"
  }

  assert {
    condition     = !aws_eks_cluster.this.access_config[0].bootstrap_cluster_creator_admin_permissions
    error_message = "whoever ran Terraform is no administrator by that"
  }

  assert {
    condition     = aws_eks_node_group.gpu.scaling_config[0].min_size == 0 && length(aws_eks_node_group.gpu.taint) == 1
    error_message = "GPU nodes come when they are asked for, and only for those who ask"
  }

  assert {
    condition = alltrue([
      for template in values(aws_launch_template.nodes) :
      template.metadata_options[0].http_tokens == "required" &&
      template.metadata_options[0].http_put_response_hop_limit == 1 &&
      tobool(template.block_device_mappings[0].ebs[0].encrypted)
    ])
    error_message = "pods don't reach the node's credentials, and disks are encrypted"
  }

  # Kafka

  assert {
    condition = (
      aws_msk_cluster.this.encryption_info[0].encryption_in_transit[0].client_broker == "TLS" &&
      !aws_msk_cluster.this.client_authentication[0].unauthenticated &&
      aws_msk_cluster.this.client_authentication[0].sasl[0].scram
    )
    error_message = "TLS and a password, nothing else"
  }

  assert {
    condition = alltrue([
      for line in ["auto.create.topics.enable=false", "min.insync.replicas=2", "unclean.leader.election.enable=false"] :
      strcontains(aws_msk_configuration.this.server_properties, line)
    ])
    error_message = "what exactly-once rests on"
  }

  assert {
    condition     = alltrue([for secret in values(aws_secretsmanager_secret.kafka) : startswith(secret.name, "AmazonMSK_")])
    error_message = "MSK takes no secret with another name"
  }

  # Storage

  assert {
    condition = alltrue([
      for block in values(aws_s3_bucket_public_access_block.this) :
      block.block_public_acls && block.block_public_policy && block.ignore_public_acls && block.restrict_public_buckets
    ])
    error_message = "no bucket can become public"
  }

  assert {
    condition     = toset(keys(aws_s3_bucket_public_access_block.this)) == toset(keys(aws_s3_bucket.this))
    error_message = "and none is left out"
  }

  assert {
    condition     = alltrue([for name in values(local.bucket_names) : length(name) <= 63])
    error_message = "bucket names have at most 63 letters"
  }

  assert {
    condition     = aws_sqs_queue.notifications.visibility_timeout_seconds >= 6 * aws_lambda_function.bridge.timeout
    error_message = "a message stays hidden for as long as the function may need"
  }

  # Roles

  assert {
    condition     = toset(keys(output.role_arns)) == toset(["preprocess", "infer", "postprocess"])
    error_message = "ingest needs nothing of AWS"
  }

  assert {
    condition = {
      for service, policy in data.aws_iam_policy_document.service :
      service => join(" ", flatten([for statement in policy.statement : sort(statement.actions) if statement.sid != "Key"]))
      } == {
      preprocess  = "s3:GetObject s3:GetObjectVersion s3:GetObject"
      infer       = "s3:GetObject"
      postprocess = "s3:PutObject"
    }
    error_message = "a service may do to objects what it does, and no more"
  }

  assert {
    condition = {
      for service, policy in data.aws_iam_policy_document.service :
      service => join(" ", flatten([for statement in policy.statement : tolist(statement.resources) if statement.sid != "Key"]))
      } == {
      preprocess  = "arn:aws:s3:::sightline-images-111122223333-xx-test-1/* arn:aws:s3:::sightline-models-111122223333-xx-test-1/*manifest.json"
      infer       = "arn:aws:s3:::sightline-models-111122223333-xx-test-1/*"
      postprocess = "arn:aws:s3:::sightline-thumbnails-111122223333-xx-test-1/thumbnails/*"
    }
    error_message = "and where"
  }
}

run "the_api_can_be_opened_to_named_addresses" {
  command = plan
  variables {
    api_public_cidrs = ["203.0.113.0/24"]
    operator_cidrs   = ["10.8.0.0/16"]
  }

  assert {
    condition = (
      aws_eks_cluster.this.vpc_config[0].endpoint_public_access &&
      aws_eks_cluster.this.vpc_config[0].public_access_cidrs == toset(["203.0.113.0/24"])
    )
    error_message = "to these, and no others"
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.operators["10.8.0.0/16"].to_port == 443
    error_message = "operators reach the private endpoint"
  }
}

run "but_not_to_everybody" {
  command = plan
  variables {
    api_public_cidrs = ["0.0.0.0/0"]
    operator_cidrs   = ["0.0.0.0/0"]
  }
  expect_failures = [var.api_public_cidrs, var.operator_cidrs]
}

run "wrong_values_are_refused" {
  command = plan
  variables {
    name                = "Sight_line"
    admin_role_arns     = []
    vpc_cidr            = "8.8.0.0/16"
    thumbnail_prefix    = "*"
    old_version_days    = 1
    log_days            = 2
    kafka_version       = "3.6.0"
    kafka_instance_type = "express.m7g.large"
    gpu_nodes           = { min = 2, max = 1 }
    bridge_package      = "no-such-file.zip"
  }
  expect_failures = [
    var.name,
    var.admin_role_arns,
    var.vpc_cidr,
    var.thumbnail_prefix,
    var.old_version_days,
    var.log_days,
    var.kafka_version,
    var.kafka_instance_type,
    var.gpu_nodes,
    var.bridge_package,
  ]
}

run "the_smallest_network_still_has_room" {
  command = plan
  variables {
    vpc_cidr = "192.168.16.0/20"
  }

  assert {
    condition     = aws_subnet.public[2].cidr_block == "192.168.31.32/28" && aws_subnet.nodes[0].cidr_block == "192.168.16.0/24"
    error_message = "subnets of a /20"
  }
}
