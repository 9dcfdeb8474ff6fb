#include "core/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGE_SIZE = 4096 };
static _Thread_local char message[MESSAGE_SIZE];

const char *idm_message(void)
{
    return message;
}

const char *idm_version(void)
{
    return IDM_VERSION;
}

void status_message(const char *format, ...)
{
    // through a copy, so that the arguments may include the current message
    char text[MESSAGE_SIZE];
    va_list list;
    va_start(list, format);
    (void)vsnprintf(text, sizeof text, format, list);
    va_end(list);
    memcpy(message, text, sizeof text);
}

idm_status status_prefix(idm_status status, const char *format, ...)
{
    char text[MESSAGE_SIZE];
    va_list list;
    va_start(list, format);
    (void)vsnprintf(text, sizeof text, format, list);
    va_end(list);
    return status_fail(status, "%.2000s: %.2000s", text, message);
}
