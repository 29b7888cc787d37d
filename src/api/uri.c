/* SPDX-License-Identifier: Apache-2.0 */
#include "api/uri.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Decodes in place; `plus`: '+' means a space, as in queries. */
static int decode(char *text, bool plus)
{
    char *out = text;
    for (const char *in = text; *in; in++) {
        if (*in == '+' && plus) {
            *out++ = ' ';
        } else if (*in == '%') {
            int high = hex_digit(in[1]);
            int low = high < 0 ? -1 : hex_digit(in[2]);
            if (low < 0 || (high == 0 && low == 0))
                return -EINVAL;
            *out++ = (char)(high << 4 | low);
            in += 2;
        } else {
            *out++ = *in;
        }
    }
    *out = '\0';
    return 0;
}

static int path_parse(struct uri *uri, char *path)
{
    char *rest = path;
    for (char *segment; (segment = strsep(&rest, "/"));) {
        /* The one before the first slash, and the one behind a last. */
        if (*segment == '\0' && (segment == path || !rest))
            continue;
        if (uri->segment_count == URI_MAX_SEGMENTS || decode(segment, false) < 0)
            return -EINVAL;
        uri->segments[uri->segment_count++] = segment;
    }
    return 0;
}

static int query_parse(struct uri *uri, char *query)
{
    for (char *pair; (pair = strsep(&query, "&"));) {
        if (*pair == '\0')
            continue;
        char *value = strchr(pair, '=');
        if (value)
            *value++ = '\0';
        else
            value = pair + strlen(pair);
        if (uri->parameter_count == URI_MAX_PARAMETERS || decode(pair, true) < 0 ||
            decode(value, true) < 0)
            return -EINVAL;
        uri->parameters[uri->parameter_count++] = (struct uri_parameter){pair, value};
    }
    return 0;
}

int uri_parse(struct uri *uri, const char *target)
{
    *uri = (struct uri){.text = strdup(target)};
    if (!uri->text)
        return -ENOMEM;
    if (*target != '/')
        return -EINVAL;
    char *query = strchr(uri->text, '?');
    if (query)
        *query++ = '\0';
    int r = path_parse(uri, uri->text);
    return r < 0 ? r : query_parse(uri, query);
}

int uri_decode(char *text)
{
    return decode(text, false);
}

char *uri_rest(const struct uri *uri, size_t first)
{
    char *rest = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&rest, &length);
    if (!stream)
        return NULL;
    for (size_t i = first; i < uri->segment_count; i++)
        fprintf(stream, "%s%s", i > first ? "/" : "", uri->segments[i]);
    if (fclose(stream) == 0)
        return rest;
    free(rest);
    return NULL;
}

void uri_release(struct uri *uri)
{
    free(uri->text);
    uri->text = NULL;
}

const char *uri_query(const struct uri *uri, const char *name)
{
    for (size_t i = 0; i < uri->parameter_count; i++) {
        if (strcmp(uri->parameters[i].name, name) == 0)
            return uri->parameters[i].value;
    }
    return NULL;
}
