# Without a default stands what nobody can choose for the account that pays.

variable "region" {
  description = "Region that everything is created in."
  type        = string
}

variable "admin_role_arns" {
  description = "IAM roles that administer the EKS cluster. Nobody else gets in, whoever ran Terraform included."
  type        = set(string)

  validation {
    condition = length(var.admin_role_arns) > 0 && alltrue([
      for arn in var.admin_role_arns : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$", arn))
    ])
    error_message = "Name at least one role, as arn:aws:iam::ACCOUNT:role/NAME."
  }
}

variable "name" {
  description = "Prefix of every name."
  type        = string
  default     = "sightline"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,18}[a-z0-9]$", var.name))
    error_message = "3 to 20 lower-case letters, digits and hyphens: bucket and role names are made of it."
  }
}

variable "namespace" {
  description = "Kubernetes namespace that the services run in; only its service accounts may take their roles."
  type        = string
  default     = "sightline"
}

variable "tags" {
  description = "Tags on everything."
  type        = map(string)
  default     = {}
}

# Network

variable "vpc_cidr" {
  description = "Address range of the VPC. Each pod takes an address of it."
  type        = string
  default     = "10.64.0.0/16"

  validation {
    condition = (
      can(regex("^(10|172\\.(1[6-9]|2[0-9]|3[01])|192\\.168)\\.", var.vpc_cidr)) &&
      can(cidrhost(var.vpc_cidr, 0)) &&
      try(tonumber(split("/", var.vpc_cidr)[1]) >= 16 && tonumber(split("/", var.vpc_cidr)[1]) <= 20, false)
    )
    error_message = "A private IPv4 range between /16 and /20."
  }
}

variable "zones" {
  description = "The three availability zones. Empty: the region's first three, which may lack one of the instance types."
  type        = list(string)
  default     = []

  validation {
    condition     = contains([0, 3], length(distinct(var.zones)))
    error_message = "Three different zones, or none."
  }
}

variable "operator_cidrs" {
  description = "Private networks, joined by VPN or peering, from which the Kubernetes API is reached."
  type        = set(string)
  default     = []

  validation {
    condition = alltrue([
      for cidr in var.operator_cidrs : can(cidrhost(cidr, 0)) && try(tonumber(split("/", cidr)[1]) >= 8, false)
    ])
    error_message = "IPv4 ranges of /8 or smaller."
  }
}

variable "api_public_cidrs" {
  description = "Public addresses that reach the Kubernetes API over the internet. Empty: its endpoint is private only."
  type        = set(string)
  default     = []

  validation {
    condition = alltrue([
      for cidr in var.api_public_cidrs : can(cidrhost(cidr, 0)) && try(tonumber(split("/", cidr)[1]) >= 16, false)
    ])
    error_message = "IPv4 ranges of /16 or smaller; the API is not for everybody."
  }
}

# Storage

variable "thumbnail_prefix" {
  description = "SIGHTLINE_THUMBNAIL_PREFIX: postprocess may write below it and nowhere else."
  type        = string
  default     = "thumbnails/"

  validation {
    condition     = can(regex("^[^/*?].*/$", var.thumbnail_prefix)) && !can(regex("[*?$]", var.thumbnail_prefix))
    error_message = "Ends in a slash, does not begin with one, and holds no *, ? or $, which mean something in a policy."
  }
}

variable "thumbnail_days" {
  description = "Days that a thumbnail is kept."
  type        = number
  default     = 365

  validation {
    condition     = var.thumbnail_days >= 1
    error_message = "At least a day."
  }
}

variable "old_version_days" {
  description = "Days that overwritten and deleted objects can still be brought back."
  type        = number
  default     = 30

  validation {
    condition     = var.old_version_days >= 14
    error_message = "At least the 14 days that a notification may wait in the queue: it names the version that it means."
  }
}

variable "log_days" {
  description = "Days that logs are kept in CloudWatch."
  type        = number
  default     = 90

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096], var.log_days)
    error_message = "One of the retentions that CloudWatch Logs has."
  }
}

variable "alarm_actions" {
  description = "ARNs (SNS topics, for example) that are told when notifications wait, get lost, or a broker's disk fills."
  type        = set(string)
  default     = []
}

# Kafka

variable "kafka_version" {
  description = "MSK's name for the version. Sightline is tested on Apache Kafka 4.1."
  type        = string
  default     = "4.1.x.kraft"

  validation {
    condition     = endswith(var.kafka_version, ".kraft")
    error_message = "A version with KRaft: a cluster that begins with ZooKeeper can't be moved later."
  }
}

variable "kafka_instance_type" {
  description = "Type of each of the three brokers."
  type        = string
  default     = "kafka.m7g.large"

  validation {
    condition     = can(regex("^kafka\\.(m5|m7g|m8g)\\.", var.kafka_instance_type))
    error_message = "An MSK standard broker of the m5, m7g or m8g family: express brokers and t3 lack what kafka.tf sets."
  }
}

variable "kafka_volume_gib" {
  description = "Disk of each broker. An image is about 0.25 MB in the topics, on each of them, most of it for a day."
  type        = number
  default     = 200

  validation {
    condition     = var.kafka_volume_gib >= 10 && var.kafka_volume_gib <= 16384
    error_message = "Between 10 and 16384 GiB. It can grow later, never shrink."
  }
}

variable "kafka_password_version" {
  description = "Add one to it and apply: Kafka's users get new passwords."
  type        = number
  default     = 1
}

variable "bridge_package" {
  description = "Zip file of the Lambda function that carries notifications into Kafka; bridge/package makes it."
  type        = string
  default     = "bridge/bridge.zip"

  validation {
    condition     = fileexists(var.bridge_package)
    error_message = "No such file. Run bridge/package first."
  }
}

# Kubernetes

variable "kubernetes_version" {
  description = "Minor version of EKS."
  type        = string
  default     = "1.34"

  validation {
    condition     = can(regex("^1\\.[0-9]{2}$", var.kubernetes_version))
    error_message = "A minor version such as 1.34."
  }
}

variable "cpu_instance_types" {
  description = "Types of the CPU nodes, x86-64. The defaults have AVX512-VNNI and -BF16 for --precision int8 and bf16."
  type        = list(string)
  default     = ["m7a.xlarge", "m7i.xlarge"]
}

variable "cpu_nodes" {
  description = "Least and most CPU nodes. Three or more, so that each availability zone has one."
  type        = object({ min = number, max = number })
  default     = { min = 3, max = 12 }

  validation {
    condition     = var.cpu_nodes.min >= 1 && var.cpu_nodes.max >= var.cpu_nodes.min
    error_message = "min is at least 1 and max at least min."
  }
}

variable "gpu_instance_types" {
  description = "Types of the GPU nodes, x86-64 with NVIDIA."
  type        = list(string)
  default     = ["g6.xlarge"]
}

variable "gpu_nodes" {
  description = "Least and most GPU nodes. With a least of 0 they cost nothing while no pod asks for a GPU."
  type        = object({ min = number, max = number })
  default     = { min = 0, max = 4 }

  validation {
    condition     = var.gpu_nodes.min >= 0 && var.gpu_nodes.max >= max(var.gpu_nodes.min, 1)
    error_message = "min is at least 0, max at least 1 and at least min."
  }
}
