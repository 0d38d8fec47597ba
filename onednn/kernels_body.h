// The kernels in plain C that the compiler vectorizes: each kernels_*.c includes this under its own instruction set, with UN_TABLE for the
// table's name.
#include "elementwise_body.h"
#include "gemm_body.h"
#include "moments_body.h"
#include "reduce_body.h"
#include "single_body.h"
#include "softmax_body.h"
#include "winograd_body.h"

const un_kernels UN_TABLE = {elementwise, moments, reduce, softmax, shares, scaled_rows, product, product_scratch, winograd, winograd_fits, winograd_scratch, single, single_scratch};
