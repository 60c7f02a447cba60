/* Which instruction sets the processor and the operating system both support. */
#ifndef CEK_CPU_H
#define CEK_CPU_H

int cek_cpu_has_baseline(void);
int cek_cpu_has_avx2(void);
int cek_cpu_has_avx512(void);

#endif
