/*
 * topology.c - a machine of two nodes, each a package of two cores with two processors: who shares a core, a cache and a
 * node with whom, before and after processors are added.
 */
#include <kprcb/machine.h>
#include <kprcb/processor.h>
#include <kprcb/topology.h>
#include <stdio.h>
#include <stdlib.h>

static VOID Print(PSYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX Record)
{
    switch (Record->Relationship) {
    case RelationProcessorCore:
        printf("  core     %02llx%s\n", (unsigned long long)Record->Processor.GroupMask[0].Mask,
               Record->Processor.Flags == LTP_PC_SMT ? ", SMT" : "");
        break;
    case RelationNumaNode:
        printf("  node %u   %02llx\n", (unsigned)Record->NumaNode.NodeNumber,
               (unsigned long long)Record->NumaNode.GroupMask.Mask);
        break;
    case RelationCache:
        printf("  cache L%u %02llx, %u KiB\n", Record->Cache.Level, (unsigned long long)Record->Cache.GroupMask.Mask,
               (unsigned)Record->Cache.CacheSize / 1024);
        break;
    case RelationProcessorPackage:
        printf("  package  %02llx\n", (unsigned long long)Record->Processor.GroupMask[0].Mask);
        break;
    default:
        break;
    }
}

static VOID PrintAll(VOID)
{
    PSYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX Records = NULL;
    ULONG Length = 0;

    /* Processors may come between the two calls; then the length does not suffice once more. */
    while (KeQueryLogicalProcessorRelationship(NULL, RelationAll, Records, &Length) == STATUS_INFO_LENGTH_MISMATCH) {
        free(Records);
        Records = malloc(Length);
        if (Records == NULL) {
            return;
        }
    }
    for (ULONG Offset = 0; Offset < Length;) {
        PSYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX Record =
            (PSYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX)((PUCHAR)Records + Offset);

        Print(Record);
        Offset += Record->Size;
    }
    free(Records);
}

static VOID Told(PVOID Context, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT Change, PNTSTATUS OperationStatus)
{
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(OperationStatus);
    printf("processor %u %s\n", (unsigned)Change->NtNumber,
           Change->State == KeProcessorAddStartNotify ? "is coming" : "is there");
}

int main(void)
{
    KPRCB_CONFIG Config = {
        .Size = sizeof(Config), .ProcessorCount = 3, .MaximumProcessorCount = 8, .Topology = "2:1:2:2"};

    if (!NT_SUCCESS(KprcbStart(&Config))) {
        return 1;
    }
    PrintAll();
    if (KeRegisterProcessorChangeCallback(Told, NULL, 0) == NULL) {
        return 1;
    }
    while (NT_SUCCESS(KprcbAddProcessor(NULL))) {
    }
    PrintAll();
    printf("%u nodes, this is node %u\n", KeQueryHighestNodeNumber() + 1u, KeGetCurrentNodeNumber());
    return !NT_SUCCESS(KprcbStop());
}
