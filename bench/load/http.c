#define _GNU_SOURCE
#include "http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int hex(int c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 32;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

const uint8_t *chunked_take(struct chunked *chunked, const uint8_t *in, const uint8_t *end, const uint8_t **data,
                            size_t *length) {
    *length = 0;
    if (chunked->state == DATA && in < end) {
        *data = in;
        *length = (uint64_t)(end - in) < chunked->left ? (size_t)(end - in) : chunked->left;
        chunked->left -= *length;
        if (!chunked->left) chunked->state = DATA_END;
        return in + *length;
    }
    for (; in < end && chunked->state != DATA && chunked->state != FINISHED && chunked->state != BROKEN; in++) {
        int c = *in;
        switch (chunked->state) {
        case SIZE:
            if (hex(c) >= 0 && chunked->left < 1ull << 40) chunked->left = chunked->left * 16 + (unsigned)hex(c);
            else chunked->state = c == '\r' || c == ';' ? EXTENSION : BROKEN;
            break;
        case EXTENSION:
            if (c == '\n') chunked->state = chunked->left ? DATA : TRAILER;
            break;
        case DATA_END:
            if (c == '\n') chunked->state = SIZE;
            else if (c != '\r') chunked->state = BROKEN;
            break;
        case TRAILER:
            if (c == '\n') {
                if (!chunked->line) chunked->state = FINISHED;
                chunked->line = 0;
            } else if (c != '\r') chunked->line++;
            if (chunked->trailers_length + 1 < sizeof chunked->trailers)
                chunked->trailers[chunked->trailers_length++] = (char)c;
            break;
        default: break;
        }
    }
    return in;
}

static void sink(struct exchange *exchange, const uint8_t *data, size_t length) {
    exchange->received += length;
    if (exchange->recipe) recipe_add(exchange->recipe, data, length);
    else if (exchange->body.length + length < 4 << 20) text_add(&exchange->body, data, length);
}

static bool inner(struct exchange *exchange, const uint8_t *in, size_t length) {
    if (!exchange->aws_chunked) {
        sink(exchange, in, length);
        return true;
    }
    const uint8_t *end = in + length, *data;
    while (in < end && exchange->inner.state != FINISHED && exchange->inner.state != BROKEN) {
        in = chunked_take(&exchange->inner, in, end, &data, &length);
        if (length) sink(exchange, data, length);
    }
    return in == end && exchange->inner.state != BROKEN;
}

long http_body(struct exchange *exchange, const uint8_t *in, size_t length, bool *done) {
    if (!exchange->chunked) {
        size_t taken = length < exchange->length ? length : exchange->length;
        exchange->length -= taken;
        *done = !exchange->length;
        return inner(exchange, in, taken) ? (long)taken : -1;
    }
    const uint8_t *start = in, *end = in + length, *data;
    while (in < end && exchange->outer.state != FINISHED) {
        in = chunked_take(&exchange->outer, in, end, &data, &length);
        if (exchange->outer.state == BROKEN || (length && !inner(exchange, data, length))) return -1;
    }
    *done = exchange->outer.state == FINISHED;
    return in - start;
}

bool http_body_complete(const struct exchange *exchange) {
    if (exchange->aws_chunked && exchange->inner.state != FINISHED) return false;
    return exchange->decoded_length == NO_LENGTH || exchange->decoded_length == exchange->received;
}

static void range(struct exchange *exchange, const char *value) {
    if (strncmp(value, "bytes=", 6)) return;
    char *end;
    value += 6;
    exchange->has_range = true;
    exchange->suffix_range = *value == '-';
    exchange->range_from = strtoull(value + (*value == '-'), &end, 10);
    exchange->range_to = *end == '-' && end[1] ? strtoull(end + 1, NULL, 10) : NO_LENGTH;
}

