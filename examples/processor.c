/*
 * processor.c - counting processors, moving to one, finding out where one is, and dropping cache lines.
 */
#include <kprcb/machine.h>
#include <kprcb/processor.h>
#include <stdio.h>

int main(void)
{
    KPRCB_CONFIG Config = {.Size = sizeof(Config), .ProcessorCount = 6, .GroupSize = 4};
    GROUP_AFFINITY Affinity = {.Mask = 2, .Group = 1};
    GROUP_AFFINITY Previous;
    PROCESSOR_NUMBER Number;
    ULONG Index;

    if (!NT_SUCCESS(KprcbStart(&Config))) {
        return 1;
    }
    printf("%u processors in %u groups\n", (unsigned)KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS),
           KeQueryActiveGroupCount());
    for (USHORT Group = 0; Group < KeQueryActiveGroupCount(); Group++) {
        printf("group %u: mask %llx\n", Group, (unsigned long long)KeQueryGroupAffinity(Group));
    }

    KeSetSystemGroupAffinityThread(&Affinity, &Previous);
    Index = KeGetCurrentProcessorNumberEx(&Number);
    printf("now on processor %u: group %u, number %u\n", (unsigned)Index, Number.Group, Number.Number);
    KeRevertToUserGroupAffinityThread(&Previous);

    KeStallExecutionProcessor(50);
    printf("lines of Number %s dropped from the caches, and it still says %u\n",
           KeInvalidateRangeAllCaches(&Number, sizeof(Number)) ? "were" : "cannot be", Number.Number);
    return Index != 5 || Number.Group != 1 || Number.Number != 1;
}
