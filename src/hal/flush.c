/*
 * flush.c - dropping cache lines: clflush and clflushopt of x86, dc civac of aarch64.
 *
 * Barriers: the one before keeps the flushes behind the caller's earlier stores and loads, which not every CPU's clflush does;
 * the one after waits until they are done, which no flush does by itself. Between the lines there is none: they may be
 * flushed in any order.
 *
 * Nothing is shared. Test: tests/hal/test_flush.c.
 */
#include "hal.h"

#if defined(__x86_64__) || defined(__i386__)

/* A full barrier for flushes, which a locked instruction is not on all CPUs. Whoever has clflush has it: both are SSE2's. */
static inline VOID HalpOrderFlushes(VOID)
{
    __asm__ __volatile__("mfence" ::: "memory");
}

VOID HalFlushLines(ULONG_PTR First, SIZE_T Lines, ULONG LineSize)
{
    HalpOrderFlushes();
    for (; Lines != 0; Lines -= 1, First += LineSize) {
        __asm__ __volatile__("clflush %0" : "+m"(*(volatile char *)First));
    }
    HalpOrderFlushes();
}

VOID HalFlushLinesOptimized(ULONG_PTR First, SIZE_T Lines, ULONG LineSize)
{
    HalpOrderFlushes();
    for (; Lines != 0; Lines -= 1, First += LineSize) {
        __asm__ __volatile__("clflushopt %0" : "+m"(*(volatile char *)First));
    }
    HalpOrderFlushes();
}

#elif defined(__aarch64__)

VOID HalFlushLines(ULONG_PTR First, SIZE_T Lines, ULONG LineSize)
{
    __asm__ __volatile__("dsb sy" ::: "memory");
    for (; Lines != 0; Lines -= 1, First += LineSize) {
        __asm__ __volatile__("dc civac, %0" ::"r"(First) : "memory");
    }
    __asm__ __volatile__("dsb sy" ::: "memory");
}

VOID HalFlushLinesOptimized(ULONG_PTR First, SIZE_T Lines, ULONG LineSize)
{
    HalFlushLines(First, Lines, LineSize);
}

#else
#error "this CPU's instruction to flush a cache line is not known"
#endif
