/*
 * cpuiddata.h - the cpuid dumps and expectations of tests/data/cpuid, for tests of src/ke and src/kd.
 *
 * The folder is found beside this file, or by the environment variable KPRCB_TEST_DATA (the folder tests/data).
 */
#ifndef TEST_CPUIDDATA_H
#define TEST_CPUIDDATA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "identify.h"

#define MAXIMUM_LEAVES 4096

typedef struct {
    char Processor[64];
    ULONG Leaf, Subleaf;
    HAL_CPUID Registers;
} LEAF;

typedef struct {
    const char *Processor;
    ULONG LeafLimit; /* only the first so many leaves of the dump are there */
    ULONG Asked;     /* leaves that the dump does not have */
} DUMP;

static LEAF Leaves[MAXIMUM_LEAVES];
static ULONG LeafCount;

static inline void FindData(const char *Name, char *Path, size_t Size)
{
    const char *Folder = getenv("KPRCB_TEST_DATA");
    const char *End = strstr(__FILE__, "tests/support/");

    if (Folder != NULL) {
        snprintf(Path, Size, "%s/cpuid/%s", Folder, Name);
    } else {
        assert_non_null(End);
        snprintf(Path, Size, "%.*stests/data/cpuid/%s", (int)(End - __FILE__), __FILE__, Name);
    }
}

static inline FILE *OpenData(const char *Name)
{
    char Path[4096];
    FILE *File;

    FindData(Name, Path, sizeof(Path));
    File = fopen(Path, "r");
    if (File == NULL) {
        fail_msg("cannot open %s", Path);
    }
    return File;
}

/* A group's setup. */
static inline int LoadDumps(void **State)
{
    FILE *File = OpenData("dumps.tsv");
    char Line[256];
    unsigned Word[6];

    (void)State;
    assert_non_null(fgets(Line, sizeof(Line), File));
    while (fgets(Line, sizeof(Line), File) != NULL) {
        LEAF *Leaf = &Leaves[LeafCount];

        assert_true(LeafCount < MAXIMUM_LEAVES);
        assert_int_equal(sscanf(Line, "%63[^\t]\t%x\t%x\t%x\t%x\t%x\t%x", Leaf->Processor, &Word[0], &Word[1], &Word[2],
                                &Word[3], &Word[4], &Word[5]),
                         7);
        Leaf->Leaf = Word[0];
        Leaf->Subleaf = Word[1];
        Leaf->Registers = (HAL_CPUID){Word[2], Word[3], Word[4], Word[5]};
        LeafCount++;
    }
    fclose(File);
    return LeafCount > 2000 ? 0 : -1;
}

static inline BOOLEAN ReadDump(PVOID Context, ULONG Leaf, ULONG Subleaf, PHAL_CPUID Registers)
{
    DUMP *Dump = Context;
    ULONG Seen = 0;

    for (ULONG Index = 0; Index < LeafCount; Index++) {
        if (strcmp(Leaves[Index].Processor, Dump->Processor) == 0 && Seen++ < Dump->LeafLimit &&
            Leaves[Index].Leaf == Leaf && Leaves[Index].Subleaf == Subleaf) {
            *Registers = Leaves[Index].Registers;
            return TRUE;
        }
    }
    Dump->Asked++;
    return FALSE;
}

#endif
