# How llama.cpp is built for this program. CMake includes this file at llama-cpp-python's project() when it is named by
# -DCMAKE_PROJECT_llama_cpp_INCLUDE=<absolute path>: the Makefile, the README and engine/host/rebuild.py do so.

# Never used here, and more than half of the compiler's work: images and sound (mtmd), and what llama.cpp's own programs
# share (llama-common, cpp-httplib). llama-cpp-python forces LLAMA_BUILD_COMMON on as a cache entry; an ordinary
# variable hides that (policies CMP0077 and CMP0126, both new in the CMake that it asks for).
set(LLAVA_BUILD OFF)
set(LLAMA_BUILD_COMMON OFF)

# GCC's bug 114098: _tile_loadconfig tells the compiler of 8 bytes of its 64, so the stores to the others are dropped,
# and llama.cpp's AMX code ends the process at its first product of matrices. Mended in 11.5, 12.4, 13.3 and 14; GCC 10
# has no AMX. Debian 12 has 12.2, Ubuntu 22.04 has 11.4. Options for C and C++ only: nvcc does not know them.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  foreach(series_and_mended "11;11.5" "12;12.4" "13;13.3")
    list(GET series_and_mended 0 series)
    list(GET series_and_mended 1 mended)
    if(CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL series AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS mended)
      message(STATUS "GCC ${CMAKE_CXX_COMPILER_VERSION} compiles AMX wrongly (bug 114098): llama.cpp is built without it")
      add_compile_options("$<$<COMPILE_LANGUAGE:C,CXX>:-mno-amx-tile;-mno-amx-int8;-mno-amx-bf16>")
    endif()
  endforeach()
endif()
