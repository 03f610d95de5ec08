"""The messages that the READMEs of the AWS CLI worker and of the lanlytics worker print, as they stand there."""

AWS_CLI_MESSAGE = """\
{
  "parameters": [
    {
      "value": "aws2 s3 cp s3://mybucket/{element_filename} /data/element_filename.mp4",
      "type": "string",
      "id": "command_template"
    },
    {
      "value": "media.mp4",
      "type": "string",
      "id": "element_filename"
    }
  ],
  "job_id": 123
}
"""

LANLYTICS_MESSAGE = """\
{
  "test": true,
  "service": "my_service",
  "queue": "docker",
  "command": {
    "stdin": {
      "type":"pipe",
      "value":"raw input data"
    },
    "stdout": {
      "type":"pipe",
      "value":null
    },
    "stderr": {
      "type":"uri",
      "value":"s3://bucket/path/to/stderr.txt"
    },
    "arguments":[
      {
        "type": "input",
        "name": "--infile",
        "value": "s3://bucket/path/to/input.txt"
      },
      {
        "type": "parameter",
        "name": "--arg1",
        "value": "myargvalue"
      },
      {
        "type": "output",
        "name": "--outfile",
        "value": "s3://bucket/path/to/output.txt"
      }
    ],
    "input": ["s3://bucket/path/to/some/input"],
    "output": ["s3://bucket/path/to/some/output"]
  }
}
"""
