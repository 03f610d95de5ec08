"""
Logs, metrics and health checks.

    metrics         names and units of the metrics, and the state of the process
    emf             metrics as lines in CloudWatch's embedded metric format
    prometheus      the same metrics for Prometheus
    health_server   /health/live, /health/ready and /metrics
    observers       starts the observers of a worker: heartbeat file, metrics, health server, ECS agent
    logs            structured logs
    stdout          non-blocking standard output

Counting neither blocks nor raises, because it runs while a job is being settled.
"""
