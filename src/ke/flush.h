/*
 * flush.h - the parts of KeInvalidateRangeAllCaches, apart for its test.
 */
#ifndef KE_FLUSH_H
#define KE_FLUSH_H

#include "ki.h"

/* How the lines of a processor are flushed. NULL: it cannot. */
HAL_FLUSH_LINES *KiChooseFlush(const KPRCB *Prcb);
/* Has Flush called once for all lines that the range touches; for a Length of zero not at all. */
VOID KiFlushRange(HAL_FLUSH_LINES *Flush, PVOID BaseAddress, ULONG Length, ULONG LineSize);

#endif
