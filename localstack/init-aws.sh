#!/usr/bin/env bash
# Creates the queues and buckets for local development. Running it again changes nothing.
set -euo pipefail

# The region of .envrc.dist, regardless of the environment: queues exist in one region, and the worker uses that one.
export AWS_DEFAULT_REGION=us-east-1 AWS_REGION=us-east-1

if command -v awslocal > /dev/null; then
  aws=(awslocal)
else
  aws=(aws --endpoint-url "${AWS_ENDPOINT_URL:-http://localhost:4566}")
fi

# Creates a queue and its dead-letter queue. Messages go there after five receives and are kept for 14 days.
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
# Incomplete uploads of a killed worker cost money until they are aborted.
"${aws[@]}" s3api put-bucket-lifecycle-configuration --bucket zip-storage --lifecycle-configuration \
  '{"Rules": [{"ID": "abort", "Status": "Enabled", "Filter": {"Prefix": ""},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}]}'

# Must be last: the container's health check waits for this object.
"${aws[@]}" s3api put-object --bucket source-images --key source.jpg --content-type image/jpeg \
  --body "$(dirname "${BASH_SOURCE[0]}")/source.jpg" --query ETag --output text
