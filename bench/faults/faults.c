/* SPDX-License-Identifier: Apache-2.0 */
/* bench-faults DIRECTORY PAGER MIB PATTERN VMS [apart|record]: one line of JSON. PAGER is the
 * program, or "plain". The same is measured once more for a later sibling of the first VMs. With
 * "apart" VMs and handler have CPUs of their own, as on a host that has many; else the scheduler
 * decides. With "record" what the first VM touches stays in DIRECTORY/record. */
#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "faults.h"

void die(const char *what)
{
    fprintf(stderr, "bench-faults: %s: %s\n", what, strerror(errno));
    _exit(1);
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* The slowest VM's time, and percentiles of all waits. */
static void report(const char *name, struct touched *results, unsigned vms, double cpu)
{
    uint64_t slowest = 0, waits = 0;
    for (unsigned i = 0; i < vms; i++) {
        slowest = results[i].elapsed_ns > slowest ? results[i].elapsed_ns : slowest;
        waits += results[i].waits;
    }
    uint32_t *all = calloc(waits + 1, sizeof(*all));
    if (!all)
        die("report");
    uint64_t used = 0;
    for (unsigned i = 0; i < vms; i++) {
        memcpy(all + used, results[i].wait_ns, results[i].waits * sizeof(*all));
        used += results[i].waits;
    }
    qsort(all, waits, sizeof(*all), compare);
    printf("\"%s\": {\"ms\": %.2f, \"waits\": %llu, \"p50_us\": %.1f, \"p99_us\": %.1f, "
           "\"cpu_s\": %.3f}",
           name, (double)slowest / 1e6, (unsigned long long)waits, (double)all[waits / 2] / 1e3,
           (double)all[waits * 99 / 100] / 1e3, cpu);
    free(all);
}

/* The first CPU is the VMs', the others are the handler's. Returns those. */
static cpu_set_t split_cpus(cpu_set_t *of_vms)
{
    cpu_set_t all;
    int first = 0;
    if (sched_getaffinity(0, sizeof(all), &all) < 0 || CPU_COUNT(&all) < 2)
        die("two CPUs are needed");
    while (!CPU_ISSET(first, &all))
        first++;
    CPU_ZERO(of_vms);
    CPU_SET(first, of_vms);
    CPU_CLR(first, &all);
    return all;
}

static void stay_on(const cpu_set_t *cpus)
{
    if (sched_setaffinity(0, sizeof(*cpus), cpus) < 0)
        die("sched_setaffinity");
}

int main(int argc, char **argv)
{
    bool apart = argc == 7 && strcmp(argv[6], "apart") == 0;
    bool records = argc == 7 && strcmp(argv[6], "record") == 0;
    if (argc != 6 && !apart && !records) {
        fputs("bench-faults DIRECTORY PAGER|plain MIB PATTERN VMS [apart|record]\n", stderr);
        return 2;
    }
    uint64_t pages = strtoull(argv[3], NULL, 10) << 8;
    unsigned vms = (unsigned)strtoul(argv[5], NULL, 10);
    char path[256];
    struct pattern pattern;
    struct handler handler = {.directory = argv[1],
                              .pager = strcmp(argv[2], "plain") == 0 ? NULL : argv[2],
                              .records = records};
    if (pages == 0 || vms == 0 || 2 * vms > MAX_VMS)
        die("MIB or VMS");
    struct touched *results = mmap(NULL, vms * sizeof(*results), PROT_READ | PROT_WRITE,
                                   MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (results == MAP_FAILED)
        die("results");
    snprintf(path, sizeof(path), "%s/memory", argv[1]);
    image_make(path, pages);
    pattern_make(&pattern, argv[4], pages);
    double cpu = 0, later_cpu = 0;
    if (apart) {
        cpu_set_t of_vms, of_handler = split_cpus(&of_vms);
        stay_on(&of_handler);
        handler_start(&handler, 2 * vms);
        stay_on(&of_vms);
    } else {
        handler_start(&handler, 2 * vms);
    }
    handler_expect(&handler, 0, vms);
    touch_run(argv[1], 0, vms, &pattern, pages, results, &cpu);
    printf("{");
    report("first", results, vms, cpu);
    for (unsigned i = 0; i < vms; i++)
        handler_forget(&handler, i);
    handler_expect(&handler, vms, vms);
    touch_run(argv[1], vms, vms, &pattern, pages, results, &later_cpu);
    printf(", ");
    report("later", results, vms, later_cpu);
    printf(", \"handler_cpu_s\": %.3f, \"touches\": %u}\n", handler_stop(&handler), pattern.count);
    return 0;
}
