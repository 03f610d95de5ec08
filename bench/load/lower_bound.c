/*
 * The floor: receive, CRC, send, and the headers between; one thread, blocking calls, nothing else. No pool, no
 * retries, no signatures, no time-outs. What an archiver's CPU time can't well be below on this machine.
 *
 *     floor http://127.0.0.1:PORT LOAD COUNT SIZE JOBS KEY_PREFIX
 *
 * AHEAD requests are on their way, each on a connection of its own; answers are taken in order, into the part that is
 * being filled.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "crc.h"
#include "text.h"

#define AHEAD 16
#define PART (8ull << 20)
#define RANGE PART

struct member {
    uint64_t offset;
    uint32_t crc;
};

static int port, connections[AHEAD], upload;
static const char *load;
static uint64_t size;

static char part[PART];
static size_t filled;
static int part_number;
static char path[256], upload_id[64];
static struct text part_list;
static uint64_t written;

static void fail(const char *what) {
    fprintf(stderr, "floor: %s\n", what);
    exit(1);
}

static int dial(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) fail("no connection");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void send_all(int fd, const char *data, size_t length, int flags) {
    while (length) {
        ssize_t sent = send(fd, data, length, flags | MSG_NOSIGNAL);
        if (sent <= 0) fail("cut off while sending");
        data += sent;
        length -= (size_t)sent;
    }
}

/* Receives an answer's head, and what comes with it of the body: at *rest, *rest_length of `room`. */
static char *receive_head(int fd, char *room, size_t room_length, char **rest, size_t *rest_length) {
    size_t have = 0;
    for (char *end; have + 1 < room_length;) {
        ssize_t got = recv(fd, room + have, room_length - 1 - have, 0);
        if (got <= 0) fail("cut off while receiving");
        have += (size_t)got;
        room[have] = 0;
        if (!(end = strstr(room, "\r\n\r\n"))) continue;
        *rest = end + 4;
        *rest_length = have - (size_t)(*rest - room);
        if (strncmp(room, "HTTP/1.1 2", 10)) fail(room);
        return room;
    }
    fail("a head without an end");
    return NULL;
}

/* One request to the destination; the answer's whole text, in `room`. */
static void call(const char *method, const char *query, const char *body, size_t length, char room[4096]) {
    char head[512], *rest;
    size_t rest_length;
    int head_length = snprintf(
        head, sizeof head,
        "%s %s%s HTTP/1.1\r\nHost: s3\r\nx-amz-content-sha256: UNSIGNED-PAYLOAD\r\nContent-Length: %zu\r\n\r\n", method,
        path, query, length);
    send_all(upload, head, (size_t)head_length, length ? MSG_MORE : 0);
    send_all(upload, body, length, 0);
    receive_head(upload, room, 4096, &rest, &rest_length);
    const char *announced = strcasestr(room, "content-length:");
    size_t left = announced ? strtoull(announced + 15, NULL, 10) - rest_length : 0;
    while (left) {
        ssize_t got = recv(upload, rest + rest_length, left, 0);
        if (got <= 0) fail("cut off while receiving");
        rest_length += (size_t)got;
        left -= (size_t)got;
    }
    rest[rest_length] = 0;
}

static void send_part(void) {
    char query[128], room[4096];
    snprintf(query, sizeof query, "?partNumber=%d&uploadId=%s", ++part_number, upload_id);
    call("PUT", query, part, filled, room);
    char *etag = strstr(room, "ETag: ");
    if (!etag) fail("a part without an ETag");
    text_print(&part_list, "<Part><PartNumber>%d</PartNumber><ETag>%.34s</ETag></Part>", part_number, etag + 6);
    filled = 0;
}

static void advance(size_t length) {
    filled += length;
    written += length;
    if (filled == PART) send_part();
}

static void put(const void *data, size_t length) {
    const char *at = data;
    while (length) {
        size_t fits = length < PART - filled ? length : PART - filled;
        memcpy(part + filled, at, fits);
        advance(fits);
        at += fits;
        length -= fits;
    }
}

