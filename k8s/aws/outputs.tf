# What k8s/overlays/aws is filled in with; README.md says where each goes.

output "region" {
  description = "SIGHTLINE_S3_REGION."
  value       = var.region
}

output "images_bucket" {
  description = "SIGHTLINE_BUCKETS of ingest. Images are put here."
  value       = local.bucket_names.images
}

output "thumbnails_bucket" {
  description = "SIGHTLINE_THUMBNAIL_BUCKET of postprocess."
  value       = local.bucket_names.thumbnails
}

output "models_bucket" {
  description = "For SIGHTLINE_MODEL=s3://BUCKET/PREFIX/ of preprocess and infer."
  value       = local.bucket_names.models
}

output "kafka_bootstrap" {
  description = "SIGHTLINE_KAFKA_BOOTSTRAP."
  value       = aws_msk_cluster.this.bootstrap_brokers_sasl_scram
}

output "kafka_secret" {
  description = "Secret in Secrets Manager with username and password of the services."
  value       = aws_secretsmanager_secret.kafka["sightline"].name
}

output "role_arns" {
  description = "eks.amazonaws.com/role-arn of the service accounts."
  value       = { for service in keys(local.services) : service => aws_iam_role.account[service].arn }
}

output "autoscaler_role_arn" {
  description = "The same for the cluster autoscaler's, kube-system/cluster-autoscaler."
  value       = aws_iam_role.account["autoscaler"].arn
}

output "cluster_name" {
  description = "For aws eks update-kubeconfig --name."
  value       = aws_eks_cluster.this.name
}

output "key_arn" {
  description = "Whoever puts images or weights needs kms:GenerateDataKey for it, and kms:Decrypt for uploads in parts."
  value       = aws_kms_key.this.arn
}

output "notifications_queue_url" {
  description = "Where S3's notifications wait for the bridge."
  value       = aws_sqs_queue.notifications.id
}

output "undelivered_queue_arn" {
  description = "Where notifications end up that the bridge could not deliver; aws sqs start-message-move-task puts them back."
  value       = aws_sqs_queue.undelivered.arn
}
