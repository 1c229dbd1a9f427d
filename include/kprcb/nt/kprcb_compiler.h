/*
 * kprcb_compiler.h - the words of Microsoft's compiler, for gcc and clang: __declspec, calling conventions, sized
 * types, target macros.
 *
 * clang with -fdeclspec and -fms-extensions knows most of them and is the compiler to use for driver code. For gcc a
 * table turns __declspec into attributes. One use cannot be saved there: after "typedef __declspec(align(64)) struct
 * {...} T;" gcc leaves sizeof(T) unrounded, so that arrays of T have the wrong stride; write "struct
 * __declspec(align(64)) {...}".
 *
 * Calling conventions are empty, on i386 too: the library and everything that it calls back use the host's.
 */
#ifndef KPRCB_NT_COMPILER_H
#define KPRCB_NT_COMPILER_H

#ifdef __has_builtin
#define KPRCB_HAS_BUILTIN(x) __has_builtin(x)
#else
#define KPRCB_HAS_BUILTIN(x) 0
#endif

#ifdef __is_identifier
#define KPRCB_IS_KEYWORD(x) (!__is_identifier(x))
#else
#define KPRCB_IS_KEYWORD(x) 0
#endif

/* The processor for which the driver is compiled. */
#if defined(__x86_64__)
#ifndef _AMD64_
#define _AMD64_
#endif
#ifndef _M_AMD64
#define _M_AMD64 100
#endif
#ifndef _M_X64
#define _M_X64 100
#endif
#elif defined(__i386__)
#ifndef _X86_
#define _X86_
#endif
#ifndef _M_IX86
#define _M_IX86 600
#endif
#elif defined(__aarch64__)
#ifndef _ARM64_
#define _ARM64_
#endif
#ifndef _M_ARM64
#define _M_ARM64 1
#endif
#endif
#if defined(__LP64__) && !defined(_WIN64)
#define _WIN64 1
#endif

/* --- __declspec --- */

#if !KPRCB_IS_KEYWORD(__declspec) && !defined(__declspec)
#define __declspec(Modifier) __attribute__((KPRCB_DECLSPEC_##Modifier))
#define KPRCB_DECLSPEC_
#define KPRCB_DECLSPEC_align __aligned__
#define KPRCB_DECLSPEC_allocate(...)
#define KPRCB_DECLSPEC_allocator
#define KPRCB_DECLSPEC_code_seg(...)
#define KPRCB_DECLSPEC_deprecated __deprecated__
#define KPRCB_DECLSPEC_dllexport
#define KPRCB_DECLSPEC_dllimport
#define KPRCB_DECLSPEC_empty_bases
#define KPRCB_DECLSPEC_guard(...)
#define KPRCB_DECLSPEC_noalias
#define KPRCB_DECLSPEC_noinline __noinline__
#define KPRCB_DECLSPEC_noreturn __noreturn__
#define KPRCB_DECLSPEC_nothrow __nothrow__
#define KPRCB_DECLSPEC_novtable
#define KPRCB_DECLSPEC_restrict __malloc__
#define KPRCB_DECLSPEC_safebuffers
#define KPRCB_DECLSPEC_selectany __weak__
#define KPRCB_DECLSPEC_spectre(...)
#define KPRCB_DECLSPEC_uuid(...)
#endif

#ifndef DECLSPEC_IMPORT
#define DECLSPEC_IMPORT
#endif
#ifndef DECLSPEC_EXPORT
#define DECLSPEC_EXPORT
#endif
#ifndef DECLSPEC_NOINLINE
#define DECLSPEC_NOINLINE __attribute__((__noinline__))
#endif
#ifndef DECLSPEC_NOTHROW
#define DECLSPEC_NOTHROW __attribute__((__nothrow__))
#endif
#ifndef DECLSPEC_SELECTANY
#define DECLSPEC_SELECTANY __attribute__((__weak__))
#endif
#ifndef DECLSPEC_RESTRICT
#define DECLSPEC_RESTRICT __attribute__((__malloc__))
#endif
#ifndef DECLSPEC_DEPRECATED
#define DECLSPEC_DEPRECATED __attribute__((__deprecated__))
#endif
#ifndef DECLSPEC_DEPRECATED_DDK
#define DECLSPEC_DEPRECATED_DDK
#endif
#ifndef DECLSPEC_DEPRECATED_DDK_WINXP
#define DECLSPEC_DEPRECATED_DDK_WINXP
#endif
#ifndef DECLSPEC_NOVTABLE
#define DECLSPEC_NOVTABLE
#endif
#ifndef DECLSPEC_UUID
#define DECLSPEC_UUID(x)
#endif
#ifndef DECLSPEC_CACHEALIGN
#define DECLSPEC_CACHEALIGN __attribute__((__aligned__(64)))
#endif
#ifndef DECLSPEC_GUARDNOCF
#define DECLSPEC_GUARDNOCF
#endif

/* --- Calling conventions --- */

#undef __cdecl
#undef _cdecl
#undef __stdcall
#undef _stdcall
#undef __fastcall
#undef _fastcall
#undef __thiscall
#undef __vectorcall
#undef __pascal
#define __cdecl
#define _cdecl
#define __stdcall
#define _stdcall
#define __fastcall
#define _fastcall
#define __thiscall
#define __vectorcall
#define __pascal
#ifndef CDECL
#define CDECL
#endif
#ifndef STDCALL
#define STDCALL
#endif
#ifndef WINAPI
#define WINAPI
#endif
#ifndef CALLBACK
#define CALLBACK
#endif

/* --- Words that clang has with -fms-extensions --- */

#if !KPRCB_IS_KEYWORD(__int64) && !defined(__pragma)
#define __pragma(...)
#endif
#if !KPRCB_IS_KEYWORD(__int64) && !defined(__int64)
#define __int8 char
#define __int16 short
#define __int32 int
#define __int64 long long
#endif
#if !KPRCB_IS_KEYWORD(__forceinline) && !defined(__forceinline)
#define __forceinline __inline __attribute__((__always_inline__))
#endif
#if !KPRCB_IS_KEYWORD(_inline) && !defined(_inline)
#define _inline __inline
#endif
#if !KPRCB_IS_KEYWORD(__ptr64) && !defined(__ptr64)
#define __ptr32
#define __ptr64
#define __sptr
#define __uptr
#endif
#if !KPRCB_IS_KEYWORD(__w64) && !defined(__w64)
#define __w64
#endif
#if !KPRCB_IS_KEYWORD(__unaligned) && !defined(__unaligned)
#define __unaligned
#endif
#if !KPRCB_HAS_BUILTIN(__noop) && !defined(__noop)
#define __noop(...) ((void)0)
#endif
#if !KPRCB_HAS_BUILTIN(__assume) && !defined(__assume)
#define __assume(Condition) ((Condition) ? (void)0 : __builtin_unreachable())
#endif
#if !KPRCB_HAS_BUILTIN(__debugbreak) && !defined(__debugbreak)
#define __debugbreak() __builtin_trap()
#endif
#ifndef __annotation
#define __annotation(...) ((void)0)
#endif
#ifndef __nop
#define __nop() __asm__ __volatile__("nop")
#endif

#ifndef DECLSPEC_NORETURN
#define DECLSPEC_NORETURN __attribute__((__noreturn__))
#endif
#ifndef FALLTHROUGH
#define FALLTHROUGH __attribute__((__fallthrough__))
#endif

#endif
