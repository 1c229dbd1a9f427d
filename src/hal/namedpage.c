/*
 * namedpage.c - pages that another process finds by name, in the host's list of this process's mappings.
 *
 * The name is that of a memory file, or where the host denies those, of an anonymous mapping. The mapping is private:
 * a child that is forked before it was taken out of forks has zeros, and sees no later store.
 *
 * Test: tests/hal/test_namedpage.c.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "hal.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

/* What older headers lack. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

static SIZE_T HalpWholePages(SIZE_T Bytes)
{
    SIZE_T Page = (SIZE_T)sysconf(_SC_PAGESIZE);

    return (Bytes + Page - 1) & ~(Page - 1);
}

static PVOID HalpMapFile(const char *Name, SIZE_T Size)
{
    int File = memfd_create(Name, MFD_CLOEXEC | MFD_NOEXEC_SEAL);
    PVOID Base = MAP_FAILED;

    if (File < 0) {
        File = memfd_create(Name, MFD_CLOEXEC);
    }
    if (File < 0) {
        return MAP_FAILED;
    }
    if (ftruncate(File, (off_t)Size) == 0) {
        Base = mmap(NULL, Size, PROT_READ | PROT_WRITE, MAP_PRIVATE, File, 0);
    }
    (void)close(File);
    return Base;
}

static PVOID HalpMapAnonymous(const char *Name, SIZE_T Size)
{
    PVOID Base = mmap(NULL, Size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (Base == MAP_FAILED) {
        return MAP_FAILED;
    }
    if (prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, Base, Size, Name) != 0) {
        (void)munmap(Base, Size);
        return MAP_FAILED;
    }
    return Base;
}

PVOID HalAllocateNamedPages(const char *Name, SIZE_T Bytes)
{
    SIZE_T Size = HalpWholePages(Bytes);
    PVOID Base;

    if (Size < Bytes || Size == 0) {
        return NULL;
    }
    Base = HalpMapFile(Name, Size);
    if (Base == MAP_FAILED) {
        Base = HalpMapAnonymous(Name, Size);
    }
    if (Base == MAP_FAILED) {
        return NULL;
    }
    if (madvise(Base, Size, MADV_DONTFORK) != 0) {
        (void)munmap(Base, Size);
        return NULL;
    }
    return Base;
}

VOID HalFreeNamedPages(PVOID Base, SIZE_T Bytes)
{
    if (Base != NULL) {
        (void)munmap(Base, HalpWholePages(Bytes));
    }
}
