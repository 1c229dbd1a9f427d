/*
 * ntddk.h - what drivers include that need more than wdm.h (WDK: ntddk.h).
 */
#ifndef KPRCB_NT_NTDDK_H
#define KPRCB_NT_NTDDK_H

#include <kprcb/nt/wdm.h>

#endif
