/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/id.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "instance/instance.h"

static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789";

#define LETTERS 26u
#define ALL     36u

/* One of the first `count` characters, each as likely: bytes beyond the last whole multiple are
 * thrown away. */
static int pick(unsigned count, char *character, struct error *err)
{
    const unsigned limit = 256 - 256 % count;
    unsigned char byte;
    do {
        if (getrandom(&byte, 1, 0) != 1)
            return error_errno(err, errno, NULL, "random number");
    } while (byte >= limit);
    *character = alphabet[byte % count];
    return 0;
}

int id_make(char id[INSTANCE_ID_LENGTH + 1], struct error *err)
{
    for (unsigned i = 0; i < INSTANCE_ID_LENGTH; i++) {
        int r = pick(i == 0 ? LETTERS : ALL, &id[i], err);
        if (r < 0)
            return r;
    }
    id[INSTANCE_ID_LENGTH] = '\0';
    return 0;
}

int name_make(char name[INSTANCE_NAME_GENERATED], struct error *err)
{
    memcpy(name, "vm-", 3);
    for (unsigned i = 3; i < INSTANCE_NAME_GENERATED - 1; i++) {
        int r = pick(ALL, &name[i], err);
        if (r < 0)
            return r;
    }
    name[INSTANCE_NAME_GENERATED - 1] = '\0';
    return 0;
}

bool instance_name_valid(const char *name)
{
    size_t length = strnlen(name, INSTANCE_NAME_MAX + 1);
    return length > 0 && length <= INSTANCE_NAME_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == length && name[0] != '-' &&
           name[length - 1] != '-';
}
