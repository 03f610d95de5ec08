/* CRC-32 as zip and S3 have it, fast enough not to be what is measured. */
#pragma once
#include <stddef.h>
#include <stdint.h>

uint32_t crc32_more(uint32_t crc, const void *data, size_t length);
/* The CRC of two pieces together, the second of `second_length` bytes. */
uint32_t crc32_join(uint32_t first, uint32_t second, uint64_t second_length);
/* As S3's headers have it: base64 of the four bytes, the highest first. */
void crc32_base64(uint32_t crc, char out[9]);
