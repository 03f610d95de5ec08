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
#include "network.h"
#include "timers.h"
#include "wire.h"

#define HEAD_ROOM 16384
#define PIECE (256 << 10)
#define PACED_PIECE (64 << 10) /* of content in one call, where the network has a rate; a TLS record at least */
#define MS 1000000ull           /* ns */

enum step { GO_ON, WOULD_BLOCK, CLOSE };

struct connection {
    struct wire wire;
    enum { IN_HEAD, IN_BODY, ANSWERING } state;
    bool waits, gone; /* gone while it waited: freed when it is due */
    char in[HEAD_ROOM + 1];
    size_t in_length;
    struct exchange exchange;
    size_t sent;      /* of exchange.out */
    uint64_t free_at; /* ns: when what it moved so far has gone through at the network's rate */
};

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000ull + (uint64_t)time.tv_nsec;
}

/* Content went through, one way or the other. Who is late, because the machine was busy, makes up for 2 ms of it. */
static void moved(struct connection *connection, size_t length) {
    if (!network_rate) return;
    uint64_t earliest = now() - 2 * MS;
    if (connection->free_at < earliest) connection->free_at = earliest;
    connection->free_at += length * 1000 * MS / network_rate;
}

/* Goes on `delay` ns after the connection is free; without a delay, up to 1 ms early: each wait costs two calls. */
static enum step wait(struct connection *connection, uint64_t delay) {
    uint64_t time = now(), free_at = network_rate && connection->free_at > time ? connection->free_at : time;
    if (!delay && free_at <= time + MS) return GO_ON;
    connection->waits = true;
    timers_add(free_at + delay, connection);
    return WOULD_BLOCK;
}

static enum step answer(struct connection *connection) {
    s3_finish(&connection->exchange);
    connection->state = ANSWERING;
    return wait(connection, connection->exchange.delay);
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
    ssize_t got = wire_receive(&connection->wire, piece, network_rate ? PACED_PIECE : sizeof piece);
    if (got <= 0) return got < 0 && errno == EAGAIN ? WOULD_BLOCK : CLOSE;
    moved(connection, (size_t)got);
    enum step step = take_body(connection, piece, (size_t)got, &taken);
    if (step != CLOSE && taken < (size_t)got) return CLOSE; /* nobody pipelines behind a body */
    return step == GO_ON && connection->state == IN_BODY ? wait(connection, 0) : step;
}

static ssize_t send_some(struct connection *connection) {
    struct exchange *exchange = &connection->exchange;
    uint64_t whole = BLOCK_BYTES - exchange->slice_from; /* up to the wrap */
    size_t slice = exchange->slice_left < whole ? exchange->slice_left : whole,
           head = exchange->out.length - connection->sent;
    if (network_rate && slice > PACED_PIECE) slice = PACED_PIECE;
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
        moved(connection, (size_t)sent - head);
        if (exchange->slice_left && wait(connection, 0) == WOULD_BLOCK) return WOULD_BLOCK;
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
    enum step step = connection->waits ? WOULD_BLOCK : GO_ON;
    while (step == GO_ON) switch (connection->state) {
        case IN_HEAD: step = read_head(connection); break;
        case IN_BODY: step = read_body(connection); break;
        case ANSWERING: step = write_answer(connection); break;
        }
    if (step != CLOSE) return;
    wire_close(&connection->wire);
    release(connection);
}

static void hang_up(struct connection *connection) {
    if (!connection->waits) return run(connection);
    connection->gone = true;
    wire_close(&connection->wire);
}

static void run_due(void) {
    for (struct connection *connection; (connection = timers_take(now()));) {
        connection->waits = false;
        if (connection->gone) release(connection);
        else run(connection);
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
    if (count < 2) return 2;
    bool tls = *arguments[1];
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
    content_make();
    for (int i = 2; i < count; i++)
        if (!content_add_load(arguments[i])) return 2;
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
        uint64_t due = timers_next(), time = now(), left = due > time ? due - time : 0;
        struct timespec timeout = {(time_t)(left / (1000 * MS)), (long)(left % (1000 * MS))};
        int ready = epoll_pwait2(poll, events, 128, due == NEVER ? NULL : &timeout, NULL);
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
