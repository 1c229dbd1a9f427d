/*
 * bugcodes.h - the bug check codes, which bugcheck.h has (WDK: bugcodes.h).
 */
#ifndef KPRCB_NT_BUGCODES_H
#define KPRCB_NT_BUGCODES_H

#include <kprcb/bugcheck.h>

#endif
