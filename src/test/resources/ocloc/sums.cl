// What ocloc 22.43 made the files beside this one of, for acm-g10.
__kernel void sums(__global const float *a, __global float *b, int n) {
    __local float part[64];
    int item = get_local_id(0);
    float sum = 0;
    float next = a[item];
    for (int i = item; i < n; i += 64) {
        float now = next;
        next = a[i + 64];
        sum = sum * now + 1;
    }
    part[item] = sum;
    barrier(CLK_LOCAL_MEM_FENCE);
    b[item] = part[63 - item] + a[item + n];
}
