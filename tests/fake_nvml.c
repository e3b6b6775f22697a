/* A libnvidia-ml.so.1 without a driver, for the real pynvml. Variables say what the machine has and does:
 *
 *   FAKE_NVML="2"                two GPUs that nobody uses
 *   FAKE_NVML="2;1:4242:300"     process 4242 uses 300 MiB of the second
 *   FAKE_NVML="1;0:self:300"     the process that asks does; with 0:self:? NVML does not say how much
 *   FAKE_NVML="error"            the number of GPUs is an error
 *   FAKE_NVML_ERRORS="nvmlDeviceGetPowerUsage=3,nvmlDeviceGetUUID=15@4,nvmlDeviceGetName=9@1-2"
 *                                codes that calls return: all, all from call 4 on (the first is 0), 1 and 2
 *   FAKE_NVML_COUNTER="stuck"    energy is not counted; "reset" once it has been asked for ten times
 *   FAKE_NVML_THROTTLE="0x24"    bits of what holds the clocks down
 *   FAKE_NVML_MIG="slice"        what has a UUID is a slice; "cut" what is asked for is a GPU in slices
 *
 * GPU g draws 200 + 100 g watts and a wave of 100 W around it, twice a second; its counter is the integral.
 * A function is left out when compiled with -DWITHOUT_ and its name.
 */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SUCCESS = 0, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, UNKNOWN = 999, MOST_GPUS = 16, MOST_NAMES = 64 };

static const double WAVE_W = 100, PULSE = 2 * 3.14159265358979323846 * 2; /* radians a second */

struct memory { unsigned long long total, free, used; };
struct process { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; };
struct utilization { unsigned gpu, memory; };

static long handles[MOST_GPUS];

static const char *variable(const char *name, const char *otherwise) {
    const char *text = getenv(name);
    return text ? text : otherwise;
}

static const char *machine(void) { return variable("FAKE_NVML", "0"); }

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec * 1e-9;
}

static int num_calls(const char *name) {
    static struct { const char *name; int calls; } known[MOST_NAMES];
    int index = 0;
    while (known[index].name && strcmp(known[index].name, name)) index++;
    known[index].name = name;
    return known[index].calls++;
}

/* The error that this call of a function shall return, or SUCCESS. */
static int failure(const char *name) {
    int call = num_calls(name), code, first, last;
    size_t length = strlen(name);
    for (const char *rest = variable("FAKE_NVML_ERRORS", ""); rest; rest = strchr(rest, ',')) {
        rest += *rest == ',';
        if (strncmp(rest, name, length) || rest[length] != '=') continue;
        int found = sscanf(rest + length, "=%d@%d-%d", &code, &first, &last);
        if ((found < 2 || call >= first) && (found < 3 || call <= last)) return code;
    }
    return SUCCESS;
}

#define MAY_FAIL(name) do { int code = failure(#name); if (code) return code; } while (0)

static int is_mig(const char *kind) { return strcmp(variable("FAKE_NVML_MIG", ""), kind) == 0; }

static int open_gpu(long index, void **handle) {
    if (index < 0 || index >= atoi(machine()) || index >= MOST_GPUS) return NOT_FOUND;
    handles[index] = index;
    *handle = &handles[index];
    return SUCCESS;
}

static long index_of(void *handle) { return *(long *)handle; }
static double base_w(void *handle) { return 200 + 100 * index_of(handle); }

#ifndef WITHOUT_nvmlInitWithFlags
int nvmlInitWithFlags(unsigned flags) { (void)flags; MAY_FAIL(nvmlInitWithFlags); return SUCCESS; }
#endif
int nvmlShutdown(void) { MAY_FAIL(nvmlShutdown); return SUCCESS; }
const char *nvmlErrorString(int code) { return code == UNKNOWN ? "Unknown Error" : "an error"; }

int nvmlDeviceGetCount_v2(unsigned *count) {
    if (strcmp(machine(), "error") == 0) return UNKNOWN;
    *count = (unsigned)atoi(machine());
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) { return open_gpu(index, handle); }

#ifndef WITHOUT_nvmlDeviceGetHandleByUUID
int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) {
    MAY_FAIL(nvmlDeviceGetHandleByUUID);
    if (strncmp(uuid, is_mig("slice") ? "MIG-" : "GPU-", 4)) return NOT_FOUND;
    return open_gpu(atol(uuid + 4), handle);
}
#endif

int nvmlDeviceGetHandleByPciBusId_v2(const char *place, void **handle) {
    unsigned domain, bus, device;
    MAY_FAIL(nvmlDeviceGetHandleByPciBusId_v2);
    if (sscanf(place, "%x:%x:%x.0", &domain, &bus, &device) != 3) return NOT_FOUND;
    return open_gpu((long)bus, handle);
}

#ifndef WITHOUT_nvmlDeviceIsMigDeviceHandle
int nvmlDeviceIsMigDeviceHandle(void *handle, unsigned *answer) {
    (void)handle;
    MAY_FAIL(nvmlDeviceIsMigDeviceHandle);
    *answer = is_mig("slice");
    return SUCCESS;
}
#endif

#ifndef WITHOUT_nvmlDeviceGetMigMode
int nvmlDeviceGetMigMode(void *handle, unsigned *current, unsigned *pending) {
    (void)handle;
    MAY_FAIL(nvmlDeviceGetMigMode);
    *current = *pending = is_mig("cut");
    return SUCCESS;
}
#endif

int nvmlDeviceGetUUID(void *handle, char *text, unsigned length) {
    MAY_FAIL(nvmlDeviceGetUUID);
    snprintf(text, length, "%s-0000000%ld", is_mig("slice") ? "MIG" : "GPU", index_of(handle));
    return SUCCESS;
}

