"""
Fault injection: the worker runs as a separate process behind a proxy that injects faults.

    http_streams       HTTP/1.1 on asyncio streams
    operations         identifies the S3 or SQS operation of a request
    fields             extracts the fields of requests and responses that the checker needs
    history            records all requests and responses, in order
    rules              which calls fail, and how
    body_faults        faults of bodies: truncation, stalls, corruption, bandwidth
    aws_rules          refuses what S3 and SQS refuse and the emulator accepts
    proxy              the proxy between workers and the emulated AWS
    proxy_fixture      the fixture for the proxy's own tests
    emulator           the emulated AWS, and clients for it

    scenario_config    configuration of a scenario, and the environment of its workers
    worker_process     the worker process: start, signals, log
    scenario           buckets, queues, objects and messages of one scenario
    crashes            the reference job, with a fault at each of its calls
    resumed            the same for a worker that goes on with an upload
    command_crashes    the same for a command, its program, and its directory
    outages            outages of S3 and SQS
    agent, cluster     the ECS agent and API, and the ECS service behind them

    observations       what the checker evaluates: history, jobs, final state
    synthetic_history  histories written by hand, for the tests of the checker
    archive            a strict zip reader
    reference          compares an announced archive with its sources
    results            the same for the remembered result of a command
    checker            the promises, as functions of the observations

A scenario takes a few lines: `scenario.inject(...)` a fault, `scenario.send_request(...)`, start a
`scenario.worker()`, `scenario.wait_deleted(...)`, and `scenario.finish()`, which stops the worker and checks every
promise.
"""
