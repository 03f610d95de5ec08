output "source_queue_url" {
  description = "Queue for requests; null without create_data, as all values of its stack."
  value       = lookup(local.data, "SourceQueueUrl", null)
}

output "source_queue_arn" {
  description = "Queue on which producers need sqs:SendMessage."
  value       = lookup(local.data, "SourceQueueArn", null)
}

output "dead_letter_queue_url" {
  description = "Queue of rejected requests."
  value       = lookup(local.data, "DeadLetterQueueUrl", null)
}

output "answer_queue_url" {
  description = "Queue of answers."
  value       = lookup(local.data, "AnswerQueueUrl", null)
}

output "failure_queue_url" {
  description = "Queue of failure answers."
  value       = lookup(local.data, "FailureQueueUrl", null)
}

output "progress_queue_url" {
  description = "Queue of progress events; null without ProgressQueue."
  value       = lookup(local.data, "ProgressQueueUrl", null)
}

output "archive_bucket" {
  description = "Bucket of the archives."
  value       = lookup(local.data, "ArchiveBucketName", null)
}

output "distribution_domain" {
  description = "Target of the DNS record of DomainName; null without CloudFront."
  value       = lookup(local.data, "DistributionDomain", null)
}

output "base_url" {
  description = "Base of the links; null without CloudFront."
  value       = lookup(local.data, "BaseUrl", null)
}

output "task_role_arn" {
  description = "Role of the worker, for the policies of buckets and keys in other accounts."
  value       = aws_cloudformation_stack.worker.outputs["TaskRoleArn"]
}

output "log_group_name" {
  description = "Log group of the worker."
  value       = aws_cloudformation_stack.worker.outputs["LogGroupName"]
}

output "cluster_name" {
  description = "The ECS cluster."
  value       = aws_cloudformation_stack.worker.outputs["ClusterName"]
}

output "service_name" {
  description = "The ECS service."
  value       = aws_cloudformation_stack.worker.outputs["ServiceName"]
}
