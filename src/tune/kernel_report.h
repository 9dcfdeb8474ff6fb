// What vendors' compilers report of the products' kernels: rows of src/tune/kernel_reports.txt, which tests/vendors/reports.py makes.
#ifndef TUNE_KERNEL_REPORT_H
#define TUNE_KERNEL_REPORT_H

#include "opencl/launch.h"
#include "opencl/program.h"

extern const struct embedded_source embedded_reports[]; // ends with a null name

// An item's instructions, for each multiply-add, or with `matrix` for each instruction of the matrix unit: so many multiply-adds are an
// item's share of it.
typedef struct instruction_mix {
    int matrix;
    double other;                     // instructions beside the product
    double special;                   // of these, by the unit of exp2 and division
    double local_bytes, global_bytes; // read and written
    double rounds, waits;             // waits for values of global and of local memory, if no other item ran
    double barriers;
} instruction_mix;

typedef struct kernel_report {
    instruction_mix mix;
    int items;       // of a group
    double resident; // part of a multiprocessor's items that can be resident; 0: the kernel spills there
    bool exact;      // false: the row of the likest options
} kernel_report;

// The row of a kernel on a target of the gate ("sm_86"); options as kernel_get has them. False: no row is like it.
bool kernel_report_find(const char *file, const char *name, const char *options, const char *target, kernel_report *report);

#endif
