// Any bytes as an INI file; what is accepted must survive being written and read again.
#include <idm/config.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char path[] = "/tmp/idm_fuzz_ini_XXXXXX";

static void remove_file(void)
{
    (void)unlink(path);
}

static FILE *rewrite(void)
{
    static int made;
    if (!made) {
        made = 1;
        const int descriptor = mkstemp(path);
        if (descriptor < 0) abort();
        (void)close(descriptor);
        (void)atexit(remove_file);
    }
    FILE *file = fopen(path, "wb");
    if (!file) abort();
    return file;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static idm_config config, again;
    FILE *file = rewrite();
    if (size > 0 && fwrite(data, 1, size, file) != size) abort();
    (void)fclose(file);
    idm_config_defaults(&config);
    if (idm_config_load(&config, path) != IDM_OK) return 0;
    file = rewrite();
    const idm_status status = idm_config_write(&config, file);
    (void)fclose(file);
    if (status != IDM_OK) return 0; // a relative path that is too long as an absolute one
    idm_config_defaults(&again);
    if (idm_config_load(&again, path) != IDM_OK) abort();
    if (memcmp(&config.sensing, &again.sensing, sizeof config.sensing) != 0) abort();
    if (strcmp(config.model.weights, again.model.weights) != 0) abort();
    return 0;
}
