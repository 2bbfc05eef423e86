#include "core/internal.h"

#include <stdlib.h>

void *lintelp_resize(const struct lintel_allocator *allocator, void *ptr, size_t size)
{
    if (allocator != NULL)
        return allocator->resize(allocator->user, ptr, size);
    if (size > 0)
        return realloc(ptr, size);
    free(ptr);
    return NULL;
}
