/* The only file that asks the processor.
 *
 * An instruction set counts as present when CPUID lists every feature whose compiler flag isa.cmake
 * uses, and when XCR0 says that the operating system saves the wide registers.  AVX-512 also asks
 * for VBMI2: it marks the processors from Ice Lake and Zen 4 on, which do not lower their clock for
 * 512-bit arithmetic as Skylake-X does.
 */
#include "cpu.h"

#include <stdint.h>

int cek_cpu_has_baseline(void)
{
    return 1;
}

#if defined(__x86_64__) || defined(_M_X64)

#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#include <xmmintrin.h>

enum {
    LEAF1_ECX_FMA = 1u << 12,
    LEAF1_ECX_OSXSAVE = 1u << 27,
    LEAF1_ECX_AVX = 1u << 28,
    LEAF7_EBX_AVX2 = 1u << 5,
    LEAF7_EBX_AVX512F = 1u << 16,
    LEAF7_EBX_AVX512DQ = 1u << 17,
    LEAF7_EBX_AVX512BW = 1u << 30,
    LEAF7_ECX_AVX512VBMI2 = 1u << 6
};
static const uint32_t LEAF7_EBX_AVX512VL = 1u << 31;

enum { XCR0_YMM = 0x6, XCR0_ZMM = 0xe6 };

struct cpuid {
    uint32_t eax, ebx, ecx, edx;
};

static struct cpuid cpuid(uint32_t leaf)
{
    struct cpuid r = {0, 0, 0, 0};
#if defined(_MSC_VER)
    int regs[4];
    __cpuid(regs, 0);
    if ((uint32_t)regs[0] >= leaf) {
        __cpuidex(regs, (int)leaf, 0);
        r.eax = (uint32_t)regs[0], r.ebx = (uint32_t)regs[1];
        r.ecx = (uint32_t)regs[2], r.edx = (uint32_t)regs[3];
    }
#else
    __get_cpuid_count(leaf, 0, &r.eax, &r.ebx, &r.ecx, &r.edx);
#endif
    return r;
}

static uint64_t xcr0(void)
{
#if defined(_MSC_VER)
    return _xgetbv(0);
#else
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
#endif
}

static int has(uint32_t reg, uint32_t mask)
{
    return (reg & mask) == mask;
}

static int os_saves(uint64_t mask)
{
    return has(cpuid(1).ecx, LEAF1_ECX_OSXSAVE) && (xcr0() & mask) == mask;
}

int cek_cpu_has_avx2(void)
{
    return os_saves(XCR0_YMM) && has(cpuid(1).ecx, LEAF1_ECX_FMA | LEAF1_ECX_AVX) &&
           has(cpuid(7).ebx, LEAF7_EBX_AVX2);
}

int cek_cpu_has_avx512(void)
{
    const uint32_t ebx =
        LEAF7_EBX_AVX512F | LEAF7_EBX_AVX512DQ | LEAF7_EBX_AVX512BW | LEAF7_EBX_AVX512VL;
    return cek_cpu_has_avx2() && os_saves(XCR0_ZMM) && has(cpuid(7).ebx, ebx) &&
           has(cpuid(7).ecx, LEAF7_ECX_AVX512VBMI2);
}

/* The kernels compute in SSE registers alone, so MXCSR holds every flag that they can raise. */
unsigned cek_flags_save(void)
{
    return _mm_getcsr();
}

void cek_flags_restore(unsigned flags)
{
    _mm_setcsr(flags);
}

#else

#include <fenv.h>

int cek_cpu_has_avx2(void)
{
    return 0;
}

int cek_cpu_has_avx512(void)
{
    return 0;
}

unsigned cek_flags_save(void)
{
    return (unsigned)fetestexcept(FE_ALL_EXCEPT);
}

void cek_flags_restore(unsigned flags)
{
    feclearexcept(FE_ALL_EXCEPT & ~(int)flags);
}

#endif
