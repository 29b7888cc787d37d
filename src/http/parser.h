/* SPDX-License-Identifier: Apache-2.0 */
/* The server's half of HTTP/1.x that a VMM's API needs: requests whose body length is given by
 * Content-Length. Fed with whatever bytes arrive; what comes in is hostile. */
#ifndef TINE_HTTP_PARSER_H
#define TINE_HTTP_PARSER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_LINE_LIMIT   1024u /* bytes of a request or header line, its CRLF included */
#define HTTP_HEADER_LIMIT 100u  /* header lines of one request */
#define HTTP_METHOD_LIMIT 16u

enum http_event {
    HTTP_MORE,     /* all bytes consumed, no whole request yet */
    HTTP_CONTINUE, /* the client waits for "100 Continue" before it sends the body */
    HTTP_REQUEST,  /* parser->request is complete; http_parser_next() before more is fed */
    HTTP_BAD,      /* not HTTP, or over a limit: parser->reason says what; nothing follows */
};

struct http_request {
    char method[HTTP_METHOD_LIMIT]; /* as sent: "GET", "PUT", ... */
    char path[HTTP_LINE_LIMIT];     /* absolute path as sent, not decoded */
    char *body;                     /* NUL behind the last byte; NULL without a body */
    size_t body_length;
    bool close; /* the client wants the connection closed after the answer */
};

enum http_parser_state { HTTP_IN_LINE, HTTP_IN_HEADERS, HTTP_IN_BODY, HTTP_DONE, HTTP_FAILED };

struct http_parser {
    enum http_parser_state state;
    size_t body_limit;
    char line[HTTP_LINE_LIMIT];
    size_t line_length;
    unsigned headers;
    bool has_length, expects_continue;
    uint64_t content_length;
    struct http_request request;
    const char *reason; /* with HTTP_BAD; static */
};

/* Bodies of more than `body_limit` bytes are refused. */
void http_parser_init(struct http_parser *parser, size_t body_limit);
/* Gives up what the parser holds. */
void http_parser_free(struct http_parser *parser);
/* Consumes bytes up to the first event; `*consumed` says how many. */
enum http_event http_parser_feed(struct http_parser *parser, const char *data, size_t length,
                                 size_t *consumed);
/* Forgets the request that was delivered and starts with the next one. */
void http_parser_next(struct http_parser *parser);

#endif
