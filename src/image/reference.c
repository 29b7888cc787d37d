/* SPDX-License-Identifier: Apache-2.0 */
#include "image/reference.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_HOST "docker.io"
#define DEFAULT_PATH "library/"
#define DEFAULT_TAG  "latest"
#define LOWER        "abcdefghijklmnopqrstuvwxyz"
#define UPPER        "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS       "0123456789"
#define HEX          DIGITS "abcdef"
#define ALGORITHM    "sha256:"
#define HEX_LENGTH   64

static bool only(const char *text, size_t length, const char *accepted)
{
    return strspn(text, accepted) >= length;
}

static bool digest_valid(const char *digest)
{
    size_t prefix = strlen(ALGORITHM);
    return strncmp(digest, ALGORITHM, prefix) == 0 && strlen(digest) == prefix + HEX_LENGTH &&
           only(digest + prefix, HEX_LENGTH, HEX);
}

static bool tag_valid(const char *tag)
{
    size_t length = strlen(tag);
    return length >= 1 && length <= 128 && *tag != '.' && *tag != '-' &&
           only(tag, length, LOWER UPPER DIGITS "_.-");
}

/* Letters and digits, separated by ".", "_", "__" or any number of "-". */
static bool component_valid(const char *text, size_t length)
{
    size_t i = 0;
    for (;;) {
        size_t word = i;
        while (i < length && strchr(LOWER DIGITS, text[i]))
            i++;
        if (i == word)
            return false;
        if (i == length)
            return true;
        char separator = text[i];
        size_t begin = i;
        while (i < length && text[i] == separator)
            i++;
        size_t limit = separator == '.' ? 1 : separator == '_' ? 2 : separator == '-' ? length : 0;
        if (i - begin > limit)
            return false;
    }
}

static bool path_valid(const char *path)
{
    for (;;) {
        size_t length = strcspn(path, "/");
        if (!component_valid(path, length))
            return false;
        if (path[length] == '\0')
            return true;
        path += length + 1;
    }
}

/* Labels of letters, digits and inner hyphens, separated by dots. */
static bool labels_valid(const char *text, size_t length)
{
    for (size_t i = 0; i <= length; i++) {
        size_t label = i;
        while (i < length && text[i] != '.')
            i++;
        if (i == label || text[label] == '-' || text[i - 1] == '-' ||
            !only(text + label, i - label, LOWER UPPER DIGITS "-"))
            return false;
    }
    return true;
}

static bool host_valid(const char *host, size_t length)
{
    const char *colon = memchr(host, ':', length);
    size_t name = colon ? (size_t)(colon - host) : length;
    size_t port = colon ? length - name - 1 : 0;
    return labels_valid(host, name) &&
           (!colon || (port > 0 && port <= 5 && only(colon + 1, port, DIGITS)));
}

/* The length of the host in front of the path, 0 if there is none: a first part that looks like
 * one. */
static size_t host_length(const char *name)
{
    static const char local[] = "localhost";
    size_t length = strcspn(name, "/");
    bool is_host = memchr(name, '.', length) || memchr(name, ':', length) ||
                   (length == strlen(local) && strncmp(name, local, length) == 0);
    return name[length] == '/' && is_host ? length : 0;
}

static bool repository_set(char *name, char repository[IMAGE_NAME_SIZE])
{
    size_t host = host_length(name);
    const char *path = host > 0 ? name + host + 1 : name;
    bool docker =
        host == 0 || (host == strlen(DEFAULT_HOST) && strncmp(name, DEFAULT_HOST, host) == 0);
    if ((host > 0 && !host_valid(name, host)) || !path_valid(path))
        return false;
    int length = snprintf(
        repository, IMAGE_NAME_SIZE, "%.*s/%s%s", docker ? (int)strlen(DEFAULT_HOST) : (int)host,
        docker ? DEFAULT_HOST : name, docker && !strchr(path, '/') ? DEFAULT_PATH : "", path);
    return length < IMAGE_NAME_SIZE;
}

/* Takes the text apart from its end: digest, tag, repository. */
static bool parse(char *text, struct image_reference *reference)
{
    char *digest = strchr(text, '@');
    if (digest)
        *digest++ = '\0';
    char *slash = strrchr(text, '/'), *tag = strchr(slash ? slash : text, ':');
    if (tag)
        *tag++ = '\0';
    if ((digest && !digest_valid(digest)) || (tag && !tag_valid(tag)))
        return false;
    if (digest)
        snprintf(reference->digest, sizeof(reference->digest), "%s", digest);
    else
        snprintf(reference->tag, sizeof(reference->tag), "%s", tag ? tag : DEFAULT_TAG);
    return repository_set(text, reference->repository);
}

int image_reference_parse(const char *text, struct image_reference *reference, struct error *err)
{
    char copy[IMAGE_REFERENCE_SIZE + IMAGE_DIGEST_SIZE];
    *reference = (struct image_reference){0};
    if (strlen(text) < sizeof(copy)) {
        memcpy(copy, text, strlen(text) + 1);
        if (parse(copy, reference))
            return 0;
    }
    return error_set(err, ERROR_INVALID, EINVAL, "\"%.200s\" is not an image reference", text);
}

void image_reference_format(const struct image_reference *reference,
                            char text[IMAGE_REFERENCE_SIZE])
{
    bool by_digest = reference->digest[0] != '\0';
    snprintf(text, IMAGE_REFERENCE_SIZE, "%s%s%s", reference->repository, by_digest ? "@" : ":",
             by_digest ? reference->digest : reference->tag);
}

int image_reference_is_kit(const char *text)
{
    struct image_reference reference;
    char normal[IMAGE_REFERENCE_SIZE];
    if (image_reference_parse(text, &reference, NULL) < 0)
        return 0;
    image_reference_format(&reference, normal);
    return strcmp(normal, DEFAULT_HOST "/" IMAGE_KIT) == 0;
}
