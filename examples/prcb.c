/*
 * prcb.c - looking into the KPRCB of the current processor. At DISPATCH_LEVEL it stays the caller's.
 */
#include <kprcb/prcb.h>
#include <kprcb/processor.h>
#include <stdio.h>

int main(void)
{
    KIRQL OldIrql = KeRaiseIrqlToDpcLevel();
    PKPRCB Prcb = KeGetCurrentPrcb();
    ULONG Number = Prcb->Number;
    UCHAR Group = Prcb->GroupIndex;
    PKTHREAD Thread = Prcb->CurrentThread;
    BOOLEAN Checked = (Prcb->BuildType & PRCB_BUILD_DEBUG) != 0;
    BOOLEAN Mine = Thread == KeGetCurrentThread();

    KeLowerIrql(OldIrql);
    printf("processor %u of its machine, %u of its group\n", (unsigned)Number, Group);
    printf("a %s build, vendor \"%.13s\", %u MHz\n", Checked ? "checked" : "free", (const char *)Prcb->VendorString,
           (unsigned)Prcb->MHz);
    printf("CurrentThread was %s\n", Mine ? "the caller" : "another thread");
    printf("a KPRCB has %zu bytes here, a KPCR %zu\n", sizeof(KPRCB), sizeof(KPCR));
    return !Mine;
}
