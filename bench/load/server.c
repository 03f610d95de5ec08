/*
 * The load server: S3-shaped, one thread, made to be far faster than any client of it.
 *
 *     server CERTIFICATE DELAY_MS NAME:COUNT:SIZE...
 *
 * It listens on 127.0.0.1, prints the port, and ends when its standard input does. With a CERTIFICATE (a file with its
 * key; "" without) it serves the same with TLS on a second port, and prints that, too.
 * DELAY_MS passes before the first byte of an object's answer (HEAD and GET), as in S3; a timer, other requests go on.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "content.h"
#include "http.h"
#include "wire.h"

#define HEAD_ROOM 16384
#define PIECE (256 << 10)

enum step { GO_ON, WOULD_BLOCK, CLOSE };

struct connection {
    struct wire wire;
    enum { IN_HEAD, IN_BODY, DELAYED, ANSWERING, GONE } state;
    char in[HEAD_ROOM + 1];
    size_t in_length;
    struct exchange exchange;
    size_t sent;  /* of exchange.out */
    uint64_t due; /* ns; while DELAYED */
    struct connection *next_due;
};

static uint64_t delay; /* ns */
static struct connection *first_due, **last_due = &first_due;

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000ull + (uint64_t)time.tv_nsec;
}

static enum step answer(struct connection *connection) {
    s3_finish(&connection->exchange);
    connection->state = ANSWERING;
    if (!connection->exchange.delayed || !delay) return GO_ON;
    connection->state = DELAYED;
    connection->due = now() + delay;
    connection->next_due = NULL;
    *last_due = connection; /* the delay is one for all: who comes later is due later */
    last_due = &connection->next_due;
    return WOULD_BLOCK;
}

static enum step take_body(struct connection *connection, const uint8_t *data, size_t length, size_t *taken) {
    bool done;
    long result = http_body(&connection->exchange, data, length, &done);
    if (result < 0) return CLOSE;
    *taken = (size_t)result;
    return done ? answer(connection) : GO_ON;
}

static enum step read_head(struct connection *connection) {
    connection->in[connection->in_length] = 0;
    char *end = strstr(connection->in, "\r\n\r\n");
    if (!end) {
        if (connection->in_length == HEAD_ROOM) return CLOSE;
        ssize_t got =
            wire_receive(&connection->wire, connection->in + connection->in_length, HEAD_ROOM - connection->in_length);
        if (got <= 0) return got < 0 && errno == EAGAIN ? WOULD_BLOCK : CLOSE;
        connection->in_length += (size_t)got;
        return GO_ON;
    }
    /* What stands in `in` before the rest is pointed to until the answer is out; the rest comes after it or is body. */
    size_t head = (size_t)(end + 4 - connection->in), rest = connection->in_length - head, taken = 0;
    char first_of_rest = connection->in[head];
    connection->in[head] = 0;
    if (!http_parse(&connection->exchange, connection->in)) return CLOSE;
    connection->in[head] = first_of_rest;
    s3_begin(&connection->exchange);
    connection->state = IN_BODY;
    if (connection->exchange.expects_100 && !rest &&
        wire_send(&connection->wire, &(struct iovec){"HTTP/1.1 100 Continue\r\n\r\n", 25}, 1) != 25)
        return CLOSE;
    if (!rest && (connection->exchange.chunked || connection->exchange.length)) return connection->in_length = 0, GO_ON;
    enum step step = take_body(connection, (const uint8_t *)connection->in + head, rest, &taken);
    memmove(connection->in, connection->in + head + taken, rest - taken);
    connection->in_length = rest - taken;
    return step;
}

static enum step read_body(struct connection *connection) {
    static uint8_t piece[PIECE];
    size_t taken = 0;
    ssize_t got = wire_receive(&connection->wire, piece, sizeof piece);
    if (got <= 0) return got < 0 && errno == EAGAIN ? WOULD_BLOCK : CLOSE;
    enum step step = take_body(connection, piece, (size_t)got, &taken);
    return step != CLOSE && taken < (size_t)got ? CLOSE : step; /* nobody pipelines behind a body */
}

