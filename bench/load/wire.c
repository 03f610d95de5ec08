#define _GNU_SOURCE
#include "wire.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * OpenSSL, on the sockets themselves: no process between, no copy that the peers do not have to make as well. It reads
 * ahead, so that a record costs no two system calls. One suite for all clients, so that all of them do the same work.
 */
#ifdef TLS
#include <openssl/err.h>
#include <openssl/ssl.h>

#define RECORD (16 << 10)
#define SUITE "TLS_AES_128_GCM_SHA256"

static SSL_CTX *context;

bool wire_serve_tls(const char *certificate) {
    context = SSL_CTX_new(TLS_server_method());
    if (!context || !SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) ||
        !SSL_CTX_set_ciphersuites(context, SUITE) || SSL_CTX_use_certificate_chain_file(context, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, certificate, SSL_FILETYPE_PEM) != 1) {
        ERR_print_errors_fp(stderr);
        return false;
    }
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, 8 * RECORD);
    return true;
}

static void *tls_new(int fd) {
    SSL *tls = SSL_new(context);
    SSL_set_fd(tls, fd);
    SSL_set_accept_state(tls); /* shakes hands with the first read or write */
    return tls;
}

static void tls_close(void *tls) {
    if (SSL_is_init_finished(tls)) SSL_shutdown(tls); /* says close_notify, waits for none */
    ERR_clear_error();
    SSL_free(tls);
}

static ssize_t tls_result(void *tls, int done) {
    if (done > 0) return done;
    int error = SSL_get_error(tls, done);
    if (error == SSL_ERROR_ZERO_RETURN) return 0;
    errno = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? EAGAIN : ECONNABORTED;
    return -1;
}

static ssize_t tls_receive(void *tls, void *into, size_t room) {
    ERR_clear_error();
    return tls_result(tls, SSL_read(tls, into, (int)room));
}

/* One record: head and body together where there is room. A call that is made again brings the same bytes again. */
static ssize_t tls_send(void *tls, const struct iovec *pieces, int count) {
    static char record[RECORD];
    size_t filled = 0;
    for (int i = 0; i < count && filled < RECORD; i++) {
        size_t length = pieces[i].iov_len < RECORD - filled ? pieces[i].iov_len : RECORD - filled;
        if (!filled && length == RECORD) {
            ERR_clear_error();
            return tls_result(tls, SSL_write(tls, pieces[i].iov_base, RECORD));
        }
        memcpy(record + filled, pieces[i].iov_base, length);
        filled += length;
    }
    ERR_clear_error();
    return tls_result(tls, SSL_write(tls, record, (int)filled));
}
#else
bool wire_serve_tls(const char *certificate) {
    (void)certificate;
    fputs("server: built without TLS\n", stderr);
    return false;
}

static void *tls_new(int fd) { return (void)fd, NULL; }
static void tls_close(void *tls) { (void)tls; }
static ssize_t tls_receive(void *tls, void *into, size_t room) { return (void)tls, (void)into, (void)room, 0; }
static ssize_t tls_send(void *tls, const struct iovec *pieces, int count) {
    return (void)tls, (void)pieces, (void)count, 0;
}
#endif

struct wire wire_new(int fd, bool tls) { return (struct wire){fd, tls ? tls_new(fd) : NULL}; }

void wire_close(struct wire *wire) {
    if (wire->tls) tls_close(wire->tls);
    close(wire->fd);
}

ssize_t wire_receive(struct wire *wire, void *into, size_t room) {
    return wire->tls ? tls_receive(wire->tls, into, room) : recv(wire->fd, into, room, 0);
}

ssize_t wire_send(struct wire *wire, const struct iovec *pieces, int count) {
    if (wire->tls) return tls_send(wire->tls, pieces, count);
    return sendmsg(wire->fd, &(struct msghdr){.msg_iov = (struct iovec *)pieces, .msg_iovlen = (size_t)count},
                   MSG_NOSIGNAL);
}
