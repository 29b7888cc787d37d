/* SPDX-License-Identifier: Apache-2.0 */
#include "exposition.h"

#include <ctype.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/utf8.h"

#define LINE_MAX_BYTES 4096
#define NAME_MAX_BYTES 128
#define SERIES_MAX     4096

/* What is known of the family whose lines are being read, and of the histogram series in it. */
struct reader {
    char family[NAME_MAX_BYTES], type[16];
    bool helped, typed;
    char *families[SERIES_MAX], *samples[SERIES_MAX];
    size_t family_count, sample_count;
    char labels[LINE_MAX_BYTES]; /* of the histogram series, without le */
    double bound, count;         /* of its last bucket */
    bool open, summed;           /* there were buckets, and no _count yet; there was a _sum */
};

struct sample {
    char name[NAME_MAX_BYTES];
    char labels[LINE_MAX_BYTES]; /* in braces, without le; or empty */
    char le[64];                 /* empty: none */
    double value;
};

static const char *take_name(const char *at, char name[NAME_MAX_BYTES], bool colons)
{
    size_t n = 0;
    while (isalnum((unsigned char)at[n]) || at[n] == '_' || (colons && at[n] == ':'))
        n++;
    if (n == 0 || n >= NAME_MAX_BYTES || isdigit((unsigned char)*at))
        return NULL;
    memcpy(name, at, n);
    name[n] = '\0';
    return at + n;
}

/* Behind the opening quote: up to and with the closing one. */
static const char *take_value(const char *at)
{
    for (; *at && *at != '"'; at++) {
        if (*at == '\\' && *++at != '\\' && *at != '"' && *at != 'n')
            return NULL;
    }
    return *at ? at + 1 : NULL;
}

static const char *take_labels(const char *at, struct sample *sample)
{
    char seen[8][NAME_MAX_BYTES];
    size_t count = 0;
    const char *separator = "{";
    while (*at != '}' || count == 0) {
        const char *begin = at;
        at = count < 8 ? take_name(at, seen[count], false) : NULL;
        const char *value = at && at[0] == '=' && at[1] == '"' ? at + 2 : NULL;
        at = value ? take_value(value) : NULL;
        if (!at || (*at != ',' && *at != '}'))
            return NULL;
        for (size_t i = 0; i < count; i++) {
            if (strcmp(seen[i], seen[count]) == 0)
                return NULL;
        }
        size_t used = strlen(sample->labels);
        if (strcmp(seen[count], "le") == 0) {
            snprintf(sample->le, sizeof(sample->le), "%.*s", (int)(at - 1 - value), value);
        } else {
            snprintf(sample->labels + used, sizeof(sample->labels) - used, "%s%.*s", separator,
                     (int)(at - begin), begin);
            separator = ",";
        }
        count++;
        if (*at == ',' && *++at == '}')
            return NULL; /* allowed by the format, but not how we write */
    }
    return at + 1;
}

static bool parse_number(const char *text, double *value)
{
    char *end;
    if (!*text || isspace((unsigned char)*text))
        return false;
    *value = strtod(text, &end);
    return *end == '\0' && !strchr(text, 'x');
}

static bool parse_sample(const char *line, struct sample *sample)
{
    *sample = (struct sample){.value = 0};
    const char *at = take_name(line, sample->name, true);
    if (at && *at == '{')
        at = take_labels(at + 1, sample);
    return at && *at == ' ' && parse_number(at + 1, &sample->value);
}

/* Remembers a text; false if it was there before. */
static bool remember(char **list, size_t *count, const char *text)
{
    for (size_t i = 0; i < *count; i++) {
        if (strcmp(list[i], text) == 0)
            return false;
    }
    if (*count < SERIES_MAX)
        list[(*count)++] = strdup(text);
    return true;
}

static const char *read_comment(struct reader *reader, const char *line)
{
    bool help = strncmp(line, "# HELP ", 7) == 0;
    char name[NAME_MAX_BYTES];
    const char *at =
        help || strncmp(line, "# TYPE ", 7) == 0 ? take_name(line + 7, name, true) : NULL;
    if (!at || *at != ' ')
        return "a comment that is neither HELP nor TYPE";
    if (reader->open)
        return "the histogram before has no _count";
    if (help) {
        for (at++; *at; at++) {
            if (*at == '\\' && *++at != '\\' && *at != 'n')
                return "a wrong escape in HELP";
        }
        if (!remember(reader->families, &reader->family_count, name))
            return "a second HELP, or lines of one family apart";
        snprintf(reader->family, sizeof(reader->family), "%s", name);
        reader->helped = true;
        reader->typed = false;
        return NULL;
    }
    if (!reader->helped || reader->typed || strcmp(name, reader->family) != 0)
        return "TYPE does not follow the HELP of its family";
    static const char *const types[] = {"counter", "gauge", "histogram"};
    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
        reader->typed = reader->typed || strcmp(at + 1, types[i]) == 0;
    snprintf(reader->type, sizeof(reader->type), "%s", at + 1);
    return reader->typed ? NULL : "an unknown type";
}