static void header(struct exchange *exchange, const char *name, const char *value) {
#define IS(text) (!strcasecmp(name, text))
    if (IS("content-length")) exchange->length = strtoull(value, NULL, 10);
    else if (IS("transfer-encoding")) exchange->chunked = strcasestr(value, "chunked") != NULL;
    else if (IS("content-encoding")) exchange->aws_chunked |= strcasestr(value, "aws-chunked") != NULL;
    else if (IS("x-amz-content-sha256")) exchange->aws_chunked |= !strncmp(value, "STREAMING-", 10);
    else if (IS("x-amz-decoded-content-length")) exchange->decoded_length = strtoull(value, NULL, 10);
    else if (IS("expect")) exchange->expects_100 = true;
    else if (IS("connection")) exchange->closes = !strcasecmp(value, "close");
    else if (IS("range")) range(exchange, value);
    else if (IS("if-match")) snprintf(exchange->if_match, sizeof exchange->if_match, "%s", value);
    else if (IS("if-none-match")) exchange->if_none_match = true;
    else if (IS("x-amz-checksum-mode")) exchange->wants_checksum = true;
    else if (IS("x-amz-checksum-crc32")) snprintf(exchange->claimed_crc, sizeof exchange->claimed_crc, "%s", value);
    else if (IS("x-amz-mp-object-size")) exchange->claimed_size = strtoull(value, NULL, 10);
    else if (!strncasecmp(name, "x-amz-meta-", 11) || IS("content-type") || IS("content-disposition"))
        text_print(&exchange->kept, "%s: %s\r\n", name, value);
#undef IS
}

void http_unescape(char *text) {
    char *out = text;
    for (; *text; text++)
        if (*text == '%' && hex(text[1]) >= 0 && hex(text[2]) >= 0) {
            *out++ = (char)(hex(text[1]) * 16 + hex(text[2]));
            text += 2;
        } else *out++ = *text;
    *out = 0;
}

static bool request_line(struct exchange *exchange, char *line) {
    char *target = strchr(line, ' ');
    char *version = target ? strchr(target + 1, ' ') : NULL;
    if (!version || target - line > 7 || target[1] != '/') return false;
    *target = *version = 0;
    snprintf(exchange->method, sizeof exchange->method, "%.7s", line);
    exchange->bucket = target + 2;
    exchange->query = strchr(exchange->bucket, '?');
    if (exchange->query) *exchange->query++ = 0;
    else exchange->query = version;
    exchange->key = strchr(exchange->bucket, '/');
    if (exchange->key) *exchange->key++ = 0;
    else exchange->key = version;
    http_unescape(exchange->key);
    return true;
}

bool http_parse(struct exchange *exchange, char *head) {
    exchange->decoded_length = exchange->claimed_size = NO_LENGTH;
    char *line = head, *end;
    for (bool first = true; (end = strstr(line, "\r\n")) && end > line; line = end + 2, first = false) {
        *end = 0;
        if (first) {
            if (!request_line(exchange, line)) return false;
            continue;
        }
        char *value = strchr(line, ':');
        if (!value) return false;
        *value++ = 0;
        header(exchange, line, value + strspn(value, " "));
    }
    return exchange->bucket != NULL;
}

const char *http_query(const char *query, const char *name, char value[256]) {
    size_t length = strlen(name);
    for (const char *at = query; at && *at; at = (at = strchr(at, '&')) ? at + 1 : NULL) {
        if (strncmp(at, name, length) || (at[length] && at[length] != '=' && at[length] != '&')) continue;
        at += length + (at[length] == '=');
        snprintf(value, 256, "%.*s", (int)strcspn(at, "&"), at);
        http_unescape(value);
        return value;
    }
    return NULL;
}

void http_answer(struct exchange *exchange, const char *status, const char *headers, const char *body, size_t length) {
    text_print(&exchange->out, "HTTP/1.1 %s\r\nx-amz-request-id: BENCH\r\nServer: bench\r\n%s", status, headers);
    if (exchange->delay)
        text_print(&exchange->out, "x-bench-delay-us: %llu\r\n", (unsigned long long)exchange->delay / 1000);
    if (exchange->closes) text_print(&exchange->out, "Connection: close\r\n");
    if (body) text_print(&exchange->out, "Content-Length: %zu\r\n", length);
    text_print(&exchange->out, "\r\n");
    if (body && strcmp(exchange->method, "HEAD")) text_add(&exchange->out, body, length);
}

void http_reset(struct exchange *exchange) {
    recipe_free(exchange->recipe);
    text_free(&exchange->kept);
    text_free(&exchange->body);
    struct text out = exchange->out;
    out.length = 0;
    *exchange = (struct exchange){.out = out};
}
