/*
 * cache.c - how a CACHE_DESCRIPTOR is printed. Tests: tests/kd/test_cpuid.c, tests/kd/test_command.c.
 */
#include "kd.h"

static const char *const KdCacheTypes[] = {
    [CacheUnified] = "CacheUnified",
    [CacheInstruction] = "CacheInstruction",
    [CacheData] = "CacheData",
    [CacheTrace] = "CacheTrace",
};

/* A descriptor of another process may hold anything. */
static const char *KdCacheWord(const char *const *Words, const CACHE_DESCRIPTOR *Cache)
{
    return (ULONG)Cache->Type <= CacheTrace ? Words[Cache->Type] : "?";
}

void KdNameCache(const CACHE_DESCRIPTOR *Cache, char *Text, size_t Size)
{
    static const char *const Types[] = {
        [CacheUnified] = "unified",
        [CacheInstruction] = "instruction",
        [CacheData] = "data",
        [CacheTrace] = "trace",
    };
    BOOLEAN Megabytes = Cache->Size >= 0x100000 && Cache->Size % 0x100000 == 0;
    const char *Unit = Cache->Type == CacheTrace ? "K ops" : Megabytes ? "MB" : "KB";

    snprintf(Text, Size, "L%u %s %lu %s", Cache->Level, KdCacheWord(Types, Cache),
             (unsigned long)(Megabytes ? Cache->Size >> 20 : Cache->Size >> 10), Unit);
}

void KdExplainCache(const CACHE_DESCRIPTOR *Cache, ULONG Sharing, char *Text, size_t Size)
{
    int Length = 0;

    if (Cache->Associativity == CACHE_FULLY_ASSOCIATIVE) {
        Length = snprintf(Text, Size, "fully associative");
    } else if (Cache->Associativity != 0) {
        Length = snprintf(Text, Size, "%u ways", Cache->Associativity);
    } else {
        Length = snprintf(Text, Size, "ways not known");
    }
    if (Cache->LineSize != 0) {
        Length += snprintf(Text + Length, Size - (size_t)Length, ", %u-byte lines", Cache->LineSize);
    }
    if (Sharing != 0) {
        snprintf(Text + Length, Size - (size_t)Length, ", shared by %lu", (unsigned long)Sharing);
    }
}

void KdJsonCache(const char *Name, const CACHE_DESCRIPTOR *Cache)
{
    KdJsonOpen(Name, '{');
    KdJsonNumber("Level", Cache->Level);
    KdJsonNumber("Associativity", Cache->Associativity);
    KdJsonNumber("LineSize", Cache->LineSize);
    KdJsonNumber("Size", Cache->Size);
    KdJsonString("Type", KdCacheWord(KdCacheTypes, Cache));
    KdJsonClose('}');
}
