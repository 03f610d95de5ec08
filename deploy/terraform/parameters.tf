locals {
  # NAME=VALUE pairs, separated by spaces: the output ForWorker of data.yaml.
  from_data = {
    for pair in compact(split(" ", local.for_worker)) :
    regex("^([^=]+)=(.*)$", pair)[0] => regex("^([^=]+)=(.*)$", pair)[1]
  }

  worker_parameters = merge(
    local.from_data,
    {
      Image         = var.image
      SourceBuckets = join(",", var.source_buckets)
      VpcId         = var.vpc_id
      SubnetIds     = join(",", var.subnet_ids)
    },
    var.worker_parameters,
  )
}
