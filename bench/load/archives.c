#include "archives.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crc.h"

struct archive *uploads, *archives;

struct archive *archive_new(struct archive **list, const char *key, struct text *kept) {
    static uint64_t number;
    struct archive *made = calloc(1, sizeof *made);
    made->key = strdup(key);
    made->parts = calloc(MAX_PARTS + 1, sizeof *made->parts);
    made->kept = *kept;
    *kept = (struct text){0};
    snprintf(made->upload_id, sizeof made->upload_id, "upload-%llu", (unsigned long long)++number);
    made->next = *list;
    return *list = made;
}

struct archive *archive_find(struct archive *list, const char *key, const char *upload_id) {
    for (; list; list = list->next)
        if (!strcmp(list->key, key) && (!upload_id || !strcmp(list->upload_id, upload_id))) break;
    return list;
}

static void take_out(struct archive **list, struct archive *archive) {
    while (*list != archive) list = &(*list)->next;
    *list = archive->next;
}

void archive_drop(struct archive **list, struct archive *archive) {
    take_out(list, archive);
    for (int i = 0; i <= archive->last_part; i++) recipe_free(archive->parts[i]);
    free(archive->parts);
    free(archive->key);
    text_free(&archive->kept);
    free(archive);
}

void archive_add_part(struct archive *archive, int number, struct recipe *part) {
    recipe_free(archive->parts[number]);
    archive->parts[number] = part;
    if (number > archive->last_part) archive->last_part = number;
}

void archive_finish(struct archive *upload) {
    struct archive *older = archive_find(archives, upload->key, NULL);
    if (older) archive_drop(&archives, older);
    take_out(&uploads, upload);
    upload->next = archives;
    archives = upload;
    upload->upload_id[0] = 0;
    for (int i = 1; i <= upload->last_part; i++) {
        if (!upload->parts[i]) continue;
        upload->size += upload->parts[i]->size;
        upload->crc = crc32_join(upload->crc, upload->parts[i]->crc, upload->parts[i]->size);
    }
}

void archives_clear(void) {
    while (archives) archive_drop(&archives, archives);
    while (uploads) archive_drop(&uploads, uploads);
}

void archive_etag(const struct archive *archive, char etag[40]) {
    snprintf(etag, 40, "\"%08x%024llx\"", archive->crc, (unsigned long long)archive->size);
}

void part_etag(const struct recipe *part, char etag[40]) {
    snprintf(etag, 40, "\"%08x%024llx\"", part->crc, (unsigned long long)part->size);
}
