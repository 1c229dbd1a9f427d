/*
 * hal.h - the door of the host layer: all that the library asks of the operating system and the CPU.
 *
 * Nothing outside src/hal sleeps, reads a clock, creates a thread, parks, or includes a host header. A second host
 * behind this door (deterministic, with virtual time) must be able to replace src/hal as a whole.
 */
#ifndef HAL_H
#define HAL_H

#include <kprcb/base.h>

/* --- cpu.c: the host's CPUs and the placement of threads --- */

typedef enum _HAL_CACHE_TYPE { HalUnifiedCache, HalInstructionCache, HalDataCache } HAL_CACHE_TYPE;

typedef struct _HAL_CACHE {
    UCHAR Type; /* HAL_CACHE_TYPE */
    UCHAR Level;
    ULONG Ways;     /* 0: not known */
    ULONG LineSize; /* bytes; 0: not known */
    ULONG Size;     /* bytes */
    ULONG Sharing;  /* CPUs that share it; 0: not known */
    ULONG Sharer;   /* the lowest host number of theirs */
} HAL_CACHE, *PHAL_CACHE;

#define HAL_CPU_CACHES 5

typedef struct _HAL_CPU {
    ULONG HostProcessor; /* the host's number */
    ULONG Package;
    ULONG Die;     /* within the package */
    ULONG Core;    /* within the package */
    ULONG Sibling; /* the lowest host number of the core's CPUs */
    ULONG Module;  /* the same of the cores that form a cluster; Sibling: none do */
    ULONG Node;
    ULONG CacheCount;
    HAL_CACHE Cache[HAL_CPU_CACHES]; /* by level; of one level data before instructions */
} HAL_CPU, *PHAL_CPU;

/* CPUs that the process may use, at least 1; read anew by each HalInitializeProcessors. */
ULONG HalInitializeProcessors(VOID);
ULONG HalProcessorCount(VOID);
/* Index 0 to HalProcessorCount() - 1. */
const HAL_CPU *HalProcessor(ULONG Index);
/* Pins the calling thread to one host CPU. FALSE: the host refuses. */
BOOLEAN HalPinThread(ULONG HostProcessor);
/* Lets the calling thread run on all CPUs that the process may use. */
VOID HalUnpinThread(VOID);
/* The host CPU on which the caller runs at this moment. */
ULONG HalCurrentProcessor(VOID);

/* --- topology.c --- */

/* What the host's system tells of one CPU. */
VOID HalDescribeProcessor(ULONG HostProcessor, PHAL_CPU Cpu);

/* --- clock.c --- */

ULONGLONG HalMonotonicTime(VOID); /* ns, CLOCK_MONOTONIC */
ULONGLONG HalSystemTime(VOID);    /* 100 ns units since 1601, UTC */
ULONGLONG HalThreadTime(VOID);    /* ns of CPU time of the calling thread */
/* The same of another thread of this process. FALSE: there is no such thread any more. */
BOOLEAN HalThreadTimeOf(LONG HostThreadId, ULONGLONG *Time);

/*
 * A clock of the CPU, as cheap as there is one: it runs at a constant rate of its own. Two CPUs may differ a little, so the
 * time between two stamps may come out negative.
 */
static inline __attribute__((always_inline)) ULONGLONG HalTimeStamp(VOID)
{
#if defined(__x86_64__) || defined(__i386__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    ULONGLONG Stamp;

    __asm__ __volatile__("mrs %0, cntvct_el0" : "=r"(Stamp));
    return Stamp;
#else
    return HalMonotonicTime();
#endif
}

/* --- park.c: sleep until a word changes --- */

/*
 * Sleeps while *Word == Expected, at most Timeout ns (0: for ever). May return early. FALSE: the time is over. The
 * caller reads its condition again. The kernel's own look at the word is sequentially consistent with HalWake's
 * caller, who changes the word first.
 */
