# Three availability zones, each with a subnet for nodes and pods, one for a broker and a public one that holds nothing but
# a NAT gateway. Nothing listens on a public address.

data "aws_availability_zones" "usable" {
  state = "available"

  filter {
    name   = "opt-in-status" # leaves out local zones, where there is neither MSK nor EKS
    values = ["opt-in-not-required"]
  }
}

locals {
  zones = length(var.zones) == 3 ? var.zones : slice(data.aws_availability_zones.usable.names, 0, 3)
}

resource "aws_vpc" "this" {
  cidr_block           = var.vpc_cidr
  enable_dns_hostnames = true # private names of the endpoints, of EKS and of MSK
  tags                 = { Name = var.name }
}

# AWS makes this group and puts into it whatever names none. Without rules nothing gets in or out that way.
resource "aws_default_security_group" "empty" {
  vpc_id = aws_vpc.this.id
}

# Subnets. One stays in its zone, whatever AWS answers to the question above next year.

resource "aws_subnet" "nodes" {
  count             = 3
  vpc_id            = aws_vpc.this.id
  availability_zone = local.zones[count.index]
  cidr_block        = cidrsubnet(var.vpc_cidr, 4, count.index) # of a /16: 4,096 addresses
  tags              = { Name = "${var.name}-nodes-${local.zones[count.index]}" }

  lifecycle {
    ignore_changes = [availability_zone]
  }
}

resource "aws_subnet" "kafka" {
  count             = 3
  vpc_id            = aws_vpc.this.id
  availability_zone = local.zones[count.index]
  cidr_block        = cidrsubnet(var.vpc_cidr, 8, 224 + count.index)
  tags              = { Name = "${var.name}-kafka-${local.zones[count.index]}" }

  lifecycle {
    ignore_changes = [availability_zone]
  }
}

resource "aws_subnet" "public" {
  count             = 3
  vpc_id            = aws_vpc.this.id
  availability_zone = local.zones[count.index]
  cidr_block        = cidrsubnet(var.vpc_cidr, 8, 240 + count.index)
  tags              = { Name = "${var.name}-public-${local.zones[count.index]}" }

  lifecycle {
    ignore_changes = [availability_zone]
  }
}

# The way out, for container images and for weights from a hub. One gateway a zone: with a single one, the loss of its zone
# would be the loss of all three.

resource "aws_internet_gateway" "this" {
  vpc_id = aws_vpc.this.id
  tags   = { Name = var.name }
}

resource "aws_eip" "nat" {
  count      = 3
  domain     = "vpc"
  tags       = { Name = "${var.name}-nat-${local.zones[count.index]}" }
  depends_on = [aws_internet_gateway.this]
}

resource "aws_nat_gateway" "this" {
  count         = 3
  subnet_id     = aws_subnet.public[count.index].id
  allocation_id = aws_eip.nat[count.index].id
  tags          = { Name = "${var.name}-${local.zones[count.index]}" }
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.this.id
  tags   = { Name = "${var.name}-public" }

  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.this.id
  }
}

resource "aws_route_table" "nodes" {
  count  = 3
  vpc_id = aws_vpc.this.id
  tags   = { Name = "${var.name}-nodes-${local.zones[count.index]}" }

  route {
    cidr_block     = "0.0.0.0/0"
    nat_gateway_id = aws_nat_gateway.this[count.index].id
  }
}

# Brokers have no way out at all.
resource "aws_route_table" "kafka" {
  vpc_id = aws_vpc.this.id
  tags   = { Name = "${var.name}-kafka" }
}

resource "aws_route_table_association" "public" {
  count          = 3
  subnet_id      = aws_subnet.public[count.index].id
  route_table_id = aws_route_table.public.id
}

resource "aws_route_table_association" "nodes" {
  count          = 3
  subnet_id      = aws_subnet.nodes[count.index].id
  route_table_id = aws_route_table.nodes[count.index].id
}

resource "aws_route_table_association" "kafka" {
  count          = 3
  subnet_id      = aws_subnet.kafka[count.index].id
  route_table_id = aws_route_table.kafka.id
}

# Images are most of the traffic. Through this endpoint they cost nothing and never pass a NAT gateway.
resource "aws_vpc_endpoint" "s3" {
  vpc_id            = aws_vpc.this.id
  service_name      = "com.amazonaws.${var.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = aws_route_table.nodes[*].id
  tags              = { Name = "${var.name}-s3" }
}

# Credentials and the cluster's own images: with these the services start and go on while a NAT gateway is down.
resource "aws_vpc_endpoint" "interface" {
  for_each            = toset(["ecr.api", "ecr.dkr", "secretsmanager", "sts"])
  vpc_id              = aws_vpc.this.id
  service_name        = "com.amazonaws.${var.region}.${each.key}"
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  subnet_ids          = aws_subnet.nodes[*].id
  security_group_ids  = [aws_security_group.endpoints.id]
  tags                = { Name = "${var.name}-${each.key}" }
}

