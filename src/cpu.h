/* What depends on the processor: instruction sets that it and the system support, status flags. */
#ifndef CEK_CPU_H
#define CEK_CPU_H

int cek_cpu_has_baseline(void);
int cek_cpu_has_avx2(void);
int cek_cpu_has_avx512(void);

/* The sticky floating-point exception flags: computing both sides of a selection raises some that
 * belong to neither result. */
unsigned cek_flags_save(void);
void cek_flags_restore(unsigned flags);

#endif
