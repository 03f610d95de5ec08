/* S3's verbs, as far as an archiver and its peers use them. No signature is checked; every claim about content is. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "archives.h"
#include "content.h"
#include "crc.h"
#include "http.h"
#include "network.h"

#define SOURCES "bench-source"
#define MODIFIED "Last-Modified: Wed, 15 May 2024 10:20:30 GMT\r\n"
#define XML "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
#define MIN_PART (5ull << 20)

static void answer_xml(struct exchange *exchange, const char *status, const char *headers, struct text *xml) {
    char all[512];
    snprintf(all, sizeof all, "Content-Type: application/xml\r\n%s", headers);
    http_answer(exchange, status, all, xml->data, xml->length);
    text_free(xml);
}

static void fail(struct exchange *exchange, const char *status, const char *code) {
    struct text xml = {0};
    text_print(&xml, XML "<Error><Code>%s</Code><Message>%s</Message></Error>", code, code);
    answer_xml(exchange, status, "", &xml);
}

struct source_calls source_calls;

static bool is(const struct exchange *exchange, const char *method) { return !strcmp(exchange->method, method); }

/* ---- objects */

/* Without its quotes. */
static void object_etag(const struct object *object, char etag[33]) {
    snprintf(etag, 33, "%016llx%08x%08x", (unsigned long long)object->load->size, object->load->crcs[object->index],
             object->index);
}

static void get_object(struct exchange *exchange) {
    struct object object;
    is(exchange, "HEAD") ? source_calls.head++ : source_calls.get++;
    if (!content_find(exchange->key, &object)) return fail(exchange, "404 Not Found", "NoSuchKey");
    uint64_t size = object.load->size, from = 0, length = size;
    char name[33], etag[64], headers[640], crc[9], extra[160] = "";
    object_etag(&object, name);
    snprintf(etag, sizeof etag, "\"%s\"", name);
    if (exchange->if_match[0] && strcmp(exchange->if_match, etag) && strcmp(exchange->if_match, "*"))
        return fail(exchange, "412 Precondition Failed", "PreconditionFailed");
    if (exchange->has_range) {
        uint64_t last = exchange->range_to < size ? exchange->range_to : size - 1;
        from = exchange->range_from;
        if (exchange->suffix_range) from = from < size ? size - from : 0;
        if (from > last || from >= size) return fail(exchange, "416 Requested Range Not Satisfiable", "InvalidRange");
        length = last - from + 1;
        snprintf(extra, sizeof extra, "Content-Range: bytes %llu-%llu/%llu\r\n", (unsigned long long)from,
                 (unsigned long long)last, (unsigned long long)size);
    } else if (exchange->wants_checksum) {
        crc32_base64(object.load->crcs[object.index], crc);
        snprintf(extra, sizeof extra, "x-amz-checksum-crc32: %s\r\nx-amz-checksum-type: FULL_OBJECT\r\n", crc);
    }
    snprintf(headers, sizeof headers,
             "ETag: %s\r\n" MODIFIED "Accept-Ranges: bytes\r\nContent-Type: image/jpeg\r\n%sContent-Length: %llu\r\n",
             etag, extra, (unsigned long long)length);
    exchange->delay = network_delay(&object);
    http_answer(exchange, exchange->has_range ? "206 Partial Content" : "200 OK", headers, NULL, 0);
    if (is(exchange, "HEAD")) return;
    exchange->slice_from = (content_start(&object) + from) % BLOCK_BYTES;
    exchange->slice_left = length;
}

static bool begins_all_keys(const char *prefix, const struct load *load) {
    char begin[sizeof load->name + 1];
    snprintf(begin, sizeof begin, "%.31s/", load->name);
    return !strncmp(begin, prefix, strlen(prefix));
}

