#!/bin/sh
# Compiles every public header by itself, tests/headers, tests/nt and tests/layout with each compiler that is installed,
# for x64, i386 and aarch64, in C and C++, and a few lines that must not compile. Prints what fails; the exit status
# says whether anything did.
#     tests/headers/compile.sh
if [ $# -ne 0 ]; then
    echo "usage: $0" >&2
    exit 2
fi
cd "$(dirname "$0")/../.." || exit 2
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
status=0
include="-Iinclude -Iinclude/kprcb/nt"
warnings="-Wall -Wextra -Wshadow -Werror"

compile() # name, compiler with its options, file
{
    if ! $2 $warnings $include -c "$3" -o "$work/out.o" 2>"$work/log"; then
        echo "$2: $1"
        sed 's/^/    /' "$work/log"
        status=1
    fi
}

reject() # compiler with its options, suffix, statement
{
    printf '#include <kprcb/nt/wdm.h>\nvoid f(void);\nvoid f(void)\n{\n    %s\n}\n' "$3" >"$work/reject.$2"
    if $1 $include -w -c "$work/reject.$2" -o "$work/out.o" 2>"$work/log"; then
        echo "$1: compiled, and should not: $3"
        status=1
    elif ! grep -q "not the width" "$work/log"; then
        echo "$1: refused for another reason: $3"
        sed 's/^/    /' "$work/log"
        status=1
    fi
}

# An interlocked operation on an object of another width.
reject_all() # compiler with its options, suffix
{
    reject "$1" "$2" 'SHORT Word = 0; InterlockedIncrement(&Word);'
    reject "$1" "$2" 'UCHAR Word = 0; InterlockedExchange(&Word, 1);'
    reject "$1" "$2" 'LONG Word = 0; InterlockedOr64(&Word, 1);'
    reject "$1" "$2" 'LONG Word = 0; (void)ReadBooleanAcquire(&Word);'
    reject "$1" "$2" 'SHORT Word = 0; InterlockedExchangePointer(&Word, NULL);'
}

works() # compiler
{
    printf '#include <stdint.h>\n#include <string.h>\n' >"$work/probe.c"
    $1 -fsyntax-only "$work/probe.c" 2>/dev/null
}

for compiler in gcc clang "gcc -m32" "clang -m32" i686-linux-gnu-gcc aarch64-linux-gnu-gcc; do
    works "$compiler" || continue
    c="$compiler -std=gnu11"
    case $compiler in
    clang*) nt="$c -fms-extensions -fshort-wchar -fdeclspec" ;;
    *) nt="$c -fms-extensions -fshort-wchar" ;;
    esac
    for header in include/kprcb/*.h include/kprcb/nt/*.h; do
        printf '#include <%s>\ntypedef int translation_unit_is_not_empty;\n' "${header#include/}" >"$work/alone.c"
        case $header in
        */nt/*) compile "$header" "$nt" "$work/alone.c" ;;
        *) compile "$header" "$c" "$work/alone.c" ;;
        esac
    done
    reject_all "$nt" c
    for file in tests/headers/*.c tests/layout/*.c; do
        compile "$file" "$c" "$file"
    done
    for file in tests/nt/test_*.c; do
        compile "$file" "$nt" "$file"
        compile "$file" "$nt -O2" "$file"
    done
done

for compiler in g++ clang++; do
    printf '#include <string>\n' >"$work/probe.cpp"
    $compiler -fsyntax-only "$work/probe.cpp" 2>/dev/null || continue
    for header in include/kprcb/*.h include/kprcb/nt/*.h; do
        printf '#include <%s>\n' "${header#include/}" >"$work/alone.cpp"
        compile "$header" "$compiler -std=c++17" "$work/alone.cpp"
    done
    reject_all "$compiler -std=c++17" cpp
    for file in tests/headers/*.cpp; do
        compile "$file" "$compiler -std=c++17" "$file"
    done
done
exit $status