static const char *read_bucket(struct reader *reader, const struct sample *sample)
{
    double bound;
    if (!*sample->le || !parse_number(sample->le, &bound))
        return "a bucket without a bound";
    bool first = !reader->open;
    if (!first && strcmp(reader->labels, sample->labels) != 0)
        return "buckets of two series mixed";
    if (!first && (bound <= reader->bound || sample->value < reader->count))
        return "buckets that do not ascend";
    snprintf(reader->labels, sizeof(reader->labels), "%s", sample->labels);
    reader->bound = bound;
    reader->count = sample->value;
    reader->open = true;
    reader->summed = false;
    return NULL;
}

static const char *read_histogram(struct reader *reader, const struct sample *sample)
{
    const char *suffix = sample->name + strlen(reader->family);
    if (strcmp(suffix, "_bucket") == 0)
        return read_bucket(reader, sample);
    if (*sample->le)
        return "a bound on what is no bucket";
    if (!reader->open || !isinf(reader->bound) || strcmp(reader->labels, sample->labels) != 0)
        return "a _sum or _count without its buckets up to +Inf";
    if (strcmp(suffix, "_sum") == 0) {
        reader->summed = true;
        return NULL;
    }
    reader->open = false;
    if (strcmp(suffix, "_count") != 0 || !reader->summed)
        return "a histogram is _bucket, _sum, _count";
    return sample->value == reader->count ? NULL : "_count differs from the last bucket";
}

static const char *read_sample(struct reader *reader, const char *line)
{
    static struct sample sample;
    if (!parse_sample(line, &sample))
        return "a malformed sample";
    char series[LINE_MAX_BYTES + NAME_MAX_BYTES + 80];
    snprintf(series, sizeof(series), "%s%s%s", sample.name, sample.labels, sample.le);
    if (!remember(reader->samples, &reader->sample_count, series))
        return "the same series twice";
    if (!reader->typed)
        return "a sample before its TYPE";
    if (strcmp(reader->type, "histogram") == 0 &&
        strncmp(sample.name, reader->family, strlen(reader->family)) == 0)
        return read_histogram(reader, &sample);
    if (strcmp(sample.name, reader->family) != 0)
        return "a sample of another family";
    if (strcmp(reader->type, "counter") == 0 && !(sample.value >= 0))
        return "a negative counter";
    return *sample.le ? "a bound on what is no histogram" : NULL;
}

static const char *read_line(struct reader *reader, const char *line)
{
    for (const char *c = line; *c;) {
        size_t sequence = utf8_sequence(c, strlen(c));
        if (sequence == 0 || *c == '\r')
            return "not UTF-8, or a carriage return";
        c += sequence;
    }
    if (*line == '\0')
        return "an empty line";
    return *line == '#' ? read_comment(reader, line) : read_sample(reader, line);
}

static void release(struct reader *reader)
{
    for (size_t i = 0; i < reader->family_count; i++)
        free(reader->families[i]);
    for (size_t i = 0; i < reader->sample_count; i++)
        free(reader->samples[i]);
    free(reader);
}

const char *exposition_check(const char *text)
{
    static char complaint[LINE_MAX_BYTES + 128];
    struct reader *reader = calloc(1, sizeof(*reader));
    const char *wrong = NULL;
    char line[LINE_MAX_BYTES] = "";
    while (*text && !wrong) {
        const char *end = strchr(text, '\n');
        if (!end || end - text >= LINE_MAX_BYTES) {
            wrong = "the last line has no end, or it is too long";
            break;
        }
        snprintf(line, sizeof(line), "%.*s", (int)(end - text), text);
        wrong = read_line(reader, line);
        text = end + 1;
    }
    if (!wrong && reader->open)
        wrong = "the last histogram has no _count";
    release(reader);
    if (!wrong)
        return NULL;
    snprintf(complaint, sizeof(complaint), "%s: %s", wrong, line);
    return complaint;
}

bool exposition_value(const char *text, const char *series, double *value)
{
    size_t length = strlen(series);
    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, series, length) == 0 && line[length] == ' ') {
            *value = strtod(line + length + 1, NULL);
            return true;
        }
    }
    return false;
}

void assert_exposition(const char *text)
{
    const char *wrong = exposition_check(text);
    if (wrong)
        print_error("%s\n", wrong);
    assert_null(wrong);
}

void assert_sample(const char *text, const char *series, double value)
{
    double found = NAN;
    bool there = exposition_value(text, series, &found);
    if (!there || found != value)
        print_error("%s: %s %g, not %g, in\n%s", series, there ? "is" : "is not there:", found,
                    value, text);
    assert_true(there && found == value);
}
