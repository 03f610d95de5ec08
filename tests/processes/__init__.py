"""
The worker as users see it: a process with an environment, queues and buckets, judged from outside.

    process   the worker's process: started, watched, never left behind
    scene     queues, buckets and a worker of one test
    objects   a small S3 for data that no memory holds
"""