BOOLEAN HalPark(ULONG volatile *Word, ULONG Expected, ULONGLONG Timeout);
/* Wakes up to Count sleepers. Word need not be mapped any more. */
VOID HalWake(ULONG volatile *Word, ULONG Count);
/* Gives the CPU to another runnable thread. */
VOID HalYield(VOID);

/* One step of a spin: a hint to the CPU, no system call. */
static inline __attribute__((always_inline)) VOID HalPause(VOID)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("isb" ::: "memory");
#else
    __asm__ __volatile__("" ::: "memory");
#endif
}

/*
 * Every store before it is visible before any load after it is made. ThreadSanitizer knows no fences, and needs none: it
 * does not show the order that this one keeps.
 */
static inline __attribute__((always_inline)) VOID HalFullBarrier(VOID)
{
#if defined(__SANITIZE_THREAD__) && defined(__x86_64__)
    __asm__ __volatile__("mfence" ::: "memory");
#else
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

/* Begins to fetch the cache line of an address for writing. The address need not be valid. */
static inline __attribute__((always_inline)) VOID HalPrefetchForWrite(const volatile VOID *Address)
{
#if defined(__x86_64__)
    /*
     * Any x86-64 CPU that runs the systems of the last ten years has it; the compiler's builtin asks for reading
     * without -mprfchw.
     */
    __asm__ __volatile__("prefetchw %0" : : "m"(*(const volatile char *)Address));
#else
    __builtin_prefetch((const VOID *)Address, 1, 3);
#endif
}

/* --- mutex.c: for start, stop and lists of threads; never taken at or above DISPATCH_LEVEL --- */

typedef struct _HAL_MUTEX {
    ULONG volatile State; /* 0 free, 1 held, 2 held with sleepers; all writers use read-modify-write */
} HAL_MUTEX, *PHAL_MUTEX;

VOID HalAcquireMutex(PHAL_MUTEX Mutex);
VOID HalReleaseMutex(PHAL_MUTEX Mutex);

/*
 * --- hashtable.c: tables that are read without a lock, on liburcu ---
 *
 * A node is embedded in what the caller keeps, and has its key and hash from the caller. Reading is done in a read
 * section: what is found stays in memory until its end. Sections nest, wait for nothing, are allowed in an interrupt, and
 * must not span a wait, a raise across DISPATCH_LEVEL or a bug check: memory is not given back meanwhile, in no table.
 * Those who change a table are in a section too; they may run beside each other and beside readers.
 */

typedef struct _HAL_HASH_NODE {
    ULONG_PTR Host[2];
    struct _HAL_HASH_NODE *Next; /* the caller's while the node is in no table and not on its way back */
} __attribute__((aligned(8))) HAL_HASH_NODE, *PHAL_HASH_NODE;

typedef struct _HAL_HASH_ITERATOR {
    ULONG_PTR Host[4];
} HAL_HASH_ITERATOR, *PHAL_HASH_ITERATOR;

typedef struct _HAL_HASH_TABLE HAL_HASH_TABLE, *PHAL_HASH_TABLE;
typedef BOOLEAN HAL_HASH_MATCH(const HAL_HASH_NODE *Node, const VOID *Key);
typedef VOID HAL_HASH_FREE(PVOID Context, PHAL_HASH_NODE Node);

/*
 * Buckets: a power of two; it stays, and more nodes only make the chains longer. Free is called for each node removed,
 * once every read section has ended that was there at the removal; in a thread of the layer, which no table may be created
 * or destroyed in. NULL: no memory. Below DISPATCH_LEVEL, as the next two. The child of a fork has no tables.
 */
PHAL_HASH_TABLE HalCreateHashTable(ULONG Buckets, HAL_HASH_FREE *Free, PVOID Context);
/* Nobody uses it any more. Nodes that are in it or on their way back are forgotten: Free is not called. */
VOID HalDestroyHashTable(PHAL_HASH_TABLE Table);
/* What the first read section of a thread does otherwise: it takes a mutex. */
VOID HalRegisterReader(VOID);
VOID HalBeginRead(VOID);
VOID HalEndRead(VOID);

/* In a read section; any IRQL. None of them waits. */
PHAL_HASH_NODE HalFindInTable(PHAL_HASH_TABLE Table, ULONG_PTR Hash, HAL_HASH_MATCH *Match, const VOID *Key);
/* The key may be there already. */
VOID HalAddToTable(PHAL_HASH_TABLE Table, ULONG_PTR Hash, PHAL_HASH_NODE Node);
/* FALSE: somebody else has removed it. */
BOOLEAN HalRemoveFromTable(PHAL_HASH_TABLE Table, PHAL_HASH_NODE Node);
/* NULL: there are no more. Nodes that come or go meanwhile may be met or not. */
PHAL_HASH_NODE HalFirstInTable(PHAL_HASH_TABLE Table, PHAL_HASH_ITERATOR Iterator);
PHAL_HASH_NODE HalNextInTable(PHAL_HASH_TABLE Table, PHAL_HASH_ITERATOR Iterator);

/* --- barrier.c: a barrier on every running thread of the process --- */

/*
 * Registers the process with membarrier(PRIVATE_EXPEDITED). FALSE: the host has none; HalProcessBarrier must not be
 * called.
 */
BOOLEAN HalInitializeBarrier(VOID);
/*
 * On return every thread of the process has executed a full barrier since the call. Callers that wait together share
 * one system call.
 */
VOID HalProcessBarrier(VOID);

/* --- thread.c --- */

typedef VOID HAL_THREAD_ROUTINE(PVOID Context);

typedef struct _HAL_THREAD {
    ULONG_PTR Opaque[2];
} HAL_THREAD, *PHAL_THREAD;

/*
 * Creates a thread with all signals blocked but the interrupt's and those of faults, named Name (15 characters),
 * pinned to HostProcessor unless it is HAL_ANY_PROCESSOR (a refused pin is not an error). StackSize in bytes; 0: the
 * default. STATUS_INSUFFICIENT_RESOURCES.
 */
NTSTATUS HalCreateThread(PHAL_THREAD Thread, HAL_THREAD_ROUTINE *Routine, PVOID Context, SIZE_T StackSize,
                         ULONG HostProcessor, const char *Name);
#define HAL_ANY_PROCESSOR 0xFFFFFFFF
/* Waits until the thread has ended and frees it. */
VOID HalJoinThread(PHAL_THREAD Thread);
/* The host's id of the calling thread. */
LONG HalCurrentThreadId(VOID);
/* Lowest and highest address of the calling thread's stack. */
VOID HalCurrentStack(ULONG_PTR *Low, ULONG_PTR *High);
/*
 * From now on Routine(Context) is called when the calling thread ends, while its thread-local storage is still there.
 * Context NULL: not any more. One routine for the process.
 */
VOID HalSetThreadExit(VOID (*Routine)(PVOID Context), PVOID Context);
/* Routine is called in the child of each fork, once registered. */
VOID HalSetForkChild(VOID (*Routine)(VOID));

/* --- signal.c: interrupting a thread --- */

/*
 * What an interrupt does: called in the interrupted thread, async-signal-safe. Frame: what it has interrupted, in the
 * host's form, until it returns. FALSE: the host refuses, or the program uses the signal itself.
 */
BOOLEAN HalInstallInterrupt(VOID (*Routine)(PVOID Frame));
/* Interrupts a thread of this process. A thread that has ended is no error. */
VOID HalInterruptThread(LONG HostThreadId);
/* Unblocks the interrupt in the calling thread. */
VOID HalEnableInterrupt(VOID);

/* --- capture.c --- */

/*
 * In an interrupt, with what that was given as Frame: the addresses at which the interrupted code and its callers are, the
 * innermost first. Returns how many, at most Count; async-signal-safe after HalInitializeProcessors.
 */
ULONG HalCaptureStack(PVOID Frame, PVOID *Addresses, ULONG Count);

/* --- page.c --- */

/* Zeroed, page-aligned, whole pages. NULL: no memory. */
PVOID HalAllocatePages(SIZE_T Bytes);
/*
 * The same, for memory of which little will be used: no page is backed before it is touched, and the leak checker does
 * not look there.
 */
PVOID HalAllocateSparsePages(SIZE_T Bytes);
VOID HalFreePages(PVOID Base, SIZE_T Bytes);
VOID HalFreeSparsePages(PVOID Base, SIZE_T Bytes);

/* --- namedpage.c --- */

/*
 * Zeroed, whole pages that other processes find by Name (31 characters) among this one's mappings, as "memfd:Name" or
 * "[anon:Name]". The child of a fork has none. NULL: no memory, or a host that gives no names.
 */
PVOID HalAllocateNamedPages(const char *Name, SIZE_T Bytes);
VOID HalFreeNamedPages(PVOID Base, SIZE_T Bytes);

/* --- cpuid.c --- */

typedef struct _HAL_CPUID {
    ULONG Eax, Ebx, Ecx, Edx;
} HAL_CPUID, *PHAL_CPUID;

/* Executes cpuid on the CPU that the caller runs on. FALSE: this host has no cpuid. */
BOOLEAN HalCpuid(ULONG Leaf, ULONG Subleaf, PHAL_CPUID Registers);

/* --- cpureport.c: what the host's system tells of a CPU --- */

/* MHz, the base frequency if that is known; 0: not known. */
ULONG HalProcessorMHz(ULONG HostProcessor);
/* Revision of the microcode; 0: not known. */
ULONG HalProcessorMicrocode(ULONG HostProcessor);

#define HAL_MAXIMUM_CACHES 16

/* Zero where the system tells nothing. */
typedef struct _HAL_CPU_REPORT {
    ULONG Midr;         /* an ARM CPU's MIDR_EL1 */
    ULONG Architecture; /* an ARM CPU's, such as 8 */
    ULONG FlushSize;    /* bytes of the lines that HalFlushLines writes back, where no cpuid tells of them */
    ULONG PackageThreads;
    ULONG CoreThreads;
    ULONG CacheCount;
    HAL_CACHE Caches[HAL_MAXIMUM_CACHES];
} HAL_CPU_REPORT, *PHAL_CPU_REPORT;

/* The caller runs on that CPU. */
VOID HalReportProcessor(ULONG HostProcessor, PHAL_CPU_REPORT Report);

/* --- flush.c: cache lines --- */

/*
 * Writes back and drops Lines lines of LineSize bytes, the first of which begins at First, from all caches of all CPUs;
 * done on return. The lines are mapped. Stores to them that precede the call are written back. The second form is for
 * CPUs that have clflushopt; both may be called only where the CPU has the instruction.
 */
typedef VOID HAL_FLUSH_LINES(ULONG_PTR First, SIZE_T Lines, ULONG LineSize);

HAL_FLUSH_LINES HalFlushLines;
HAL_FLUSH_LINES HalFlushLinesOptimized;

/* --- console.c: reports; no allocation, callable while the program is broken --- */

/* To stderr, by write(2). At most 1 KiB a call. Formats: those of snprintf. */
VOID HalPrint(const char *Format, ...) __attribute__((format(printf, 1, 2)));
/* The calling thread's stack, a line a frame, leaving out the innermost Skip frames. */
VOID HalPrintStack(ULONG Skip);
/* Addresses of code as such a stack. */
VOID HalPrintAddresses(PVOID *Addresses, ULONG Count);
DECLSPEC_NORETURN VOID HalAbort(VOID);
/* A variable of the environment, or NULL. */
const char *HalEnvironment(const char *Name);

#endif
