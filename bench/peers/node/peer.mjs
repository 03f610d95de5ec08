// A good Node peer: the SDK with kept-alive connections and no needless checksums, objects read ahead, stored by
// zip-stream with back-pressure, uploaded in parts while it goes on.
//
//     peer.mjs ENDPOINT LOAD COUNT SIZE JOBS KEY_PREFIX

import { once } from "node:events";
import { Agent } from "node:http";
import { Agent as TlsAgent } from "node:https";
import { PassThrough } from "node:stream";
import { pipeline } from "node:stream/promises";
import { GetObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import ZipStream from "zip-stream";

const MIB = 1024 * 1024;
const [endpoint, load, countText, sizeText, jobsText, prefix] = process.argv.slice(2);
const [count, size, jobs] = [countText, sizeText, jobsText].map(Number);
const whole = size <= 8 * MIB; // read as a buffer: zip-stream then knows size and CRC; larger ones are streamed
const ahead = whole ? Math.max(4, Math.min(32, Math.floor((96 * MIB) / size))) : 2;

const sockets = { keepAlive: true, maxSockets: 64 };
const s3 = new S3Client({
  endpoint,
  forcePathStyle: true,
  requestChecksumCalculation: "WHEN_REQUIRED",
  responseChecksumValidation: "WHEN_REQUIRED",
  requestHandler: new NodeHttpHandler({ httpAgent: new Agent(sockets), httpsAgent: new TlsAgent(sockets) }),
});

async function read(name) {
  const { Body } = await s3.send(new GetObjectCommand({ Bucket: "bench-source", Key: name }));
  return whole ? Buffer.from(await Body.transformToByteArray()) : Body;
}

function add(zip, source, name) {
  return new Promise((resolve, reject) => zip.entry(source, { name, store: true }, (error) => (error ? reject(error) : resolve())));
}

async function fill(zip, names) {
  const reading = [];
  let next = 0;
  for (const name of names) {
    while (next < names.length && reading.length < ahead) reading.push(read(names[next++]));
    await add(zip, await reading.shift(), name);
    if (zip.writableNeedDrain) await once(zip, "drain");
  }
  zip.finish();
}

async function archive(job) {
  const first = Math.floor((count * job) / jobs);
  const names = Array.from({ length: Math.floor((count * (job + 1)) / jobs) - first }, (_, i) => `${load}/${String(first + i).padStart(6, "0")}.jpg`);
  const zip = new ZipStream({ store: true, highWaterMark: MIB });
  const body = new PassThrough({ highWaterMark: MIB });
  const key = `${prefix}/${job}.zip`;
  const upload = new Upload({ client: s3, queueSize: 4, partSize: 8 * MIB, params: { Bucket: "bench-archives", Key: key, Body: body } });
  await Promise.all([pipeline(zip, body), fill(zip, names), upload.done()]);
  return key;
}

// Some reads before the clock starts: a service has its code compiled, and what that takes must not be scaled up with the
// share that is read here.
for (let round = 0; round < 12; round++) {
  const command = () => new GetObjectCommand({ Bucket: "bench-source", Key: `${load}/000000.jpg`, Range: "bytes=0-19999" });
  await Promise.all(Array.from({ length: 32 }, async () => (await s3.send(command())).Body.transformToByteArray()));
}
const started = performance.now();
const before = process.cpuUsage();
const keys = await Promise.all(Array.from({ length: jobs }, (_, job) => archive(job)));
const used = process.cpuUsage(before);
console.log(JSON.stringify({ wall_s: (performance.now() - started) / 1e3, cpu_s: (used.user + used.system) / 1e6, keys }));
