# cmake -D SOURCE=<project> -P CheckLayers.cmake
#
# Reads the #include lines of src and include. Outside src/hal and src/kd only the freestanding and a few other headers
# of the C standard may be included; a layer includes its own headers, public headers, and the doors of the layers below
# it.
cmake_minimum_required(VERSION 3.25)

set(below_rtl "")
set(below_hal "")
set(below_ke hal.h rtl.h)
set(below_ex hal.h rtl.h ki.h)
set(below_kd hal.h rtl.h ki.h exp.h)
# Layers that may include the host's headers.
set(host hal kd)
set(standard stddef.h stdint.h stdarg.h stdbool.h stdalign.h stdnoreturn.h stdatomic.h limits.h float.h inttypes.h
    string.h stdlib.h stdio.h setjmp.h ctype.h errno.h)

set(failures 0)
set(files_read 0)

file(GLOB project ${SOURCE}/src/*/*.h)
list(TRANSFORM project REPLACE ".*/" "")

function(check layer file)
    file(STRINGS ${file} lines REGEX "^[ \t]*#[ \t]*include")
    cmake_path(GET file PARENT_PATH folder)
    foreach(line IN LISTS lines)
        set(why "")
        if(NOT line MATCHES "include[ \t]*[<\"]([^>\"]+)[>\"]")
            set(name "${line}")
            set(why "not a plain name")
        else()
            set(name "${CMAKE_MATCH_1}")
        endif()
        if(why)
            # said
        elseif(name MATCHES "^kprcb/nt/" AND NOT layer STREQUAL "nt")
            set(why "driver headers are for drivers only")
        elseif(name MATCHES "\\.\\.")
            set(why "a path that leaves the folder")
        elseif(name MATCHES "^kprcb/")
            # public
        elseif(EXISTS ${folder}/${name} OR name IN_LIST below_${layer})
            # of this layer, or the door of one below
        elseif(name IN_LIST project)
            set(why "neither of this layer nor the door of one below")
        elseif(name MATCHES "^urcu" AND NOT layer STREQUAL "hal")
            set(why "liburcu is behind src/hal")
        elseif(NOT layer IN_LIST host AND NOT name IN_LIST standard)
            set(why "only src/hal asks the host")
        endif()
        if(why)
            message(SEND_ERROR "${file}: includes ${name}: ${why}")
            math(EXPR failures "${failures} + 1")
        endif()
    endforeach()
    set(failures ${failures} PARENT_SCOPE)
endfunction()

foreach(layer IN ITEMS rtl hal ke ex kd public nt)
    if(layer STREQUAL "public")
        set(pattern ${SOURCE}/include/kprcb/*.h)
    elseif(layer STREQUAL "nt")
        set(pattern ${SOURCE}/include/kprcb/nt/*.h)
    else()
        set(pattern ${SOURCE}/src/${layer}/*.[ch])
    endif()
    file(GLOB files ${pattern})
    foreach(file IN LISTS files)
        check(${layer} ${file})
        math(EXPR files_read "${files_read} + 1")
    endforeach()
endforeach()

# A folder that this script does not know would go unchecked.
file(GLOB folders RELATIVE ${SOURCE}/src ${SOURCE}/src/*)
foreach(folder IN LISTS folders)
    if(IS_DIRECTORY ${SOURCE}/src/${folder} AND NOT DEFINED below_${folder})
        message(SEND_ERROR "src/${folder}: not a layer that CheckLayers.cmake knows")
        math(EXPR failures "${failures} + 1")
    endif()
endforeach()

if(files_read EQUAL 0)
    message(FATAL_ERROR "nothing to read below ${SOURCE}")
endif()
message(STATUS "${files_read} files, ${failures} includes that do not belong")
