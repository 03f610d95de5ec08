/* Bytes to and from one client, with TLS or without. Calls do not block; they fail with EAGAIN where they would. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

struct wire {
    int fd;
    void *tls; /* NULL: none */
};

/* `certificate`: a file (PEM) with a key and its certificate. False, and a line on stderr, where there is no TLS. */
bool wire_serve_tls(const char *certificate);
struct wire wire_new(int fd, bool tls);
void wire_close(struct wire *wire);
/* As recv and sendmsg return: 0 at the end, -1 with errno. Of a TLS handshake that fails, ECONNABORTED. */
ssize_t wire_receive(struct wire *wire, void *into, size_t room);
ssize_t wire_send(struct wire *wire, const struct iovec *pieces, int count);
