/*
 * What the bench itself asks of its server: /_block, /_reset, /_recipe/KEY, /_calls (for source objects since the last
 * reset), and to emulate a network, /_network.
 */
#include <string.h>

#include "archives.h"
#include "content.h"
#include "http.h"
#include "network.h"

static bool is(const struct exchange *exchange, const char *name) { return !strcmp(exchange->bucket, name); }

void control_answer(struct exchange *exchange) {
    struct archive *archive = archive_find(archives, exchange->key, NULL);
    struct text out = {0};
    const char *status = "200 OK";
    if (is(exchange, "_block")) text_add(&out, block, BLOCK_BYTES);
    else if (is(exchange, "_reset")) archives_clear(), source_calls = (struct source_calls){0};
    else if (is(exchange, "_calls"))
        text_print(&out, "{\"GET\": %llu, \"HEAD\": %llu, \"LIST\": %llu}", (unsigned long long)source_calls.get,
                   (unsigned long long)source_calls.head, (unsigned long long)source_calls.list);
    else if (is(exchange, "_network")) {
        text_add(&exchange->body, "", 1);
        if (!network_set(exchange->body.data)) status = "400 Bad Request";
    } else if (is(exchange, "_recipe") && archive)
        for (int i = 1; i <= archive->last_part; i++) recipe_write(archive->parts[i], &out);
    else status = "404 Not Found";
    http_answer(exchange, status, "Content-Type: application/octet-stream\r\n", out.data ? out.data : "", out.length);
    text_free(&out);
}
