/* SPDX-License-Identifier: Apache-2.0 */
#include "base/id.h"

#include <errno.h>
#include <sys/random.h>

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

int id_characters(char *characters, size_t length, struct error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < length; i++)
        r = pick(ALL, &characters[i], err);
    return r;
}

int id_make(char id[ID_LENGTH + 1], struct error *err)
{
    int r = pick(LETTERS, id, err);
    id[ID_LENGTH] = '\0';
    return r < 0 ? r : id_characters(id + 1, ID_LENGTH - 1, err);
}