/* Requests are numbered through all members; a member takes at least one, and one for each RANGE. */
static uint64_t ranges(void) { return (size + RANGE - 1) / RANGE; }

static void request(uint64_t number, uint32_t first) {
    uint64_t from = number % ranges() * RANGE, to = from + RANGE < size ? from + RANGE : size;
    char head[256];
    int length = snprintf(head, sizeof head,
                          "GET /bench-source/%s/%06u.jpg HTTP/1.1\r\nHost: s3\r\nRange: bytes=%llu-%llu\r\n\r\n", load,
                          (unsigned)(first + number / ranges()), (unsigned long long)from, (unsigned long long)to - 1);
    send_all(connections[number % AHEAD], head, (size_t)length, 0);
}

static void receive_range(uint64_t number, uint32_t *crc) {
    int fd = connections[number % AHEAD];
    uint64_t from = number % ranges() * RANGE, left = from + RANGE < size ? RANGE : size - from;
    char room[1024], *rest;
    size_t length;
    receive_head(fd, room, sizeof room, &rest, &length);
    *crc = crc32_more(*crc, rest, length);
    put(rest, length);
    for (left -= length; left;) {
        size_t fits = left < PART - filled ? left : PART - filled;
        ssize_t got =
            recv(fd, part + filled, fits < 256 << 10 ? fits : 256 << 10, 0); /* the CRC while it is in the cache */
        if (got <= 0) fail("cut off while receiving");
        *crc = crc32_more(*crc, part + filled, (size_t)got);
        advance((size_t)got);
        left -= (uint64_t)got;
    }
}

/* ---- zip: sizes and CRC follow each member in a descriptor; zip64 from 4 GiB on */

struct bytes {
    uint8_t data[256];
    size_t length;
};

static void number(struct bytes *bytes, uint64_t value, int width) {
    for (int i = 0; i < width; i++, value >>= 8) bytes->data[bytes->length++] = (uint8_t)value;
}

static void put_bytes(struct bytes *bytes, const char *name) {
    put(bytes->data, bytes->length);
    put(name, strlen(name));
}

static bool large(void) { return size >= UINT32_MAX; }

static void put_local_header(const char *name) {
    struct bytes head = {0};
    number(&head, 0x04034b50, 4);
    number(&head, large() ? 45 : 20, 2), number(&head, 0x0808, 2), number(&head, 0, 2), number(&head, 0x58af0000, 4);
    number(&head, 0, 4), number(&head, large() ? UINT32_MAX : 0, 4), number(&head, large() ? UINT32_MAX : 0, 4);
    number(&head, strlen(name), 2), number(&head, large() ? 20 : 0, 2);
    put_bytes(&head, name);
    struct bytes extra = {0};
    if (large()) number(&extra, 1, 2), number(&extra, 16, 2), number(&extra, 0, 8), number(&extra, 0, 8);
    put_bytes(&extra, "");
}

static void put_descriptor(uint32_t crc) {
    struct bytes tail = {0};
    number(&tail, 0x08074b50, 4), number(&tail, crc, 4);
    number(&tail, size, large() ? 8 : 4), number(&tail, size, large() ? 8 : 4);
    put_bytes(&tail, "");
}

static void put_central_header(const char *name, const struct member *member) {
    bool far = large() || member->offset >= UINT32_MAX;
    struct bytes head = {0}, extra = {0};
    number(&head, 0x02014b50, 4), number(&head, 0x032d, 2), number(&head, far ? 45 : 20, 2), number(&head, 0x0808, 2);
    number(&head, 0, 2), number(&head, 0x58af0000, 4), number(&head, member->crc, 4);
    number(&head, far ? UINT32_MAX : size, 4), number(&head, far ? UINT32_MAX : size, 4);
    number(&head, strlen(name), 2), number(&head, far ? 28 : 0, 2), number(&head, 0, 6), number(&head, 0x81a40000, 4);
    number(&head, far ? UINT32_MAX : member->offset, 4);
    put_bytes(&head, name);
    if (far)
        number(&extra, 1, 2), number(&extra, 24, 2), number(&extra, size, 8), number(&extra, size, 8),
            number(&extra, member->offset, 8);
    put_bytes(&extra, "");
}

