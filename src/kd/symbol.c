/*
 * symbol.c - what an address of the target is: the nearest symbol of the file that is mapped there, or file and offset.
 *
 * The list of mappings is read once, a file's symbols when the first address falls into it. Neither is trusted: sizes
 * and offsets of a file are checked against it, and it is read, never mapped, since whoever owns it may cut it off
 * meanwhile. Only files of this command's word size are understood. Test: tests/kd/test_target.c.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "target.h"

#include <fcntl.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAXIMUM_MODULES 512
#define MAXIMUM_MAPPINGS 131072
#define MAXIMUM_SEGMENTS 128
#define MAXIMUM_SECTIONS 4096
#define MAXIMUM_TABLE (64u << 20) /* bytes of a symbol or string table */
#define LONGEST_NAME 64
#define MEMORY 64 /* addresses remembered: most come again */

typedef struct _KD_MODULE {
    char *Path;
    ULONGLONG Start, End; /* first and last mapping of the file */
    ULONGLONG Bias;       /* what is added to the file's addresses */
    ULONGLONG Last;       /* the end of its memory, what no file is behind included */
    BOOLEAN Read;
    ElfW(Sym) * Symbols;
    ULONG SymbolCount;
    char *Names;
    size_t NamesSize;
} KD_MODULE;

typedef struct _KD_SYMBOLS {
    ULONG Count;
    KD_MODULE Modules[MAXIMUM_MODULES];
    struct {
        ULONGLONG Address; /* 0: none yet */
        char Text[96];
    } Memory[MEMORY];
} KD_SYMBOLS;

static void KdAddMapping(KD_SYMBOLS *Symbols, const char *Line)
{
    unsigned long long Start, End;
    int Column = 0;
    KD_MODULE *Last = Symbols->Count != 0 ? &Symbols->Modules[Symbols->Count - 1] : NULL;

    if (sscanf(Line, "%llx-%llx %*s %*s %*s %*s %n", &Start, &End, &Column) < 2 || Column == 0 || Line[Column] != '/') {
        return;
    }
    if (Last != NULL && strcmp(Last->Path, Line + Column) == 0) {
        Last->End = End;
        return;
    }
    if (Symbols->Count < MAXIMUM_MODULES) {
        char *Path = strdup(Line + Column);

        if (Path != NULL) {
            Symbols->Modules[Symbols->Count++] = (KD_MODULE){.Path = Path, .Start = Start, .End = End, .Last = End};
        }
    }
}

static KD_SYMBOLS *KdReadModules(PKD_TARGET Target)
{
    char Line[4608];
    KD_SYMBOLS *Symbols = calloc(1, sizeof(*Symbols));
    FILE *Mappings;

    snprintf(Line, sizeof(Line), "/proc/%lu/maps", (unsigned long)Target->Pid);
    Mappings = fopen(Line, "re");
    if (Symbols != NULL && Mappings != NULL) {
        for (ULONG Count = 0; Count < MAXIMUM_MAPPINGS && fgets(Line, sizeof(Line), Mappings) != NULL; Count++) {
            Line[strcspn(Line, "\n")] = 0;
            KdAddMapping(Symbols, Line);
        }
    }
    if (Mappings != NULL) {
        fclose(Mappings);
    }
    return Symbols;
}

/* --- the file --- */

static BOOLEAN KdReadFile(int File, ULONGLONG Offset, void *Buffer, size_t Size)
{
    return Offset <= INT64_MAX && pread(File, Buffer, Size, (off_t)Offset) == (ssize_t)Size;
}

/* A part of the file, with a zero behind it. NULL: it is not there, or too large. */
static void *KdReadPart(int File, ULONGLONG Offset, ULONGLONG Size)
{
    char *Part = Size <= MAXIMUM_TABLE ? malloc((size_t)Size + 1) : NULL;

    if (Part != NULL && !KdReadFile(File, Offset, Part, (size_t)Size)) {
        free(Part);
        return NULL;
    }
    if (Part != NULL) {
        Part[Size] = 0;
    }
    return Part;
}

