/*
 * cpuiddump.c - reads cpuid of processors from a file of lines with seven fields, parted by tabs:
 *
 *   processor  leaf  subleaf  eax  ebx  ecx  edx
 *
 * The first line is these names. Numbers are hexadecimal, up to eight digits, without prefix. Each line ends with a
 * newline. Anything else is refused, with the number of the line; control characters too, so that none reaches a terminal.
 *
 * A record may leave out leaves: extracts leave out those that are of no interest or zero. One that lacks leaf 0, or one
 * of 1, 2, 7 and 0x80000001 to 0x80000008 though a maximum tells of it, is refused as truncated. Other leaves count as
 * zeros, and the record remembers which were asked for. A list of subleaves ends where the record does. That a processor
 * has no extended leaves and that its record was cut off before them look alike.
 *
 * Test: tests/kd/test_cpuiddump.c.
 */
#include "cpuiddump.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIELDS 7
#define MAXIMUM_LINE 256

static const char KdDumpHeader[] = "processor\tleaf\tsubleaf\teax\tebx\tecx\tedx";

static BOOLEAN KdParseHex(const char *Text, PULONG Number)
{
    size_t Length = strlen(Text);

    if (Length == 0 || Length > 8 || strspn(Text, "0123456789abcdefABCDEF") != Length) {
        return FALSE;
    }
    *Number = (ULONG)strtoul(Text, NULL, 16);
    return TRUE;
}

/* --- the tables --- */

static ULONG KdHash(const char *Processor, ULONG Leaf, ULONG Subleaf)
{
    ULONG Hash = Leaf * 31 + Subleaf;

    for (; *Processor != 0; Processor++) {
        Hash = Hash * 31 + (UCHAR)*Processor;
    }
    return Hash * 2654435769u >> 7;
}

/* The entry of a leaf, or the free one where it belongs. NULL: there are no tables yet. */
static ULONG *KdLeafEntry(const KD_CPUID_DUMP *Dump, const char *Processor, ULONG Leaf, ULONG Subleaf)
{
    ULONG Place = KdHash(Processor, Leaf, Subleaf);

    for (; Dump->TableSize != 0; Place++) {
        ULONG *Entry = &Dump->LeafTable[Place & (Dump->TableSize - 1)];
        const KD_CPUID_LEAF *Found;

        if (*Entry == 0) {
            return Entry;
        }
        Found = &Dump->Leaves[*Entry - 1];
        if (Found->Leaf == Leaf && Found->Subleaf == Subleaf && strcmp(Found->Processor, Processor) == 0) {
            return Entry;
        }
    }
    return NULL;
}

static ULONG *KdNameEntry(const KD_CPUID_DUMP *Dump, const char *Processor)
{
    ULONG Place = KdHash(Processor, 0, 0);

    for (; Dump->TableSize != 0; Place++) {
        ULONG *Entry = &Dump->NameTable[Place & (Dump->TableSize - 1)];

        if (*Entry == 0 || strcmp(Dump->Leaves[*Entry - 1].Processor, Processor) == 0) {
            return Entry;
        }
    }
    return NULL;
}

static void KdEnterLeaf(KD_CPUID_DUMP *Dump, ULONG Number)
{
    const KD_CPUID_LEAF *Leaf = &Dump->Leaves[Number - 1];
    ULONG *Name = KdNameEntry(Dump, Leaf->Processor);

    *KdLeafEntry(Dump, Leaf->Processor, Leaf->Leaf, Leaf->Subleaf) = Number;
    if (*Name == 0) {
        *Name = Number;
    }
}

