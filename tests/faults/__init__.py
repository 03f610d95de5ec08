"""
The worker as a process of its own, behind a proxy that fails on purpose.

    wire        HTTP/1.1 on asyncio streams
    operations  which operation of S3 or SQS a request is
    facts       what a request and its answer say that a checker needs
    rules       which calls go wrong, and how
    strict      what real S3 and SQS refuse and the emulator accepts
    history     every request and answer, in order
    proxy       all of these between a worker and the emulated AWS
    worker      the worker's process: started, signalled, read
    stage       buckets, queues, objects and messages of one scenario
    evidence    what a scenario leaves behind for the checker
    checker     the promises, as functions of that evidence
    crashes     a job broken at every one of its calls
"""