static BOOLEAN KdReadElfHeader(int File, ElfW(Ehdr) * Header)
{
    return KdReadFile(File, 0, Header, sizeof(*Header)) && memcmp(Header->e_ident, ELFMAG, SELFMAG) == 0 &&
           Header->e_ident[EI_CLASS] == (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32) &&
           Header->e_phentsize == sizeof(ElfW(Phdr)) && Header->e_phnum <= MAXIMUM_SEGMENTS;
}

/* Where the file's addresses begin and end. */
static BOOLEAN KdReadSegments(KD_MODULE *Module, int File, const ElfW(Ehdr) * Header)
{
    ElfW(Phdr) *Segments = KdReadPart(File, Header->e_phoff, (ULONGLONG)Header->e_phnum * sizeof(*Segments));
    ULONGLONG Low = ~0ull, High = 0;

    if (Segments == NULL) {
        return FALSE;
    }
    for (ULONG Index = 0; Index < Header->e_phnum; Index++) {
        if (Segments[Index].p_type == PT_LOAD) {
            ULONGLONG End = (ULONGLONG)Segments[Index].p_vaddr + Segments[Index].p_memsz;

            Low = Segments[Index].p_vaddr < Low ? Segments[Index].p_vaddr : Low;
            High = End > High ? End : High;
        }
    }
    free(Segments);
    if (Low > High) {
        return FALSE;
    }
    Module->Bias = Module->Start - (Low & ~(ULONGLONG)(sysconf(_SC_PAGESIZE) - 1));
    Module->Last = Module->Bias + High;
    return TRUE;
}

static void KdReadSymbolTable(KD_MODULE *Module, int File, const ElfW(Ehdr) * Header)
{
    ElfW(Shdr) * Sections;
    const ElfW(Shdr) *Table = NULL;

    if (Header->e_shentsize != sizeof(*Sections) || Header->e_shnum > MAXIMUM_SECTIONS) {
        return;
    }
    Sections = KdReadPart(File, Header->e_shoff, (ULONGLONG)Header->e_shnum * sizeof(*Sections));
    for (ULONG Index = 0; Sections != NULL && Index < Header->e_shnum; Index++) {
        /* The full table rather than the dynamic one, which a stripped file still has. */
        if (Sections[Index].sh_link < Header->e_shnum &&
            (Sections[Index].sh_type == SHT_SYMTAB || (Sections[Index].sh_type == SHT_DYNSYM && Table == NULL))) {
            Table = &Sections[Index];
        }
    }
    if (Table != NULL) {
        const ElfW(Shdr) *Names = &Sections[Table->sh_link];

        Module->Symbols = KdReadPart(File, Table->sh_offset, Table->sh_size);
        Module->Names = KdReadPart(File, Names->sh_offset, Names->sh_size);
        Module->SymbolCount =
            Module->Symbols != NULL && Module->Names != NULL ? (ULONG)(Table->sh_size / sizeof(*Module->Symbols)) : 0;
        Module->NamesSize = Module->Names != NULL ? (size_t)Names->sh_size : 0;
    }
    free(Sections);
}