static ssize_t send_some(struct connection *connection) {
    struct exchange *exchange = &connection->exchange;
    uint64_t whole = BLOCK_BYTES - exchange->slice_from; /* up to the wrap */
    size_t slice = exchange->slice_left < whole ? exchange->slice_left : whole,
           head = exchange->out.length - connection->sent;
    struct iovec both[2] = {{exchange->out.data + connection->sent, head},
                            {(char *)block + exchange->slice_from, slice}};
    return wire_send(&connection->wire, both, 2);
}

static enum step write_answer(struct connection *connection) {
    struct exchange *exchange = &connection->exchange;
    while (connection->sent < exchange->out.length || exchange->slice_left) {
        ssize_t sent = send_some(connection);
        if (sent < 0) return errno == EAGAIN ? WOULD_BLOCK : CLOSE;
        size_t head = exchange->out.length - connection->sent;
        if ((size_t)sent < head) head = (size_t)sent;
        connection->sent += head;
        exchange->slice_left -= (size_t)sent - head;
        exchange->slice_from = (exchange->slice_from + (size_t)sent - head) % BLOCK_BYTES;
    }
    if (exchange->closes) return CLOSE;
    http_reset(exchange);
    connection->sent = 0;
    connection->state = IN_HEAD;
    return GO_ON;
}

static void release(struct connection *connection) {
    http_reset(&connection->exchange);
    text_free(&connection->exchange.out);
    free(connection);
}

static void run(struct connection *connection) {
    enum step step = GO_ON;
    while (step == GO_ON) switch (connection->state) {
        case IN_HEAD: step = read_head(connection); break;
        case IN_BODY: step = read_body(connection); break;
        case ANSWERING: step = write_answer(connection); break;
        default: step = WOULD_BLOCK;
        }
    if (step != CLOSE) return;
    wire_close(&connection->wire);
    release(connection);
}

static void hang_up(struct connection *connection) {
    if (connection->state != DELAYED) return run(connection);
    connection->state = GONE; /* still queued: freed when it is due */
    wire_close(&connection->wire);
}

static void run_due(void) {
    while (first_due && first_due->due <= now()) {
        struct connection *connection = first_due;
        first_due = connection->next_due;
        if (!first_due) last_due = &first_due;
        if (connection->state == GONE) {
            release(connection);
            continue;
        }
        connection->state = ANSWERING;
        run(connection);
    }
}

static void accept_all(int listener, bool tls, int poll) {
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct connection *connection = calloc(1, sizeof *connection);
        connection->wire = wire_new(fd, tls);
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = connection};
        epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
    }
}

static int listens(void) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024)) return -1;
    getsockname(listener, (struct sockaddr *)&address, &length);
    printf("%d\n", ntohs(address.sin_port));
    return listener;
}

int main(int count, char **arguments) {
    if (count < 3) return 2;
    bool tls = *arguments[1];
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
    content_make();
    for (int i = 3; i < count; i++)
        if (!content_add_load(arguments[i])) return 2;
    delay = strtoull(arguments[2], NULL, 10) * 1000000ull;
    if (tls && !wire_serve_tls(arguments[1])) return 1;
    int listeners[2] = {listens(), tls ? listens() : 0}, poll = epoll_create1(EPOLL_CLOEXEC);
    if (listeners[0] < 0 || listeners[1] < 0) return perror("server"), 1;
    fflush(stdout);
    static int parent; /* its address, and those of the listeners, tell them apart from connections */
    for (int i = 0; i <= tls; i++)
        epoll_ctl(poll, EPOLL_CTL_ADD, listeners[i], &(struct epoll_event){.events = EPOLLIN, .data.ptr = &listeners[i]});
    epoll_ctl(poll, EPOLL_CTL_ADD, 0, &(struct epoll_event){.events = EPOLLIN, .data.ptr = &parent});
    struct epoll_event events[128];
    for (;;) {
        int64_t wait = first_due ? (int64_t)(first_due->due - now()) : -1;
        struct timespec time = {wait / 1000000000, wait % 1000000000};
        if (first_due && wait < 0) time = (struct timespec){0};
        int ready = epoll_pwait2(poll, events, 128, first_due ? &time : NULL, NULL);
        for (int i = 0; i < ready; i++) {
            void *which = events[i].data.ptr;
            if (which == &parent) return 0;
            if (which == &listeners[0] || which == &listeners[1])
                accept_all(*(int *)which, which == &listeners[1], poll);
            else if (events[i].events & (EPOLLHUP | EPOLLERR)) hang_up(which);
            else run(which);
        }
        run_due();
    }
}
