/* One request and its answer, as the connections (server.c) and S3's verbs (s3.c) share them. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "recipe.h"
#include "text.h"

/* A chunked body, taken apart: HTTP's own and S3's `aws-chunked` have one grammar. */
struct chunked {
    enum { SIZE, EXTENSION, DATA, DATA_END, TRAILER, FINISHED, BROKEN } state;
    uint64_t left;
    unsigned line; /* bytes of the trailer line so far */
    char trailers[256];
    size_t trailers_length;
};

/* Takes a stretch off `in`; what of it is data goes to *data, *length. Returns where the rest begins. */
const uint8_t *chunked_take(struct chunked *chunked, const uint8_t *in, const uint8_t *end, const uint8_t **data,
                            size_t *length);

#define NO_LENGTH UINT64_MAX

struct exchange {
    /* the request */
    char method[8];
    char *bucket, *key, *query; /* key and query may be "" */
    uint64_t length, decoded_length;
    bool chunked, aws_chunked, expects_100, closes;
    bool has_range, suffix_range, if_none_match, wants_checksum;
    uint64_t range_from, range_to; /* inclusive; range_to NO_LENGTH: to the end */
    char if_match[64];
    char claimed_crc[16];  /* base64, as sent; "" without */
    uint64_t claimed_size; /* x-amz-mp-object-size */
    struct text kept;      /* header lines that an upload keeps */
    /* its body: collected in a recipe where there is one, else as text */
    struct recipe *recipe;
    struct text body;
    uint64_t received;
    struct chunked outer, inner;
    /* the answer: bytes, then a slice of the block */
    struct text out;
    uint64_t slice_from, slice_left;
    uint64_t delay; /* ns before it */
};

/* Parses a request's head in place (it ends in an empty line). */
bool http_parse(struct exchange *exchange, char *head);
/* Takes what belongs to the body off `in`; *done once it is complete. -1: it is malformed. */
long http_body(struct exchange *exchange, const uint8_t *in, size_t length, bool *done);
bool http_body_complete(const struct exchange *exchange);
void http_answer(struct exchange *exchange, const char *status, const char *headers, const char *body, size_t length);
void http_reset(struct exchange *exchange);
/* The value of `name` in a query string, or NULL. */
const char *http_query(const char *query, const char *name, char value[256]);
void http_unescape(char *text);

/* S3's verbs: at the end of the head (where the body goes), and at the end of the body. */
void s3_begin(struct exchange *exchange);
void s3_finish(struct exchange *exchange);
/* How often objects were asked for, or listed. */
extern struct source_calls {
    uint64_t get, head, list;
} source_calls;
/* The same for what is not S3's: of the buckets whose names begin with `_`. */
void control_answer(struct exchange *exchange);
