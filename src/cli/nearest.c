/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/nearest.h"

#include <stdbool.h>
#include <string.h>

#define WORD_MAX     32
#define DISTANCE_MAX 2

static size_t smallest(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Edits from one word to the other; neighbours that changed places count once. */
static size_t distance(const char *a, const char *b)
{
    size_t rows[WORD_MAX + 1][WORD_MAX + 1];
    size_t a_length = strlen(a), b_length = strlen(b);
    if (a_length > WORD_MAX || b_length > WORD_MAX)
        return WORD_MAX;
    for (size_t i = 0; i <= a_length; i++) {
        for (size_t j = 0; j <= b_length; j++) {
            if (i == 0 || j == 0) {
                rows[i][j] = i + j;
                continue;
            }
            size_t change = rows[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            rows[i][j] = smallest(change, smallest(rows[i - 1][j], rows[i][j - 1]) + 1);
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped)
                rows[i][j] = smallest(rows[i][j], rows[i - 2][j - 2] + 1);
        }
    }
    return rows[a_length][b_length];
}

const char *nearest_word(const char *word, const char *const *words, size_t count)
{
    const char *best = NULL;
    size_t best_distance = DISTANCE_MAX + 1;
    size_t length = strlen(word);
    for (size_t i = 0; i < count; i++) {
        /* Of a short word little would be left after two edits. */
        size_t limit = length < 4 ? 1 : DISTANCE_MAX;
        size_t d = distance(word, words[i]);
        if (length >= 2 && strncmp(word, words[i], length) == 0)
            d = 1;
        if (d <= limit && d < best_distance) {
            best = words[i];
            best_distance = d;
        }
    }
    return best;
}
