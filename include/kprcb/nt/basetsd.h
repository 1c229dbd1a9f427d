/*
 * basetsd.h - the sized types, which ntdef.h has (WDK: basetsd.h).
 */
#ifndef KPRCB_NT_BASETSD_H
#define KPRCB_NT_BASETSD_H

#include <kprcb/nt/ntdef.h>

#endif
