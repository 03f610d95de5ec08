/* What clients have uploaded: archives, and multipart uploads on their way to become archives. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "recipe.h"

#define MAX_PARTS 10000

struct archive {
    struct archive *next;
    char *key;
    char upload_id[40];    /* "" for a finished archive */
    struct recipe **parts; /* MAX_PARTS + 1, by number */
    int last_part;
    struct text kept; /* header lines, as they were sent */
    uint64_t size;
    uint32_t crc;
};

extern struct archive *uploads, *archives;

struct archive *archive_new(struct archive **list, const char *key, struct text *kept);
struct archive *archive_find(struct archive *list, const char *key, const char *upload_id);
void archive_drop(struct archive **list, struct archive *archive);
void archive_add_part(struct archive *archive, int number, struct recipe *part);
/* The upload becomes a finished archive, in place of one of this key. */
void archive_finish(struct archive *upload);
void archives_clear(void);
void archive_etag(const struct archive *archive, char etag[40]);
void part_etag(const struct recipe *part, char etag[40]);
