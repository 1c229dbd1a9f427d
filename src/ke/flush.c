/*
 * flush.c - KeInvalidateRangeAllCaches.
 *
 * Emulates Vista and later: line by line, with clflushopt where the version knows the CPU to have it, stepping by
 * CFlushSize. Which instruction is chosen once a call, by the KPRCB. On the way it may move to another processor: a flush
 * reaches the caches of all.
 *
 * Deviations: NT without clflush drops all of every processor's caches by wbinvd, which a process cannot. On a host
 * without cpuid CFlushSize is not zero only if there is an instruction of that line size.
 *
 * Nothing here is shared between threads. Test: tests/ke/test_flush.c.
 */
#include "flush.h"

HAL_FLUSH_LINES *KiChooseFlush(const KPRCB *Prcb)
{
    if (Prcb->CFlushSize == 0) {
        return NULL;
    }
    if (Prcb->CpuID == 0) {
        return HalFlushLines;
    }
    if ((Prcb->FeatureBits & KI_FEATURE_CLFLUSHOPT) != 0) {
        return HalFlushLinesOptimized;
    }
    return (Prcb->FeatureBits & KI_FEATURE_CLFSH) != 0 ? HalFlushLines : NULL;
}

VOID KiFlushRange(HAL_FLUSH_LINES *Flush, PVOID BaseAddress, ULONG Length, ULONG LineSize)
{
    ULONG Offset = (ULONG)((ULONG_PTR)BaseAddress % LineSize);
    ULONGLONG Lines = ((ULONGLONG)Offset + Length + LineSize - 1) / LineSize;

    if (Length != 0) {
        Flush((ULONG_PTR)BaseAddress - Offset, (SIZE_T)Lines, LineSize);
    }
}

BOOLEAN KeInvalidateRangeAllCaches(PVOID BaseAddress, ULONG Length)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();
    PKPRCB Prcb = Block->Pcr->Prcb;
    HAL_FLUSH_LINES *Flush = KiChooseFlush(Prcb);

    if (Block->Irql > DISPATCH_LEVEL && Block->Checked) {
        KeBugCheckEx(IRQL_NOT_LESS_OR_EQUAL, Block->Irql, DISPATCH_LEVEL, 0, (ULONG_PTR)__builtin_return_address(0));
    }
    if (Flush == NULL) {
        HalFullBarrier();
        return FALSE;
    }
    KiFlushRange(Flush, BaseAddress, Length, Prcb->CFlushSize);
    return TRUE;
}
