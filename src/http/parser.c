/* SPDX-License-Identifier: Apache-2.0 */
#include "http/parser.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void http_parser_init(struct http_parser *parser, size_t body_limit)
{
    memset(parser, 0, sizeof(*parser));
    parser->body_limit = body_limit;
}

void http_parser_free(struct http_parser *parser)
{
    free(parser->request.body);
    parser->request.body = NULL;
}

void http_parser_next(struct http_parser *parser)
{
    size_t body_limit = parser->body_limit;
    http_parser_free(parser);
    http_parser_init(parser, body_limit);
}

static enum http_event bad(struct http_parser *parser, const char *reason)
{
    parser->state = HTTP_FAILED;
    parser->reason = reason;
    return HTTP_BAD;
}

/* The part of a request target that routes look at: "/path", or the path of "http://host/path". */
static const char *target_path(const char *target)
{
    static const char scheme[] = "http://";
    if (strncasecmp(target, scheme, sizeof(scheme) - 1) != 0)
        return target;
    const char *slash = strchr(target + sizeof(scheme) - 1, '/');
    return slash ? slash : "/";
}

static bool method_valid(const char *method)
{
    size_t length = strlen(method);
    return length > 0 && length < HTTP_METHOD_LIMIT &&
           strspn(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == length;
}

/* "METHOD SP target SP HTTP/1.x" (RFC 9112, section 3). */
static enum http_event parse_request_line(struct http_parser *parser)
{
    if (parser->line[0] == '\0')
        return HTTP_MORE; /* an empty line before a request is to be ignored (2.2) */
    char *save = NULL;
    const char *method = strtok_r(parser->line, " ", &save);
    const char *target = strtok_r(NULL, " ", &save);
    const char *version = strtok_r(NULL, " ", &save);
    if (!method || !target || !version || strtok_r(NULL, " ", &save))
        return bad(parser, "the request line is not 'METHOD /path HTTP/1.1'");
    if (!method_valid(method))
        return bad(parser, "the request method is not valid");
    if (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0)
        return bad(parser, "the HTTP version is not 1.0 or 1.1");
    const char *path = target_path(target);
    if (path[0] != '/')
        return bad(parser, "the request path does not begin with '/'");
    strcpy(parser->request.method, method); /* NOLINT: both fit, see method_valid() and the line */
    strcpy(parser->request.path, path);     /* NOLINT */
    parser->request.close = strcmp(version, "HTTP/1.0") == 0;
    parser->state = HTTP_IN_HEADERS;
    return HTTP_MORE;
}

static enum http_event header_content_length(struct http_parser *parser, const char *value)
{
    size_t digits = strspn(value, "0123456789");
    if (digits == 0 || digits > 18 || value[digits] != '\0')
        return bad(parser, "Content-Length is not a number");
    uint64_t length = strtoull(value, NULL, 10);
    if (parser->has_length && length != parser->content_length)
        return bad(parser, "Content-Length is given twice");
    parser->has_length = true;
    parser->content_length = length;
    return HTTP_MORE;
}

static enum http_event header_transfer_encoding(struct http_parser *parser, const char *value)
{
    if (strcasecmp(value, "identity") == 0)
        return HTTP_MORE;
    return bad(parser, "Transfer-Encoding is not supported, send Content-Length");
}

static enum http_event header_expect(struct http_parser *parser, const char *value)
{
    if (strcasecmp(value, "100-continue") == 0)
        parser->expects_continue = true;
    return HTTP_MORE;
}

static enum http_event header_connection(struct http_parser *parser, const char *value)
{
    if (strcasecmp(value, "close") == 0)
        parser->request.close = true;
    else if (strcasecmp(value, "keep-alive") == 0)
        parser->request.close = false;
    return HTTP_MORE;
}

/* The headers that mean something here; all others are ignored. */
static const struct {
    const char *name;
    enum http_event (*parse)(struct http_parser *parser, const char *value);
} known_headers[] = {
    {"Content-Length", header_content_length},
    {"Transfer-Encoding", header_transfer_encoding},
    {"Expect", header_expect},
    {"Connection", header_connection},
};

static enum http_event parse_header_line(struct http_parser *parser)
{
    char *colon = strchr(parser->line, ':');
    if (!colon || colon == parser->line)
        return bad(parser, "a header line has no name");
    /* Blanks before the colon, and lines that continue the one before, have been used to make two
     * parsers disagree (RFC 9112, sections 5.1 and 5.2). */
    if (strpbrk(parser->line, " \t") && strpbrk(parser->line, " \t") < colon)
        return bad(parser, "a header name contains a blank");
    if (++parser->headers > HTTP_HEADER_LIMIT)
        return bad(parser, "too many header lines");
    *colon = '\0';
    char *value = colon + 1 + strspn(colon + 1, " \t");
    size_t length = strlen(value);
    while (length > 0 && (value[length - 1] == ' ' || value[length - 1] == '\t'))
        value[--length] = '\0';
    for (size_t i = 0; i < sizeof(known_headers) / sizeof(known_headers[0]); i++) {
        if (strcasecmp(known_headers[i].name, parser->line) == 0)
            return known_headers[i].parse(parser, value);
    }
    return HTTP_MORE;
}

static enum http_event end_of_headers(struct http_parser *parser)
{
    if (parser->content_length == 0) {
        parser->state = HTTP_DONE;
        return HTTP_REQUEST;
    }
    if (parser->content_length > parser->body_limit)
        return bad(parser, "the request body is larger than the limit");
    parser->request.body = malloc(parser->content_length + 1);
    if (!parser->request.body)
        return bad(parser, "no memory for the request body");
    parser->state = HTTP_IN_BODY;
    return parser->expects_continue ? HTTP_CONTINUE : HTTP_MORE;
}

static enum http_event parse_line(struct http_parser *parser)
{
    if (parser->state == HTTP_IN_LINE)
        return parse_request_line(parser);
    if (parser->line[0] == '\0')
        return end_of_headers(parser);
    return parse_header_line(parser);
}

/* Takes bytes up to and with the next CRLF. */
static enum http_event feed_line(struct http_parser *parser, const char *data, size_t length,
                                 size_t *consumed)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)data[i];
        bool after_cr = parser->line_length > 0 && parser->line[parser->line_length - 1] == '\r';
        *consumed = i + 1;
        if (after_cr && c == '\n') {
            parser->line[--parser->line_length] = '\0';
            parser->line_length = 0;
            return parse_line(parser);
        }
        if (after_cr || (c != '\r' && c != '\t' && iscntrl(c)))
            return bad(parser, "a control character in a line");
        /* The last byte of the buffer is the LF's. */
        if (parser->line_length + 1 >= HTTP_LINE_LIMIT)
            return bad(parser, "a line is longer than 1024 bytes");
        parser->line[parser->line_length++] = (char)c;
    }
    return HTTP_MORE;
}

