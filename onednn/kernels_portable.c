#define UN_TABLE un_kernels_portable
#include "kernels_body.h"
