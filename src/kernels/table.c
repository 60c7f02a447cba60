/* Compiled once per instruction set and dtype; the table is all that it exports. */
#include "../cek.h"

#include "bce.h"
#include "bce_probs.h"
#include "classes.h"
#include "divergence.h"
#include "focal.h"
#include "log_loss.h"
#include "nll.h"
#include "second_order.h"
#include "unary.h"

extern const struct cek_table CEK_TABLE;

const struct cek_table CEK_TABLE = {
    .bce_logits = bce_logits,
    .bce_probs = bce_probs,
    .focal = focal,
    .binary_hvp = binary_hvp,
    .scan_binary = scan_binary,
    .scan_probs = scan_matrix,
    .cross_entropy = cross_entropy,
    .nll = nll,
    .kl_divergence = kl_divergence,
    .js_divergence = js_divergence,
    .cross_entropy_hvp = cross_entropy_hvp,
    .scan_classes = scan_classes,
    .softmax = softmax,
    .scratch_size = scratch_size,
    .nll_scratch_size = nll_scratch_size,
    .divergence_scratch_size = divergence_scratch_size,
    .hvp_scratch_size = hvp_scratch_size,
    .log_loss = log_loss,
    .unary = unary,
    .chunk_rows = chunk_rows,
    .chunks_together = chunks_together,
};
