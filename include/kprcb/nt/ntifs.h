/*
 * ntifs.h - what file systems and filters include (WDK: ntifs.h): ntddk.h and the flag macros.
 */
#ifndef KPRCB_NT_NTIFS_H
#define KPRCB_NT_NTIFS_H

#include <kprcb/nt/ntddk.h>

#ifndef FlagOn
#define FlagOn(Flags, Flag) ((Flags) & (Flag))
#endif
#ifndef BooleanFlagOn
#define BooleanFlagOn(Flags, Flag) ((BOOLEAN)(((Flags) & (Flag)) != 0))
#endif
#ifndef SetFlag
#define SetFlag(Flags, Flag) ((Flags) |= (Flag))
#endif
#ifndef ClearFlag
#define ClearFlag(Flags, Flag) ((Flags) &= ~(Flag))
#endif

#endif
