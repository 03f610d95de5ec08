variable "name" {
  description = "Name of the worker's stack; that of the queues and the bucket is NAME-data."
  type        = string
  default     = "archiver"

  validation {
    # Queues are named after the stack, whose name may have 70 characters.
    condition     = can(regex("^[A-Za-z][A-Za-z0-9-]{0,64}$", var.name))
    error_message = "The name may have letters, digits and hyphens, at most 65, and begins with a letter."
  }
}

variable "image" {
  description = "Image of the worker, with a tag or digest that never changes."
  type        = string
}

variable "source_buckets" {
  description = "Buckets that requests may name. The first one is that of keys without a bucket."
  type        = list(string)

  validation {
    condition     = length(var.source_buckets) > 0
    error_message = "At least one bucket is needed."
  }
}

variable "vpc_id" {
  description = "VPC of the tasks."
  type        = string
}

variable "subnet_ids" {
  description = "Subnets of that VPC, in two or more zones, that reach AWS."
  type        = list(string)
}

variable "create_data" {
  description = "Whether to create the queues, the bucket and CloudFront. If not, worker_parameters names existing ones."
  type        = bool
  default     = true
}

variable "data_parameters" {
  description = "Further parameters of data.yaml, by their names in docs/deploy.md."
  type        = map(string)
  default     = {}
}

variable "worker_parameters" {
  description = "Further parameters of worker.yaml, by their names in docs/deploy.md. They take precedence."
  type        = map(string)
  default     = {}
}

variable "tags" {
  description = "Tags of all resources and tasks."
  type        = map(string)
  default     = {}
}