static void list_objects(struct exchange *exchange) {
    char value[256], prefix[256] = "";
    uint64_t from = 0, seen = 0, listed = 0, limit = 1000;
    source_calls.list++;
    if (http_query(exchange->query, "prefix", value)) strcpy(prefix, value);
    if (http_query(exchange->query, "max-keys", value) && strtoull(value, NULL, 10) < limit)
        limit = strtoull(value, NULL, 10);
    if (http_query(exchange->query, "continuation-token", value)) from = strtoull(value, NULL, 10);
    struct text xml = {0};
    text_print(&xml, XML "<ListBucketResult><Name>" SOURCES "</Name>");
    bool more = false;
    for (uint32_t load = 0; load < load_count && !more; load++) {
        uint64_t begin = 0;
        if (begins_all_keys(prefix, &loads[load])) { /* no key has to be looked at twice */
            begin = from > seen ? from - seen : 0;
            if (begin > loads[load].count) begin = loads[load].count;
            seen += begin;
        }
        for (uint32_t index = (uint32_t)begin; index < loads[load].count; index++) {
            char key[64], etag[33];
            struct object object = {&loads[load], index};
            content_key(&object, key);
            if (strncmp(key, prefix, strlen(prefix)) || seen++ < from) continue;
            if ((more = listed == limit)) break;
            listed++;
            object_etag(&object, etag);
            text_print(&xml,
                       "<Contents><Key>%s</Key><LastModified>2024-05-15T10:20:30.000Z</LastModified>"
                       "<ETag>&quot;%s&quot;</ETag><Size>%llu</Size></Contents>",
                       key, etag, (unsigned long long)loads[load].size);
        }
    }
    if (more)
        text_print(&xml, "<NextContinuationToken>%llu</NextContinuationToken>", (unsigned long long)(from + listed));
    text_print(&xml, "<KeyCount>%llu</KeyCount><IsTruncated>%s</IsTruncated></ListBucketResult>",
               (unsigned long long)listed, more ? "true" : "false");
    answer_xml(exchange, "200 OK", "", &xml);
}

/* ---- archives */

static void head_archive(struct exchange *exchange) {
    struct archive *archive = archive_find(archives, exchange->key, NULL);
    if (!archive) return fail(exchange, "404 Not Found", "NoSuchKey");
    char etag[40], crc[9];
    archive_etag(archive, etag);
    crc32_base64(archive->crc, crc);
    struct text headers = {0};
    text_print(&headers,
               "%.*sETag: %s\r\n" MODIFIED
               "x-amz-checksum-crc32: %s\r\nx-amz-checksum-type: FULL_OBJECT\r\nContent-Length: %llu\r\n",
               (int)archive->kept.length, archive->kept.data ? archive->kept.data : "", etag, crc,
               (unsigned long long)archive->size);
    http_answer(exchange, "200 OK", headers.data, NULL, 0);
    text_free(&headers);
}

/* Does the body's CRC equal what the client said of it, in a header or in a trailer? */
static bool crc_as_claimed(struct exchange *exchange, uint32_t crc) {
    char ours[9];
    crc32_base64(crc, ours);
    const char *claimed = exchange->claimed_crc;
    const struct chunked *last = exchange->aws_chunked ? &exchange->inner : &exchange->outer;
    const char *trailer = strcasestr(last->trailers, "x-amz-checksum-crc32:");
    if (trailer) claimed = trailer + 21 + strspn(trailer + 21, " ");
    return !*claimed || !strncmp(claimed, ours, 8);
}

/* The recipe of the body just received, if it is what was promised; else an answer is given. */
static struct recipe *received(struct exchange *exchange, char headers[160]) {
    struct recipe *recipe = exchange->recipe;
    char etag[40], crc[9];
    if (!http_body_complete(exchange)) return fail(exchange, "400 Bad Request", "IncompleteBody"), NULL;
    if (!crc_as_claimed(exchange, recipe->crc)) return fail(exchange, "400 Bad Request", "BadDigest"), NULL;
    part_etag(recipe, etag);
    crc32_base64(recipe->crc, crc);
    snprintf(headers, 160, "ETag: %s\r\nx-amz-checksum-crc32: %s\r\n", etag, crc);
    exchange->recipe = NULL;
    return recipe;
}

static void put_archive(struct exchange *exchange) {
    char headers[160];
    if (exchange->if_none_match && archive_find(archives, exchange->key, NULL))
        return fail(exchange, "412 Precondition Failed", "PreconditionFailed");
    struct recipe *recipe = received(exchange, headers);
    if (!recipe) return;
    struct archive *upload = archive_new(&uploads, exchange->key, &exchange->kept);
    archive_add_part(upload, 1, recipe);
    archive_finish(upload);
    http_answer(exchange, "200 OK", headers, "", 0);
}

