/*
 * machine.c - what the subcommands need of a machine: start it, hop over its processors, copy a processor's block.
 *
 * A copy is taken at DISPATCH_LEVEL by the thread that owns the processor, so the owner's members stand still. Members
 * that other processors write may change meanwhile: each word is read once, by itself. Test: tests/kd/test_command.c.
 */
#include "kd.h"

#include <stdlib.h>
#include <string.h>

typedef ULONG_PTR __attribute__((may_alias)) KD_WORD;

int KdStartMachine(const KD_OPTIONS *Options, ULONG Default)
{
    char Number[16];
    NTSTATUS Status;

    /* Through the environment, so that its other variables keep their say. */
    if (Options->Processors != 0 || (Default != 0 && getenv("KPRCB_PROCESSORS") == NULL)) {
        ULONG Processors = Options->Processors != 0 ? Options->Processors : Default;

        snprintf(Number, sizeof(Number), "%lu", (unsigned long)Processors);
        if (setenv("KPRCB_PROCESSORS", Number, 1) != 0) {
            KdComplain("no memory");
            return KD_FAILED;
        }
    }
    Status = KprcbStart(NULL);
    switch (Status) {
    case STATUS_SUCCESS:
        return KD_OK;
    case STATUS_INVALID_PARAMETER:
        KdComplain("the machine does not start: one of KPRCB_PROCESSORS, KPRCB_GROUP_SIZE, KPRCB_FLAGS, "
                   "KPRCB_TIME_INCREMENT in the environment is out of range");
        return KD_FAILED;
    case STATUS_INSUFFICIENT_RESOURCES:
        KdComplain("the machine does not start: no memory or no threads for that many processors");
        return KD_FAILED;
    default:
        KdComplain("the machine does not start: NTSTATUS 0x%08lX", (unsigned long)(ULONG)Status);
        return KD_FAILED;
    }
}

int KdStopMachine(void)
{
    NTSTATUS Status = KprcbStop();

    if (!NT_SUCCESS(Status)) {
        KdComplain("the machine does not stop: NTSTATUS 0x%08lX", (unsigned long)(ULONG)Status);
        return KD_FAILED;
    }
    return KD_OK;
}

BOOLEAN KdHop(ULONG Index, PGROUP_AFFINITY Previous)
{
    PROCESSOR_NUMBER Number;
    GROUP_AFFINITY Affinity = {0};

    if (!NT_SUCCESS(KeGetProcessorNumberFromIndex(Index, &Number))) {
        return FALSE;
    }
    Affinity.Group = Number.Group;
    Affinity.Mask = (KAFFINITY)1 << Number.Number;
    KeSetSystemGroupAffinityThread(&Affinity, Previous);
    return TRUE;
}

void KdHopBack(PGROUP_AFFINITY Previous)
{
    KeRevertToUserGroupAffinityThread(Previous);
}

PKPCR KdSnapshot(ULONG Index, PKPCR *Address)
{
    PKPCR Copy = aligned_alloc(_Alignof(KPCR), sizeof(KPCR));
    GROUP_AFFINITY Previous;
    KIRQL OldIrql;

    if (Copy == NULL) {
        return NULL;
    }
    if (!KdHop(Index, &Previous)) {
        free(Copy);
        return NULL;
    }
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    *Address = KeGetPcr();
    for (size_t Word = 0; Word < sizeof(KPCR) / sizeof(KD_WORD); Word++) {
        ((KD_WORD *)Copy)[Word] = __atomic_load_n((KD_WORD *)*Address + Word, __ATOMIC_RELAXED);
    }
    KeLowerIrql(OldIrql);
    KdHopBack(&Previous);
    return Copy;
}

const char *KdVendorName(UCHAR Vendor)
{
    switch (Vendor) {
    case CPU_INTEL:
        return "CPU_INTEL";
    case CPU_AMD:
        return "CPU_AMD";
    case CPU_VIA:
        return "CPU_VIA";
    case CPU_CYRIX:
        return "CPU_CYRIX";
    case CPU_TRANSMETA:
        return "CPU_TRANSMETA";
    case CPU_RISE:
        return "CPU_RISE";
    case CPU_UNKNOWN:
        return "CPU_UNKNOWN";
    default:
        return "CPU_NONE";
    }
}

const char *KdIrqlName(ULONG Irql)
{
    switch (Irql) {
    case PASSIVE_LEVEL:
        return "PASSIVE_LEVEL";
    case APC_LEVEL:
        return "APC_LEVEL";
    case DISPATCH_LEVEL:
        return "DISPATCH_LEVEL";
    case CMCI_LEVEL:
        return "CMCI_LEVEL";
    case SYNCH_LEVEL:
        return "SYNCH_LEVEL";
    case IPI_LEVEL:
        return "IPI_LEVEL";
    case HIGH_LEVEL:
        return "HIGH_LEVEL";
    default:
        return "device level";
    }
}

const char *KdLockState(ULONG_PTR Lock)
{
    if ((Lock & LOCK_QUEUE_WAIT) != 0) {
        return "waits";
    }
    return (Lock & LOCK_QUEUE_OWNER) != 0 ? "owns" : "not in use";
}
