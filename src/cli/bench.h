// The parts of `idm bench`: what is measured goes into one JSON object, the report, as --json prints it and --out keeps it.
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include "cli/cli.h"
#include "train/speed.h"
#include "tune/bench_ops.h"
#include "tune/ceilings.h"
#include "tune/roofline.h"

typedef struct benchmark {
    const cli_call *call;
    device_info device;
    const roofline_device *planned; // --for: nothing is measured, times are predictions for it
    int side, batch;
    double deadline, seconds; // of clock_seconds; for all
    ceilings ceilings;        // measured, or the planned device's peaks
    cJSON *report;
    int measured, failed; // rows
} benchmark;

// bench_report.c: begins the report with what does not come from measuring; adds to it, and prints as text unless --json.
idm_status bench_report_begin(benchmark *b, const ops *o, const bench_settings *settings);
void bench_report_ceilings(benchmark *b);
void bench_report_op(void *user, const bench_row *row); // a bench_visitor; user: the benchmark
// failure: why there is no figure, or null. predicted: where nothing is measured.
void bench_report_network(benchmark *b, const speed *row, const char *failure, const prediction *predicted);

// bench_compare.c. Reads a report that --out kept. IDM_BAD_INPUT: it is none, or of another workload version.
idm_status bench_compare_load(const char *path, cJSON **report);
// Sets `old` beside `report`, row by row, as text or as the report's member "compare".
idm_status bench_compare(const cli_call *call, cJSON *report, const cJSON *old, const char *old_name);

#endif