/* Room for twice as many leaves. FALSE: no memory; the dump is as it was. */
static BOOLEAN KdGrow(KD_CPUID_DUMP *Dump)
{
    ULONG Size = Dump->TableSize != 0 ? 2 * Dump->TableSize : 256;
    KD_CPUID_LEAF *Leaves = realloc(Dump->Leaves, (size_t)Size / 2 * sizeof(*Leaves));
    ULONG *LeafTable = calloc(Size, sizeof(*LeafTable));
    ULONG *NameTable = calloc(Size, sizeof(*NameTable));

    if (Leaves != NULL) {
        Dump->Leaves = Leaves;
    }
    if (Leaves == NULL || LeafTable == NULL || NameTable == NULL || Size == 0) {
        free(LeafTable);
        free(NameTable);
        return FALSE;
    }
    free(Dump->LeafTable);
    free(Dump->NameTable);
    Dump->LeafTable = LeafTable;
    Dump->NameTable = NameTable;
    Dump->TableSize = Size;
    for (ULONG Number = 1; Number <= Dump->Count; Number++) {
        KdEnterLeaf(Dump, Number);
    }
    return TRUE;
}

static const KD_CPUID_LEAF *KdFindLeaf(const KD_CPUID_DUMP *Dump, const char *Processor, ULONG Leaf, ULONG Subleaf)
{
    const ULONG *Entry = KdLeafEntry(Dump, Processor, Leaf, Subleaf);

    return Entry != NULL && *Entry != 0 ? &Dump->Leaves[*Entry - 1] : NULL;
}

static BOOLEAN KdAddLeaf(KD_CPUID_DUMP *Dump, const KD_CPUID_LEAF *Leaf)
{
    /* The tables stay half empty. */
    if (Dump->Count == Dump->TableSize / 2 && !KdGrow(Dump)) {
        return FALSE;
    }
    Dump->Leaves[Dump->Count++] = *Leaf;
    KdEnterLeaf(Dump, Dump->Count);
    return TRUE;
}

/* --- the lines --- */

static BOOLEAN KdParseLine(KD_CPUID_DUMP *Dump, char *Line, ULONG Number)
{
    const char *Path = Dump->Path;
    unsigned long At = Number;
    char *Fields[FIELDS];
    ULONG Count = 0;
    ULONG Words[FIELDS - 1];
    KD_CPUID_LEAF Leaf = {0};

    for (char *Field = Line; Field != NULL; Count++) {
        char *End = strchr(Field, '\t');

        if (End != NULL) {
            *End++ = 0;
        }
        if (Count < FIELDS) {
            Fields[Count] = Field;
        }
        Field = End;
    }
    if (Count != FIELDS) {
        KdComplain("%s, line %lu: %lu fields; there must be %d, parted by tabs", Path, At, (unsigned long)Count,
                   FIELDS);
        return FALSE;
    }
    if (Fields[0][0] == 0 || strlen(Fields[0]) >= KD_MAXIMUM_NAME) {
        KdComplain("%s, line %lu: the processor's name must have 1 to %d characters", Path, At, KD_MAXIMUM_NAME - 1);
        return FALSE;
    }
    for (ULONG Index = 1; Index < FIELDS; Index++) {
        if (!KdParseHex(Fields[Index], &Words[Index - 1])) {
            KdComplain("%s, line %lu: '%s' is not a hexadecimal number of 1 to 8 digits", Path, At, Fields[Index]);
            return FALSE;
        }
    }
    if (KdFindLeaf(Dump, Fields[0], Words[0], Words[1]) != NULL) {
        KdComplain("%s, line %lu: leaf 0x%lx, subleaf 0x%lx of '%s' a second time", Path, At, (unsigned long)Words[0],
                   (unsigned long)Words[1], Fields[0]);
        return FALSE;
    }
    strcpy(Leaf.Processor, Fields[0]);
    Leaf.Leaf = Words[0];
    Leaf.Subleaf = Words[1];
    Leaf.Registers = (HAL_CPUID){.Eax = Words[2], .Ebx = Words[3], .Ecx = Words[4], .Edx = Words[5]};
    if (!KdAddLeaf(Dump, &Leaf)) {
        KdComplain("%s: no memory to hold it", Path);
        return FALSE;
    }
    return TRUE;
}

typedef enum _KD_LINE { KdLineRead, KdLineEnd, KdLineCut, KdLineTooLong, KdLineControl } KD_LINE;

