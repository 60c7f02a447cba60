/* Compiled once per instruction set and dtype; the table is all that it exports. */
#include "../cek.h"

#include "bce.h"
#include "bce_probs.h"
#include "classes.h"
#include "log_loss.h"
#include "unary.h"

extern const struct cek_table CEK_TABLE;

const struct cek_table CEK_TABLE = {
    .bce_logits = bce_logits,
    .bce_probs = bce_probs,
    .scan_binary = scan_binary,
    .scan_probs = scan_probs,
    .cross_entropy = cross_entropy,
    .scan_classes = scan_classes,
    .softmax = softmax,
    .scratch_size = scratch_size,
    .log_loss = log_loss,
    .unary = unary,
    .chunk_rows = chunk_rows,
};
