/*
 * cpuiddump.h - cpuid of processors as recorded in a file, as a source for KiIdentifyProcessorAs.
 */
#ifndef KD_CPUIDDUMP_H
#define KD_CPUIDDUMP_H

#include "kd.h"
#include "ki.h"

#define KD_MAXIMUM_NAME 64 /* of a processor, with the NUL */
#define KD_MAXIMUM_MISSING 8

typedef struct _KD_CPUID_LEAF {
    char Processor[KD_MAXIMUM_NAME];
    ULONG Leaf;
    ULONG Subleaf;
    HAL_CPUID Registers;
} KD_CPUID_LEAF;

typedef struct _KD_CPUID_DUMP {
    const char *Path;
    KD_CPUID_LEAF *Leaves;
    ULONG Count;
    /* Hash tables of numbers of leaves, from 1; 0: free. Of TableSize entries, a power of two above the count. */
    ULONG *LeafTable; /* by processor, leaf and subleaf */
    ULONG *NameTable; /* by processor: its first */
    ULONG TableSize;
} KD_CPUID_DUMP;

/* One processor of a dump. Missing: leaves that KdRecordCpuid was asked for and did not find. */
typedef struct _KD_CPUID_RECORD {
    const KD_CPUID_DUMP *Dump;
    const char *Processor;
    ULONG Missing[KD_MAXIMUM_MISSING];
    ULONG MissingCount;
} KD_CPUID_RECORD;

/* Returns an exit code; complains. KdFreeDump is due only after KD_OK. */
int KdReadDump(const char *Path, KD_CPUID_DUMP *Dump);
void KdFreeDump(KD_CPUID_DUMP *Dump);

/* The next processor's name after Previous (NULL: the first), in the order of the file. NULL: no more. */
const char *KdNextProcessor(const KD_CPUID_DUMP *Dump, const char *Previous);

/* Name may be NULL if the dump has a single processor. Returns an exit code; complains. */
int KdChooseProcessor(const KD_CPUID_DUMP *Dump, const char *Name, KD_CPUID_RECORD *Record);

/* A KI_CPUID_SOURCE; Context is the KD_CPUID_RECORD. */
BOOLEAN KdRecordCpuid(PVOID Context, ULONG Leaf, ULONG Subleaf, PHAL_CPUID Registers);

#endif
