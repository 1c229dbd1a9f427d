/*
 * specstrings.h - the source annotation language, first version (WDK: specstrings.h), as no-ops.
 *
 * In C++ the names of this version are left undefined, because the C++ library uses __in and __out as names of its own.
 * Define KPRCB_SAL1 before this header, and include the C++ library's headers before it, if C++ driver code needs them.
 * __reserved and __null are left out in C too: headers of the host use them.
 */
#ifndef KPRCB_NT_SPECSTRINGS_H
#define KPRCB_NT_SPECSTRINGS_H

#include <kprcb/nt/concurrencysal.h>
#include <kprcb/nt/driverspecs.h>
#include <kprcb/nt/kprcb_sal1_buffers.h>
#include <kprcb/nt/sal.h>

#if !defined(__cplusplus) || defined(KPRCB_SAL1)

/* Without arguments */

#ifndef __in
#define __in
#endif
#ifndef __out
#define __out
#endif
#ifndef __inout
#define __inout
#endif
#ifndef __in_opt
#define __in_opt
#endif
#ifndef __out_opt
#define __out_opt
#endif
#ifndef __inout_opt
#define __inout_opt
#endif
#ifndef __in_z
#define __in_z
#endif
#ifndef __out_z
#define __out_z
#endif
#ifndef __inout_z
#define __inout_z
#endif
#ifndef __in_z_opt
#define __in_z_opt
#endif
#ifndef __out_z_opt
#define __out_z_opt
#endif
#ifndef __inout_z_opt
#define __inout_z_opt
#endif
#ifndef __in_nz
#define __in_nz
#endif
#ifndef __out_nz
#define __out_nz
#endif
#ifndef __inout_nz
#define __inout_nz
#endif
#ifndef __deref
#define __deref
#endif
#ifndef __deref_in
#define __deref_in
#endif
#ifndef __deref_out
#define __deref_out
#endif
#ifndef __deref_inout
#define __deref_inout
#endif
#ifndef __deref_in_opt
#define __deref_in_opt
#endif
#ifndef __deref_out_opt
#define __deref_out_opt
#endif
#ifndef __deref_inout_opt
#define __deref_inout_opt
#endif
#ifndef __deref_opt_in
#define __deref_opt_in
#endif
#ifndef __deref_opt_out
#define __deref_opt_out
#endif
#ifndef __deref_opt_inout
#define __deref_opt_inout
#endif
#ifndef __deref_opt_out_opt
#define __deref_opt_out_opt
#endif
#ifndef __deref_opt_inout_opt
#define __deref_opt_inout_opt
#endif
#ifndef __deref_out_z
#define __deref_out_z
#endif
#ifndef __deref_out_z_opt
#define __deref_out_z_opt
#endif
#ifndef __deref_opt_out_z
#define __deref_opt_out_z
#endif
#ifndef __deref_inout_z
#define __deref_inout_z
#endif
#ifndef __deref_out_nz
#define __deref_out_nz
#endif
#ifndef __nullterminated
#define __nullterminated
#endif
#ifndef __nullnullterminated
#define __nullnullterminated
#endif
#ifndef __notnull
#define __notnull
#endif
#ifndef __maybenull
#define __maybenull
#endif
#ifndef __checkReturn
#define __checkReturn
#endif
#ifndef __callback
#define __callback
#endif
#ifndef __format_string
#define __format_string
#endif
#ifndef __readonly
#define __readonly
#endif
#ifndef __notreadonly
#define __notreadonly
#endif
#ifndef __maybereadonly
#define __maybereadonly
#endif
#ifndef __valid
#define __valid
#endif
#ifndef __notvalid
#define __notvalid
#endif
#ifndef __maybevalid
#define __maybevalid
#endif
#ifndef __refparam
#define __refparam
#endif
#ifndef __bound
#define __bound
#endif
#ifndef __field_nullterminated
#define __field_nullterminated
#endif
#ifndef __kernel_entry
#define __kernel_entry
#endif
#ifndef __override
#define __override
#endif
#ifndef __exceptthat
#define __exceptthat
#endif
#ifndef __pre
#define __pre
#endif
#ifndef __post
#define __post
#endif
#ifndef __inner_checkReturn
#define __inner_checkReturn
#endif
#ifndef __blocking
#define __blocking
#endif

#endif

#endif
