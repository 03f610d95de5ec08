"""
Numbers for those who look after the service: the same ones as log lines for CloudWatch, and for Prometheus.

    numbers      what is counted, in which unit, and the state of the process
    emf          lines in CloudWatch's embedded metric format
    prometheus   counters, histograms and gauges that are scraped
    server       /health/live, /health/ready and /metrics

Counting neither waits nor raises: it is done in the middle of settling a job.
"""
