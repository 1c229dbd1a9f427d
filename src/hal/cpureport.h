/*
 * cpureport.h - reading the host's files, for cpureport.c and topology.c; and for their tests, another place to read them
 * from.
 */
#ifndef HAL_CPUREPORT_H
#define HAL_CPUREPORT_H

#include "hal.h"

/* What stands before /proc and /sys in the names of the host's files; empty but in tests. */
extern const char *HalpHostRoot;

/* The first line of a file below a CPU's folder in sysfs. FALSE: there is none. */
BOOLEAN HalpReadLine(ULONG HostProcessor, char *Text, SIZE_T Size, const char *Format, ...)
    __attribute__((format(printf, 4, 5)));
/* FALSE: there is no cache of that index. Size is zero if it is none to tell of. */
BOOLEAN HalpReadCache(ULONG HostProcessor, ULONG Index, PHAL_CACHE Cache);
/* The lowest of a list of CPUs, or Default. */
ULONG HalpReadLowest(ULONG HostProcessor, const char *Name, ULONG Default);

#endif
