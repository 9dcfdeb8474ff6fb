#include "io/pickle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const globals[] = {"collections.OrderedDict", "torch._utils._rebuild_tensor_v2", "torch.FloatStorage", "a.b", NULL};
    pickle *p;
    if (pickle_parse("fuzz", data, size, globals, &p) == IDM_OK) {
        (void)pickle_get(pickle_root(p), "state_dict");
        (void)pickle_call_arguments(pickle_root(p), "a.b");
        pickle_free(p);
    }
    return 0;
}
