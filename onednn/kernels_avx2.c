#ifdef __x86_64__
#pragma GCC target("avx2,fma,f16c,bmi,bmi2")
#define UN_TABLE un_kernels_avx2
#include "kernels_body.h"
#endif
