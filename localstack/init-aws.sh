#!/usr/bin/env bash
# Creates the queues and buckets of the local workflow, and nothing else. Running it again changes nothing.
set -euo pipefail

# The region of .envrc.dist, whatever the shell says: queues are of one region, and the worker looks for them there.
export AWS_DEFAULT_REGION=us-east-1 AWS_REGION=us-east-1

if command -v awslocal > /dev/null; then
  aws=(awslocal)
else
  aws=(aws --endpoint-url "${AWS_ENDPOINT_URL:-http://localhost:4566}")
fi

# A queue with its dead-letter queue, where messages go after five receives, and stay for 14 days.
queue() {
  local name=$1 dead arn
  dead=$("${aws[@]}" sqs create-queue --queue-name "$name-dlq" --query QueueUrl --output text \
    --attributes '{"MessageRetentionPeriod": "1209600"}')
  arn=$("${aws[@]}" sqs get-queue-attributes --queue-url "$dead" --attribute-names QueueArn \
    --query Attributes.QueueArn --output text)
  "${aws[@]}" sqs create-queue --queue-name "$name" --query QueueUrl --output text --attributes \
    "{\"RedrivePolicy\": \"{\\\"deadLetterTargetArn\\\": \\\"$arn\\\", \\\"maxReceiveCount\\\": 5}\"}"
}

bucket() {
  local name=$1
  "${aws[@]}" s3api head-bucket --bucket "$name" > /dev/null 2>&1 ||
    "${aws[@]}" s3api create-bucket --bucket "$name" --query Location --output text
}

queue input-queue
queue output-queue
"${aws[@]}" sqs create-queue --queue-name progress-queue --query QueueUrl --output text
bucket source-images
bucket zip-storage
# What a killed worker leaves unfinished is paid for until it is aborted.
"${aws[@]}" s3api put-bucket-lifecycle-configuration --bucket zip-storage --lifecycle-configuration \
  '{"Rules": [{"ID": "abort", "Status": "Enabled", "Filter": {"Prefix": ""},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}]}'

# Last, for this is what the container's health check waits for.
"${aws[@]}" s3api put-object --bucket source-images --key source.jpg --content-type image/jpeg \
  --body "$(dirname "${BASH_SOURCE[0]}")/source.jpg" --query ETag --output text