/* Reads a line without its newline. KdLineControl: *Byte is a control character in it. */
static KD_LINE KdReadLine(FILE *File, char *Line, int *Byte)
{
    size_t Length = 0;

    while ((*Byte = getc(File)) != EOF) {
        if (*Byte == '\n') {
            Line[Length] = 0;
            return KdLineRead;
        }
        if ((*Byte < ' ' && *Byte != '\t') || *Byte == 0x7F) {
            return KdLineControl;
        }
        if (Length == MAXIMUM_LINE - 1) {
            return KdLineTooLong;
        }
        Line[Length++] = (char)*Byte;
    }
    return Length == 0 || ferror(File) ? KdLineEnd : KdLineCut;
}

static BOOLEAN KdUseLine(KD_CPUID_DUMP *Dump, char *Line, ULONG Number, KD_LINE Kind, int Byte)
{
    const char *Path = Dump->Path;
    unsigned long At = Number;

    if (Kind == KdLineCut) {
        KdComplain("%s, line %lu: ends without a newline; the file is truncated", Path, At);
    } else if (Kind == KdLineTooLong) {
        KdComplain("%s, line %lu: too long; more than %d characters", Path, At, MAXIMUM_LINE - 1);
    } else if (Kind == KdLineControl && Byte == '\r') {
        KdComplain("%s, line %lu: a carriage return; lines end with a newline alone", Path, At);
    } else if (Kind == KdLineControl) {
        KdComplain("%s, line %lu: not text, the byte 0x%02x is in it", Path, At, Byte);
    } else if (Number == 1 && strcmp(Line, KdDumpHeader) != 0) {
        KdComplain("%s, line 1: not the names 'processor leaf subleaf eax ebx ecx edx', parted by tabs", Path);
    } else {
        return Number == 1 || KdParseLine(Dump, Line, Number);
    }
    return FALSE;
}

static BOOLEAN KdReadLines(KD_CPUID_DUMP *Dump, FILE *File)
{
    char Line[MAXIMUM_LINE];
    ULONG Number = 1;
    KD_LINE Kind;
    int Byte;

    while ((Kind = KdReadLine(File, Line, &Byte)) != KdLineEnd) {
        if (!KdUseLine(Dump, Line, Number, Kind, Byte)) {
            return FALSE;
        }
        Number++;
    }
    if (ferror(File)) {
        KdComplain("%s: %s", Dump->Path, strerror(errno));
        return FALSE;
    }
    if (Dump->Count == 0) {
        KdComplain(Number == 1 ? "%s: the file is empty" : "%s: there is no processor in it", Dump->Path);
        return FALSE;
    }
    return TRUE;
}

int KdReadDump(const char *Path, KD_CPUID_DUMP *Dump)
{
    FILE *File = fopen(Path, "r");
    BOOLEAN Good;

    *Dump = (KD_CPUID_DUMP){.Path = Path};
    if (File == NULL) {
        KdComplain("%s: %s", Path, strerror(errno));
        return KD_FAILED;
    }
    Good = KdReadLines(Dump, File);
    fclose(File);
    if (!Good) {
        KdFreeDump(Dump);
        return KD_FAILED;
    }
    return KD_OK;
}

void KdFreeDump(KD_CPUID_DUMP *Dump)
{
    free(Dump->Leaves);
    free(Dump->LeafTable);
    free(Dump->NameTable);
    *Dump = (KD_CPUID_DUMP){0};
}

/* Index of a processor's first leaf; Count: there is no such processor. */
static ULONG KdFirstLineOf(const KD_CPUID_DUMP *Dump, const char *Processor)
{
    const ULONG *Entry = KdNameEntry(Dump, Processor);

    return Entry != NULL && *Entry != 0 ? *Entry - 1 : Dump->Count;
}

const char *KdNextProcessor(const KD_CPUID_DUMP *Dump, const char *Previous)
{
    ULONG Index = Previous == NULL ? 0 : KdFirstLineOf(Dump, Previous) + 1;

    while (Index < Dump->Count && KdFirstLineOf(Dump, Dump->Leaves[Index].Processor) != Index) {
        Index++;
    }
    return Index < Dump->Count ? Dump->Leaves[Index].Processor : NULL;
}