static void create_upload(struct exchange *exchange) {
    struct archive *upload = archive_new(&uploads, exchange->key, &exchange->kept);
    struct text xml = {0};
    text_print(&xml,
               XML "<InitiateMultipartUploadResult><Bucket>%s</Bucket><Key>%s</Key>"
                   "<UploadId>%s</UploadId></InitiateMultipartUploadResult>",
               exchange->bucket, exchange->key, upload->upload_id);
    answer_xml(exchange, "200 OK", "", &xml);
}

static void upload_part(struct exchange *exchange, struct archive *upload, int number) {
    char headers[160];
    if (number < 1 || number > MAX_PARTS) return fail(exchange, "400 Bad Request", "InvalidArgument");
    struct recipe *recipe = received(exchange, headers);
    if (!recipe) return;
    archive_add_part(upload, number, recipe);
    http_answer(exchange, "200 OK", headers, "", 0);
}

/* What is wrong with a CompleteMultipartUpload: an error code, or NULL. Parts must be listed in order, and all of them.
 */
static const char *wrong_list(const struct archive *upload, char *list) {
    int last = 0;
    for (char *part = list; (part = strstr(part, "<Part>")); part++) {
        char *number_at = strstr(part, "<PartNumber>"), *etag_at = strstr(part, "<ETag>"),
             *end = strstr(part, "</Part>"), etag[40];
        if (!number_at || !etag_at || !end || number_at > end || etag_at > end) return "MalformedXML";
        int number = atoi(number_at + 12);
        if (number <= last) return "InvalidPartOrder";
        if (number > upload->last_part || !upload->parts[number]) return "InvalidPart";
        if (last && upload->parts[last]->size < MIN_PART) return "EntityTooSmall";
        part_etag(upload->parts[number], etag);
        etag[33] = 0; /* without its quotes: clients escape them as they like */
        char *found = strstr(etag_at, etag + 1);
        if (!found || found > end || number != last + 1) return "InvalidPart";
        last = number;
    }
    if (!last) return "MalformedXML";
    return last == upload->last_part ? NULL : "InvalidPart";
}

static void complete_upload(struct exchange *exchange, struct archive *upload) {
    text_add(&exchange->body, "", 1);
    const char *code = wrong_list(upload, exchange->body.data);
    uint64_t size = 0;
    uint32_t crc = 0;
    for (int i = 1; i <= upload->last_part && !code; i++) {
        size += upload->parts[i]->size;
        crc = crc32_join(crc, upload->parts[i]->crc, upload->parts[i]->size);
    }
    if (!code && exchange->claimed_size != NO_LENGTH && exchange->claimed_size != size) code = "InvalidRequest";
    if (!code && !crc_as_claimed(exchange, crc)) code = "BadDigest";
    if (code) return fail(exchange, "400 Bad Request", code);
    if (exchange->if_none_match && archive_find(archives, exchange->key, NULL))
        return fail(exchange, "412 Precondition Failed", "PreconditionFailed");
    char etag[40], crc_text[9];
    archive_finish(upload);
    archive_etag(upload, etag);
    crc32_base64(crc, crc_text);
    struct text xml = {0};
    text_print(
        &xml,
        "<?xml version=\"1.0\" "
        "encoding=\"UTF-8\"?>\n<CompleteMultipartUploadResult><Bucket>%s</Bucket><Key>%s</Key><ETag>%s</ETag>"
        "<ChecksumCRC32>%s</ChecksumCRC32><ChecksumType>FULL_OBJECT</ChecksumType></CompleteMultipartUploadResult>",
        exchange->bucket, exchange->key, etag, crc_text);
    answer_xml(exchange, "200 OK", "", &xml);
}

