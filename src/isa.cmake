# cek_add_isa(<name> <flags>...): compile kernels/table.c for one instruction set, once a dtype.
#
# Flags that the compiler refuses drop the instruction set, never the build.  The objects go to
# CEK_OBJECTS, the define that tells dispatch.c of them to CEK_DEFINES.
#
#   -fno-trapping-math   GCC vectorises a selection only if it may compute both sides
#   -fno-math-errno      fabs and friends are then plain instructions
#   -ffp-contract=off    a b + c is fused where the source says fma, and only there, so that every
#                        machine with FMA computes the same bits
# None of them changes a value.  -ffast-math and its parts do, and are never used.
include(CheckCCompilerFlag)

if(MSVC AND NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
  set(CEK_KERNEL_FLAGS /O2 /fp:precise)
else()
  set(CEK_KERNEL_FLAGS -O3 -fno-math-errno -fno-trapping-math -ffp-contract=off)
  if(MSVC) # clang-cl ignores them, with a warning, where they have no prefix
    list(TRANSFORM CEK_KERNEL_FLAGS PREPEND "/clang:")
  endif()
endif()

function(cek_add_isa isa)
  string(JOIN " " flags ${ARGN})
  if(flags)
    check_c_compiler_flag("${flags}" CEK_ACCEPTS_${isa})
    if(NOT CEK_ACCEPTS_${isa})
      return()
    endif()
  endif()
  foreach(bits 32 64)
    set(target cek_f${bits}_${isa})
    add_library(${target} OBJECT src/kernels/table.c)
    target_compile_options(${target} PRIVATE ${CEK_KERNEL_FLAGS} ${ARGN})
    target_compile_definitions(${target} PRIVATE CEK_REAL_BITS=${bits} CEK_TABLE=cek_table_f${bits}_${isa})
    set_target_properties(${target} PROPERTIES
      C_STANDARD 11
      POSITION_INDEPENDENT_CODE ON
      INTERPROCEDURAL_OPTIMIZATION OFF
      C_VISIBILITY_PRESET hidden)
    list(APPEND CEK_OBJECTS $<TARGET_OBJECTS:${target}>)
  endforeach()
  string(TOUPPER ${isa} upper)
  set(CEK_OBJECTS ${CEK_OBJECTS} PARENT_SCOPE)
  set(CEK_DEFINES ${CEK_DEFINES} CEK_HAVE_${upper} PARENT_SCOPE)
endfunction()