int nvmlDeviceGetName(void *handle, char *text, unsigned length) {
    (void)handle;
    snprintf(text, length, "Fake H100");
    return SUCCESS;
}

#ifndef WITHOUT_nvmlDeviceGetPowerUsage
int nvmlDeviceGetPowerUsage(void *handle, unsigned *milliwatts) {
    MAY_FAIL(nvmlDeviceGetPowerUsage);
    *milliwatts = (unsigned)(1000 * (base_w(handle) + WAVE_W * sin(PULSE * seconds())));
    return SUCCESS;
}
#endif

#ifndef WITHOUT_nvmlDeviceGetTotalEnergyConsumption
int nvmlDeviceGetTotalEnergyConsumption(void *handle, unsigned long long *millijoules) {
    static int asked;
    double joules = 1e6 + base_w(handle) * seconds() - WAVE_W / PULSE * cos(PULSE * seconds());
    MAY_FAIL(nvmlDeviceGetTotalEnergyConsumption);
    const char *counter = variable("FAKE_NVML_COUNTER", "");
    if (strcmp(counter, "stuck") == 0) joules = 1e6;
    if (strcmp(counter, "reset") == 0 && ++asked > 10) joules -= 1e6;
    *millijoules = (unsigned long long)(1000 * joules);
    return SUCCESS;
}
#endif

#ifndef WITHOUT_nvmlDeviceGetUtilizationRates
int nvmlDeviceGetUtilizationRates(void *handle, struct utilization *rates) {
    (void)handle;
    MAY_FAIL(nvmlDeviceGetUtilizationRates);
    rates->gpu = fmod(seconds(), 0.2) < 0.1 ? 100 : 50;
    rates->memory = 10;
    return SUCCESS;
}
#endif

#ifndef WITHOUT_nvmlDeviceGetTemperature
int nvmlDeviceGetTemperature(void *handle, int sensor, unsigned *celsius) {
    MAY_FAIL(nvmlDeviceGetTemperature);
    *celsius = (unsigned)(50 + 10 * index_of(handle) + sensor);
    return SUCCESS;
}
#endif

#ifndef WITHOUT_nvmlDeviceGetClockInfo
int nvmlDeviceGetClockInfo(void *handle, int kind, unsigned *megahertz) {
    MAY_FAIL(nvmlDeviceGetClockInfo);
    *megahertz = (unsigned)(1000 * kind + 500 + index_of(handle)); /* 1 is the multiprocessors' */
    return SUCCESS;
}
#endif

#ifndef WITHOUT_nvmlDeviceGetCurrentClocksEventReasons
int nvmlDeviceGetCurrentClocksEventReasons(void *handle, unsigned long long *bits) {
    (void)handle;
    MAY_FAIL(nvmlDeviceGetCurrentClocksEventReasons);
    *bits = strtoull(variable("FAKE_NVML_THROTTLE", "0x1"), NULL, 16);
    return SUCCESS;
}
#endif

#ifndef WITHOUT_nvmlDeviceGetCurrentClocksThrottleReasons
int nvmlDeviceGetCurrentClocksThrottleReasons(void *handle, unsigned long long *bits) {
    (void)handle;
    MAY_FAIL(nvmlDeviceGetCurrentClocksThrottleReasons);
    *bits = strtoull(variable("FAKE_NVML_THROTTLE", "0x1"), NULL, 16);
    return SUCCESS;
}
#endif

#ifndef WITHOUT_nvmlDeviceGetMemoryInfo
int nvmlDeviceGetMemoryInfo(void *handle, struct memory *memory) {
    MAY_FAIL(nvmlDeviceGetMemoryInfo);
    memory->total = 80ull << 30;
    memory->used = (unsigned long long)(index_of(handle) + 1) << 30;
    memory->free = memory->total - memory->used;
    return SUCCESS;
}
#endif

/* One process of the list at `text`: ";GPU:PID:MIB". */
static int read_process(const char *text, long *gpu, struct process *process) {
    char pid[16], mib[16];
    if (sscanf(text, ";%ld:%15[^:]:%15[^;]", gpu, pid, mib) != 3) return 0;
    memset(process, 0, sizeof *process);
    process->pid = strcmp(pid, "self") ? (unsigned)atoi(pid) : (unsigned)getpid();
    process->used = strcmp(mib, "?") ? strtoull(mib, NULL, 10) << 20 : ~0ull;
    return 1;
}

static int list_processes(void *handle, unsigned *count, struct process *processes) {
    struct process process;
    long gpu;
    unsigned found = 0;
    for (const char *rest = strchr(machine(), ';'); rest != NULL; rest = strchr(rest + 1, ';')) {
        if (!read_process(rest, &gpu, &process) || gpu != index_of(handle)) continue;
        if (processes != NULL && found < *count) processes[found] = process;
        found++;
    }
    int is_short = found > 0 && (processes == NULL || found > *count);
    *count = found;
    return is_short ? INSUFFICIENT_SIZE : SUCCESS;
}

#ifndef WITHOUT_nvmlDeviceGetComputeRunningProcesses_v3
int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count, struct process *processes) {
    MAY_FAIL(nvmlDeviceGetComputeRunningProcesses_v3);
    return list_processes(handle, count, processes);
}
#endif

#ifndef WITHOUT_nvmlDeviceGetComputeRunningProcesses_v2
int nvmlDeviceGetComputeRunningProcesses_v2(void *handle, unsigned *count, struct process *processes) {
    MAY_FAIL(nvmlDeviceGetComputeRunningProcesses_v2);
    return list_processes(handle, count, processes);
}
#endif
