# The two stacks of docs/deploy.md, as one module. CloudFormation rolls a failed update back; Terraform tells why.

resource "aws_cloudformation_stack" "data" {
  count = var.create_data ? 1 : 0

  name          = "${var.name}-data"
  template_body = file("${path.module}/../data.yaml")
  parameters    = var.data_parameters
  tags          = var.tags

  timeouts {
    create = "1h"
    update = "1h"
    delete = "1h"
  }
}

locals {
  data       = try(aws_cloudformation_stack.data[0].outputs, {})
  for_worker = lookup(local.data, "ForWorker", "")
}

resource "aws_cloudformation_stack" "worker" {
  name          = var.name
  template_body = file("${path.module}/../worker.yaml")
  parameters    = local.worker_parameters
  capabilities  = ["CAPABILITY_IAM"]
  tags          = var.tags

  # CloudFormation waits for up to three hours until protected tasks have finished their jobs.
  timeouts {
    create = "1h"
    update = "4h"
    delete = "4h"
  }
}