static void list_parts(struct exchange *exchange, const struct archive *upload) {
    struct text xml = {0};
    char etag[40];
    text_print(&xml, XML "<ListPartsResult><IsTruncated>false</IsTruncated>");
    for (int i = 1; i <= upload->last_part; i++) {
        if (!upload->parts[i]) continue;
        part_etag(upload->parts[i], etag);
        text_print(&xml, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag><Size>%llu</Size></Part>", i, etag,
                   (unsigned long long)upload->parts[i]->size);
    }
    text_print(&xml, "</ListPartsResult>");
    answer_xml(exchange, "200 OK", "", &xml);
}

static void list_uploads(struct exchange *exchange) {
    char prefix[256] = "";
    http_query(exchange->query, "prefix", prefix);
    struct text xml = {0};
    text_print(&xml, XML "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>");
    for (struct archive *upload = uploads; upload; upload = upload->next)
        if (!strncmp(upload->key, prefix, strlen(prefix)))
            text_print(
                &xml,
                "<Upload><Key>%s</Key><UploadId>%s</UploadId><Initiated>2024-05-15T10:20:30.000Z</Initiated></Upload>",
                upload->key, upload->upload_id);
    text_print(&xml, "</ListMultipartUploadsResult>");
    answer_xml(exchange, "200 OK", "", &xml);
}

static void list_archives(struct exchange *exchange) {
    char prefix[256] = "";
    http_query(exchange->query, "prefix", prefix);
    struct text xml = {0};
    text_print(&xml, XML "<ListBucketResult><IsTruncated>false</IsTruncated>");
    for (struct archive *archive = archives; archive; archive = archive->next)
        if (!strncmp(archive->key, prefix, strlen(prefix)))
            text_print(&xml, "<Contents><Key>%s</Key><LastModified>2024-05-15T10:20:30.000Z</LastModified></Contents>",
                       archive->key);
    text_print(&xml, "</ListBucketResult>");
    answer_xml(exchange, "200 OK", "", &xml);
}

/* ---- which is which */

void s3_begin(struct exchange *exchange) {
    if (is(exchange, "PUT") && *exchange->key) exchange->recipe = recipe_new();
}

static void answer_upload(struct exchange *exchange, const char *upload_id) {
    struct archive *upload = archive_find(uploads, exchange->key, upload_id);
    char number[256];
    if (!upload) return fail(exchange, "404 Not Found", "NoSuchUpload");
    if (is(exchange, "PUT") && http_query(exchange->query, "partNumber", number))
        upload_part(exchange, upload, atoi(number));
    else if (is(exchange, "POST")) complete_upload(exchange, upload);
    else if (is(exchange, "GET")) list_parts(exchange, upload);
    else if (is(exchange, "DELETE"))
        archive_drop(&uploads, upload), http_answer(exchange, "204 No Content", "", NULL, 0);
    else fail(exchange, "501 Not Implemented", "NotImplemented");
}

static void answer_bucket(struct exchange *exchange) {
    char value[256];
    if (is(exchange, "HEAD")) http_answer(exchange, "200 OK", "x-amz-bucket-region: us-east-1\r\n", "", 0);
    else if (http_query(exchange->query, "uploads", value)) list_uploads(exchange);
    else if (http_query(exchange->query, "list-type", value) && !strcmp(exchange->bucket, SOURCES))
        list_objects(exchange);
    else if (http_query(exchange->query, "list-type", value)) list_archives(exchange);
    else fail(exchange, "501 Not Implemented", "NotImplemented");
}

void s3_finish(struct exchange *exchange) {
    char value[256];
    bool reads = is(exchange, "GET") || is(exchange, "HEAD");
    if (exchange->bucket[0] == '_') return control_answer(exchange);
    exchange->delay = network_delay(NULL); /* an object's own comes in its place */
    if (!*exchange->key) answer_bucket(exchange);
    else if (!strcmp(exchange->bucket, SOURCES) && reads) get_object(exchange);
    else if (http_query(exchange->query, "uploadId", value)) answer_upload(exchange, value);
    else if (is(exchange, "POST") && http_query(exchange->query, "uploads", value)) create_upload(exchange);
    else if (is(exchange, "PUT")) put_archive(exchange);
    else if (is(exchange, "HEAD")) head_archive(exchange);
    else fail(exchange, "501 Not Implemented", "NotImplemented");
}