static BOOLEAN KdHasLeaves(const KD_CPUID_RECORD *Record, ULONG Teller, ULONG Highest, const ULONG *Leaves, ULONG Count)
{
    for (ULONG Index = 0; Index < Count; Index++) {
        if (Leaves[Index] <= Highest && KdFindLeaf(Record->Dump, Record->Processor, Leaves[Index], 0) == NULL) {
            KdComplain("%s: '%s' is truncated: leaf 0x%lx tells of leaves up to 0x%lx, and 0x%lx is missing",
                       Record->Dump->Path, Record->Processor, (unsigned long)Teller, (unsigned long)Highest,
                       (unsigned long)Leaves[Index]);
            return FALSE;
        }
    }
    return TRUE;
}

static BOOLEAN KdIsComplete(const KD_CPUID_RECORD *Record)
{
    static const ULONG Basic[] = {1, 2, 7};
    static const ULONG Extended[] = {0x80000001, 0x80000002, 0x80000003, 0x80000004,
                                     0x80000005, 0x80000006, 0x80000007, 0x80000008};
    const KD_CPUID_LEAF *Leaf0 = KdFindLeaf(Record->Dump, Record->Processor, 0, 0);
    const KD_CPUID_LEAF *Extended0 = KdFindLeaf(Record->Dump, Record->Processor, 0x80000000, 0);

    if (Leaf0 == NULL) {
        KdComplain("%s: '%s' is truncated: leaf 0 is missing", Record->Dump->Path, Record->Processor);
        return FALSE;
    }
    if (!KdHasLeaves(Record, 0, Leaf0->Registers.Eax, Basic, ARRAYSIZE(Basic))) {
        return FALSE;
    }
    return Extended0 == NULL || Extended0->Registers.Eax > 0x800000FF ||
           KdHasLeaves(Record, 0x80000000, Extended0->Registers.Eax, Extended, ARRAYSIZE(Extended));
}

int KdChooseProcessor(const KD_CPUID_DUMP *Dump, const char *Name, KD_CPUID_RECORD *Record)
{
    ULONG Index = 0;

    if (Name == NULL && KdNextProcessor(Dump, KdNextProcessor(Dump, NULL)) != NULL) {
        KdComplain("%s has several processors; --processor=NAME chooses one, --list lists them", Dump->Path);
        return KD_USAGE;
    }
    if (Name != NULL) {
        Index = KdFirstLineOf(Dump, Name);
        if (Index == Dump->Count) {
            KdComplain("%s has no processor '%s'; --list lists them", Dump->Path, Name);
            return KD_USAGE;
        }
    }
    *Record = (KD_CPUID_RECORD){.Dump = Dump, .Processor = Dump->Leaves[Index].Processor};
    return KdIsComplete(Record) ? KD_OK : KD_FAILED;
}

static void KdRememberMissing(KD_CPUID_RECORD *Record, ULONG Leaf)
{
    for (ULONG Index = 0; Index < Record->MissingCount; Index++) {
        if (Record->Missing[Index] == Leaf) {
            return;
        }
    }
    if (Record->MissingCount < KD_MAXIMUM_MISSING) {
        Record->Missing[Record->MissingCount++] = Leaf;
    }
}

BOOLEAN KdRecordCpuid(PVOID Context, ULONG Leaf, ULONG Subleaf, PHAL_CPUID Registers)
{
    KD_CPUID_RECORD *Record = Context;
    const KD_CPUID_LEAF *Found = KdFindLeaf(Record->Dump, Record->Processor, Leaf, Subleaf);

    if (Found == NULL) {
        /* Nothing tells that a processor has leaf 0x80000000; and where a leaf is recorded, its list ends somewhere. */
        if (Leaf != 0x80000000 && (Subleaf == 0 || KdFindLeaf(Record->Dump, Record->Processor, Leaf, 0) == NULL)) {
            KdRememberMissing(Record, Leaf);
        }
        return FALSE;
    }
    *Registers = Found->Registers;
    return TRUE;
}
