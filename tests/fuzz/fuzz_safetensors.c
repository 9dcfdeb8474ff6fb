#include "fuzz_tensors.h"

#include <string.h>

// Half of the inputs are whole files; for the others the first byte says how much data follows the header, whose size is then right.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_open(data, size);
    if (size < 1) return 0;
    const size_t header = size - 1, values = data[0];
    uint8_t *whole = calloc(1, 8 + header + values);
    const uint64_t length = header;
    memcpy(whole, &length, 8);
    memcpy(whole + 8, data + 1, header);
    fuzz_open(whole, 8 + header + values);
    free(whole);
    return 0;
}
