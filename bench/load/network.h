/* What lies between a client and S3, as far as it is emulated: time before each answer, and a rate per connection. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "content.h"

extern uint64_t network_rate; /* bytes per second of one connection, each way; 0: no limit */

/*
 * "RATE SEED DELAY...": the delays in microseconds, in ascending order. False, and nothing is changed, where it is
 * anything else. From now on each object's requests are counted anew.
 */
bool network_set(const char *text);
/*
 * Before the next answer about an object, in ns: one of the delays, which seed, key and the number of earlier requests
 * for the key determine, so that all clients meet the same ones. About anything else (NULL): the median.
 */
uint64_t network_delay(const struct object *object);
