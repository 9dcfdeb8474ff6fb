#include <idm/status.h>
#include <stdio.h>

int main(void)
{
    printf("idm %s\n", idm_version());
    return 0;
}
