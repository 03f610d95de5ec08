"""
The peer that every team writes first: one object after the other into a zip in memory, then the zip to the bucket.

    boto3_naive.py ENDPOINT LOAD COUNT SIZE JOBS KEY_PREFIX
"""

import io
import json
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import boto3

endpoint, load, count, _size, jobs, prefix = sys.argv[1:]
s3 = boto3.client("s3", endpoint_url=endpoint)


def archive(job: int) -> str:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_STORED) as archive:
        for index in range(int(count) * job // int(jobs), int(count) * (job + 1) // int(jobs)):
            name = f"{load}/{index:06}.jpg"
            archive.writestr(name, s3.get_object(Bucket="bench-source", Key=name)["Body"].read())
    memory.seek(0)
    key = f"{prefix}/{job}.zip"
    s3.upload_fileobj(memory, "bench-archives", key)
    return key


# One object before the clock starts: what the first call loads must not be scaled up with the share that is read here.
s3.get_object(Bucket="bench-source", Key=f"{load}/000000.jpg", Range="bytes=0-0")["Body"].read()
wall, cpu = time.perf_counter(), time.process_time()
with ThreadPoolExecutor(int(jobs)) as pool:
    keys = list(pool.map(archive, range(int(jobs))))
print(json.dumps({"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu, "keys": keys}))
