/*
 * test_namedpage.c - named pages: found by name in the host's list of mappings, zeroed, absent in the child of a fork, and
 * gone when freed; with memory files and without.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "support/child.h"

#include "hal.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define NAME "kprcb-test-page"

/* The start of the mapping whose name contains Name, or 0. */
static ULONG_PTR FindMapping(const char *Name)
{
    char Line[1024];
    FILE *Mappings = fopen("/proc/self/maps", "re");
    ULONG_PTR Start = 0;

    CHILD_CHECK(Mappings != NULL);
    while (Start == 0 && fgets(Line, sizeof(Line), Mappings) != NULL) {
        if (strstr(Line, Name) != NULL) {
            Start = (ULONG_PTR)strtoull(Line, NULL, 16);
        }
    }
    fclose(Mappings);
    return Start;
}

static void ChildHasNone(void *Base)
{
    unsigned char Resident;

    CHILD_CHECK(FindMapping(NAME) == 0);
    CHILD_CHECK(mincore(Base, 4096, &Resident) == -1 && errno == ENOMEM);
}

static void UsePages(const char *Listed)
{
    UCHAR *Base = HalAllocateNamedPages(NAME, 5000);
    pid_t Child;
    int Status;

    CHILD_CHECK(Base != NULL && FindMapping(Listed) == (ULONG_PTR)Base);
    for (ULONG Byte = 0; Byte < 8192; Byte += 1) {
        CHILD_CHECK(Base[Byte] == 0);
        Base[Byte] = 0xA5;
    }
    Child = fork();
    CHILD_CHECK(Child >= 0);
    if (Child == 0) {
        ChildHasNone(Base);
        _exit(0);
    }
    CHILD_CHECK(waitpid(Child, &Status, 0) == Child && Status == 0);
    CHILD_CHECK(Base[8191] == 0xA5);
    HalFreeNamedPages(Base, 5000);
    CHILD_CHECK(FindMapping(NAME) == 0);
}

static void UseMemoryFile(void *Context)
{
    (void)Context;
    UsePages("/memfd:" NAME " ");
}

static void DenyMemoryFiles(void)
{
    struct sock_filter Filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_memfd_create, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog Program = {.len = ARRAYSIZE(Filter), .filter = Filter};

    CHILD_CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHILD_CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &Program) == 0);
}

static void UseAnonymousName(void *Context)
{
    PVOID Probe;

    (void)Context;
    DenyMemoryFiles();
    Probe = HalAllocateNamedPages(NAME, 1);
    if (Probe == NULL) {
        _exit(0); /* a kernel without names for anonymous memory: nothing is published, and that is all */
    }
    HalFreeNamedPages(Probe, 1);
    UsePages("[anon:" NAME "]");
}

static void test_a_memory_file(void **State)
{
    (void)State;
    ChildSucceeds(UseMemoryFile, NULL);
}

static void test_an_anonymous_name(void **State)
{
    (void)State;
    ChildSucceeds(UseAnonymousName, NULL);
}

static void test_what_cannot_be_is_null(void **State)
{
    (void)State;
    assert_null(HalAllocateNamedPages(NAME, 0));
    assert_null(HalAllocateNamedPages(NAME, ~(SIZE_T)0));
    HalFreeNamedPages(NULL, 4096);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(test_a_memory_file),
        cmocka_unit_test(test_an_anonymous_name),
        cmocka_unit_test(test_what_cannot_be_is_null),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
