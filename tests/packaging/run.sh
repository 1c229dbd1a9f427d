#!/usr/bin/env bash
# run.sh SOURCE BUILD CMAKE CC GENERATOR VERSION
#
# Installs BUILD into an empty prefix and builds and runs consumers against nothing but that prefix: by find_package, by
# pkg-config, as C++, as driver code; and one that takes SOURCE by add_subdirectory.
set -euo pipefail

if (($# != 6)); then
    echo "usage: $0 SOURCE BUILD CMAKE CC GENERATOR VERSION" >&2
    exit 2
fi
source_dir=$1
build_dir=$2
cmake=$3
cc=$4
generator=$5
version=$6

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/kprcb-packaging.XXXXXX")
trap 'rm -rf "$work"' EXIT
prefix=$work/moved

step() {
    printf -- '--- %s\n' "$*"
}

quietly() {
    "$@" >"$work/log" 2>&1 || {
        cat "$work/log"
        echo "failed: $*"
        exit 1
    }
}

# Runs a consumer and compares the version that the library itself reports with the package's.
check() {
    local said
    said=$("$@") || {
        echo "failed: $*"
        exit 1
    }
    [[ "$said" == "$version" ]] || {
        echo "failed: $* says \"$said\", the package is $version"
        exit 1
    }
}

have_cxx=false
cxx=${CXX:-c++}
command -v "$cxx" >/dev/null && have_cxx=true

step "install, then move the prefix"
quietly "$cmake" --install "$build_dir" --prefix "$work/prefix"
mv "$work/prefix" "$prefix"
for file in include/kprcb/kprcb.h include/kprcb/nt/wdm.h; do
    [[ -e "$prefix/$file" ]] || {
        echo "not installed: $file"
        exit 1
    }
done
pc_dir=$(dirname "$(find "$prefix" -name kprcb.pc)")
lib_dir=$(dirname "$pc_dir")
[[ -e "$lib_dir/libkprcb.a" && -L "$lib_dir/libkprcb.so" && -e "$lib_dir/libkprcb.so.0" ]] || {
    echo "not installed: the libraries, in $lib_dir"
    exit 1
}
for program in kprcb kprcb-bench; do
    if [[ -e "$build_dir/$program" ]]; then
        quietly ldd "$prefix/bin/$program"
        if grep -q 'not found' "$work/log"; then
            cat "$work/log"
            exit 1
        fi
    fi
done

step "find_package"
quietly "$cmake" -S "$here/consumer" -B "$work/package" -G "$generator" -D CMAKE_C_COMPILER="$cc" \
    -D CMAKE_PREFIX_PATH="$prefix" -D WITH_CXX=$have_cxx -D WITH_NT=true -D VERSION="$version"
quietly "$cmake" --build "$work/package"
check "$work/package/consumer"
check "$work/package/consumer-static"
if $have_cxx; then
    step "find_package, C++"
    check "$work/package/consumer-cxx"
fi
step "find_package, driver code"
check "$work/package/consumer-nt"

step "find_package refuses a later version"
if "$cmake" -S "$here/consumer" -B "$work/later" -G "$generator" -D CMAKE_C_COMPILER="$cc" \
    -D CMAKE_PREFIX_PATH="$prefix" -D WITH_CXX=false -D WITH_NT=false -D VERSION=99.0 >"$work/log" 2>&1; then
    echo "failed: a package of version $version passed for 99.0"
    exit 1
fi

step "add_subdirectory"
quietly "$cmake" -S "$here/consumer" -B "$work/subdirectory" -G "$generator" -D CMAKE_C_COMPILER="$cc" \
    -D SUBDIRECTORY="$source_dir" -D WITH_CXX=false -D WITH_NT=true
quietly "$cmake" --build "$work/subdirectory" --parallel 2
check "$work/subdirectory/consumer"
check "$work/subdirectory/consumer-nt"
if [[ -n "$(find "$work/subdirectory/kprcb" -type f \( -name kprcb -o -name kprcb-bench -o -name 'test_*' \))" ]]; then
    echo "failed: add_subdirectory built more than the libraries"
    exit 1
fi

if command -v pkg-config >/dev/null; then
    export PKG_CONFIG_PATH=$pc_dir
    export PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1
    step "pkg-config"
    read -ra flags <<<"$(pkg-config --cflags --libs kprcb)"
    quietly "$cc" "$here/consumer/consumer.c" -o "$work/by-pc" "${flags[@]}" -Wl,-rpath,"$lib_dir"
    check "$work/by-pc"
    read -ra flags <<<"$(pkg-config --static --libs kprcb)"
    flags=("${flags[@]/-lkprcb/-l:libkprcb.a}")
    quietly "$cc" "$here/consumer/consumer.c" -o "$work/by-pc-static" -I "$prefix/include" "${flags[@]}"
    check "$work/by-pc-static"
    step "pkg-config, driver code"
    read -ra flags <<<"$(pkg-config --cflags --libs kprcb-nt)"
    quietly "$cc" "$here/consumer/driver.c" -o "$work/by-pc-nt" "${flags[@]}" -Wl,-rpath,"$lib_dir"
    check "$work/by-pc-nt"
    step "a native consumer finds no <wdm.h>"
    read -ra flags <<<"$(pkg-config --cflags kprcb)"
    if echo '#include <wdm.h>' | "$cc" -fsyntax-only -x c - "${flags[@]}" 2>/dev/null; then
        echo "failed: <wdm.h> is on the path of kprcb"
        exit 1
    fi
else
    step "skipped: pkg-config (not installed)"
fi
echo "all consumers built and ran"