static enum http_event feed_body(struct http_parser *parser, const char *data, size_t length,
                                 size_t *consumed)
{
    struct http_request *request = &parser->request;
    size_t wanted = parser->content_length - request->body_length;
    size_t taken = length < wanted ? length : wanted;
    memcpy(request->body + request->body_length, data, taken);
    request->body_length += taken;
    *consumed = taken;
    if (taken < wanted)
        return HTTP_MORE;
    request->body[request->body_length] = '\0';
    parser->state = HTTP_DONE;
    return HTTP_REQUEST;
}

enum http_event http_parser_feed(struct http_parser *parser, const char *data, size_t length,
                                 size_t *consumed)
{
    *consumed = 0;
    while (*consumed < length && parser->state != HTTP_DONE && parser->state != HTTP_FAILED) {
        size_t taken = 0;
        enum http_event event =
            parser->state == HTTP_IN_BODY
                ? feed_body(parser, data + *consumed, length - *consumed, &taken)
                : feed_line(parser, data + *consumed, length - *consumed, &taken);
        *consumed += taken;
        if (event != HTTP_MORE)
            return event;
    }
    if (parser->state == HTTP_FAILED)
        return HTTP_BAD;
    return parser->state == HTTP_DONE ? HTTP_REQUEST : HTTP_MORE;
}
