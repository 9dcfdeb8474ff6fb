#include "train/schedule.h"

#include "core/status.h"

#include <stdlib.h>
#include <string.h>

uint64_t schedule_epoch(const idm_config *config, uint64_t step)
{
    return step / (uint64_t)config->train.iterations_per_epoch;
}

uint64_t schedule_steps(const idm_config *config)
{
    return (uint64_t)config->train.epochs * (uint64_t)config->train.iterations_per_epoch;
}

double schedule_learning_rate(const idm_config *config, uint64_t step)
{
    const uint64_t epoch = schedule_epoch(config, step);
    double rate = config->train.learning_rate;
    for (int i = 0; i < config->train.milestone_count; i++)
        if ((uint64_t)config->train.milestones[i] <= epoch) rate *= config->train.gamma;
    return rate;
}

bool schedule_validates(const idm_config *config, uint64_t step)
{
    const uint64_t every = (uint64_t)config->train.validate_every * (uint64_t)config->train.iterations_per_epoch;
    return every > 0 && step > 0 && step % every == 0;
}

idm_status schedule_parse_interval(const char *text, schedule_interval *interval)
{
    static const char *const units[] = {[SCHEDULE_MINUTES] = "min", [SCHEDULE_ITERATIONS] = "it", [SCHEDULE_EPOCHS] = "epoch"};
    const size_t digits = strspn(text, "0123456789");
    const uint64_t count = digits > 0 && digits < 10 ? strtoull(text, NULL, 10) : 0;
    for (int unit = SCHEDULE_MINUTES; count > 0 && unit <= SCHEDULE_EPOCHS; unit++) {
        if (strcmp(text + digits, units[unit]) != 0) continue;
        *interval = (schedule_interval){(schedule_unit)unit, count};
        return IDM_OK;
    }
    return status_fail(IDM_USAGE, "%.60s: an interval is a whole number and min, it or epoch: 30min, 200it, 1epoch", text);
}

bool schedule_due(const schedule_interval *interval, const idm_config *config, uint64_t step, double seconds)
{
    switch (interval->unit) {
    case SCHEDULE_MINUTES:
        return seconds >= 60 * (double)interval->count;
    case SCHEDULE_ITERATIONS:
        return step > 0 && step % interval->count == 0;
    default:
        return step > 0 && step % (interval->count * (uint64_t)config->train.iterations_per_epoch) == 0;
    }
}
