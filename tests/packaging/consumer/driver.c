/* driver.c - driver code: <wdm.h>, 16-bit wide characters, a spin lock. */
#include <wdm.h>
#include <kprcb/machine.h>
#include <stdio.h>

_Static_assert(sizeof(L' ') == 2, "-fshort-wchar");

int main(void)
{
    KSPIN_LOCK lock;
    KIRQL old;

    KeInitializeSpinLock(&lock);
    KeAcquireSpinLock(&lock, &old);
    KeReleaseSpinLock(&lock, old);
    puts(KprcbVersion());
    return 0;
}
