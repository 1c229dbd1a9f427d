/*
 * faketest.h - a process that claims to run a machine and may lie: its debugger data block is a copy of a real one that
 * points to structures of the test's.
 */
#ifndef TEST_FAKETEST_H
#define TEST_FAKETEST_H

#include "kd/livetest.h"

#define FAKE_BYTES 16384
#define FAKE_PROCESSORS 2
#define FAKE_THREADS 4
#define FAKE_DPCS 4

/* What the block points to. In the process that lies. */
typedef struct _FAKE {
    KPCR Processors[FAKE_PROCESSORS];
    LIST_ENTRY ThreadListHead, FreeThreadListHead;
    KTHREAD Threads[FAKE_THREADS];
    KPRCB_THREAD_BLOCK Blocks[FAKE_THREADS];
    KSPIN_LOCK_QUEUE Nodes[FAKE_THREADS];
    KDPC Dpcs[FAKE_DPCS];
    KSPIN_LOCK Lock;
    ULONG ProcessorCount;
} FAKE;

static FAKE Fake;
static KI_DEBUG_HEADER *FakeBlock;

static inline PKI_DEBUG_ENTRY FakeEntry(const char *Name)
{
    PKI_DEBUG_ENTRY Entries = (PKI_DEBUG_ENTRY)(FakeBlock + 1);

    for (ULONG Index = 0; Index < FakeBlock->EntryCount; Index++) {
        if (strcmp(Entries[Index].Name, Name) == 0) {
            return &Entries[Index];
        }
    }
    dprintf(2, "no entry %s\n", Name);
    _exit(1);
}

static inline void FillFakeThreads(void)
{
    PLIST_ENTRY Before = &Fake.ThreadListHead;

    for (ULONG Index = 0; Index < FAKE_THREADS; Index++) {
        PKTHREAD Thread = &Fake.Threads[Index];

        Before->Flink = &Thread->ThreadListEntry;
        Thread->ThreadListEntry.Blink = Before;
        Before = &Thread->ThreadListEntry;
        Thread->Block = &Fake.Blocks[Index];
        Thread->HostId = 1000000000 + (LONG)Index;
        Thread->WaitReason = Index == 3 ? "a lie" : NULL;
        Thread->WaitObject = Index == 3 ? &Fake.Lock : NULL;
        Fake.Blocks[Index].Thread = Thread;
        Fake.Blocks[Index].Pcr = &Fake.Processors[Index % FAKE_PROCESSORS];
        Fake.Blocks[Index].HeldCount = 1;
        Fake.Blocks[Index].Held[0] = (PVOID)((ULONG_PTR)&Fake.Nodes[Index] | 1);
        Fake.Nodes[Index].Lock = (PKSPIN_LOCK)((ULONG_PTR)&Fake.Lock | (Index == 0 ? 2 : 1));
    }
    Before->Flink = &Fake.ThreadListHead;
    Fake.ThreadListHead.Blink = Before;
    Fake.FreeThreadListHead.Flink = Fake.FreeThreadListHead.Blink = &Fake.FreeThreadListHead;
}

static inline void FillFakeDpcs(void)
{
    PKDPC_DATA Data = &Fake.Processors[0].PrcbData.DpcData[DPC_NORMAL];

    for (ULONG Index = 0; Index < FAKE_DPCS; Index++) {
        Fake.Dpcs[Index].DpcData = Data;
        Fake.Dpcs[Index].DpcListEntry.Next = Index + 1 < FAKE_DPCS ? &Fake.Dpcs[Index + 1].DpcListEntry : NULL;
    }
    Data->DpcList.ListHead.Next = &Fake.Dpcs[0].DpcListEntry;
    Data->DpcQueueDepth = FAKE_DPCS;
}

/* In the process: a machine that is not there, which can be read without a fault. */
static inline void BuildFake(void)
{
    static KD_TARGET Own;
    KPRCB_CONFIG Config = {.Size = sizeof(Config), .ProcessorCount = FAKE_PROCESSORS};
    void *Copy = malloc(FAKE_BYTES);

    if (Copy == NULL || !NT_SUCCESS(KprcbStart(&Config)) || KdOpenTarget((ULONG)getpid(), &Own) != KD_OK) {
        _exit(1);
    }
    memcpy(Copy, (void *)(ULONG_PTR)Own.BlockAddress, FAKE_BYTES);
    memcpy(Fake.Processors, KiMachine.Processors, sizeof(Fake.Processors));
    KdCloseTarget(&Own);
    if (!NT_SUCCESS(KprcbStop())) {
        _exit(1);
    }
    FillFakeThreads();
    FillFakeDpcs();
    FakeBlock = HalAllocateNamedPages(KI_DEBUG_NAME, FAKE_BYTES);
    if (FakeBlock == NULL) {
        _exit(1);
    }
    memcpy(FakeBlock, Copy, FAKE_BYTES);
    free(Copy);
    FakeEntry("KiProcessors")->Value = (ULONG_PTR)Fake.Processors;
    FakeEntry("KiProcessorCount")->Value = (ULONG_PTR)&Fake.ProcessorCount;
    Fake.ProcessorCount = FAKE_PROCESSORS;
    FakeEntry("KiThreadListHead")->Value = (ULONG_PTR)&Fake.ThreadListHead;
    FakeEntry("KiFreeThreadListHead")->Value = (ULONG_PTR)&Fake.FreeThreadListHead;
}

#endif
