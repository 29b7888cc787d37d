/* SPDX-License-Identifier: Apache-2.0 */
#include "base/id.h"

#include <errno.h>
#include <sys/random.h>

static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789";

#define LETTERS 26u
#define ALL     36u

/* Random bytes, some at a time: what is left over is thrown away. */
struct dice {
    unsigned char bytes[64];
    size_t left;
};

static int roll(struct dice *dice, unsigned char *byte, struct error *err)
{
    if (dice->left == 0) {
        /* So few come all at once (getrandom(2)). */
        if (getrandom(dice->bytes, sizeof(dice->bytes), 0) < 0)
            return error_errno(err, errno, NULL, "random numbers");
        dice->left = sizeof(dice->bytes);
    }
    *byte = dice->bytes[--dice->left];
    return 0;
}

/* One of the first `count` characters, each as likely: bytes beyond the last whole multiple are
 * thrown away. */
static int pick(struct dice *dice, unsigned count, char *character, struct error *err)
{
    const unsigned limit = 256 - 256 % count;
    unsigned char byte = 0;
    do {
        int r = roll(dice, &byte, err);
        if (r < 0)
            return r;
    } while (byte >= limit);
    *character = alphabet[byte % count];
    return 0;
}

static int pick_all(struct dice *dice, char *characters, size_t length, struct error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < length; i++)
        r = pick(dice, ALL, &characters[i], err);
    return r;
}

int id_characters(char *characters, size_t length, struct error *err)
{
    struct dice dice = {.left = 0};
    return pick_all(&dice, characters, length, err);
}

int id_make(char id[ID_LENGTH + 1], struct error *err)
{
    struct dice dice = {.left = 0};
    int r = pick(&dice, LETTERS, id, err);
    id[ID_LENGTH] = '\0';
    return r < 0 ? r : pick_all(&dice, id + 1, ID_LENGTH - 1, err);
}