static void put_end(uint64_t count, uint64_t start) {
    uint64_t length = written - start, end64 = written;
    struct bytes end = {0};
    if (start >= UINT32_MAX || count >= UINT16_MAX) {
        number(&end, 0x06064b50, 4), number(&end, 44, 8), number(&end, 0x032d, 2), number(&end, 45, 2),
            number(&end, 0, 8);
        number(&end, count, 8), number(&end, count, 8), number(&end, length, 8), number(&end, start, 8);
        number(&end, 0x07064b50, 4), number(&end, 0, 4), number(&end, end64, 8), number(&end, 1, 4);
    }
    uint64_t short_count = count < UINT16_MAX ? count : UINT16_MAX;
    number(&end, 0x06054b50, 4), number(&end, 0, 4), number(&end, short_count, 2), number(&end, short_count, 2);
    number(&end, length, 4), number(&end, start < UINT32_MAX ? start : UINT32_MAX, 4), number(&end, 0, 2);
    put_bytes(&end, "");
}

static void archive(uint32_t first, uint32_t count) {
    char name[96], room[4096];
    call("POST", "?uploads", "", 0, room);
    char *id = strstr(room, "<UploadId>");
    snprintf(upload_id, sizeof upload_id, "%.*s", (int)strcspn(id + 10, "<"), id + 10);
    part_number = 0;
    written = filled = part_list.length = 0;
    text_print(&part_list, "<CompleteMultipartUpload>");
    struct member *members = calloc(count, sizeof *members);
    uint64_t asked = 0, requests = count * ranges();
    for (uint64_t next = 0; next < requests;) {
        struct member *member = &members[next / ranges()];
        snprintf(name, sizeof name, "%s/%06u.jpg", load, (unsigned)(first + next / ranges()));
        member->offset = written;
        put_local_header(name);
        do {
            while (asked < requests && asked < next + AHEAD) request(asked++, first);
            receive_range(next++, &member->crc);
        } while (next % ranges());
        put_descriptor(member->crc);
    }
    uint64_t start = written;
    for (uint32_t i = 0; i < count; i++) {
        snprintf(name, sizeof name, "%s/%06u.jpg", load, first + i);
        put_central_header(name, &members[i]);
    }
    put_end(count, start);
    if (filled) send_part();
    text_print(&part_list, "</CompleteMultipartUpload>");
    snprintf(name, sizeof name, "?uploadId=%s", upload_id);
    call("POST", name, part_list.data, part_list.length, room);
    free(members);
}

static double seconds(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(int arguments, char **argument) {
    if (arguments != 7) return 2;
    port = atoi(strrchr(argument[1], ':') + 1);
    load = argument[2];
    size = strtoull(argument[4], NULL, 10);
    uint64_t count = strtoull(argument[3], NULL, 10), jobs = strtoull(argument[5], NULL, 10);
    double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    for (int i = 0; i < AHEAD; i++) connections[i] = dial();
    upload = dial();
    struct text keys = {0};
    for (uint64_t job = 0; job < jobs; job++) { /* one after the other: it is the CPU time that is the floor */
        uint64_t first = count * job / jobs;
        snprintf(path, sizeof path, "/bench-archives/%s/%llu.zip", argument[6], (unsigned long long)job);
        text_print(&keys, "%s\"%s\"", job ? ", " : "", path + 16);
        archive((uint32_t)first, (uint32_t)(count * (job + 1) / jobs - first));
    }
    printf("{\"wall_s\": %.6f, \"cpu_s\": %.6f, \"keys\": [%s]}\n", seconds(CLOCK_MONOTONIC) - wall,
           seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu, keys.data);
}
