/*
 * dpchistory.c - the times of DPC routines, for `kprcb dpcs`: those of a processor that took the most time.
 *
 * The table's own links are not followed: all its entries lie in chunks of pages that stay while the machine runs, and
 * each chunk is read as a whole. An entry without routine or runs is not in use; one that has just been removed is shown
 * still. Test: tests/kd/test_live.c.
 */
#include "dpchistory.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define KD_LARGEST_CHUNK 65536 /* entries */

/* ns that a time stamp of the target stands for, by this host's clocks, which are the target's. */
static double KdStampTime(const KD_TARGET *Target)
{
    struct {
        ULONGLONG Stamp, Time;
    } Start;
    ULONGLONG Stamp = HalTimeStamp();

    if (!KdReadTarget(Target, Target->Values[KdKiHistoryStart], &Start, sizeof(Start)) || Stamp <= Start.Stamp) {
        return 0;
    }
    return (double)(HalMonotonicTime() - Start.Time) / (double)(Stamp - Start.Stamp);
}

static void KdAddRow(KD_HISTORY *History, const KD_HISTORY_ROW *Row)
{
    ULONG Index = History->Count < KD_HISTORY_ROWS ? History->Count : KD_HISTORY_ROWS;

    History->Found++;
    while (Index > 0 && History->Rows[Index - 1].Total < Row->Total) {
        if (Index < KD_HISTORY_ROWS) {
            History->Rows[Index] = History->Rows[Index - 1];
        }
        Index--;
    }
    if (Index < KD_HISTORY_ROWS) {
        History->Rows[Index] = *Row;
        History->Count += History->Count < KD_HISTORY_ROWS;
    }
}

static void KdReadChunk(const KD_TARGET *Target, ULONGLONG Address, ULONG Count, double Scale, KD_HISTORY *History)
{
    size_t Size = Target->Sizes[KdSizeOfKI_HISTORY_ENTRY];
    UCHAR *Chunk = malloc(Size * Count + 1);

    if (Chunk != NULL && KdReadTarget(Target, Address, Chunk, Size * Count)) {
        for (ULONG Index = 0; Index < Count; Index++) {
            const UCHAR *Entry = Chunk + Size * Index;
            KD_HISTORY_ROW Row = {
                .Routine = KdGet(Target, Entry, KdKI_HISTORY_ENTRY_Routine),
                .Count = KdGet(Target, Entry, KdKI_HISTORY_ENTRY_Count),
                .Total = (double)KdGet(Target, Entry, KdKI_HISTORY_ENTRY_Total) * Scale,
                .Longest = (double)KdGet(Target, Entry, KdKI_HISTORY_ENTRY_Longest) * Scale,
            };

            if (Row.Routine != 0 && Row.Count != 0) {
                KdAddRow(History, &Row);
            }
        }
    }
    free(Chunk);
}

BOOLEAN KdReadHistory(const KD_TARGET *Target, const KD_SAMPLE *Sample, ULONG Processor, KD_HISTORY *History)
{
    ULONGLONG Address = KdGet(Target, KdPrcb(Target, Sample, Processor), KdKPRCB_DpcRuntimeHistoryHashTable);
    ULONG Chunks = Target->Fields[KdKPRCB_DPC_HISTORY_Chunks].Size / Target->Header.WordSize;
    ULONG Offset = Target->Fields[KdKPRCB_DPC_HISTORY_Chunks].Offset;
    UCHAR Table[KD_LARGEST_HISTORY];
    ULONG Last, Carved;
    double Scale;

    *History = (KD_HISTORY){0};
    if (Address == 0 || !KdReadTarget(Target, Address, Table, Target->Sizes[KdSizeOfKPRCB_DPC_HISTORY])) {
        return FALSE;
    }
    Scale = KdStampTime(Target);
    Last = (ULONG)KdGet(Target, Table, KdKPRCB_DPC_HISTORY_Chunk);
    Carved = (ULONG)KdGet(Target, Table, KdKPRCB_DPC_HISTORY_Carved);
    History->Lost = (ULONG)KdGet(Target, Table, KdKPRCB_DPC_HISTORY_Lost);
    for (ULONG Index = 0; Index <= Last && Index < Chunks; Index++) {
        ULONGLONG Chunk = 0;
        ULONGLONG Count = Index == Last ? Carved : Target->Values[KdKiHistoryChunk];

        memcpy(&Chunk, Table + Offset + (size_t)Index * Target->Header.WordSize, Target->Header.WordSize);
        if (Chunk != 0 && Count <= KD_LARGEST_CHUNK) {
            KdReadChunk(Target, Chunk, (ULONG)Count, Scale, History);
        }
    }
    return TRUE;
}

void KdPrintHistory(PKD_TARGET Target, const KD_SAMPLE *Sample, ULONG Processor)
{
    KD_HISTORY History;

    if (!KdReadHistory(Target, Sample, Processor, &History)) {
        return;
    }
    KdPrint("  history: %lu routines, %lu runs lost; by their time\n", (unsigned long)History.Found,
            (unsigned long)History.Lost);
    for (ULONG Index = 0; Index < History.Count; Index++) {
        const KD_HISTORY_ROW *Row = &History.Rows[Index];
        char Routine[128];

        KdNameAddress(Target, Row->Routine, Routine, sizeof(Routine));
        KdPrint("    %12" PRIu64 " runs  %12.3f ms  longest %9.3f ms  %s\n", Row->Count, Row->Total / 1e6,
                Row->Longest / 1e6, Routine);
    }
}

void KdJsonHistory(PKD_TARGET Target, const KD_SAMPLE *Sample, ULONG Processor)
{
    KD_HISTORY History;

    if (!KdReadHistory(Target, Sample, Processor, &History)) {
        KdJsonNull("history");
        return;
    }
    KdJsonOpen("history", '{');
    KdJsonNumber("routines", History.Found);
    KdJsonNumber("lost", History.Lost);
    KdJsonOpen("top", '[');
    for (ULONG Index = 0; Index < History.Count; Index++) {
        const KD_HISTORY_ROW *Row = &History.Rows[Index];

        KdJsonOpen(NULL, '{');
        KdJsonAddress(Target, "routine", Row->Routine);
        KdJsonNumber("count", Row->Count);
        KdJsonNumber("totalTime", (ULONGLONG)Row->Total);
        KdJsonNumber("longestTime", (ULONGLONG)Row->Longest);
        KdJsonClose('}');
    }
    KdJsonClose(']');
    KdJsonClose('}');
}
