/* A libnvidia-ml.so.1 without a driver, for the real pynvml: FAKE_NVML says what the machine has.
 *
 *   FAKE_NVML="2"             two GPUs that nobody uses
 *   FAKE_NVML="2;1:4242:300"  process 4242 uses 300 MiB of the second
 *   FAKE_NVML="error"         every question is answered with an error
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INSUFFICIENT_SIZE = 7, UNKNOWN = 999 };

struct memory { unsigned long long total, free, used; };
struct process { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; };

static long handles[16];

static const char *machine(void) {
    const char *text = getenv("FAKE_NVML");
    return text ? text : "0";
}

int nvmlInitWithFlags(unsigned flags) { (void)flags; return SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int code) { return code == UNKNOWN ? "Unknown Error" : "an error"; }

int nvmlDeviceGetCount_v2(unsigned *count) {
    if (strcmp(machine(), "error") == 0) return UNKNOWN;
    *count = (unsigned)atoi(machine());
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    handles[index] = index;
    *handle = &handles[index];
    return SUCCESS;
}

int nvmlDeviceGetUUID(void *handle, char *text, unsigned length) {
    snprintf(text, length, "GPU-0000000%ld", *(long *)handle);
    return SUCCESS;
}

int nvmlDeviceGetName(void *handle, char *text, unsigned length) {
    (void)handle;
    snprintf(text, length, "Fake H100");
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(void *handle, struct memory *memory) {
    (void)handle;
    memory->total = 80ull << 30;
    memory->used = 1ull << 30;
    memory->free = memory->total - memory->used;
    return SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count, struct process *processes) {
    const char *rest = strchr(machine(), ';');
    long gpu;
    unsigned pid, mib, found = 0;
    for (; rest != NULL; rest = strchr(rest + 1, ';')) {
        if (sscanf(rest, ";%ld:%u:%u", &gpu, &pid, &mib) != 3 || gpu != *(long *)handle) continue;
        if (processes != NULL && found < *count) {
            struct process process = {pid, (unsigned long long)mib << 20, 0, 0};
            processes[found] = process;
        }
        found++;
    }
    int is_short = found > 0 && (processes == NULL || found > *count);
    *count = found;
    return is_short ? INSUFFICIENT_SIZE : SUCCESS;
}