static void KdReadModule(PKD_TARGET Target, KD_MODULE *Module)
{
    char Path[4700];
    ElfW(Ehdr) Header;
    struct stat About;
    int File;

    Module->Read = TRUE;
    /* As the target sees it, which may be in a container. A pipe would keep us waiting. */
    snprintf(Path, sizeof(Path), "/proc/%lu/root%s", (unsigned long)Target->Pid, Module->Path);
    File = open(Path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (File < 0) {
        return;
    }
    if (fstat(File, &About) == 0 && S_ISREG(About.st_mode) && KdReadElfHeader(File, &Header) &&
        KdReadSegments(Module, File, &Header)) {
        KdReadSymbolTable(Module, File, &Header);
    }
    close(File);
}

/* --- looking up --- */

static KD_MODULE *KdFindModule(PKD_TARGET Target, ULONGLONG Address)
{
    for (ULONG Index = Target->Symbols->Count; Index-- > 0;) {
        KD_MODULE *Module = &Target->Symbols->Modules[Index];

        if (Address < Module->Start) {
            continue;
        }
        if (!Module->Read) {
            KdReadModule(Target, Module);
        }
        if (Address < Module->End || Address < Module->Last) {
            return Module;
        }
    }
    return NULL;
}

static const ElfW(Sym) * KdFindSymbol(const KD_MODULE *Module, ULONGLONG Address)
{
    for (ULONG Index = 0; Index < Module->SymbolCount; Index++) {
        const ElfW(Sym) *Symbol = &Module->Symbols[Index];
        ULONG Type = Symbol->st_info & 0xF;

        if ((Type == STT_FUNC || Type == STT_OBJECT) && Symbol->st_shndx != SHN_UNDEF && Address >= Symbol->st_value &&
            (Address - Symbol->st_value < Symbol->st_size || Address == Symbol->st_value) &&
            Symbol->st_name < Module->NamesSize && Module->Names[Symbol->st_name] != 0) {
            return Symbol;
        }
    }
    return NULL;
}

static void KdCopyPrintable(char *Text, size_t Size, const char *Name)
{
    size_t Length = 0;

    for (; Length < Size - 1 && Length < LONGEST_NAME && Name[Length] != 0; Length++) {
        Text[Length] = (char)(Name[Length] >= 0x20 && Name[Length] <= 0x7E ? Name[Length] : '?');
    }
    Text[Length] = 0;
}

static void KdLookUp(PKD_TARGET Target, ULONGLONG Address, char *Text, size_t Size)
{
    KD_MODULE *Module;
    const ElfW(Sym) * Symbol;
    char Name[LONGEST_NAME + 1];
    ULONGLONG Offset;

    Text[0] = 0;
    Module = KdFindModule(Target, Address);
    if (Module == NULL) {
        return;
    }
    Symbol = KdFindSymbol(Module, Address - Module->Bias);
    if (Symbol != NULL) {
        KdCopyPrintable(Name, sizeof(Name), Module->Names + Symbol->st_name);
        Offset = Address - Module->Bias - Symbol->st_value;
    } else {
        KdCopyPrintable(Name, sizeof(Name), strrchr(Module->Path, '/') + 1);
        Offset = Address - Module->Start;
    }
    if (Offset != 0) {
        snprintf(Text, Size, "%s+0x%llx", Name, (unsigned long long)Offset);
    } else {
        snprintf(Text, Size, "%s", Name);
    }
}

void KdSymbolize(PKD_TARGET Target, ULONGLONG Address, char *Text, size_t Size)
{
    ULONG Place = (ULONG)(Address / 8 % MEMORY);

    Text[0] = 0;
    if (Target->Symbols == NULL) {
        Target->Symbols = KdReadModules(Target);
    }
    if (Target->Symbols == NULL || Address == 0) {
        return;
    }
    if (Target->Symbols->Memory[Place].Address != Address) {
        Target->Symbols->Memory[Place].Address = Address;
        KdLookUp(Target, Address, Target->Symbols->Memory[Place].Text, sizeof(Target->Symbols->Memory[Place].Text));
    }
    snprintf(Text, Size, "%s", Target->Symbols->Memory[Place].Text);
}

void KdFreeSymbols(PKD_TARGET Target)
{
    if (Target->Symbols == NULL) {
        return;
    }
    for (ULONG Index = 0; Index < Target->Symbols->Count; Index++) {
        free(Target->Symbols->Modules[Index].Path);
        free(Target->Symbols->Modules[Index].Symbols);
        free(Target->Symbols->Modules[Index].Names);
    }
    free(Target->Symbols);
    Target->Symbols = NULL;
}
