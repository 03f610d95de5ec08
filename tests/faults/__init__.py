"""
The worker as a process of its own, behind a proxy that fails on purpose.

    wire        HTTP/1.1 on asyncio streams
    operations  which operation of S3 or SQS a request is
    facts       what a request and its answer say that a checker needs
    history     every request and answer, in order
    rules       which calls go wrong, and how
    flows       what befalls the bytes of a body on their way
    strict      what S3 and SQS refuse and the emulator accepts
    proxy       all of these between workers and the emulated AWS
    emulator    the emulated AWS, and clients for it

    setting     how a scenario is set, and a worker's environment in it
    worker      the worker's process: started, signalled, read
    stage       buckets, queues, objects and messages of one scenario
    crashes     a job broken at every one of its calls

    evidence    what a scenario leaves behind
    archive     a reader of archives that forgives nothing
    reference   what an announced archive must be
    checker     the promises, as functions of the evidence

A scenario is a few lines: `stage.break_(...)` what shall go wrong, `stage.ask(...)` for an archive, start a
`stage.worker()`, `stage.wait_deleted()`, and `stage.finish()`, which stops the worker and holds all that happened
against every promise.
"""