# Who talks to whom. Names are resolved by the VPC's own server, which security groups do not see.

resource "aws_security_group" "nodes" {
  name        = "${var.name}-nodes"
  description = "EKS nodes and their pods"
  vpc_id      = aws_vpc.this.id
  tags        = { Name = "${var.name}-nodes" }
}

resource "aws_security_group" "kafka" {
  name        = "${var.name}-kafka"
  description = "MSK brokers"
  vpc_id      = aws_vpc.this.id
  tags        = { Name = "${var.name}-kafka" }
}

resource "aws_security_group" "bridge" {
  name        = "${var.name}-bridge"
  description = "Function that carries notifications from SQS into Kafka"
  vpc_id      = aws_vpc.this.id
  tags        = { Name = "${var.name}-bridge" }
}

resource "aws_security_group" "endpoints" {
  name        = "${var.name}-endpoints"
  description = "Interface endpoints"
  vpc_id      = aws_vpc.this.id
  tags        = { Name = "${var.name}-endpoints" }
}

locals {
  eks_group = aws_eks_cluster.this.vpc_config[0].cluster_security_group_id

  # from → to, first and last TCP port. Each becomes a rule out of the one group and a rule into the other. 9096 is TLS with
  # SASL/SCRAM, the only listener that kafka.tf leaves open.
  flows = {
    nodes-kafka      = { from = aws_security_group.nodes.id, to = aws_security_group.kafka.id, ports = [9096, 9096] }
    bridge-kafka     = { from = aws_security_group.bridge.id, to = aws_security_group.kafka.id, ports = [9096, 9096] }
    nodes-endpoints  = { from = aws_security_group.nodes.id, to = aws_security_group.endpoints.id, ports = [443, 443] }
    bridge-endpoints = { from = aws_security_group.bridge.id, to = aws_security_group.endpoints.id, ports = [443, 443] }
    nodes-api        = { from = aws_security_group.nodes.id, to = local.eks_group, ports = [443, 443] }
    # The kubelet's port, and those on which webhooks and API services listen in pods (KEDA, the metrics server).
    api-nodes = { from = local.eks_group, to = aws_security_group.nodes.id, ports = [1024, 65535] }
  }
}

resource "aws_vpc_security_group_egress_rule" "flow" {
  for_each                     = local.flows
  description                  = each.key
  security_group_id            = each.value.from
  referenced_security_group_id = each.value.to
  ip_protocol                  = "tcp"
  from_port                    = each.value.ports[0]
  to_port                      = each.value.ports[1]
}

resource "aws_vpc_security_group_ingress_rule" "flow" {
  for_each                     = local.flows
  description                  = each.key
  security_group_id            = each.value.to
  referenced_security_group_id = each.value.from
  ip_protocol                  = "tcp"
  from_port                    = each.value.ports[0]
  to_port                      = each.value.ports[1]
}

# Between pods the NetworkPolicies of k8s/base decide.
resource "aws_vpc_security_group_ingress_rule" "nodes_self" {
  description                  = "pods to pods"
  security_group_id            = aws_security_group.nodes.id
  referenced_security_group_id = aws_security_group.nodes.id
  ip_protocol                  = "-1"
}

resource "aws_vpc_security_group_egress_rule" "nodes_self" {
  description                  = "pods to pods"
  security_group_id            = aws_security_group.nodes.id
  referenced_security_group_id = aws_security_group.nodes.id
  ip_protocol                  = "-1"
}

# The one rule with the whole internet in it, outwards, TLS only: container registries and S3 have no fixed addresses.
resource "aws_vpc_security_group_egress_rule" "nodes_https" {
  description       = "HTTPS to container registries, S3 and other AWS services"
  security_group_id = aws_security_group.nodes.id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_ingress_rule" "operators" {
  for_each          = var.operator_cidrs
  description       = "operators to the Kubernetes API"
  security_group_id = local.eks_group
  cidr_ipv4         = each.key
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

# What was refused: the first place to look when a connection that should be there is not.

resource "aws_cloudwatch_log_group" "flow" {
  name              = "/${var.name}/vpc-refused"
  retention_in_days = var.log_days
  kms_key_id        = aws_kms_key.this.arn
}

resource "aws_flow_log" "refused" {
  vpc_id          = aws_vpc.this.id
  traffic_type    = "REJECT"
  log_destination = aws_cloudwatch_log_group.flow.arn
  iam_role_arn    = aws_iam_role.flow_log.arn
}
